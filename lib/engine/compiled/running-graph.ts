/**
 * Runs a graph: one TF_Session, one call after another. A call runs on a worker thread, so that the event loop
 * continues, unless it is so brief that switching threads twice would cost more.
 */
import { setImmediate } from "node:timers/promises";
import type { HostTensor } from "../host-tensors.js";
import { capi, checked, newTensor, type Output, type Pointer, readBuffer, readTensor } from "../tensorflow/c-api.js";
import { oneLine } from "../tensorflow/messages.js";
import type { GraphBuilder } from "./graph-builder.js";

/** One run: what to feed, what to fetch, and operations to run besides. */
export interface GraphCall {
  readonly feeds: readonly { output: Output; host: HostTensor }[];
  readonly fetches: readonly Output[];
  readonly targets?: readonly Pointer[];
  /** Receives TensorFlow's RunMetadata of the call. */
  readonly profile?: ((metadata: Uint8Array) => void) | undefined;
}

/** Calls that are expected to take less than this run on the calling thread. */
const BRIEF_MS = 20;
/**
 * When the calling thread has been busy for this long, it yields to the caller's timers and events, such as an
 * AbortSignal.
 */
const REST_MS = 10;

/** A session on a graph that may still grow. */
export class RunningGraph {
  private readonly session: Pointer;
  private rested = performance.now();

  private readonly briefly: boolean;

  /**
   * @param options.briefly whether calls may run on the calling thread
   * @param options.target the address of this process's server; undefined: a session without one
   */
  constructor(builder: GraphBuilder, config: Uint8Array, options: { briefly: boolean; target?: string | undefined }) {
    this.briefly = options.briefly;
    this.session = newSession(builder, config, options.target);
  }

  /** Runs a step whose last run took `lastMs`. */
  async call(call: GraphCall, lastMs: number): Promise<{ fetched: HostTensor[]; elapsedMs: number }> {
    const brief = this.briefly && !call.profile && lastMs < BRIEF_MS;
    if (brief && performance.now() - this.rested > REST_MS) {
      await setImmediate();
      this.rested = performance.now();
    }
    const started = performance.now();
    const fetched = await this.run(call, brief);
    return { fetched, elapsedMs: performance.now() - started };
  }

  /** Runs anything but a step. */
  async run({ feeds, fetches, targets = [], profile }: GraphCall, brief = false): Promise<HostTensor[]> {
    const c = capi();
    const inputs: Pointer[] = [];
    const outputs: Pointer[] = fetches.map(() => null);
    const status = c.newStatus();
    const options = profile ? runOptions(FULL_TRACE) : brief ? runOptions(IN_CALLING_THREAD) : null;
    const metadata = profile ? c.newBuffer() : null;
    try {
      for (const { host } of feeds) inputs.push(newTensor(host.dtype, host.shape, host.values));
      const feedOutputs = feeds.map((feed) => feed.output);
      const from = [this.session, options, feedOutputs, inputs, inputs.length] as const;
      const to = [fetches, outputs, outputs.length, targets, targets.length, metadata, status] as const;
      if (brief) c.sessionRun(...from, ...to);
      else {
        await new Promise<void>((resolve, reject) => {
          c.sessionRun.async(...from, ...to, (error: unknown) => (error ? reject(error) : resolve()));
        });
      }
      if (c.code(status) !== 0) throw new Error(`Cannot run a step: ${oneLine(c.message(status))}`);
      profile?.(readBuffer(metadata));
      return outputs.map(readTensor);
    } finally {
      if (metadata) c.deleteBuffer(metadata);
      c.deleteStatus(status);
      for (const tensor of inputs) c.deleteTensor(tensor);
      for (const tensor of outputs) if (tensor) c.deleteTensor(tensor);
    }
  }

  /** TensorFlow's names of the session's devices: `/job:localhost/replica:0/task:0/device:CPU:0`, … */
  devices(): string[] {
    const c = capi();
    const list = checked("Cannot list the devices", (status) => c.listDevices(this.session, status));
    try {
      return Array.from({ length: c.deviceCount(list) }, (_, index) =>
        checked("Cannot list the devices", (status): string => c.deviceName(list, index, status)),
      );
    } finally {
      c.deleteDeviceList(list);
    }
  }

  close(): void {
    checked("Cannot close the session", (status) => capi().closeSession(this.session, status));
    checked("Cannot delete the session", (status) => capi().deleteSession(this.session, status));
  }
}

function newSession(builder: GraphBuilder, config: Uint8Array, target: string | undefined): Pointer {
  const c = capi();
  const options = c.newSessionOptions();
  try {
    if (target !== undefined) c.setTarget(options, target);
    checked("Cannot configure a session", (status) => c.setConfig(options, config, config.length, status));
    return checked("Cannot open a session", (status) => c.newSession(builder.graph, options, status));
  } finally {
    c.deleteSessionOptions(options);
  }
}

// Serialized RunOptions: trace_level (1) = FULL_TRACE (3), and inter_op_thread_pool (3) = −1, the calling thread.
const FULL_TRACE = Uint8Array.of(0x08, 0x03);
const IN_CALLING_THREAD = Uint8Array.of(0x18, ...Array.from({ length: 9 }, () => 0xff), 0x01);

/** Makes each only once. */
function runOptions(serialized: Uint8Array): Pointer {
  const made = madeOptions.get(serialized) ?? capi().newBufferFromString(serialized, serialized.length);
  madeOptions.set(serialized, made);
  return made;
}
const madeOptions = new Map<Uint8Array, Pointer>();
