/** Sessions in a page, in place of ../session.ts: always eager, on the backend that was chosen. */
import * as tf from "@tensorflow/tfjs-core";
import { openEagerSession } from "../eager-session.js";
import { type HostState, type HostTensor, type HostTensors, type StateSpecs, toTensor } from "../host-tensors.js";
import type { Session } from "../steps.js";

/** Weights that are on the device already, so that each look at a model does not copy them there again. */
const resident = new Map<HostTensor, { tensor: tf.Tensor; backend: string }>();

/** Keeps these weights on the device for all sessions that open over them, in place of those kept before. */
export function keepResident(params: HostTensors): void {
  const wanted = new Set(Object.values(params));
  for (const [host, { tensor }] of resident) {
    if (wanted.has(host)) continue;
    tensor.dispose();
    resident.delete(host);
  }
  for (const host of wanted) {
    if (resident.get(host)?.backend === tf.getBackend()) continue;
    resident.get(host)?.tensor.dispose();
    resident.set(host, { tensor: tf.keep(toTensor(host)), backend: tf.getBackend() });
  }
}

/** Opens a session over a copy of `state`, all of whose tensors have values. */
export async function openSession(state: StateSpecs): Promise<Session> {
  return openEagerSession(state as HostState, {
    use() {},
    tensorOf(host) {
      const kept = resident.get(host);
      return kept ? tf.clone(kept.tensor) : toTensor(host);
    },
  });
}
