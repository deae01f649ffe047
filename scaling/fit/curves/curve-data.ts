/** Loss curves as columns, for the laws of loss curves. */
import type { Rates } from "./schedule.js";

/** A loss before the update of a step (which may lie between two steps, if it is a mean). */
export interface CurvePoint {
  readonly step: number;
  readonly loss: number;
}

/** A training's schedule and its losses. */
export interface Curve extends Rates {
  readonly name: string;
  readonly points: readonly CurvePoint[];
}

export interface CurveData {
  readonly schedules: readonly Rates[];
  /** The schedule of each point. */
  readonly curve: Int32Array;
  readonly step: Float64Array;
  readonly loss: Float64Array;
}

export function toCurveData(curves: readonly Curve[]): CurveData {
  const points = curves.flatMap(({ points }, curve) => points.map((point) => ({ ...point, curve })));
  return {
    schedules: curves,
    curve: Int32Array.from(points, ({ curve }) => curve),
    step: Float64Array.from(points, ({ step }) => step),
    loss: Float64Array.from(points, ({ loss }) => loss),
  };
}
