/**
 * The compiled kind of session: one TF_Graph, to which each step's trace is added, and one TF_Session on it.
 * The state is in resource variables that all steps share (variables.ts); running-graph.ts runs the graph. steps.ts
 * documents the interface.
 */
import type * as tf from "@tensorflow/tfjs-core";
import { newQueue } from "../call-queue.js";
import { usualProducts } from "../choices.js";
import {
  type HostTensor,
  type HostTensors,
  mapRecord,
  type StateSpecs,
  type TensorSpec,
  type TensorSpecs,
} from "../host-tensors.js";
import { instructionFlags } from "../number-format.js";
import { fusedEnabled } from "../operations/fused.js";
import { type ProductChoice, type Products, withUpdater } from "../operations/in-place.js";
import {
  checkedGroup,
  checkedResult,
  checkedTensor,
  type RunStep,
  type Session,
  type SessionOptions,
  type State,
  type Step,
  type TraceReport,
} from "../steps.js";
import type { Output, Pointer } from "../tensorflow/c-api.js";
import { tensorflowBackend } from "../tensorflow/load.js";
import { operationsVariant } from "../tensorflow/own-operations.js";
import { castProducts, productsOf, sessionConfig } from "../tensorflow/session-config.js";
import { ProductCasts } from "./cast-products.js";
import { GraphBuilder } from "./graph-builder.js";
import { RunningGraph } from "./running-graph.js";
import { traceInto } from "./trace.js";
import { GraphUpdater } from "./update-variables.js";
import { addAssign, addRead, type Named, type Variable, Variables } from "./variables.js";

/** A step in the graph: what to feed, what to fetch, and the operation that assigns the new state. */
interface TracedStep {
  readonly inputs: readonly { name: string; output: Output }[];
  readonly outputs: readonly { name: string; output: Output }[];
  readonly update: Pointer;
  /** Time of the last call. */
  lastMs: number;
}

type CompiledOptions = Pick<SessionOptions, "products"> & Required<Pick<SessionOptions, "dtype" | "xla" | "profiled">>;

/** Opens a compiled session over a copy of `initial`. */
export async function openGraphSession(initial: StateSpecs, options: CompiledOptions): Promise<Session> {
  const session = new CompiledSession(initial, options);
  try {
    await session.begin(initial);
  } catch (error) {
    session.dispose();
    throw error;
  }
  return session;
}

class CompiledSession implements Session {
  readonly compiled = true;
  // koffi's worker threads block the file system when many calls wait: one at a time.
  private readonly queue = newQueue();
  private readonly builder = new GraphBuilder();
  private readonly traces = new Map<Step, Map<string, TracedStep>>();
  private readonly graph: RunningGraph;
  private readonly variables: Variables;
  private readonly traceWith: Pick<TraceContext, "shortened" | "products" | "multipliers">;
  // Only the names: the initial values need not be kept in memory.
  private readonly names: Readonly<Record<string, readonly string[]>>;

  constructor(
    initial: StateSpecs,
    private readonly options: CompiledOptions,
  ) {
    const { dtype, xla, profiled } = options;
    const device = tensorflowBackend().isUsingGpuDevice ? "cuda" : "cpu";
    const fused = fusedEnabled();
    // Folio's operations divide their work among threads themselves; switching threads between operations only costs
    // time.
    const inOneThread = device === "cpu" && fused && !xla && !profiled;
    // Brief calls run on the calling thread only where results cannot differ: TensorFlow's own threads flush denormals
    // to 0.
    const briefly = inOneThread || device === "cuda";
    this.graph = new RunningGraph(this.builder, sessionConfig({ dtype, xla, device, inOneThread }), briefly);
    this.variables = new Variables(this.builder, this.graph);
    const products = productsOf({ dtype, device, fused });
    const multipliers =
      options.products ?? usualProducts(dtype, { operations: operationsVariant(), flags: instructionFlags() });
    this.traceWith = { shortened: castProducts({ dtype, device }), products, multipliers };
    this.names = mapRecord(initial, (tensors) => Object.keys(tensors));
  }

  /** Makes the variables, and initializes those with given values. */
  async begin(initial: StateSpecs): Promise<void> {
    const specs = Object.entries(initial).flatMap(([group, tensors]) =>
      Object.entries(tensors).map(([name, spec]): Named<TensorSpec> => [`${group}/${name}`, spec]),
    );
    for (const named of specs) this.variables.add(named);
    await this.variables.write(specs.filter((named): named is Named<HostTensor> => "values" in named[1]));
  }

  define(step: Step): RunStep {
    return (inputs, profile) => this.queue.add(() => this.call(step, inputs, profile));
  }

  trace(step: Step, inputs: TensorSpecs): Promise<TraceReport> {
    return this.queue.add(async () => {
      const [before, started] = [this.builder.size, performance.now()];
      this.traced(step, inputs);
      return { operations: this.builder.size - before, elapsedMs: performance.now() - started };
    });
  }

  read(group: string): Promise<HostTensors> {
    return this.queue.add(async () => {
      const names = this.names[checkedGroup(group, Object.keys(this.names))]!;
      const host = await this.variables.read(names.map((name) => `${group}/${name}`));
      return Object.fromEntries(names.map((name, index) => [name, host[index]!]));
    });
  }

  write(group: string, tensors: HostTensors): Promise<void> {
    return this.queue.add(async () => {
      checkedGroup(group, Object.keys(this.names));
      const named = Object.entries(tensors).map(([name, host]): Named<HostTensor> => [`${group}/${name}`, host]);
      for (const [key, host] of named) checkedTensor(key, this.variables.all.get(key), host);
      await this.variables.write(named);
    });
  }

  dispose(): void {
    // The current call must end before its session is deleted.
    void this.queue.close()?.then(() => {
      this.graph.close();
      this.builder.dispose();
    });
  }

  private async call(step: Step, given: HostTensors, profile?: (metadata: Uint8Array) => void): Promise<HostTensors> {
    if (profile && !this.options.profiled) {
      throw new Error("Cannot profile a step: open the session with profiled: true.");
    }
    const traced = this.traced(step, given);
    const feeds = traced.inputs.map(({ name, output }) => ({ output, host: given[name]! }));
    const fetches = traced.outputs.map(({ output }) => output);
    const { fetched, elapsedMs } = await this.graph.call(
      { feeds, fetches, target: traced.update, profile },
      traced.lastMs,
    );
    traced.lastMs = elapsedMs;
    return Object.fromEntries(traced.outputs.map(({ name }, index) => [name, fetched[index]!]));
  }

  /** The step's trace for inputs of these shapes, made at the first call. */
  private traced(step: Step, inputs: TensorSpecs): TracedStep {
    const ofStep = this.traces.get(step) ?? new Map<string, TracedStep>();
    this.traces.set(step, ofStep);
    const signature = Object.entries(inputs)
      .map(([name, { dtype, shape }]) => `${name}:${dtype}[${shape}]`)
      .join(" ");
    const context = { builder: this.builder, variables: this.variables.all, ...this.traceWith };
    const traced = ofStep.get(signature) ?? trace(context, step, inputs);
    ofStep.set(signature, traced);
    return traced;
  }
}

interface TraceContext {
  readonly builder: GraphBuilder;
  readonly variables: ReadonlyMap<string, Variable>;
  /** The type that the factors of matrix products are cast to. */
  readonly shortened: "float16" | "bfloat16" | undefined;
  readonly products: Products;
  readonly multipliers: ProductChoice;
}

/** Traces one step into the graph: reads of the variables, the step's operations, assignments of the changed values. */
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
    // TensorFlow cannot fetch a fed placeholder, hence the copy.
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
