/**
 * Runs steps `(state, inputs) → { state, outputs }` over a state that it holds: eagerly, line by line, or compiled,
 * traced into one TensorFlow graph with the state in resource variables. Both take and give the same host values.
 * It knows nothing of models; train.ts, sample.ts and the notebooks hand it functions. Notebook 01-train shows both.
 */
import * as tf from "@tensorflow/tfjs-core";
import type { DataTypeName, TypedArray } from "./capi.js";
import { openGraphSession } from "./graph-session.js";
import { loadTensorFlow } from "./tensorflow.js";

/** A tensor's values on the host. */
export interface HostTensor {
  readonly dtype: DataTypeName;
  readonly shape: readonly number[];
  readonly values: TypedArray;
}

/** Named groups of named tensors: `{ params: { "wte.weight": … }, m: { … } }`. */
export type State = Readonly<Record<string, Readonly<Record<string, tf.Tensor>>>>;
export type HostState = Readonly<Record<string, Readonly<Record<string, HostTensor>>>>;
export type HostTensors = Readonly<Record<string, HostTensor>>;

/**
 * What a session runs. Groups and tensors that `state` leaves out keep their values. Inside, a JavaScript number is a
 * constant of the function: whatever changes from call to call (step, rate, key, batch) is an input.
 */
export type Step = (
  state: State,
  inputs: Readonly<Record<string, tf.Tensor>>,
) => { state?: State; outputs: Readonly<Record<string, tf.Tensor>> };

/** A defined step: one call is one step; calls of one session run one after another. */
export type RunStep = (inputs: HostTensors) => Promise<HostTensors>;

/** Holds a state and runs steps over it. Dispose of it to give the memory back. */
export interface Session {
  readonly compiled: boolean;
  /** Makes a step callable. Compiled: traced at the first call with each combination of input shapes. */
  define(step: Step): RunStep;
  /** The values of one group of the state. */
  read(group: string): Promise<HostTensors>;
  dispose(): void;
}

/** How a session runs. */
export interface SessionOptions {
  /** Trace steps into TensorFlow graphs (fast), or run each line when it is reached (to look inside). Default true. */
  readonly compile?: boolean;
  /** Type of matrix products: float32, or bfloat16 by TensorFlow's own conversion of the graph (compiled only). */
  readonly dtype?: "float32" | "bfloat16";
}

/** Opens a session over a copy of `state`. */
export async function openSession(state: HostState, options: SessionOptions = {}): Promise<Session> {
  loadTensorFlow();
  const { compile = true, dtype = "float32" } = options;
  if (dtype !== "float32" && dtype !== "bfloat16") {
    throw new RangeError(`Cannot open a session in ${dtype}; wanted float32 or bfloat16.`);
  }
  if (!compile && dtype !== "float32") {
    throw new RangeError(`Cannot run eagerly in ${dtype}; use compile: true, or dtype float32.`);
  }
  return compile ? openGraphSession(state, dtype) : openEagerSession(state);
}

/** A host tensor of 32-bit floats. */
export function float32(values: Float32Array | readonly number[], shape: readonly number[]): HostTensor {
  return { dtype: "float32", shape, values: values instanceof Float32Array ? values : Float32Array.from(values) };
}

/** A host tensor of 32-bit integers. */
export function int32(values: Int32Array | readonly number[], shape: readonly number[]): HostTensor {
  return { dtype: "int32", shape, values: values instanceof Int32Array ? values : Int32Array.from(values) };
}

/** A host tensor from a tensor's values. Reads the device. */
export async function toHost(tensor: tf.Tensor): Promise<HostTensor> {
  return { dtype: tensor.dtype as DataTypeName, shape: tensor.shape, values: (await tensor.data()) as TypedArray };
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

function openEagerSession(initial: HostState): Session {
  let state: State = mapRecord(initial, (group) => mapRecord(group, (host) => tf.keep(toTensor(host))));
  let disposed = false;
  let running: Promise<unknown> = Promise.resolve();

  async function run(step: Step, hostInputs: HostTensors): Promise<HostTensors> {
    if (disposed) throw new Error("Cannot run a step: the session was disposed of.");
    const result = tf.tidy(() => {
      const inputs = mapRecord(hostInputs, toTensor);
      const { state: next = {}, outputs } = step(state, inputs);
      // A tensor that is returned as it came in must survive the tidy of its former owner.
      return {
        next: mapRecord(next, (group) => ({ ...group })),
        outputs: { ...outputs },
      } as unknown as tf.TensorContainer;
    }) as unknown as { next: State; outputs: Record<string, tf.Tensor> };
    const outputs: Record<string, HostTensor> = {};
    for (const [name, tensor] of Object.entries(result.outputs)) outputs[name] = await toHost(tensor);
    const held = new Set(Object.values(state).flatMap((group) => Object.values(group)));
    const made = [
      ...Object.values(result.next).flatMap((group) => Object.values(group)),
      ...Object.values(result.outputs),
    ];
    state = mapRecord(state, (group, groupName) =>
      mapRecord(group, (old, name) => {
        const next = result.next[groupName]?.[name];
        return next && next !== old ? tf.keep(tf.clone(next)) : old;
      }),
    );
    const kept = new Set(Object.values(state).flatMap((group) => Object.values(group)));
    for (const tensor of new Set([...held, ...made])) if (!kept.has(tensor)) tensor.dispose();
    return outputs;
  }

  return {
    compiled: false,
    define: (step) => (inputs) => {
      const result = running.then(() => run(step, inputs));
      running = result.catch(() => {});
      return result;
    },
    async read(group) {
      const host: Record<string, HostTensor> = {};
      for (const [name, tensor] of Object.entries(state[group] ?? {})) host[name] = await toHost(tensor);
      return host;
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      for (const group of Object.values(state)) for (const tensor of Object.values(group)) tensor.dispose();
      state = {};
    },
  };
}
