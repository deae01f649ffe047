/**
 * Traces TensorFlow.js code into a graph: while `traceInto` runs a function, the binding of tfjs-node's backend is
 * replaced by an object with the same methods that adds a node to the graph for every operation. Nothing is executed,
 * and no tensor of the model's size is allocated. compiled-session.ts uses the graph.
 */
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import type { TFEOpAttr, TFJSBinding } from "@tensorflow/tfjs-node-gpu/dist/tfjs_binding.js";

import { capi, dataTypeName, type Output, type Pointer } from "../tensorflow/c-api.js";
import { tensorflowBackend, useBackend } from "../tensorflow/load.js";
import type { ProductCasts } from "./cast-products.js";
import type { GraphBuilder, InputDefinition } from "./graph-builder.js";
import { Joins } from "./merge-operations.js";

/** What tfjs-node stores for each tensor: the binding's id, or values that were not passed to the binding yet. */
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

/** The private fields of tfjs-node's backend that are replaced during tracing. */
interface OpenBackend {
  binding: TFJSBinding;
  tensorMap: TensorStorage;
  createOutputTensor(metadata: { id: number; shape: number[]; dtype: number }): tf.Tensor;
}

/**
 * Runs `body` with TensorFlow.js tracing into `builder`. Tensors from outside become constants; tensors made inside are
 * disposed of afterwards. `casts`, if given, casts matrix products to 16 bits. `body` receives `wrap`, which makes a
 * tensor from a graph output, and `unwrap`, its inverse.
 */
export function traceInto<T>(
  builder: GraphBuilder,
  casts: ProductCasts | undefined,
  body: (wrap: (output: Output, name: string) => tf.Tensor, unwrap: (tensor: tf.Tensor) => Output) => T,
): T {
  useBackend("tensorflow");
  const backend = tensorflowBackend() as unknown as OpenBackend;
  const { binding, tensorMap } = backend;
  if (tensorMap instanceof TracedStorage) throw new Error("Cannot trace inside a function that is being traced.");
  const storage = new TracedStorage(tensorMap, binding, builder);
  const random = Math.random;
  backend.binding = tracingBinding(binding, builder, storage, casts);
  backend.tensorMap = storage;
  Math.random = () => {
    throw new Error(
      "Cannot trace a random operation of TensorFlow.js: its first values would be frozen into the graph" +
        `${callSite()}. Pass a key as an input and use folio's dropout or randomUniform.`,
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

/** tfjs-node's storage during a trace: the trace's own tensors, on top of those from before. */
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
      if (!this.outside.has(dataId)) {
        throw new Error("Cannot use a tensor of another trace; return it from the traced function instead.");
      }
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

  /** The traced id of a stored tensor; values that were not passed to the binding yet become a constant. */
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
function tracingBinding(
  real: TFJSBinding,
  builder: GraphBuilder,
  storage: TracedStorage,
  casts: ProductCasts | undefined,
): TFJSBinding {
  const joins = new Joins(builder);

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
    executeOp: (type: string, attributes: TFEOpAttr[], ids: number[], outputCount: number) =>
      placed(() => {
        const definition = builder.inputsOf(type);
        const setAll = (description: Pointer) => setAttributes(description, real, definition, attributes);
        if (casts?.covers(type, ids)) return [builder.register(casts.add(type, ids, setAll), type)];
        const joined = joins.join(type, ids, setAll);
        const inputs = joined?.inputs ?? groupInputs(definition, attributes, ids, builder);
        const placed = joined ?? { type, inputs, setAttributes: setAll, oper: builder.add(type, inputs, setAll) };
        const { oper } = placed;
        const outputs = Array.from({ length: outputCount }, (_, index) => builder.register({ oper, index }, type));
        joins.note(
          placed,
          outputs.map(({ id }) => id),
        );
        return outputs;
      }),
  });
}

function addConstant(builder: GraphBuilder, shape: number[], dtype: number, values: ArrayLike<number>): number {
  return placed(() => {
    const name = dataTypeName(dtype);
    const typed =
      name === "float32"
        ? Float32Array.from(values)
        : name === "int32"
          ? Int32Array.from(values)
          : Uint8Array.from(values);
    return builder.register(builder.addConstant(name, shape, typed), "Const").id;
  });
}

/** The flat ids of an eager call, grouped by the operation's definition into single inputs and lists. */
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

/** Adds the place in the user's code to the error's message: `Cannot add MatMul to the graph at …: …` */
function placed<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof Error) error.message = error.message.replace(/^(Cannot [^:]*):/, `$1${callSite()}:`);
    throw error;
  }
}

const ownFolder = fileURLToPath(new URL("..", import.meta.url));

/** " at file:line", the innermost place outside packages and this folder, for messages about the user's own code. */
function callSite(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 100; // TensorFlow.js alone nests deeper than the usual 10
  const lines = new Error().stack?.split("\n").slice(1) ?? [];
  Error.stackTraceLimit = limit;
  const own = lines.find((line) => !/node_modules|node:/.test(line) && !line.includes(ownFolder));
  const place = own?.match(/\(?((?:file:)?[^()\s]+:\d+:\d+)\)?$/)?.[1];
  const cell = place?.match(/^evalmachine\.<anonymous>:(\d+)/)?.[1];
  if (cell) return ` (in a notebook's cell, line ${cell} of the compiled JavaScript)`;
  return place ? ` at ${place.replace(/^file:\/\//, "")}` : "";
}
