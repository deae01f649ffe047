/**
 * The cache of keys and values of earlier positions: an empty one, and the cache as a group of a session's state, where
 * it is updated in place. attention.ts uses it.
 */
import * as tf from "@tensorflow/tfjs-core";
import { float32, type HostTensors } from "../engine/host-tensors.js";
import type { ModelSettings } from "../settings/model.js";

/**
 * Keys and values of all positions, one tensor per layer, each [B, H, S, D] with S = blockSize. In a compiled session's
 * state it is updated in place.
 */
export interface Cache {
  readonly keys: readonly tf.Tensor4D[];
  readonly values: readonly tf.Tensor4D[];
  /** int32 scalar: the number of positions in the cache. Absent: none, and the ids may be one sequence for all B. */
  readonly position?: tf.Tensor | undefined;
}

/** @throws {RangeError} for a cache that does not fit `batch` sequences of a model of this blockSize */
export function checkCache({ keys, position }: Cache, batch: number, blockSize: number): void {
  const [first] = keys;
  if (first?.shape[2] === blockSize && (!position || first.shape[0] === batch)) return;
  throw new RangeError(
    `Cannot run the model: the cache has keys of ${first ? `[${first.shape}]` : "no layer"}; wanted a cache for blockSize = ${blockSize} and ${batch} sequences, as made by emptyCache().`,
  );
}

/** An empty cache for `batch` sequences; the caller owns its tensors. */
export function emptyCache(settings: ModelSettings, batch: number): Cache {
  const zeros = () => Array.from({ length: settings.nLayer }, () => tf.zeros<tf.Rank.R4>(cacheShape(settings, batch)));
  return { keys: zeros(), values: zeros() };
}

/** The same for a session's state, by the names `keys.0`, `values.0`, … */
export function cacheState(settings: ModelSettings, batch: number): HostTensors {
  const shape = cacheShape(settings, batch);
  const zeros = float32(new Float32Array(shape.reduce((product, axis) => product * axis)), shape);
  const layers = Array.from({ length: settings.nLayer }, (_, layer) => layer);
  return Object.fromEntries(
    layers.flatMap((layer) => [`keys.${layer}`, `values.${layer}`].map((name) => [name, zeros])),
  );
}

/** The cache in a group of a state. @param position int32 scalar; absent for an empty cache */
export function cacheOf(group: Readonly<Record<string, tf.Tensor>>, position?: tf.Tensor): Cache {
  const named = (kind: string) =>
    Object.keys(group)
      .filter((name) => name.startsWith(kind))
      .map((_, layer) => group[`${kind}.${layer}`] as tf.Tensor4D);
  return { keys: named("keys"), values: named("values"), position };
}

/** The cache as a group of a state. */
export function cacheGroup({ keys, values }: Cache): Record<string, tf.Tensor> {
  const named = (kind: string, tensors: readonly tf.Tensor[]) =>
    tensors.map((tensor, layer) => [`${kind}.${layer}`, tensor] as const);
  return Object.fromEntries([...named("keys", keys), ...named("values", values)]);
}

function cacheShape({ nHead: H, nEmbd: C, blockSize }: ModelSettings, batch: number): [number, number, number, number] {
  return [batch, H, blockSize, C / H];
}
