/**
 * Shows where the time of a compiled step goes: turns TensorFlow's RunMetadata (a session's `profile`) into one row per
 * operation, sums by type and by part of the model, and a trace file for Perfetto and chrome://tracing.
 *
 * The few protocol-buffer fields needed are read here, since tfjs-node's generated messages lack RunMetadata, and
 * protobufjs would need TensorFlow's .proto files. Shown in notebook 07-bench.
 */

/** One operation of a traced step. Times are microseconds since the first one started. */
export interface TracedOperation {
  /** Its name in the graph. */
  readonly name: string;
  /** Its type, such as "MatMul". */
  readonly type: string;
  /** Names of the operations whose results are its inputs. */
  readonly inputs: readonly string[];
  readonly device: string;
  readonly thread: number;
  readonly startMicros: number;
  readonly micros: number;
}

/** A step that was traced. */
export interface TracedStep {
  readonly operations: readonly TracedOperation[];
  /** From the first operation's start to the last one's end. */
  readonly micros: number;
}

/** Time of the operations of one type, or of one part of the model. */
export interface OperationTime {
  readonly name: string;
  readonly count: number;
  /** Thread time per step of all these operations; it exceeds the step's time if several run in parallel. */
  readonly micros: number;
  /** Share of the time of all operations. */
  readonly share: number;
}

// RunMetadata.step_stats → StepStats.dev_stats → DeviceStepStats.node_stats → NodeExecStats
const STEP_STATS = 1;
const DEVICE_STATS = 1;
const DEVICE = { name: 1, nodes: 2 } as const;
const NODE = {
  name: 1,
  start: 2,
  opStart: 3,
  opEnd: 4,
  label: 8,
  thread: 10,
  opStartNanos: 14,
  opEndNanos: 15,
} as const;

/** Reads a serialized RunMetadata. @throws {RangeError} when it is cut off */
export function readStepTrace(metadata: Uint8Array): TracedStep {
  const operations: TracedOperation[] = [];
  for (const [field, stats] of fields(metadata)) {
    if (field !== STEP_STATS || typeof stats === "number") continue;
    for (const [inner, bytes] of fields(stats)) {
      if (inner === DEVICE_STATS && typeof bytes !== "number") operations.push(...deviceOperations(bytes));
    }
  }
  const first = Math.min(...operations.map(({ startMicros }) => startMicros));
  const shifted = operations
    .map((operation) => ({ ...operation, startMicros: operation.startMicros - first }))
    .sort((a, b) => a.startMicros - b.startMicros);
  return {
    operations: shifted,
    micros: Math.max(0, ...shifted.map(({ startMicros, micros }) => startMicros + micros)),
  };
}

function deviceOperations(bytes: Uint8Array): TracedOperation[] {
  let device = "";
  const operations: TracedOperation[] = [];
  const nodes: Uint8Array[] = [];
  for (const [field, value] of fields(bytes)) {
    if (typeof value === "number") continue;
    if (field === DEVICE.name) device = text(value);
    if (field === DEVICE.nodes) nodes.push(value);
  }
  for (const node of nodes) {
    const operation = nodeOperation(node, device);
    if (operation) operations.push(operation);
  }
  return operations;
}

function nodeOperation(bytes: Uint8Array, device: string): TracedOperation | undefined {
  const values = new Map(fields(bytes));
  const number = (field: number) => (typeof values.get(field) === "number" ? (values.get(field) as number) : 0);
  const string = (field: number) =>
    values.get(field) instanceof Uint8Array ? text(values.get(field) as Uint8Array) : "";
  // Microseconds for the start, since a double cannot represent a date in nanoseconds; nanoseconds for the duration.
  const nanos = number(NODE.opEndNanos) > 0;
  const start = number(NODE.start) + (nanos ? number(NODE.opStartNanos) / 1000 : number(NODE.opStart));
  const micros = nanos
    ? (number(NODE.opEndNanos) - number(NODE.opStartNanos)) / 1000
    : number(NODE.opEnd) - number(NODE.opStart);
  const name = string(NODE.name);
  // "name = Type(input, input:1)"; a few, such as the step's source, have none.
  const label = /^(.*?) = (\w+)\((.*)\)/.exec(string(NODE.label));
  if (!name || !(micros >= 0)) return undefined;
  const inputs = (label?.[3] ?? "").split(", ").filter((input) => input !== "");
  const type = label?.[2] ?? name.replace(/_\d+$/, "");
  return { name, type, inputs, device, thread: number(NODE.thread), startMicros: start, micros };
}

// -------------------------------------------------------------------------------------------------------------- sums

/** Time by type of operation, the longest first; the mean per step if several are given. */
export function timeByType(steps: readonly TracedStep[]): OperationTime[] {
  return sums(steps, ({ operations }) => operations.map(({ type }) => plainType(type)));
}

/**
 * Time by part of the model, as far as the graph shows it: an operation belongs to the part whose weights it reads,
 * else to that of its latest input; operations added after the last gradient belong to the optimizer.
 */
export function timeByPart(steps: readonly TracedStep[]): OperationTime[] {
  return sums(steps, partsOf);
}

function sums(steps: readonly TracedStep[], labels: (step: TracedStep) => readonly string[]): OperationTime[] {
  const rows = new Map<string, { count: number; micros: number }>();
  for (const step of steps) {
    for (const [index, name] of labels(step).entries()) {
      const row = rows.get(name) ?? { count: 0, micros: 0 };
      rows.set(name, { count: row.count + 1, micros: row.micros + step.operations[index]!.micros });
    }
  }
  const total = [...rows.values()].reduce((sum, { micros }) => sum + micros, 0);
  return [...rows]
    .map(([name, { count, micros }]) => ({
      name,
      count: count / steps.length,
      micros: micros / steps.length,
      share: total > 0 ? micros / total : 0,
    }))
    .sort((a, b) => b.micros - a.micros);
}

/** oneDNN's types, such as `_MklBatchMatMulV2`, are counted under their usual names. */
const plainType = (type: string): string => type.replace(/^_Mkl(?:Native)?/, "");

/** The part of each operation of a step. */
function partsOf({ operations }: TracedStep): string[] {
  const parts = new Map<string, string>();
  const gradients = gradientsOf(operations);
  const position = new Map(operations.map(({ name }, index) => [name, index]));
  const read = new Map<string, string>(); // name of a ReadVariableOp → the parameter that it reads
  const lastGradient = Math.max(
    ...operations.filter(({ type }) => GRADIENTS.test(type)).map(({ name }) => numberOf(name)),
  );
  return operations.map(({ name, type, inputs }) => {
    const sources = inputs.map(sourceOf);
    const parameter = sources
      .map((source) => parameterIn(source) ?? read.get(source))
      .find((found) => found !== undefined);
    if (parameter !== undefined && type === "ReadVariableOp") read.set(name, parameter);
    const held = sources.some((source) => source.startsWith("state/") && parameterIn(source) === undefined);
    // The latest input: for a weight's gradient, the one that comes from the loss.
    const latest = sources.filter((source) => parts.has(source)).sort((a, b) => position.get(b)! - position.get(a)!)[0];
    let part = (latest !== undefined && parts.get(latest)) || "other";
    const updated = /MatMul/.test(type) ? gradients.get(name) : undefined;
    if (parameter !== undefined) part = partOf(parameter, type);
    else if (updated !== undefined) part = partOf(updated, type);
    else if (/SegmentSum/.test(type)) part = "embedding";
    if (held || numberOf(name) > lastGradient) part = "optimizer";
    // Constants and state belong to the operations that use them.
    if (inputs.length > 0 && part !== "other") parts.set(name, part);
    return part;
  });
}

/** Gradient operations. Operations are numbered as they are traced; those after the last gradient clip and update. */
const GRADIENTS = /MatMul|SegmentSum|Grad$/;
const numberOf = (name: string): number => Number(/_(\d+)$/.exec(name)?.[1] ?? -1);
const parameterIn = (name: string): string | undefined => /^state\/params\/(.*)_\d+$/.exec(name)?.[1];

const sourceOf = (input: string): string => input.replace(/^\^|:\d+$/g, "");

/** By the name of the operation whose result (possibly reshaped and scaled) updates a parameter: that parameter. */
function gradientsOf(operations: readonly TracedOperation[]): Map<string, string> {
  const byName = new Map(operations.map((operation) => [operation.name, operation]));
  const found = new Map<string, string>();
  const climb = (name: string, parameter: string, steps: number) => {
    const operation = byName.get(name);
    if (!operation || found.has(name)) return;
    found.set(name, parameter);
    if (steps === 0 || !/^(_Mkl)?(Reshape|Transpose|Cast|Mul|Add|AddV2)$/.test(operation.type)) return;
    for (const input of operation.inputs) climb(sourceOf(input), parameter, steps - 1);
  };
  for (const { inputs } of operations) {
    const sources = inputs.map(sourceOf);
    const parameter = sources.map(parameterIn).find((name) => name !== undefined);
    if (parameter === undefined || inputs.length < 2) continue;
    for (const source of sources) if (!source.startsWith("state/")) climb(source, parameter, 4);
  }
  return found;
}

function partOf(parameter: string, type: string): string {
  if (/\.attn\./.test(parameter)) return "attention";
  if (/\.mlp\./.test(parameter)) return "mlp";
  if (/(^|\.)ln_/.test(parameter)) return "layer norm";
  return parameter.startsWith("lm_head") || /MatMul/.test(type) ? "head and loss" : "embedding";
}

// ------------------------------------------------------------------------------------------------------------- trace

/** An event of Chrome's trace format: a span ("X"), or the name of a process or a row ("M"). */
export interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly cat?: string;
  /** Microseconds. */
  readonly ts?: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, string>>;
}

/**
 * A trace for ui.perfetto.dev and chrome://tracing: the steps one after another, overlapping operations on separate
 * rows.
 */
export function chromeTrace(
  steps: readonly TracedStep[],
  title: string,
): { traceEvents: TraceEvent[]; displayTimeUnit: "ms" } {
  const events: TraceEvent[] = [];
  const rows: number[] = []; // when each row is free again
  let begin = 0;
  for (const [index, step] of steps.entries()) {
    events.push({ name: `step ${index + 1}`, ph: "X", pid: 1, tid: 0, ts: begin, dur: step.micros });
    const parts = partsOf(step);
    for (const [at, { name, type, inputs, startMicros, micros }] of step.operations.entries()) {
      const ts = begin + startMicros;
      let row = rows.findIndex((free) => free <= ts);
      if (row < 0) row = rows.length;
      rows[row] = ts + micros;
      const args = { name, part: parts[at]!, inputs: inputs.join(", ") };
      events.push({ name: plainType(type), cat: parts[at]!, ph: "X", pid: 1, tid: row + 1, ts, dur: micros, args });
    }
    begin += step.micros * 1.05;
  }
  const named = (tid: number, name: string): TraceEvent => ({
    name: "thread_name",
    ph: "M",
    pid: 1,
    tid,
    args: { name },
  });
  const names = [named(0, "steps"), ...rows.map((_, row) => named(row + 1, `operations ${row + 1}`))];
  const process: TraceEvent = { name: "process_name", ph: "M", pid: 1, tid: 0, args: { name: title } };
  return { traceEvents: [process, ...names, ...events], displayTimeUnit: "ms" };
}

// -------------------------------------------------------------------------------------------------- protocol buffers

/** The fields of a message in their order: numbers, or bytes (text, messages). */
function* fields(bytes: Uint8Array): Generator<[field: number, value: number | Uint8Array]> {
  let at = 0;
  const variable = (): number => {
    let [value, scale] = [0, 1];
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError("Cannot read a trace: it is cut off.");
      value += (byte & 127) * scale; // not by shifts: times in nanoseconds have 61 bits, of which a double keeps 53
      if (byte < 128) return value;
      scale *= 128;
    }
  };
  const take = (count: number): Uint8Array => {
    if (at + count > bytes.length) throw new RangeError("Cannot read a trace: it is cut off.");
    at += count;
    return bytes.subarray(at - count, at);
  };
  while (at < bytes.length) {
    const key = variable();
    const [field, wire] = [Math.floor(key / 8), key % 8];
    if (wire === 0) yield [field, variable()];
    else if (wire === 2) yield [field, take(variable())];
    else if (wire === 1) take(8);
    else if (wire === 5) take(4);
    else throw new RangeError(`Cannot read a trace: field ${field} has the unknown kind ${wire}.`);
  }
}

const decoder = new TextDecoder();
const text = (bytes: Uint8Array): string => decoder.decode(bytes);
