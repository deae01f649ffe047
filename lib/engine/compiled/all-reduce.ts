/**
 * The mean of tensors over replicas, by TensorFlow's collective operation CollectiveReduceV2 (NCCL on GPUs, a ring on
 * CPUs). Small tensors travel together in buckets, as in PyTorch's DistributedDataParallel (Li 2020). The last tensors
 * come first, because a backward pass computes their gradients first; so a bucket travels while the pass goes on.
 */
import * as tf from "@tensorflow/tfjs-core";
import { bucketsOf, type ReplicaMean } from "../operations/replicas.js";
import { capi, DataTypeNumber, type Output, type Pointer } from "../tensorflow/c-api.js";
import type { GraphBuilder } from "./graph-builder.js";

/** The replicas that take a mean together. */
export interface ReplicaGroup {
  /** The number of replicas, in all processes. */
  readonly size: number;
  /** `nccl` on GPUs, `ring` on CPUs. */
  readonly hint: "nccl" | "ring";
}

const GROUP_KEY = 1;

interface MeanContext {
  readonly builder: GraphBuilder;
  readonly group: ReplicaGroup;
  /** The next key of a collective operation: the same sequence on each replica. */
  readonly nextKey: () => number;
  readonly wrap: (output: Output, name: string) => tf.Tensor;
  readonly unwrap: (tensor: tf.Tensor) => Output;
}

/** Takes means while a step is traced. */
export function replicaMean(context: MeanContext): ReplicaMean {
  // One after another, because NCCL needs the same order on all devices.
  let before: Pointer[] = [];
  return (tensors) => {
    const found: Record<string, tf.Tensor> = {};
    for (const bucket of bucketsOf(tensors)) {
      const flat = bucket.map(([, tensor]): tf.Tensor1D => tf.reshape(tensor, [tensor.size]));
      const reduced = addMean(context, context.unwrap(flat.length === 1 ? flat[0]! : tf.concat1d(flat)), before);
      before = [reduced.oper];
      const whole = context.wrap(reduced, "CollectiveReduceV2");
      const sizes = bucket.map(([, { size }]) => size);
      const parts = flat.length === 1 ? [whole] : tf.split(whole, sizes);
      for (const [index, [name, { shape }]] of bucket.entries()) found[name] = tf.reshape(parts[index]!, shape);
    }
    return Object.fromEntries(Object.keys(tensors).map((name) => [name, found[name]!]));
  };
}

function addMean({ builder, group, nextKey }: MeanContext, input: Output, after: readonly Pointer[]): Output {
  const constant = (value: number) => builder.addConstant("int32", [], Int32Array.of(value));
  const keys = [group.size, GROUP_KEY, nextKey()].map(constant);
  const setAttributes = (description: Pointer) => {
    const c = capi();
    const setText = (name: string, text: string) => c.setAttrString(description, name, Buffer.from(text), text.length);
    c.setAttrType(description, "T", DataTypeNumber.float32);
    setText("merge_op", "Add");
    setText("final_op", "Div");
    setText("communication_hint", group.hint);
  };
  return { oper: builder.add("CollectiveReduceV2", [input, ...keys, []], setAttributes, after), index: 0 };
}
