/**
 * Runs steps `(state, inputs) → { state, outputs }` over a state that it holds: eagerly, line by line, or compiled,
 * traced into one TensorFlow graph with the state in resource variables. Both take and give the same host values.
 * It knows nothing of models; train.ts, sample.ts and the notebooks hand it functions. Notebook 01-train shows both.
 */
import * as tf from "@tensorflow/tfjs-core";
import { type DataTypeName, oneLine, type TypedArray } from "./capi.js";
import { openGraphSession } from "./graph-session.js";
import { newQueue } from "./queue.js";
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

/**
 * A defined step: one call is one step; calls of one session run one after another. Compiled, `profile` is given
 * TensorFlow's RunMetadata of this call (profile.ts reads it); tracing slows the call.
 */
export type RunStep = (inputs: HostTensors, profile?: (metadata: Uint8Array) => void) => Promise<HostTensors>;

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

/**
 * Gives a step's result back unless it is a promise, or holds an entry that the session's state does not have, or has
 * with another shape or type.
 * @throws {Error} that names the entry
 */
export function checkedResult(state: State, result: ReturnType<Step>): ReturnType<Step> {
  if (result instanceof Promise) {
    throw new TypeError("Cannot run a step: it returned a promise; a step may not be async, nor wait for values.");
  }
  for (const [group, tensors] of Object.entries(result.state ?? {})) {
    for (const [name, { dtype, shape }] of Object.entries(tensors)) {
      const key = `${group}/${name}`;
      const held = state[group]?.[name];
      if (!held) throw new Error(`Cannot run a step: it returns ${key}, which the session's state does not have.`);
      if (held.dtype === dtype && held.shape.join() === shape.join()) continue;
      throw new Error(
        `Cannot run a step: it returns ${key} as ${dtype} [${shape}]; the state has ${held.dtype} [${held.shape}].`,
      );
    }
  }
  return result;
}

/** Reads are asked for at once, so that no tensor can be disposed of between two of them. */
async function toHosts(tensors: Readonly<Record<string, tf.Tensor>>): Promise<HostTensors> {
  const entries = Object.entries(tensors).map(async ([name, tensor]) => [name, await toHost(tensor)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** Throws what tfjs-node says of TensorFlow's refusal as a compiled session would; any other error as it is. */
function rethrow(error: unknown): never {
  if (!(error instanceof Error) || !error.message.startsWith("Invalid TF_Status")) throw error;
  throw new Error(`Cannot run a step: ${oneLine(error.message)}`, { cause: error });
}

function openEagerSession(initial: HostState): Session {
  let state: State = mapRecord(initial, (group) => mapRecord(group, (host) => tf.keep(toTensor(host))));
  const queue = newQueue();

  async function run(step: Step, hostInputs: HostTensors): Promise<HostTensors> {
    const old = state;
    const result = tf.tidy(() => {
      const { state: returned = {}, outputs } = checkedResult(old, step(old, mapRecord(hostInputs, toTensor)));
      // A step may return its own state, an input, one tensor twice or one from outside: what is held are clones.
      const next = mapRecord(old, (group, groupName) =>
        mapRecord(group, (before, name) => {
          const after = returned[groupName]?.[name] ?? before;
          return after === before ? before : tf.clone(after);
        }),
      );
      return { next, outputs: mapRecord(outputs, (tensor) => tf.clone(tensor)) } as unknown as tf.TensorContainer;
    }) as unknown as { next: State; outputs: Record<string, tf.Tensor> };
    state = mapRecord(result.next, (group) => mapRecord(group, (tensor) => tf.keep(tensor)));
    for (const [groupName, group] of Object.entries(old)) {
      for (const [name, tensor] of Object.entries(group)) if (state[groupName]![name] !== tensor) tensor.dispose();
    }
    const outputs = await toHosts(result.outputs);
    tf.dispose(result.outputs);
    return outputs;
  }

  return {
    compiled: false,
    define: (step) => (inputs) => queue.add(() => run(step, inputs).catch(rethrow)),
    read: (group) => queue.add(() => toHosts(state[group] ?? {})),
    dispose() {
      if (!queue.close()) return;
      for (const group of Object.values(state)) for (const tensor of Object.values(group)) tensor.dispose();
      state = {};
    },
  };
}
