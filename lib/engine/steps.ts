/**
 * What a step, a state and a session are: the contract that the eager and the compiled session keep, and the checks that
 * both make. session.ts opens one.
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { HostTensors, TensorSpec, TensorSpecs } from "./host-tensors.js";
import type { ResolvedDtype } from "./number-format.js";
import type { ProductChoice } from "./operations/in-place.js";

/** Named groups of named tensors: `{ params: { "wte.weight": … }, m: { … } }`. */
export type State = Readonly<Record<string, Readonly<Record<string, tf.Tensor>>>>;

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
  /** Whose matrix products a compiled step takes on a CPU, by size. Default: as on a processor that was not measured. */
  readonly products?: ProductChoice;
  /** Let TensorFlow join operations into clusters that XLA compiles (compiled only). Default false. */
  readonly xla?: boolean;
  /** Calls may be given `profile` (compiled only): TensorFlow then keeps records, in an executor that is slower. Default false. */
  readonly profiled?: boolean;
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
