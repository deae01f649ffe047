/**
 * Builds a TensorFlow graph by running TensorFlow.js code: while `traceInto` runs a function, an object stands under
 * tfjs-node's backend that has the methods of its compiled binding, but adds a node to a TF_Graph for every operation.
 * Nothing is executed and no tensor of the model's size is allocated. What becomes of the graph is session.ts' matter.
 */
import { createRequire } from "node:module";
import * as tf from "@tensorflow/tfjs-core";
import type { TFEOpAttr, TFJSBinding } from "@tensorflow/tfjs-node-gpu/dist/tfjs_binding.js";
import {
  capi,
  checked,
  type DataTypeName,
  DataTypeNumber,
  dataTypeName,
  newTensor,
  type Output,
  type Pointer,
  readBuffer,
  type TypedArray,
} from "./capi.js";
import { tensorflowBackend } from "./tensorflow.js";

/** What tfjs-node keeps for each tensor: the binding's id, or values that were not handed to the binding yet. */
interface StoredTensor {
  id: number;
  shape: number[];
  dtype: number;
  values: ArrayLike<number> | null;
  refCount: number;
}

interface TensorStorage {
  get(dataId: object): StoredTensor;
  has(dataId: object): boolean;
  set(dataId: object, stored: StoredTensor): void;
  delete(dataId: object): boolean;
  numDataIds(): number;
}

/** The private fields of tfjs-node's backend that tracing replaces for its duration. */
interface OpenBackend {
  binding: TFJSBinding;
  tensorMap: TensorStorage;
  createOutputTensor(metadata: { id: number; shape: number[]; dtype: number }): tf.Tensor;
}

interface InputDefinition {
  numberAttr: string;
  typeAttr: string;
  typeListAttr: string;
}

// Ids of traced tensors start where eager ids (int32) never come, so that one cannot be taken for the other.
const FIRST_TRACED_ID = 2 ** 40;

/** Sets one attribute on an operation that is being described. */
export type SetAttributes = (description: Pointer) => void;

/** A TF_Graph under construction. Dispose of it after the sessions on it. */
export class GraphBuilder {
  readonly graph: Pointer = capi().newGraph();
  private readonly outputs = new Map<number, { output: Output; producer: string }>();
  private readonly definitions = new Map<string, InputDefinition[]>();
  private nextId = FIRST_TRACED_ID;
  private operations = 0;

  /** Number of operations added so far. */
  get size(): number {
    return this.operations;
  }

  /** Adds one operation; an input that is an array fills a list argument. */
  add(
    type: string,
    inputs: readonly (Output | Output[])[],
    setAttributes: SetAttributes = () => {},
    controls: readonly Pointer[] = [],
  ): Pointer {
    const c = capi();
    const description = c.newOperation(this.graph, type, `${type}_${this.operations++}`);
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

  /** The id under which TensorFlow.js will know this output, with its shape and type by TensorFlow's own inference. */
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
    this.outputs.set(id, { output, producer });
    return { id, shape, dtype: c.outputType(output) };
  }

  /** The graph's output behind a tensor that was made while tracing. */
  outputOf(id: number): Output {
    const entry = this.outputs.get(id);
    if (!entry) throw new Error("Cannot use a tensor of another trace; return it from the traced function instead.");
    return entry.output;
  }

  producerOf(id: number): string {
    return this.outputs.get(id)?.producer ?? "an unknown operation";
  }

  /** The inputs that an operation takes, by TensorFlow's own definition: which are lists, which attributes follow. */
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

/**
 * Runs `body` with TensorFlow.js tracing into `builder`. Tensors from outside become constants; tensors made inside
 * are gone afterwards. `body` gets `wrap`, which makes a tensor of a graph output, and `unwrap`, its inverse.
 */
export function traceInto<T>(
  builder: GraphBuilder,
  body: (wrap: (output: Output, name: string) => tf.Tensor, unwrap: (tensor: tf.Tensor) => Output) => T,
): T {
  const backend = tensorflowBackend() as unknown as OpenBackend;
  const { binding, tensorMap } = backend;
  if (tensorMap instanceof TracedStorage) throw new Error("Cannot trace inside a function that is being traced.");
  const storage = new TracedStorage(tensorMap, binding, builder);
  const random = Math.random;
  backend.binding = tracingBinding(binding, builder, storage);
  backend.tensorMap = storage;
  Math.random = () => {
    throw new Error(
      "Cannot trace a random operation of TensorFlow.js: its first values would be frozen into the graph" +
        `${callSite()}. Pass a key as an input and use folio's dropout, randomUniform or randomNormal.`,
    );
  };
  let result: T | undefined;
  try {
    tf.tidy(() => {
      const wrap = (output: Output, name: string) => backend.createOutputTensor(builder.register(output, name));
      const unwrap = (tensor: tf.Tensor) => builder.outputOf(storage.materialize(storage.get(tensor.dataId)));
      result = body(wrap, unwrap);
    });
  } finally {
    Math.random = random;
    backend.binding = binding;
    backend.tensorMap = tensorMap;
  }
  return result as T;
}

/** What tfjs-node stores of each tensor, during a trace: its own above, what was there before below. */
class TracedStorage implements TensorStorage {
  private readonly traced = new Map<object, StoredTensor>();
  private readonly captured = new Map<number, StoredTensor>();

  constructor(
    private readonly outside: TensorStorage,
    private readonly binding: TFJSBinding,
    private readonly builder: GraphBuilder,
  ) {}

  get(dataId: object): StoredTensor {
    let stored = this.traced.get(dataId);
    if (!stored) {
      stored = this.capture(this.outside.get(dataId));
      this.traced.set(dataId, stored);
    }
    return stored;
  }

  has(dataId: object): boolean {
    return this.traced.has(dataId) || this.outside.has(dataId);
  }

  set(dataId: object, stored: StoredTensor): void {
    this.traced.set(dataId, stored);
  }

  delete(dataId: object): boolean {
    return this.traced.delete(dataId);
  }

  numDataIds(): number {
    return this.traced.size + this.outside.numDataIds();
  }

  /** The traced id of a stored tensor; values that were not handed to the binding yet become a constant now. */
  materialize(stored: StoredTensor): number {
    if (stored.values !== null) {
      stored.id = addConstant(this.builder, stored.shape, stored.dtype, stored.values);
      stored.values = null;
    }
    return stored.id;
  }

  /** The eager tensor behind a captured one, whose values are known. */
  eagerBehind(id: number): StoredTensor | undefined {
    return this.captured.get(id);
  }

  private capture(eager: StoredTensor): StoredTensor {
    const values = eager.values ?? this.binding.tensorDataSync(eager.id);
    const id = addConstant(this.builder, eager.shape, eager.dtype, values);
    this.captured.set(id, eager);
    return { ...eager, id, values: null };
  }
}

/** An object with the methods of tfjs-node's compiled binding that adds nodes to `builder`. */
function tracingBinding(real: TFJSBinding, builder: GraphBuilder, storage: TracedStorage): TFJSBinding {
  // The real binding's properties are read-only: its constants are copied, its methods replaced.
  const constants = Object.getOwnPropertyNames(real).map((name) => [name, real[name as keyof TFJSBinding]] as const);
  return Object.assign(Object.fromEntries(constants) as unknown as TFJSBinding, {
    createTensor: (shape: number[], dtype: number, values: ArrayLike<number>) =>
      addConstant(builder, shape, dtype, values),
    deleteTensor: () => {},
    tensorDataSync(id: number) {
      const eager = storage.eagerBehind(id);
      if (eager) return eager.values ?? real.tensorDataSync(eager.id);
      throw new Error(
        `Cannot read the result of ${builder.producerOf(id)} while tracing${callSite()}: it has no value yet. ` +
          "Return the tensor as an output and read it there, or run this function eagerly (compile: false).",
      );
    },
    executeOp(type: string, attributes: TFEOpAttr[], ids: number[], outputCount: number) {
      const definition = builder.inputsOf(type);
      const oper = builder.add(type, groupInputs(definition, attributes, ids, builder), (description) =>
        setAttributes(description, real, definition, attributes),
      );
      return Array.from({ length: outputCount }, (_, index) => builder.register({ oper, index }, type));
    },
  });
}

function addConstant(builder: GraphBuilder, shape: number[], dtype: number, values: ArrayLike<number>): number {
  const name = dataTypeName(dtype);
  const typed =
    name === "float32"
      ? Float32Array.from(values)
      : name === "int32"
        ? Int32Array.from(values)
        : Uint8Array.from(values);
  return builder.register(builder.addConstant(name, shape, typed), "Const").id;
}

/** The flat ids of an eager call, grouped as the operation's definition wants them: single inputs and lists. */
function groupInputs(
  definition: InputDefinition[],
  attributes: TFEOpAttr[],
  ids: number[],
  builder: GraphBuilder,
): (Output | Output[])[] {
  let taken = 0;
  return definition.map((input) => {
    if (!input.numberAttr && !input.typeListAttr) return builder.outputOf(ids[taken++]!);
    const declared = attributes.find((attribute) => attribute.name === input.numberAttr)?.value;
    const count = typeof declared === "number" ? declared : ids.length - (definition.length - 1);
    const list = ids.slice(taken, taken + count).map((id) => builder.outputOf(id));
    taken += count;
    return list;
  });
}

function setAttributes(
  description: Pointer,
  binding: TFJSBinding,
  definition: InputDefinition[],
  attributes: TFEOpAttr[],
): void {
  const c = capi();
  // Attributes that follow from the inputs are set by TF_AddInput; setting them twice is an error.
  const inferred = new Set(definition.flatMap((input) => [input.numberAttr, input.typeAttr, input.typeListAttr]));
  for (const { name, type, value } of attributes) {
    if (inferred.has(name)) continue;
    if (type === binding.TF_ATTR_TYPE && Array.isArray(value)) {
      c.setAttrTypeList(description, name, Int32Array.from(value), value.length);
    } else if (type === binding.TF_ATTR_TYPE) c.setAttrType(description, name, value);
    else if (type === binding.TF_ATTR_INT && Array.isArray(value)) {
      c.setAttrIntList(description, name, BigInt64Array.from(value, BigInt), value.length);
    } else if (type === binding.TF_ATTR_INT) c.setAttrInt(description, name, value);
    else if (type === binding.TF_ATTR_BOOL) c.setAttrBool(description, name, value ? 1 : 0);
    else if (type === binding.TF_ATTR_FLOAT) c.setAttrFloat(description, name, value);
    else if (type === binding.TF_ATTR_STRING) {
      const bytes = Buffer.from(String(value));
      c.setAttrString(description, name, bytes, bytes.length);
    } else if (type === binding.TF_ATTR_SHAPE && Array.isArray(value)) {
      c.setAttrShape(description, name, BigInt64Array.from(value, BigInt), value.length);
    } else throw new Error(`Cannot trace attribute ${name} of type ${type}.`);
  }
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

/** " at file:line", the innermost place outside packages and engine/, for messages about the user's own code. */
function callSite(): string {
  const lines = new Error().stack?.split("\n").slice(1) ?? [];
  const own = lines.find((line) => !/node_modules|node:|[\\/]engine[\\/]/.test(line));
  const place = own?.match(/\(?((?:file:)?[^()\s]+:\d+:\d+)\)?$/)?.[1];
  return place ? ` at ${place.replace(/^file:\/\//, "")}` : "";
}
