/**
 * Tensors on the host: type, shape and values in plain arrays, alone or in named groups. Sessions take and return them,
 * and weight files store them.
 */
import * as tf from "@tensorflow/tfjs-core";
import type { DataTypeName, TypedArray } from "./tensorflow/c-api.js";

/** A tensor without values. */
export interface TensorSpec {
  readonly dtype: DataTypeName;
  readonly shape: readonly number[];
}

/** A tensor's values on the host. */
export interface HostTensor extends TensorSpec {
  readonly values: TypedArray;
}

export type HostState = Readonly<Record<string, Readonly<Record<string, HostTensor>>>>;

export type HostTensors = Readonly<Record<string, HostTensor>>;

export type TensorSpecs = Readonly<Record<string, TensorSpec>>;

/** A state in which some or all tensors have no values yet. */
export type StateSpecs = Readonly<Record<string, TensorSpecs>>;

/** A host tensor of 32-bit floats. */
export function float32(values: Float32Array | readonly number[], shape: readonly number[]): HostTensor {
  return { dtype: "float32", shape, values: values instanceof Float32Array ? values : Float32Array.from(values) };
}

/** A host tensor of 32-bit integers. */
export function int32(values: Int32Array | readonly number[], shape: readonly number[]): HostTensor {
  return { dtype: "int32", shape, values: values instanceof Int32Array ? values : Int32Array.from(values) };
}

/** A host tensor from a tensor's values, which are read from the device. */
export async function toHost(tensor: tf.Tensor): Promise<HostTensor> {
  return { dtype: tensor.dtype as DataTypeName, shape: tensor.shape, values: (await tensor.data()) as TypedArray };
}

/** All reads are started at once, so that no tensor can be disposed of between two of them. */
export async function toHosts(tensors: Readonly<Record<string, tf.Tensor>>): Promise<HostTensors> {
  const entries = Object.entries(tensors).map(async ([name, tensor]) => [name, await toHost(tensor)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** A tensor from host values; the caller owns it. */
export function toTensor(host: HostTensor): tf.Tensor {
  return tf.tensor(host.values, [...host.shape], host.dtype);
}

/** Applies `f` to every entry of a record. */
export function mapRecord<A, B>(
  record: Readonly<Record<string, A>>,
  f: (value: A, key: string) => B,
): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value, key)]));
}
