/**
 * Means over the replicas of a model that train on several devices at once (data parallelism, Li 2020): while a step is
 * traced for one of them, the session says how they are taken. Without replicas (one device, eagerly, in a browser) the
 * tensors are their own mean. It imports nothing from Node.
 */
import type * as tf from "@tensorflow/tfjs-core";

type Tensors = Readonly<Record<string, tf.Tensor>>;

/** Takes the mean of each tensor over all replicas. */
export type ReplicaMean = (tensors: Tensors) => Tensors;

let current: ReplicaMean | undefined;

/** Runs `body`, in which meanOverReplicas() takes means by `mean`. */
export function withReplicas<T>(mean: ReplicaMean | undefined, body: () => T): T {
  const before = current;
  current = mean;
  try {
    return body();
  } finally {
    current = before;
  }
}

/** The mean of each float32 tensor over all replicas: `(1/N) Σ tᵢ`, the same bits on each of them. */
export function meanOverReplicas<T extends Tensors>(tensors: T): T {
  return (current ? current(tensors) : tensors) as T;
}

/** The most that travels at once: PyTorch's default size of a bucket (DistributedDataParallel's bucket_cap_mb). */
const BUCKET_BYTES = 25 * 2 ** 20;

/** Tensors in groups of at most BUCKET_BYTES, the last ones first; a larger tensor is a group by itself. */
export function bucketsOf<T extends { readonly size: number }>(tensors: Readonly<Record<string, T>>): [string, T][][] {
  const buckets: [string, T][][] = [];
  let room = 0;
  for (const entry of Object.entries(tensors).reverse()) {
    const bytes = 4 * entry[1].size;
    if (bytes > room) {
      buckets.push([]);
      room = BUCKET_BYTES;
    }
    buckets.at(-1)!.push(entry);
    room -= bytes;
  }
  return buckets;
}
