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
import { withReplicas } from "../operations/replicas.js";
import {
  checkedGroup,
  checkedReplicas,
  checkedResult,
  checkedTensor,
  type RunOnAll,
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
import { castProducts, productsOf, sessionConfig, taskName } from "../tensorflow/session-config.js";
import { type ReplicaGroup, replicaMean } from "./all-reduce.js";
import { ProductCasts } from "./cast-products.js";
import { GraphBuilder } from "./graph-builder.js";
import { RunningGraph } from "./running-graph.js";
import { traceInto } from "./trace.js";
import { GraphUpdater } from "./update-variables.js";
import { addAssign, addRead, type Named, type Variable, Variables } from "./variables.js";

/** A step in the graph, on one device: what to feed, what to fetch, and the operation that assigns the new state. */
interface TracedReplica {
  readonly inputs: readonly { name: string; output: Output }[];
  readonly outputs: readonly { name: string; output: Output }[];
  readonly update: Pointer;
  /** Whether the step changes the state. */
  readonly changes: boolean;
}

/** A step in the graph, on one or all devices. */
interface TracedStep {
  readonly replicas: readonly TracedReplica[];
  /** Time of the last call. */
  lastMs: number;
}

type CompiledOptions = Pick<SessionOptions, "products" | "cluster"> &
  Required<Pick<SessionOptions, "dtype" | "xla" | "profiled" | "devices">>;

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
  /** Of each replica. */
  private readonly variables: readonly Variables[];
  private readonly group: ReplicaGroup;
  private collectives = 0;
  private readonly traceWith: Pick<TraceContext, "shortened" | "products" | "multipliers">;
  // Only the names: the initial values need not be kept in memory.
  private readonly names: Readonly<Record<string, readonly string[]>>;

  constructor(
    initial: StateSpecs,
    private readonly options: CompiledOptions,
  ) {
    const { dtype, xla, profiled, devices, cluster } = options;
    const shared = devices > 1 || cluster !== undefined;
    const device = tensorflowBackend().isUsingGpuDevice ? "cuda" : "cpu";
    const fused = fusedEnabled();
    // Folio's operations divide their work among threads themselves; switching threads between operations only costs
    // time.
    const inOneThread = device === "cpu" && fused && !xla && !profiled && !shared;
    // Brief calls run on the calling thread only where results cannot differ: TensorFlow's own threads flush denormals
    // to 0.
    const briefly = inOneThread || (device === "cuda" && !shared);
    const config = sessionConfig({ dtype, xla, device, inOneThread, replicas: devices, rank: cluster?.rank });
    this.graph = new RunningGraph(this.builder, config, { briefly, target: cluster?.target });
    this.variables = Array.from({ length: devices }, (_, index) => {
      const task = cluster ? taskName(cluster.rank) : "";
      const name = shared ? `${task}/device:${device === "cuda" ? "GPU" : "CPU"}:${index}` : undefined;
      return new Variables(this.builder, this.graph, name);
    });
    this.group = { size: cluster?.size ?? devices, hint: device === "cuda" ? "nccl" : "ring" };
    const products = productsOf({ dtype, device, fused });
    const multipliers =
      options.products ?? usualProducts(dtype, { operations: operationsVariant(), flags: instructionFlags() });
    this.traceWith = { shortened: castProducts({ dtype, device }), products, multipliers };
    this.names = mapRecord(initial, (tensors) => Object.keys(tensors));
  }

  /** Makes the variables, and initializes those with given values. @throws {RangeError} when a device is missing */
  async begin(initial: StateSpecs): Promise<void> {
    this.checkDevices();
    const specs = Object.entries(initial).flatMap(([group, tensors]) =>
      Object.entries(tensors).map(([name, spec]): Named<TensorSpec> => [`${group}/${name}`, spec]),
    );
    for (const variables of this.variables) for (const named of specs) variables.add(named);
    await this.writeAll(specs.filter((named): named is Named<HostTensor> => "values" in named[1]));
  }

  get replicas(): number {
    return this.variables.length;
  }

  define(step: Step): RunStep {
    return (inputs, profile) => this.queue.add(async () => (await this.call(step, [inputs], { profile }))[0]!);
  }

  defineOnAll(step: Step): RunOnAll {
    return (inputs) =>
      this.queue.add(async () => this.call(step, checkedReplicas(inputs, this.replicas), { all: true }));
  }

  trace(step: Step, inputs: TensorSpecs): Promise<TraceReport> {
    return this.queue.add(async () => {
      const [before, started] = [this.builder.size, performance.now()];
      this.traced(step, [inputs]);
      return { operations: this.builder.size - before, elapsedMs: performance.now() - started };
    });
  }

  read(group: string): Promise<HostTensors> {
    return this.queue.add(async () => {
      const names = this.names[checkedGroup(group, Object.keys(this.names))]!;
      const host = await this.variables[0]!.read(names.map((name) => `${group}/${name}`));
      return Object.fromEntries(names.map((name, index) => [name, host[index]!]));
    });
  }

  write(group: string, tensors: HostTensors): Promise<void> {
    return this.queue.add(async () => {
      checkedGroup(group, Object.keys(this.names));
      const named = Object.entries(tensors).map(([name, host]): Named<HostTensor> => [`${group}/${name}`, host]);
      for (const [key, host] of named) checkedTensor(key, this.variables[0]!.all.get(key), host);
      await this.writeAll(named);
    });
  }

  dispose(): void {
    // The current call must end before its session is deleted.
    void this.queue.close()?.then(() => {
      this.graph.close();
      this.builder.dispose();
    });
  }

  /** TensorFlow would place the replica of a missing GPU on the CPU. */
  private checkDevices(): void {
    if (this.replicas === 1) return;
    const present = this.graph.devices();
    if (this.variables.every(({ device }) => present.some((name) => name.endsWith(`${device}`)))) return;
    const gpus = present.filter((name) => name.includes("device:GPU")).length;
    throw new RangeError(
      `Cannot train on ${this.replicas} devices: TensorFlow sees ${gpus} GPUs; use devices: ${gpus} or fewer, or check CUDA_VISIBLE_DEVICES.`,
    );
  }

  private async writeAll(tensors: readonly Named<HostTensor>[]): Promise<void> {
    for (const variables of this.variables) await variables.write(tensors);
  }

  private async call(
    step: Step,
    given: readonly HostTensors[],
    { all = false, profile }: { all?: boolean; profile?: ((metadata: Uint8Array) => void) | undefined },
  ): Promise<HostTensors[]> {
    if (profile && !this.options.profiled) {
      throw new Error("Cannot profile a step: open the session with profiled: true.");
    }
    const traced = this.traced(step, given, all);
    const feeds = traced.replicas.flatMap(({ inputs }, replica) =>
      inputs.map(({ name, output }) => ({ output, host: given[replica]![name]! })),
    );
    const fetches = traced.replicas.flatMap(({ outputs }) => outputs.map(({ output }) => output));
    const targets = traced.replicas.map(({ update }) => update);
    const { fetched, elapsedMs } = await this.graph.call({ feeds, fetches, targets, profile }, traced.lastMs);
    traced.lastMs = elapsedMs;
    let next = 0;
    return traced.replicas.map(({ outputs }) =>
      Object.fromEntries(outputs.map(({ name }) => [name, fetched[next++]!])),
    );
  }

  /** The step's trace for inputs of these shapes, one record per replica, made at the first call. */
  private traced(step: Step, inputs: readonly TensorSpecs[], all = false): TracedStep {
    const ofStep = this.traces.get(step) ?? new Map<string, TracedStep>();
    this.traces.set(step, ofStep);
    const signature = `${all} ${inputs.map(signatureOf).join(" | ")}`;
    const traced = ofStep.get(signature) ?? this.traceAll(step, inputs, all);
    ofStep.set(signature, traced);
    return traced;
  }

  private traceAll(step: Step, inputs: readonly TensorSpecs[], all: boolean): TracedStep {
    const onAll = this.group.size > 1 && all;
    const first = this.collectives;
    const replicas = inputs.map((specs, index) => {
      const { device, all: variables } = this.variables[index]!;
      this.collectives = first; // the same keys on all devices
      const context = { builder: this.builder, variables, ...this.traceWith };
      const collectives = onAll ? { group: this.group, nextKey: () => ++this.collectives } : undefined;
      return this.builder.on(device, () => trace({ ...context, collectives }, step, specs));
    });
    if (!onAll && this.group.size > 1 && replicas[0]!.changes) {
      throw new Error("Cannot run a step on one of several devices: it changes the state; use defineOnAll().");
    }
    return { replicas, lastMs: Number.POSITIVE_INFINITY };
  }
}

const signatureOf = (inputs: TensorSpecs) =>
  Object.entries(inputs)
    .map(([name, { dtype, shape }]) => `${name}:${dtype}[${shape}]`)
    .join(" ");

interface TraceContext {
  readonly builder: GraphBuilder;
  readonly variables: ReadonlyMap<string, Variable>;
  /** The type that the factors of matrix products are cast to. */
  readonly shortened: "float16" | "bfloat16" | undefined;
  readonly products: Products;
  readonly multipliers: ProductChoice;
  /** For means over the replicas, if the step runs on all of them. */
  readonly collectives: Pick<Parameters<typeof replicaMean>[0], "group" | "nextKey"> | undefined;
}

/** Traces one step into the graph: reads of the variables, the step's operations, assignments of the changed values. */
function trace(context: TraceContext, step: Step, specs: TensorSpecs): TracedReplica {
  const { builder, variables, shortened, products, multipliers, collectives } = context;
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
    const mean = collectives && replicaMean({ builder, wrap, unwrap, ...collectives });
    const result = checkedResult(
      state,
      withReplicas(mean, () => withUpdater(updater, () => step(state, tensors))),
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
    return { inputs, outputs, update, changes: updates.length > 0 };
  });
}

function changed(state: State, next: State): [string, tf.Tensor][] {
  return Object.entries(next).flatMap(([group, tensors]) =>
    Object.entries(tensors)
      .filter(([name, tensor]) => state[group]?.[name] !== tensor)
      .map(([name, tensor]): [string, tf.Tensor] => [`${group}/${name}`, tensor]),
  );
}
