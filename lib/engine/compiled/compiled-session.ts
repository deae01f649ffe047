/**
 * The compiled kind of session: one TF_Graph, to which each step's trace is added, and one TF_Session on it.
 * The state lives in resource variables that all steps share; a call runs on a worker thread, so the caller's event
 * loop goes on, unless it is so brief that two changes of thread cost more. What a session promises stands in session.ts.
 */
import { setImmediate } from "node:timers/promises";
import type * as tf from "@tensorflow/tfjs-core";
import { newQueue } from "../call-queue.js";
import { type HostTensor, mapRecord, type StateSpecs, type TensorSpec, type TensorSpecs } from "../host-tensors.js";
import { usualProducts } from "../choices.js";
import { instructionFlags } from "../number-format.js";
import { fusedEnabled } from "../operations/fused.js";
import { type ProductChoice, type Products, withUpdater } from "../operations/in-place.js";
import {
  checkedGroup,
  checkedResult,
  checkedTensor,
  type Session,
  type SessionOptions,
  type State,
  type Step,
} from "../steps.js";
import {
  capi,
  checked,
  newTensor,
  type Output,
  oneLine,
  type Pointer,
  readBuffer,
  readTensor,
} from "../tensorflow/c-api.js";
import { tensorflowBackend } from "../tensorflow/load.js";
import { operationsVariant } from "../tensorflow/own-operations.js";
import { castProducts, productsOf, sessionConfig } from "../tensorflow/session-config.js";
import { ProductCasts } from "./cast-products.js";
import { GraphBuilder } from "./graph-builder.js";
import { traceInto } from "./trace.js";
import { GraphUpdater } from "./update-variables.js";
import { addAssign, addRead, addVariable, addWriter, inBatches, type Named, type Variable } from "./variables.js";

/** A step's place in the graph: what to feed, what to fetch, and the operation that assigns the new state. */
interface TracedStep {
  readonly inputs: readonly { name: string; output: Output }[];
  readonly outputs: readonly { name: string; output: Output }[];
  readonly update: Pointer;
  /** What the last call took. */
  lastMs: number;
}

interface TraceContext {
  readonly builder: GraphBuilder;
  readonly variables: ReadonlyMap<string, Variable>;
  /** What matrix products are cast to. */
  readonly shortened: "float16" | "bfloat16" | undefined;
  readonly products: Products;
  readonly multipliers: ProductChoice;
}

/** Calls that are expected to take less run on the calling thread, */
const BRIEF_MS = 20;
/** which rests when it has been busy so long: timers and files of the caller's have their turn, an AbortSignal among them. */
const REST_MS = 10;

/** Opens a compiled session over a copy of `initial`. */
export async function openGraphSession(
  initial: StateSpecs,
  {
    dtype,
    xla,
    profiled,
    products: chosen,
  }: Omit<SessionOptions, "compile" | "device"> & Required<Pick<SessionOptions, "dtype" | "xla" | "profiled">>,
): Promise<Session> {
  const builder = new GraphBuilder();
  const variables = new Map<string, Variable>();
  const readers = new Map<string, Output>();
  const writers = new Map<string, { inputs: readonly Output[]; assign: Pointer }>();
  const traces = new Map<Step, Map<string, TracedStep>>();
  const device = tensorflowBackend().isUsingGpuDevice ? "cuda" : "cpu";
  // Folio's own operations divide their work themselves: between them, a hand-over from thread to thread is only lost.
  const inOneThread = device === "cpu" && fusedEnabled() && !xla && !profiled;
  // Not where TensorFlow's own threads compute otherwise: they take numbers too small for a normal float for 0.
  const briefly = inOneThread || device === "cuda";
  let rested = performance.now();
  const session = newSession(builder, sessionConfig({ dtype, xla, device, inOneThread }));
  const shortened = castProducts({ dtype, device });
  const products = productsOf({ dtype, device, fused: fusedEnabled() });
  const multipliers = chosen ?? usualProducts(dtype, { operations: operationsVariant(), flags: instructionFlags() });
  const context: TraceContext = { builder, variables, shortened, products, multipliers };
  // koffi's worker threads block the file system when many calls wait: one at a time.
  const queue = newQueue();

  function close(): void {
    checked("Cannot close the session", (status) => capi().closeSession(session, status));
    checked("Cannot delete the session", (status) => capi().deleteSession(session, status));
    builder.dispose();
  }

  async function write(tensors: readonly Named<HostTensor>[]): Promise<void> {
    for (const batch of inBatches(tensors)) {
      const keys = batch.map(([key]) => key);
      const writer = writers.get(keys.join()) ?? addWriter(builder, variables, batch);
      writers.set(keys.join(), writer);
      const feeds = batch.map(([, host], index) => ({ output: writer.inputs[index]!, host }));
      await run(session, feeds, [], writer.assign);
    }
  }

  async function read(names: readonly Named<TensorSpec>[]): Promise<HostTensor[]> {
    const host: HostTensor[] = [];
    for (const batch of inBatches(names)) {
      for (const [key] of batch) if (!readers.has(key)) readers.set(key, addRead(builder, variables.get(key)!));
      const fetches = batch.map(([key]) => readers.get(key)!);
      host.push(...(await run(session, [], fetches)));
    }
    return host;
  }

  const specs = Object.entries(initial).flatMap(([group, tensors]) =>
    Object.entries(tensors).map(([name, spec]): Named<TensorSpec> => [`${group}/${name}`, spec]),
  );
  try {
    for (const [key, spec] of specs) variables.set(key, addVariable(builder, spec, key));
    await write(specs.filter((named): named is Named<HostTensor> => "values" in named[1]));
  } catch (error) {
    close();
    throw error;
  }

  function traced(step: Step, inputs: TensorSpecs): TracedStep {
    const ofStep = traces.get(step) ?? new Map<string, TracedStep>();
    traces.set(step, ofStep);
    const signature = Object.entries(inputs)
      .map(([name, t]) => `${name}:${t.dtype}[${t.shape}]`)
      .join(" ");
    const known = ofStep.get(signature) ?? trace(context, step, inputs);
    ofStep.set(signature, known);
    return known;
  }

  // Names alone: what the variables began with need not stand in memory a second time.
  const names = mapRecord(initial, (tensors) => Object.keys(tensors));
  const groups = Object.keys(names);
  return {
    compiled: true,
    define: (step) => (hostInputs, profile) =>
      queue.add(async () => {
        if (profile && !profiled) throw new Error("Cannot profile a step: open the session with profiled: true.");
        const known = traced(step, hostInputs);
        const { inputs, outputs, update } = known;
        const feeds = inputs.map(({ name, output }) => ({ output, host: hostInputs[name]! }));
        const fetches = outputs.map(({ output }) => output);
        const brief = briefly && !profile && known.lastMs < BRIEF_MS;
        if (brief && performance.now() - rested > REST_MS) {
          await setImmediate();
          rested = performance.now();
        }
        const started = performance.now();
        const fetched = await run(session, feeds, fetches, update, { profile, brief });
        known.lastMs = performance.now() - started;
        return Object.fromEntries(outputs.map(({ name }, index) => [name, fetched[index]!]));
      }),
    trace: (step, inputs) =>
      queue.add(async () => {
        const [before, started] = [builder.size, performance.now()];
        traced(step, inputs);
        return { operations: builder.size - before, elapsedMs: performance.now() - started };
      }),
    read: (group) =>
      queue.add(async () => {
        const inGroup = names[checkedGroup(group, groups)]!;
        const host = await read(inGroup.map((name) => `${group}/${name}`).map((key) => [key, variables.get(key)!]));
        return Object.fromEntries(inGroup.map((name, index) => [name, host[index]!]));
      }),
    write: (group, tensors) =>
      queue.add(async () => {
        checkedGroup(group, groups);
        const named = Object.entries(tensors).map(([name, host]): Named<HostTensor> => [`${group}/${name}`, host]);
        for (const [key, host] of named) checkedTensor(key, variables.get(key), host);
        await write(named);
      }),
    dispose() {
      // A call under way must end before its session is deleted.
      void queue.close()?.then(close);
    },
  };
}

/** Traces one step into the graph: reads of the variables, the step's operations, assignments of what changed. */
function trace(context: TraceContext, step: Step, specs: TensorSpecs): TracedStep {
  const { builder, variables, shortened, products, multipliers } = context;
  const casts = shortened && new ProductCasts(builder, shortened);
  return traceInto(builder, casts, (wrap, unwrap) => {
    const reads = new Map([...variables].map(([key, variable]) => [key, addRead(builder, variable)]));
    const state: Record<string, Record<string, tf.Tensor>> = {};
    for (const [key, read] of reads) {
      const slash = key.indexOf("/");
      state[key.slice(0, slash)] = { ...state[key.slice(0, slash)], [key.slice(slash + 1)]: wrap(read, key) };
    }
    const inputs = Object.entries(specs).map(([name, { dtype, shape }]) => ({
      name,
      output: builder.addPlaceholder(dtype, shape),
    }));
    const updater = new GraphUpdater({ builder, products, multipliers, variables, state, reads, wrap, unwrap });
    const tensors = Object.fromEntries(inputs.map(({ name, output }) => [name, wrap(output, name)]));
    const result = checkedResult(
      state,
      withUpdater(updater, () => step(state, tensors)),
    );
    const updates: Pointer[] = [];
    for (const [key, next] of changed(state, result.state ?? {})) {
      const variable = variables.get(key)!;
      // The old value is read before the new one is written.
      const inPlace = updater.operationBehind(key, next);
      updates.push(inPlace ?? addAssign(builder, variable, unwrap(next), [reads.get(key)!.oper]));
    }
    // TensorFlow does not fetch what it is fed, hence the copy.
    const fetchable = (output: Output) =>
      inputs.some((input) => input.output === output) ? { oper: builder.add("Identity", [output]), index: 0 } : output;
    const outputs = Object.entries(result.outputs).map(([name, tensor]) => ({
      name,
      output: fetchable(unwrap(tensor)),
    }));
    const update = builder.add("NoOp", [], undefined, updates);
    return { inputs, outputs, update, lastMs: Number.POSITIVE_INFINITY };
  });
}

function changed(state: State, next: State): [string, tf.Tensor][] {
  return Object.entries(next).flatMap(([group, tensors]) =>
    Object.entries(tensors)
      .filter(([name, tensor]) => state[group]?.[name] !== tensor)
      .map(([name, tensor]): [string, tf.Tensor] => [`${group}/${name}`, tensor]),
  );
}

function newSession(builder: GraphBuilder, config: Uint8Array): Pointer {
  const c = capi();
  const options = c.newSessionOptions();
  try {
    checked("Cannot configure a session", (status) => c.setConfig(options, config, config.length, status));
    return checked("Cannot open a session", (status) => c.newSession(builder.graph, options, status));
  } finally {
    c.deleteSessionOptions(options);
  }
}

// Serialized RunOptions: trace_level (1) = FULL_TRACE (3), and inter_op_thread_pool (3) = −1, the calling thread.
const FULL_TRACE = Uint8Array.of(0x08, 0x03);
const IN_CALLING_THREAD = Uint8Array.of(0x18, ...Array.from({ length: 9 }, () => 0xff), 0x01);

/** Each is made once and kept. */
function runOptions(serialized: Uint8Array): Pointer {
  const made = madeOptions.get(serialized) ?? capi().newBufferFromString(serialized, serialized.length);
  madeOptions.set(serialized, made);
  return made;
}
const madeOptions = new Map<Uint8Array, Pointer>();

async function run(
  session: Pointer,
  feeds: readonly { output: Output; host: HostTensor }[],
  fetches: readonly Output[],
  target?: Pointer,
  { profile, brief = false }: { profile?: ((metadata: Uint8Array) => void) | undefined; brief?: boolean } = {},
): Promise<HostTensor[]> {
  const c = capi();
  const inputs: Pointer[] = [];
  const outputs: Pointer[] = fetches.map(() => null);
  const targets = target ? [target] : [];
  const status = c.newStatus();
  const options = profile ? runOptions(FULL_TRACE) : brief ? runOptions(IN_CALLING_THREAD) : null;
  const metadata = profile ? c.newBuffer() : null;
  try {
    for (const { host } of feeds) inputs.push(newTensor(host.dtype, host.shape, host.values));
    const feedOutputs = feeds.map((feed) => feed.output);
    const from = [session, options, feedOutputs, inputs, inputs.length] as const;
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
