/**
 * Runs steps `(state, inputs) → { state, outputs }` over a state that the session holds: eagerly, line by line, or
 * compiled into one TensorFlow graph with the state in resource variables. Both take and return the same host values.
 * Shown in notebook 01-train.
 */
import { openGraphSession } from "./compiled/compiled-session.js";
import { openEagerSession } from "./eager-session.js";
import type { HostState, StateSpecs } from "./host-tensors.js";
import type { Session, SessionOptions } from "./steps.js";
import { loadTensorFlow, useBackend } from "./tensorflow/load.js";
import { checkWebGpu, startWebGpu } from "./webgpu.js";

/**
 * Opens a session over a copy of `state`. In a compiled session tensors may have no values, for tracing alone or until
 * `write` sets them.
 */
export async function openSession(state: StateSpecs, options: SessionOptions = {}): Promise<Session> {
  const { device, dtype = "float32", xla = false, profiled = false, devices = 1, products, cluster } = options;
  const compile = device !== "webgpu" && (options.compile ?? true);
  if (!["float32", "bfloat16", "float16"].includes(dtype)) {
    throw new RangeError(`Cannot open a session in ${dtype}; wanted float32, bfloat16 or float16.`);
  }
  if (!compile && dtype !== "float32") {
    throw new RangeError(`Cannot run eagerly in ${dtype}; use compile: true, or dtype float32.`);
  }
  if (!compile && xla) throw new RangeError("Cannot run eagerly with xla; use compile: true, or xla: false.");
  if (cluster && (!compile || devices > 1)) {
    throw new RangeError("Cannot run on a cluster of processes: its steps are compiled, with one device per process.");
  }
  if (!compile && devices > 1) {
    throw new RangeError(`Cannot run eagerly on ${devices} devices; use compile: true, or devices: 1.`);
  }
  if (device === "webgpu") await startWebGpu();
  else loadTensorFlow();
  if (compile)
    return openGraphSession(state, { dtype, xla, profiled, devices, cluster, ...(products && { products }) });
  const backend = device === "webgpu" ? "webgpu" : "tensorflow";
  return openEagerSession(withValues(state), { use: () => useBackend(backend), check: checkWebGpu });
}

function withValues(state: StateSpecs): HostState {
  for (const [group, tensors] of Object.entries(state)) {
    const empty = Object.entries(tensors).find(([, tensor]) => !("values" in tensor));
    if (empty) throw new TypeError(`Cannot run eagerly: ${group}/${empty[0]} has no values; use compile: true.`);
  }
  return state as HostState;
}
