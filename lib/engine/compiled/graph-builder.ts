/**
 * A TensorFlow graph under construction, operation by operation, through the C API. Shapes and types come from
 * TensorFlow's own inference. trace.ts adds operations; running-graph.ts runs them.
 */
import { createRequire } from "node:module";
import {
  capi,
  checked,
  type DataTypeName,
  DataTypeNumber,
  newTensor,
  type Output,
  type Pointer,
  readBuffer,
  type TypedArray,
} from "../tensorflow/c-api.js";

/** One input argument of an operation: the attributes for its number (a list), its type, its types. */
export interface InputDefinition {
  numberAttr: string;
  typeAttr: string;
  typeListAttr: string;
}

// Ids of traced tensors start beyond all eager ids (int32), so that they cannot be confused.
const FIRST_TRACED_ID = 2 ** 40;

/** Sets attributes of an operation that is being described. */
export type SetAttributes = (description: Pointer) => void;

/** A TF_Graph under construction. Dispose of it after the sessions on it. */
export class GraphBuilder {
  readonly graph: Pointer = capi().newGraph();
  private readonly outputs = new Map<number, { output: Output; producer: string; shape: number[] }>();
  private readonly definitions = new Map<string, InputDefinition[]>();
  private nextId = FIRST_TRACED_ID;
  private operations = 0;
  private device: string | undefined;

  /** Number of operations added so far. */
  get size(): number {
    return this.operations;
  }

  /** Runs `body`, which places what it adds on this device; undefined: TensorFlow places it. */
  on<T>(device: string | undefined, body: () => T): T {
    const before = this.device;
    this.device = device;
    try {
      return body();
    } finally {
      this.device = before;
    }
  }

  /** Adds one operation; an input that is an array fills a list argument. A profile shows `name`. */
  add(
    type: string,
    inputs: readonly (Output | Output[])[],
    setAttributes: SetAttributes = () => {},
    controls: readonly Pointer[] = [],
    name = type,
  ): Pointer {
    const c = capi();
    const description = c.newOperation(this.graph, type, `${name}_${this.operations++}`);
    if (this.device !== undefined) c.setDevice(description, this.device);
    for (const input of inputs) {
      if (Array.isArray(input)) c.addInputList(description, input, input.length);
      else c.addInput(description, input);
    }
    for (const control of controls) c.addControlInput(description, control);
    setAttributes(description);
    return checked(`Cannot add ${type} to the graph`, (status) => c.finishOperation(description, status));
  }

  addPlaceholder(dtype: DataTypeName, shape: readonly number[]): Output {
    return { oper: this.add("Placeholder", [], typeAndShape(dtype, shape)), index: 0 };
  }

  addConstant(dtype: DataTypeName, shape: readonly number[], values: TypedArray): Output {
    const c = capi();
    const tensor = newTensor(dtype, shape, values);
    try {
      const oper = this.add("Const", [], (description) => {
        checked("Cannot store a constant", (status) => c.setAttrTensor(description, "value", tensor, status));
        c.setAttrType(description, "dtype", DataTypeNumber[dtype]);
      });
      return { oper, index: 0 };
    } finally {
      c.deleteTensor(tensor);
    }
  }

  /** Gives the output an id for TensorFlow.js; returns it with the inferred shape and type. */
  register(output: Output, producer: string): { id: number; shape: number[]; dtype: number } {
    const c = capi();
    const rank = checked(`Cannot infer the shape of ${producer}`, (status) =>
      c.outputRank(this.graph, output, status),
    ) as number;
    const dims = new BigInt64Array(Math.max(rank, 0));
    if (rank > 0) {
      checked(`Cannot infer the shape of ${producer}`, (status) =>
        c.outputShape(this.graph, output, dims, rank, status),
      );
    }
    const shape = Array.from(dims, Number);
    if (rank < 0 || shape.some((size) => size < 0)) {
      throw new Error(
        `Cannot trace ${producer}: its shape depends on values, which are unknown while tracing. Use operations ` +
          "whose shapes follow from their inputs' shapes, or run this function eagerly (compile: false).",
      );
    }
    const id = this.nextId++;
    this.outputs.set(id, { output, producer, shape });
    return { id, shape, dtype: c.outputType(output) };
  }

  /** The graph's output behind a tensor that was made while tracing. */
  outputOf(id: number): Output {
    const entry = this.outputs.get(id);
    if (!entry) throw new Error("Cannot use a tensor of another trace; return it from the traced function instead.");
    return entry.output;
  }

  shapeOf(id: number): readonly number[] {
    return this.outputs.get(id)?.shape ?? [];
  }

  /** From now on, the tensor refers to this output, which has the same shape and values. */
  redirect(id: number, output: Output): void {
    this.outputs.set(id, { ...this.outputs.get(id)!, output });
  }

  producerOf(id: number): string {
    return this.outputs.get(id)?.producer ?? "an unknown operation";
  }

  /** An operation's inputs by TensorFlow's definition: which are lists, and which attributes follow from them. */
  inputsOf(type: string): InputDefinition[] {
    let definition = this.definitions.get(type);
    if (!definition) {
      const c = capi();
      const buffer = c.newBuffer();
      try {
        checked(`Cannot trace ${type}`, (status) => c.opDef(this.graph, type, buffer, status));
        definition = parseOpDef(readBuffer(buffer));
      } finally {
        c.deleteBuffer(buffer);
      }
      this.definitions.set(type, definition);
    }
    return definition;
  }

  dispose(): void {
    capi().deleteGraph(this.graph);
    this.outputs.clear();
  }
}

/** Attributes `dtype` and `shape`, as placeholders and variables have them. */
export function typeAndShape(dtype: DataTypeName, shape: readonly number[]): SetAttributes {
  return (description) => {
    capi().setAttrType(description, "dtype", DataTypeNumber[dtype]);
    capi().setAttrShape(description, "shape", BigInt64Array.from(shape, BigInt), shape.length);
  };
}

interface OpDefMessage {
  toObject(): { inputArgList: InputDefinition[] };
}

const requireModule = createRequire(import.meta.url);

function parseOpDef(bytes: Uint8Array): InputDefinition[] {
  const messages = requireModule("@tensorflow/tfjs-node-gpu/dist/proto/api_pb.js") as {
    OpDef: { deserializeBinary(bytes: Uint8Array): OpDefMessage };
  };
  return messages.OpDef.deserializeBinary(bytes).toObject().inputArgList;
}
