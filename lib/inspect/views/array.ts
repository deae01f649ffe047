/** The view of any array by slices: a value of a forward pass, a parameter, numbers of one's own. */
import type { HostTensor } from "../../engine/host-tensors.js";
import type { ValueName } from "../../model/activations.js";
import type { Looked, Seen } from "../look.js";
import { shownToken } from "../page/parts/numbers.js";
import type { SlicesData } from "../page/slices.js";
import { pack } from "./pack.js";
import { makeView, type View } from "./view.js";

export interface ArrayOptions {
  readonly title?: string;
  /** What the numbers are. */
  readonly unit?: string;
  /** Names of the axes. */
  readonly axes?: readonly string[];
  /** Labels of the places along an axis, such as `{ T: tokens }`. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
}

/**
 * Two axes of an array as a matrix, with a slider for each of the others; blue is positive, orange negative.
 * @throws {RangeError} when the names are not as many as the axes
 * @example
 * const seen = await look(openCheckpoint("out"), "ROMEO", ["h.0.mlp.act"]);
 * arrayView(seen.values["h.0.mlp.act"], { labels: { T: seen.tokens } }).show();
 */
export function arrayView(array: Seen | HostTensor, options: ArrayOptions = {}): View {
  return makeView("slices", arrayData(array, options));
}

/** The content of the view. A single number has an axis of length 1. */
export function arrayData(array: Seen | HostTensor, options: ArrayOptions): SlicesData {
  const named = "name" in array ? array : undefined;
  const { values } = array;
  const single = array.shape.length === 0;
  const shape = single ? [1] : array.shape;
  const { title = named?.name ?? "Array", unit = "value", labels = {} } = options;
  const axes = single ? [""] : (options.axes ?? named?.axes ?? shape.map((_, index) => `axis ${index}`));
  if (axes.length !== shape.length)
    throw new RangeError(
      `Cannot show ${title}: it has ${shape.length} axes, [${shape.join(", ")}]; found ${axes.length} names.`,
    );
  const numbers = values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
  let high = 0;
  let signed = false;
  for (const value of numbers) {
    if (Number.isFinite(value)) high = Math.max(high, Math.abs(value));
    signed ||= value < 0;
  }
  // float16 cannot hold more than 65,504.
  const format = high > 6e4 ? "float32" : "float16";
  return {
    title,
    unit,
    axes,
    labels,
    signed,
    high: high || 1,
    array: pack(numbers, shape, format),
  };
}

/** A value that was looked at, with the tokens along T and S. */
export function valueView<N extends ValueName>(
  { tokens, values }: Looked<N>,
  name: N,
  options: ArrayOptions = {},
): View {
  const labels = tokens.map(shownToken);
  return arrayView(values[name], { labels: { T: labels, S: labels }, ...options });
}
