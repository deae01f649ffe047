/**
 * The types of steps, states and sessions, which the eager and the compiled session implement, and the checks that both
 * make. session.ts opens a session.
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { HostTensors, TensorSpec, TensorSpecs } from "./host-tensors.js";
import type { ResolvedDtype } from "./number-format.js";
import type { ProductChoice } from "./operations/in-place.js";
import type { Cluster } from "./tensorflow/server.js";

/** Named groups of named tensors: `{ params: { "wte.weight": … }, m: { … } }`. */
export type State = Readonly<Record<string, Readonly<Record<string, tf.Tensor>>>>;

/**
 * The function that a session runs. Groups and tensors that `state` leaves out keep their values. A JavaScript number
 * inside the function is a constant of the trace, so whatever changes from call to call (step, rate, key, batch) must
 * be an input.
 */
export type Step = (
  state: State,
  inputs: Readonly<Record<string, tf.Tensor>>,
) => { state?: State; outputs: Readonly<Record<string, tf.Tensor>> };

/**
 * A defined step: each call runs one step; the calls of one session run one after another. In a session opened with
 * `profiled`, `profile` receives TensorFlow's RunMetadata of this call (profile.ts reads it), which slows the call.
 */
export type RunStep = (inputs: HostTensors, profile?: (metadata: Uint8Array) => void) => Promise<HostTensors>;

/**
 * A step defined on all devices of a session: each call takes one record of inputs per replica and gives one record of
 * outputs per replica.
 */
export type RunOnAll = (inputs: readonly HostTensors[]) => Promise<HostTensors[]>;

/** The result of tracing a step. */
export interface TraceReport {
  /** The number of operations added to the session's graph. */
  readonly operations: number;
  readonly elapsedMs: number;
}

/** Holds a state and runs steps over it. Dispose of it to free the memory. */
export interface Session {
  readonly compiled: boolean;
  /**
   * Makes a step callable. Compiled: traced at the first call with each combination of input shapes; a step that is
   * defined again shares its traces.
   */
  define(step: Step): RunStep;
  /** The number of devices, each with a replica of the state. */
  readonly replicas: number;
  /**
   * Makes a step callable on all devices at once. It may take means over the replicas (operations/replicas.ts), and must
   * leave the same state on each. With several devices, a step of `define` runs on the first one and may not change the
   * state.
   */
  defineOnAll(step: Step): RunOnAll;
  /**
   * Compiled: traces a step for inputs of these shapes without running it, to find mistakes or measure time
   * before there are values. Nothing is computed, and no tensor of the state's size is allocated.
   */
  trace(step: Step, inputs: TensorSpecs): Promise<TraceReport>;
  /** The values of one group of the state. @throws {RangeError} when there is no such group */
  read(group: string): Promise<HostTensors>;
  /**
   * Sets the values of tensors of one group; tensors that are not named keep theirs.
   * @throws {RangeError} when the state has no such tensor, or has it with another shape or type
   */
  write(group: string, tensors: HostTensors): Promise<void>;
  dispose(): void;
}

/** Options of a session. */
export interface SessionOptions {
  /** A process has TensorFlow on either cpu or cuda; webgpu is always eager. Default: TensorFlow's device. */
  readonly device?: "cpu" | "cuda" | "webgpu";
  /** Devices with a replica of the state each: GPUs, or parts of the CPU (compiled only). Default 1. */
  readonly devices?: number;
  /** The cluster of processes that this session's one device shares steps with (compiled only). */
  readonly cluster?: Cluster | undefined;
  /** Trace steps into TensorFlow graphs (fast), or run each line when it is reached (to look inside). Default true. */
  readonly compile?: boolean;
  /** Format of matrix products: float32, or (compiled only) bfloat16 or float16, which needs a scaled loss. */
  readonly dtype?: ResolvedDtype;
  /** The matrix products of compiled steps on a CPU, by size. Default: as on a processor that was not measured. */
  readonly products?: ProductChoice;
  /** Let TensorFlow group operations into clusters that XLA compiles (compiled only). Default false. */
  readonly xla?: boolean;
  /** Allow calls with `profile` (compiled only), for which TensorFlow uses a slower executor. Default false. */
  readonly profiled?: boolean;
}

/** @throws {RangeError} that lists the existing groups */
export function checkedGroup(group: string, groups: readonly string[]): string {
  if (groups.includes(group)) return group;
  const known = groups.length > 0 ? `it has ${groups.join(", ")}` : "it is empty";
  throw new RangeError(`Cannot find ${JSON.stringify(group)} in the session's state: ${known}.`);
}

/** @throws {RangeError} when the state has no such tensor, or has it with another shape or type */
export function checkedTensor(key: string, held: TensorSpec | undefined, { dtype, shape }: TensorSpec): void {
  if (held && held.dtype === dtype && held.shape.join() === shape.join()) return;
  const found = held ? `the state has it as ${held.dtype} [${held.shape}]` : "the state does not have it";
  throw new RangeError(`Cannot write ${key} as ${dtype} [${shape}]: ${found}.`);
}

/**
 * Returns a step's result after checking it.
 * @throws {Error} when it is a promise, or has an entry that the session's state lacks or has with another shape or
 * type
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

/** @throws {RangeError} when there is not one record of inputs per replica */
export function checkedReplicas(inputs: readonly HostTensors[], replicas: number): readonly HostTensors[] {
  if (inputs.length === replicas) return inputs;
  throw new RangeError(
    `Cannot run a step: inputs for ${inputs.length} replicas were given; the session has ${replicas}.`,
  );
}
