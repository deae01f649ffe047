/** How the residual stream grows from layer to layer. */
import type { ValueName } from "../../model/activations.js";
import { type Looked, type LookedAt, look } from "../look.js";

/** What residualNorms() gives. */
export interface ResidualNorms {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  readonly axes: readonly ["state", "position"];
  /** `embed`, then each layer's `resid_mid` and `resid_out`. */
  readonly states: readonly ValueName[];
  /** ‖x‖₂ by state and position. */
  readonly norms: readonly (readonly number[])[];
  /** The mean over positions, by state. */
  readonly means: readonly number[];
}

/**
 * `‖x‖₂ = √(Σ x²)` over the C features of each position, for each state x of the residual stream. [2 nLayer + 1, T]
 * @throws {RangeError} for a text that does not fit the model
 * @example
 * const { states, means } = await residualNorms(openCheckpoint("out"), "ROMEO: my love");
 */
export async function residualNorms(model: LookedAt, text: string | readonly number[]): Promise<ResidualNorms> {
  return residualNormsOf(await look(model, text, residualStates(model)), model);
}

/** The same from states that were looked at. */
export function residualNormsOf({ ids, tokens, values }: Looked<ValueName>, model: LookedAt): ResidualNorms {
  const states = residualStates(model);
  const C = model.settings.nEmbd;
  const norms = states.map((name) => ids.map((_, position) => length(values[name]!.values, position * C, C)));
  const means = norms.map((row) => row.reduce((sum, norm) => sum + norm, 0) / row.length);
  return { ids, tokens, axes: ["state", "position"], states, norms, means };
}

/** ‖x‖₂ of `count` values from `from` on. */
function length(values: Float32Array, from: number, count: number): number {
  let squares = 0;
  for (let i = from; i < from + count; i++) squares += values[i]! ** 2;
  return Math.sqrt(squares);
}

/** The states of the residual stream, in the order of the forward pass. */
export function residualStates({ settings }: LookedAt): ValueName[] {
  const states: ValueName[] = ["embed"];
  for (let layer = 0; layer < settings.nLayer; layer++) states.push(`h.${layer}.resid_mid`, `h.${layer}.resid_out`);
  return states;
}
