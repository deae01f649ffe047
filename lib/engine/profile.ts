/**
 * Shows where the time of a compiled step goes: turns TensorFlow's RunMetadata (a session's `profile`) into one row per
 * operation, sums by type and by part of the model, and a trace file for Perfetto and chrome://tracing.
 *
 * The few fields needed are read by their numbers, since tfjs-node's generated messages lack RunMetadata. Shown in
 * notebook 07-bench.
 */
import { PbfReader } from "pbf";

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
// Types of fields, as they are encoded.
const NUMBER = 0;
const BYTES = 2;
const NODE_FIELDS: ReadonlySet<number> = new Set(Object.values(NODE));

/** Reads a serialized RunMetadata. @throws {RangeError} when it is cut off, or is not one */
export function readStepTrace(metadata: Uint8Array): TracedStep {
  const operations = readOperations(metadata);
  const first = Math.min(...operations.map(({ startMicros }) => startMicros));
  const shifted = operations
    .map((operation) => ({ ...operation, startMicros: operation.startMicros - first }))
    .sort((a, b) => a.startMicros - b.startMicros);
  return {
    operations: shifted,
    micros: Math.max(0, ...shifted.map(({ startMicros, micros }) => startMicros + micros)),
  };
}

function readOperations(metadata: Uint8Array): TracedOperation[] {
  const reader = new PbfReader(metadata);
  let fault: string | undefined;
  const operations: TracedOperation[] = [];
  try {
    reader.readFields((field) => {
      if (field === STEP_STATS && reader.type === BYTES) reader.readMessage(readStepStats, operations);
    }, undefined);
  } catch (error) {
    fault = (error as Error).message;
  }
  if (reader.pos > reader.length) fault = "it is cut off"; // the reader itself does not notice
  if (fault) throw new RangeError(`Cannot read a trace: ${fault}.`);
  return operations;
}

function readStepStats(field: number, operations: TracedOperation[], reader: PbfReader): void {
  if (field !== DEVICE_STATS || reader.type !== BYTES) return;
  const device = { name: "", nodes: [] as Fields[] };
  reader.readMessage((inner) => {
    if (reader.type !== BYTES) return;
    if (inner === DEVICE.name) device.name = reader.readString();
    if (inner === DEVICE.nodes) device.nodes.push(reader.readMessage(readField, {}));
  }, undefined);
  operations.push(...device.nodes.flatMap((node) => nodeOperation(node, device.name) ?? []));
}

/** The fields of a NodeExecStats: text and numbers. */
type Fields = Record<number, string | number>;

function readField(field: number, fields: Fields, reader: PbfReader): void {
  if (!NODE_FIELDS.has(field)) return;
  if (reader.type === BYTES) fields[field] = reader.readString();
  if (reader.type === NUMBER) fields[field] = reader.readVarint();
}

function nodeOperation(fields: Fields, device: string): TracedOperation | undefined {
  const number = (field: number) => (typeof fields[field] === "number" ? fields[field] : 0);
  const string = (field: number) => (typeof fields[field] === "string" ? fields[field] : "");
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
