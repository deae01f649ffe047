/**
 * Edits of a forward pass: which of its values are replaced, at which heads and positions, and by what. They become a tap
 * that works wherever a forward pass does: eager or compiled, with a cache or without, in evaluation. Without edits there is no tap, and the
 * pass is what it was.
 */
import * as tf from "@tensorflow/tfjs-core";
import { closest } from "fastest-levenshtein";
import { type HostTensor, toTensor } from "../engine/host-tensors.js";
import { gatherRows } from "../engine/operations/raw.js";
import type { ModelShape } from "../settings/model.js";
import { type Axis, type ValueName, type ValueSpec, valueSpecs } from "./activations.js";
import type { ForwardOptions, Tap } from "./model.js";

/** What stands in a value's place: zeros, values of the same axes (1 where all share one), or a function of the value. */
export type Replacement = "zero" | HostTensor | ((value: tf.Tensor) => tf.Tensor);

/** One change of one value. */
export interface Edit {
  readonly to: Replacement;
  /** Only at these heads, from 0; all unless given. */
  readonly heads?: readonly number[];
  /** Only at these positions, from 0; of scores and weights, those of the queries. All unless given. */
  readonly positions?: readonly number[];
}

/** Edits by the value's name, one or several that follow one another. */
export type Edits = { readonly [name in ValueName]?: Edit | readonly Edit[] };

/**
 * What a forward pass is given so that it makes these edits; nothing where there are none.
 * @throws {RangeError} for a value, head or position that the model does not have
 */
export function withEdits(edits: Edits | undefined, shape: ModelShape): Pick<ForwardOptions, "at" | "wants"> {
  const names = Object.keys(edits ?? {}) as ValueName[];
  if (names.length === 0) return {};
  const specs = new Map(valueSpecs(shape).map((spec) => [spec.name, spec]));
  const planned = new Map<ValueName, { spec: ValueSpec; list: readonly Edit[] }>();
  for (const name of names) {
    const spec = specs.get(name);
    if (!spec) throw unknownValue(name, shape, "edit");
    const list = [edits![name]!].flat();
    for (const edit of list) checkEdit(edit, spec, shape);
    planned.set(name, { spec, list });
  }
  const at: Tap = (name, value, positions) => {
    const { spec, list } = planned.get(name)!;
    return list.reduce((before, edit) => edited(before, edit, spec, positions), value);
  };
  return { at, wants: (name) => planned.has(name) };
}

/** An error that names the nearest value there is. */
export function unknownValue(name: string, shape: ModelShape, what: "edit" | "look at"): RangeError {
  const layer = /^h\.(\d+)\./.exec(name)?.[1];
  if (layer !== undefined && Number(layer) >= shape.nLayer)
    return new RangeError(`Cannot ${what} ${name}: the model has ${shape.nLayer} layers, 0 to ${shape.nLayer - 1}.`);
  const near = closest(
    name,
    valueSpecs(shape).map((spec) => spec.name),
  );
  return new RangeError(`Cannot ${what} ${name}: the model has no such value; did you mean ${near}?`);
}

function checkEdit({ heads, positions }: Edit, { name, axes }: ValueSpec, { nHead, blockSize }: ModelShape): void {
  const refuse = (why: string) => new RangeError(`Cannot edit ${name}, whose axes are [${axes.join(", ")}]: ${why}.`);
  const listed = (axis: Axis, what: string, given: readonly number[] | undefined, size: number) => {
    if (given === undefined) return;
    if (!axes.includes(axis)) throw refuse(`it has no ${what}`);
    const bad = given.find((one) => !Number.isInteger(one) || one < 0 || one >= size);
    if (bad !== undefined) throw refuse(`there is no ${what.slice(0, -1)} ${bad}; wanted 0 to ${size - 1}`);
  };
  listed("H", "heads", heads, nHead);
  listed("T", "positions", positions, blockSize);
}

function edited<T extends tf.Tensor>(value: T, edit: Edit, spec: ValueSpec, positions: tf.Tensor1D): T {
  const { replaced, known } = replacement(value, edit.to, spec, positions);
  const masks = [
    edit.heads &&
      along(value, spec, "H", among(tf.range(0, value.shape[spec.axes.indexOf("H")]!, 1, "int32"), edit.heads)),
    edit.positions && along(value, spec, "T", among(positions, edit.positions)),
    known && along(value, spec, "T", known),
  ].filter((mask) => mask !== undefined);
  if (masks.length === 0) return replaced as T;
  // tf.where keeps what is not chosen bit for bit.
  const chosen = masks.reduce((all, mask) => tf.logicalAnd(all, mask));
  const everywhere = tf.logicalAnd(chosen, tf.onesLike(tf.cast(value, "bool")));
  return tf.where(everywhere, replaced, value) as T;
}

/** Which of `values` are listed, as booleans. */
function among(values: tf.Tensor, list: readonly number[]): tf.Tensor {
  const equal = tf.equal(tf.expandDims(values, 1), tf.tensor2d([...list], [1, list.length], "int32"));
  return tf.any(equal, 1);
}

/** A mask along one axis, as the value's rank wants it. */
function along(value: tf.Tensor, { axes }: ValueSpec, axis: Axis, mask: tf.Tensor): tf.Tensor {
  return tf.reshape(
    mask,
    axes.map((one, index) => (one === axis ? value.shape[index]! : 1)),
  );
}

/** The value in the place, as large as the value was; `known` marks positions that it has, where it has not all. */
function replacement(value: tf.Tensor, to: Replacement, spec: ValueSpec, positions: tf.Tensor1D) {
  const { name, axes } = spec;
  if (to === "zero") return { replaced: tf.zerosLike(value) };
  if (typeof to === "function") {
    const replaced = to(value);
    if (replaced.shape.join() === value.shape.join()) return { replaced };
    throw new RangeError(
      `Cannot edit ${name}, whose axes are [${axes.join(", ")}] = [${value.shape}]: the function gives [${replaced.shape}].`,
    );
  }
  let given = toTensor(to) as tf.Tensor;
  const T = axes.indexOf("T");
  const S = axes.indexOf("S");
  const lengths = axes.map((_, index) => (index === T || index === S ? given.shape[index] : value.shape[index]));
  if (given.rank !== axes.length || given.shape.some((size, index) => size !== 1 && size !== lengths[index])) {
    throw new RangeError(
      `Cannot edit ${name}, whose axes are [${axes.join(", ")}] = [${value.shape}]: the replacement has [${given.shape}].`,
    );
  }
  if (S >= 0) given = fitted(given, S, value.shape[S]!);
  const rows = given.shape[T] ?? 1;
  let known: tf.Tensor | undefined;
  if (T >= 0 && rows > 1) {
    // Of positions that a cached pass does not compute there is nothing to replace; of those beyond the replacement, neither.
    known = tf.less(positions, tf.scalar(rows, "int32"));
    given = rowsAlong(given, T, tf.minimum(positions, tf.scalar(rows - 1, "int32")));
  }
  return { replaced: tf.add(tf.zerosLike(value), given), known };
}

/** tf.gather along an axis, with indices that a traced step may have. */
function rowsAlong(x: tf.Tensor, axis: number, ids: tf.Tensor1D): tf.Tensor {
  const order = [axis, ...x.shape.keys()].filter((one, index) => index === 0 || one !== axis);
  const front = tf.transpose(x, order);
  const chosen = gatherRows(tf.reshape(front, [x.shape[axis]!, -1]), ids);
  const back = order.map((_, index) => order.indexOf(index));
  return tf.transpose(tf.reshape(chosen, [ids.size, ...front.shape.slice(1)]), back);
}

/** Cut, or continued with zeros, to so many keys. */
function fitted(x: tf.Tensor, axis: number, size: number): tf.Tensor {
  const has = x.shape[axis]!;
  if (has === size || has === 1) return x;
  if (has > size) {
    const sizes = x.shape.map((length, index) => (index === axis ? size : length));
    return tf.slice(x, Array(x.rank).fill(0), sizes);
  }
  return tf.pad(
    x,
    x.shape.map((_, index): [number, number] => [0, index === axis ? size - has : 0]),
  );
}
