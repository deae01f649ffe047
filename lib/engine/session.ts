/**
 * Runs steps `(state, inputs) → { state, outputs }` over a state that it holds: eagerly, line by line, or compiled,
 * traced into one TensorFlow graph with the state in resource variables. Both take and give the same host values.
 * It knows nothing of models; train.ts, sample.ts and the notebooks hand it functions. Notebook 01-train shows both.
 */
import * as tf from "@tensorflow/tfjs-core";
import { newQueue } from "./call-queue.js";
import { openGraphSession } from "./compiled/compiled-session.js";
import type { ResolvedDtype } from "./number-format.js";
import { type DataTypeName, oneLine, type TypedArray } from "./tensorflow/c-api.js";
import { loadTensorFlow, useBackend } from "./tensorflow/load.js";
import { checkWebGpu, startWebGpu } from "./webgpu.js";

/** A tensor without values. */
export interface TensorSpec {
  readonly dtype: DataTypeName;
  readonly shape: readonly number[];
}

/** A tensor's values on the host. */
export interface HostTensor extends TensorSpec {
  readonly values: TypedArray;
}

/** Named groups of named tensors: `{ params: { "wte.weight": … }, m: { … } }`. */
export type State = Readonly<Record<string, Readonly<Record<string, tf.Tensor>>>>;
export type HostState = Readonly<Record<string, Readonly<Record<string, HostTensor>>>>;
export type HostTensors = Readonly<Record<string, HostTensor>>;
export type TensorSpecs = Readonly<Record<string, TensorSpec>>;
/** A state of which some tensors, or all, have no values yet. */
export type StateSpecs = Readonly<Record<string, TensorSpecs>>;

/**
 * What a session runs. Groups and tensors that `state` leaves out keep their values. Inside, a JavaScript number is a
 * constant of the function: whatever changes from call to call (step, rate, key, batch) is an input.
 */
export type Step = (
  state: State,
  inputs: Readonly<Record<string, tf.Tensor>>,
) => { state?: State; outputs: Readonly<Record<string, tf.Tensor>> };

/**
 * A defined step: one call is one step; calls of one session run one after another. In a session that was opened for it,
 * `profile` is given TensorFlow's RunMetadata of this call (profile.ts reads it); tracing slows the call.
 */
export type RunStep = (inputs: HostTensors, profile?: (metadata: Uint8Array) => void) => Promise<HostTensors>;

/** What became of a step that was traced. */
export interface TraceReport {
  /** Operations that it added to the session's graph. */
  readonly operations: number;
  readonly elapsedMs: number;
}

/** Holds a state and runs steps over it. Dispose of it to give the memory back. */
export interface Session {
  readonly compiled: boolean;
  /**
   * Makes a step callable. Compiled: traced at the first call with each combination of input shapes; a step that is
   * defined again shares its traces.
   */
  define(step: Step): RunStep;
  /**
   * Compiled: traces a step for inputs of these shapes without running it, so that a mistake is found, or time measured,
   * before there are values. Nothing is computed and no tensor of the state's size is allocated.
   */
  trace(step: Step, inputs: TensorSpecs): Promise<TraceReport>;
  /** The values of one group of the state. @throws {RangeError} when there is no such group */
  read(group: string): Promise<HostTensors>;
  /**
   * Gives tensors of one group new values; those that are not named keep theirs.
   * @throws {RangeError} when the state has no such tensor, or has it with another shape or type
   */
  write(group: string, tensors: HostTensors): Promise<void>;
  dispose(): void;
}

/** How a session runs. */
export interface SessionOptions {
  /** Where: TensorFlow has one of cpu and cuda in a process, webgpu is eager whatever `compile` says. Default TensorFlow's. */
  readonly device?: "cpu" | "cuda" | "webgpu";
  /** Trace steps into TensorFlow graphs (fast), or run each line when it is reached (to look inside). Default true. */
  readonly compile?: boolean;
  /** Format of matrix products: float32, or (compiled only) bfloat16 or float16, which needs a scaled loss. */
  readonly dtype?: ResolvedDtype;
  /** Let TensorFlow join operations into clusters that XLA compiles (compiled only). Default false. */
  readonly xla?: boolean;
  /** Calls may be given `profile` (compiled only): TensorFlow then keeps records, in an executor that is slower. Default false. */
  readonly profiled?: boolean;
}

/**
 * Opens a session over a copy of `state`. Compiled, tensors may come without values, to be traced with, or to get them
 * by `write`.
 */
export async function openSession(state: StateSpecs, options: SessionOptions = {}): Promise<Session> {
  const { device, dtype = "float32", xla = false, profiled = false } = options;
  const compile = device !== "webgpu" && (options.compile ?? true);
  if (!["float32", "bfloat16", "float16"].includes(dtype)) {
    throw new RangeError(`Cannot open a session in ${dtype}; wanted float32, bfloat16 or float16.`);
  }
  if (!compile && dtype !== "float32") {
    throw new RangeError(`Cannot run eagerly in ${dtype}; use compile: true, or dtype float32.`);
  }
  if (!compile && xla) throw new RangeError("Cannot run eagerly with xla; use compile: true, or xla: false.");
  if (device === "webgpu") await startWebGpu();
  else loadTensorFlow();
  return compile
    ? openGraphSession(state, { dtype, xla, profiled })
    : openEagerSession(withValues(state), device === "webgpu" ? "webgpu" : "tensorflow");
}

function withValues(state: StateSpecs): HostState {
  for (const [group, tensors] of Object.entries(state)) {
    const empty = Object.entries(tensors).find(([, tensor]) => !("values" in tensor));
    if (empty) throw new TypeError(`Cannot run eagerly: ${group}/${empty[0]} has no values; use compile: true.`);
  }
  return state as HostState;
}

/** @throws {RangeError} that names the groups there are */
export function checkedGroup(group: string, groups: readonly string[]): string {
  if (groups.includes(group)) return group;
  const known = groups.length > 0 ? `it has ${groups.join(", ")}` : "it is empty";
  throw new RangeError(`Cannot find ${JSON.stringify(group)} in the session's state: ${known}.`);
}

/** @throws {RangeError} when the tensor to be written is not one that the state has */
export function checkedTensor(key: string, held: TensorSpec | undefined, { dtype, shape }: TensorSpec): void {
  if (held && held.dtype === dtype && held.shape.join() === shape.join()) return;
  const found = held ? `the state has it as ${held.dtype} [${held.shape}]` : "the state does not have it";
  throw new RangeError(`Cannot write ${key} as ${dtype} [${shape}]: ${found}.`);
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

function openEagerSession(initial: HostState, backend: "tensorflow" | "webgpu"): Session {
  useBackend(backend);
  let state: State = mapRecord(initial, (group) => mapRecord(group, (host) => tf.keep(toTensor(host))));
  const queue = newQueue();

  async function run(step: Step, hostInputs: HostTensors): Promise<HostTensors> {
    useBackend(backend);
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
    checkWebGpu();
    return outputs;
  }

  return {
    compiled: false,
    define: (step) => (inputs) => queue.add(() => run(step, inputs).catch(rethrow)),
    trace: () =>
      Promise.reject(new Error("Cannot trace in an eager session: its steps run line by line; use compile: true.")),
    read: (group) => queue.add(() => toHosts(state[checkedGroup(group, Object.keys(state))]!)),
    write: (group, tensors) =>
      queue.add(async () => {
        const old = state[checkedGroup(group, Object.keys(state))]!;
        for (const [name, host] of Object.entries(tensors)) {
          checkedTensor(`${group}/${name}`, old[name] as TensorSpec | undefined, host);
        }
        useBackend(backend);
        const written = mapRecord(tensors, (host) => tf.keep(toTensor(host)));
        for (const name of Object.keys(tensors)) old[name]!.dispose();
        state = { ...state, [group]: { ...old, ...written } };
      }),
    dispose() {
      if (!queue.close()) return;
      for (const group of Object.values(state)) for (const tensor of Object.values(group)) tensor.dispose();
      state = {};
    },
  };
}
