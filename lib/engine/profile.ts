/**
 * Where the time of a compiled step goes: TensorFlow's RunMetadata (a session's `profile`) → one row an operation, sums
 * by kind and by part of the model, and a trace file that Perfetto and chrome://tracing open. It measures nothing.
 *
 * The few fields that it needs are read by a reader of its own: tfjs-node's generated messages lack RunMetadata, and
 * general readers (protobufjs) want TensorFlow's .proto files. Shown in notebook bench.
 */

/** One operation of a traced step. Times are microseconds since the first one started. */
export interface TracedOperation {
  /** As the graph names it. */
  readonly name: string;
  /** Its kind, such as "MatMul". */
  readonly type: string;
  /** Names of the operations whose results it takes. */
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

/** Time of the operations of one kind, or of one part. */
export interface OperationTime {
  readonly name: string;
  readonly count: number;
  /** Of all its operations, a step: thread time, more than the step's where several run side by side. */
  readonly micros: number;
  /** Of the time of all operations. */
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
  opStartNanos: 15,
  opEndNanos: 16,
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
  // Microseconds for the start, since a double does not hold a date in nanoseconds; nanoseconds for the duration.
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

// -------------------------------------------------------------------------------------------------- protocol buffers

/** The fields of a message in their order: numbers, or bytes (text, messages). */
function* fields(bytes: Uint8Array): Generator<[field: number, value: number | Uint8Array]> {
  let at = 0;
  const variable = (): number => {
    let [value, scale] = [0, 1];
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError("Cannot read a trace: it is cut off.");
      value += (byte & 127) * scale; // not by shifts: times in nanoseconds take 61 bits, of which a double keeps 53
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
