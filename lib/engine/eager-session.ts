/**
 * The eager kind of session: each line of a step runs when it is reached, on any backend of TensorFlow.js. It imports nothing
 * from Node.
 */
import * as tf from "@tensorflow/tfjs-core";
import { newQueue } from "./call-queue.js";
import {
  type HostState,
  type HostTensor,
  type HostTensors,
  mapRecord,
  type TensorSpec,
  toHosts,
  toTensor,
} from "./host-tensors.js";
import {
  checkedGroup,
  checkedReplicas,
  checkedResult,
  checkedTensor,
  type Session,
  type State,
  type Step,
} from "./steps.js";
import { oneLine } from "./tensorflow/messages.js";

/** The backend that a session runs on. */
export interface Place {
  /** Makes it the one for new tensors. */
  use(): void;
  /** Throws if what was computed since the last call cannot be trusted. */
  check?(): void;
  /** A tensor of the state's first values, which the session owns; default: a new one. */
  tensorOf?(host: HostTensor): tf.Tensor;
}

/** Rethrows an error of TensorFlow as a compiled session would report it; any other error unchanged. */
function rethrow(error: unknown): never {
  if (!(error instanceof Error) || !error.message.startsWith("Invalid TF_Status")) throw error;
  throw new Error(`Cannot run a step: ${oneLine(error.message)}`, { cause: error });
}

export function openEagerSession(initial: HostState, { use, check, tensorOf = toTensor }: Place): Session {
  use();
  let state: State = mapRecord(initial, (group) => mapRecord(group, (host) => tf.keep(tensorOf(host))));
  const queue = newQueue();

  async function run(step: Step, hostInputs: HostTensors): Promise<HostTensors> {
    use();
    const old = state;
    const result = tf.tidy(() => {
      const { state: returned = {}, outputs } = checkedResult(old, step(old, mapRecord(hostInputs, toTensor)));
      // A step may return its own state, an input, one tensor twice or one from outside, so the session holds clones.
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
    check?.();
    return outputs;
  }

  return {
    compiled: false,
    replicas: 1,
    define: (step) => (inputs) => queue.add(() => run(step, inputs).catch(rethrow)),
    defineOnAll: (step) => (inputs) =>
      queue.add(async () => [await run(step, checkedReplicas(inputs, 1)[0]!).catch(rethrow)]),
    trace: () =>
      Promise.reject(new Error("Cannot trace in an eager session: its steps run line by line; use compile: true.")),
    read: (group) => queue.add(() => toHosts(state[checkedGroup(group, Object.keys(state))]!)),
    write: (group, tensors) =>
      queue.add(async () => {
        const old = state[checkedGroup(group, Object.keys(state))]!;
        for (const [name, host] of Object.entries(tensors)) {
          checkedTensor(`${group}/${name}`, old[name] as TensorSpec | undefined, host);
        }
        use();
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
