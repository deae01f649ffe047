/**
 * TensorFlow's C API through koffi: the few calls that build a graph, run a session and copy tensors. Every call that
 * can fail has a TF_Status of its own, since two concurrent calls that share one would crash.
 */
import koffi from "koffi";
import { loadTensorFlow } from "./load.js";
import { oneLine } from "./messages.js";

/** An opaque pointer of the C API. */
export type Pointer = unknown;

/** TF_Output: one output of an operation. */
export interface Output {
  oper: Pointer;
  index: number;
}

/** TensorFlow's numbers of the types that Folio's tensors can have. */
export const DataTypeNumber = { float32: 1, int32: 3, bool: 10 } as const;
export type DataTypeName = keyof typeof DataTypeNumber;
export type TypedArray = Float32Array | Int32Array | Uint8Array;

export function dataTypeName(number: number): DataTypeName {
  if (number === 1) return "float32";
  if (number === 3) return "int32";
  if (number === 10) return "bool";
  throw new TypeError(`Cannot use a tensor of TensorFlow type ${number}: wanted float32, int32 or bool.`);
}

export function typedArray(dtype: DataTypeName, buffer: ArrayBuffer): TypedArray {
  if (dtype === "float32") return new Float32Array(buffer);
  return dtype === "int32" ? new Int32Array(buffer) : new Uint8Array(buffer);
}

function declare(): Calls {
  const library = koffi.load(loadTensorFlow().libraryPath);
  koffi.struct("TF_Output", { oper: "void*", index: "int" });
  koffi.struct("TF_Buffer", { data: "void*", length: "size_t", dealloc: "void*" });
  const f = (signature: string) => library.func(signature);
  return {
    newStatus: f("void* TF_NewStatus()"),
    deleteStatus: f("void TF_DeleteStatus(void*)"),
    code: f("int TF_GetCode(void*)"),
    message: f("const char* TF_Message(void*)"),
    newGraph: f("void* TF_NewGraph()"),
    deleteGraph: f("void TF_DeleteGraph(void*)"),
    newOperation: f("void* TF_NewOperation(void*, const char*, const char*)"),
    setDevice: f("void TF_SetDevice(void*, const char*)"),
    addInput: f("void TF_AddInput(void*, TF_Output)"),
    addInputList: f("void TF_AddInputList(void*, const TF_Output*, int)"),
    addControlInput: f("void TF_AddControlInput(void*, void*)"),
    setAttrType: f("void TF_SetAttrType(void*, const char*, int)"),
    setAttrTypeList: f("void TF_SetAttrTypeList(void*, const char*, const int*, int)"),
    setAttrInt: f("void TF_SetAttrInt(void*, const char*, int64_t)"),
    setAttrIntList: f("void TF_SetAttrIntList(void*, const char*, const int64_t*, int)"),
    setAttrBool: f("void TF_SetAttrBool(void*, const char*, uint8_t)"),
    setAttrFloat: f("void TF_SetAttrFloat(void*, const char*, float)"),
    setAttrString: f("void TF_SetAttrString(void*, const char*, const void*, size_t)"),
    setAttrShape: f("void TF_SetAttrShape(void*, const char*, const int64_t*, int)"),
    setAttrTensor: f("void TF_SetAttrTensor(void*, const char*, void*, void*)"),
    finishOperation: f("void* TF_FinishOperation(void*, void*)"),
    outputRank: f("int TF_GraphGetTensorNumDims(void*, TF_Output, void*)"),
    outputShape: f("void TF_GraphGetTensorShape(void*, TF_Output, _Out_ int64_t*, int, void*)"),
    outputType: f("int TF_OperationOutputType(TF_Output)"),
    opDef: f("void TF_GraphGetOpDef(void*, const char*, void*, void*)"),
    newBuffer: f("void* TF_NewBuffer()"),
    newBufferFromString: f("void* TF_NewBufferFromString(const void*, size_t)"),
    deleteBuffer: f("void TF_DeleteBuffer(void*)"),
    newSessionOptions: f("void* TF_NewSessionOptions()"),
    deleteSessionOptions: f("void TF_DeleteSessionOptions(void*)"),
    setTarget: f("void TF_SetTarget(void*, const char*)"),
    newServer: f("void* TF_NewServer(const uint8_t*, size_t, void*)"),
    startServer: f("void TF_ServerStart(void*, void*)"),
    serverTarget: f("const char* TF_ServerTarget(void*)"),
    setConfig: f("void TF_SetConfig(void*, const uint8_t*, size_t, void*)"),
    newSession: f("void* TF_NewSession(void*, void*, void*)"),
    closeSession: f("void TF_CloseSession(void*, void*)"),
    deleteSession: f("void TF_DeleteSession(void*, void*)"),
    sessionRun: f(
      "void TF_SessionRun(void*, void*, const TF_Output*, void**, int, const TF_Output*, _Out_ void**, int, void**, int, void*, void*)",
    ),
    listDevices: f("void* TF_SessionListDevices(void*, void*)"),
    deviceCount: f("int TF_DeviceListCount(void*)"),
    deviceName: f("const char* TF_DeviceListName(void*, int, void*)"),
    deleteDeviceList: f("void TF_DeleteDeviceList(void*)"),
    allocateTensor: f("void* TF_AllocateTensor(int, const int64_t*, int, size_t)"),
    deleteTensor: f("void TF_DeleteTensor(void*)"),
    tensorData: f("void* TF_TensorData(void*)"),
    tensorByteSize: f("size_t TF_TensorByteSize(void*)"),
    tensorType: f("int TF_TensorType(void*)"),
    tensorRank: f("int TF_NumDims(void*)"),
    tensorDim: f("int64_t TF_Dim(void*, int)"),
    copyIn: f("void* memcpy(void*, const uint8_t*, size_t)"),
    copyOut: f("void* memcpy(uint8_t*, void*, size_t)"),
  };
}

type CallName =
  | "newStatus"
  | "deleteStatus"
  | "code"
  | "message"
  | "newGraph"
  | "deleteGraph"
  | "newOperation"
  | "setDevice"
  | "addInput"
  | "addInputList"
  | "addControlInput"
  | "setAttrType"
  | "setAttrTypeList"
  | "setAttrInt"
  | "setAttrIntList"
  | "setAttrBool"
  | "setAttrFloat"
  | "setAttrString"
  | "setAttrShape"
  | "setAttrTensor"
  | "finishOperation"
  | "outputRank"
  | "outputShape"
  | "outputType"
  | "opDef"
  | "newBuffer"
  | "newBufferFromString"
  | "deleteBuffer"
  | "newSessionOptions"
  | "deleteSessionOptions"
  | "setTarget"
  | "newServer"
  | "startServer"
  | "serverTarget"
  | "setConfig"
  | "newSession"
  | "closeSession"
  | "deleteSession"
  | "sessionRun"
  | "listDevices"
  | "deviceCount"
  | "deviceName"
  | "deleteDeviceList"
  | "allocateTensor"
  | "deleteTensor"
  | "tensorData"
  | "tensorByteSize"
  | "tensorType"
  | "tensorRank"
  | "tensorDim"
  | "copyIn"
  | "copyOut";
type Calls = Record<CallName, ReturnType<ReturnType<typeof koffi.load>["func"]>>;

let calls: Calls | undefined;

/** The C API's functions; the first call loads the library. */
export function capi(): Calls {
  calls ??= declare();
  return calls;
}

/** Runs `body` with a new TF_Status; on failure throws `action` followed by TensorFlow's message. */
export function checked<T>(action: string, body: (status: Pointer) => T): T {
  const c = capi();
  const status = c.newStatus();
  try {
    const result = body(status);
    if (c.code(status) !== 0) throw new Error(`${action}: ${oneLine(c.message(status))}`);
    return result;
  } finally {
    c.deleteStatus(status);
  }
}

/**
 * A TF_Tensor with a copy of `values`. The caller deletes it.
 * @throws {RangeError} when the values do not fill the shape
 */
export function newTensor(dtype: DataTypeName, shape: readonly number[], values: TypedArray): Pointer {
  const c = capi();
  const size = shape.reduce((product, axis) => product * axis, 1);
  if (values.length !== size) {
    throw new RangeError(`Cannot make a tensor of shape [${shape}], ${size} values, of ${values.length}.`);
  }
  const tensor = c.allocateTensor(
    DataTypeNumber[dtype],
    BigInt64Array.from(shape, BigInt),
    shape.length,
    values.byteLength,
  );
  // A view of TensorFlow's memory would avoid the call, but takes Node some 10 µs to make and burdens the garbage
  // collector.
  if (values.byteLength > 0) c.copyIn(c.tensorData(tensor), bytesOf(values), values.byteLength);
  return tensor;
}

/** Shape, type and a copy of the values of a TF_Tensor, which the caller still has to delete. */
export function readTensor(tensor: Pointer): { shape: number[]; dtype: DataTypeName; values: TypedArray } {
  const c = capi();
  const dtype = dataTypeName(c.tensorType(tensor));
  const shape = Array.from({ length: c.tensorRank(tensor) }, (_, axis) => Number(c.tensorDim(tensor, axis)));
  const bytes = Number(c.tensorByteSize(tensor));
  const copy = new ArrayBuffer(bytes);
  if (bytes > 0) c.copyOut(new Uint8Array(copy), c.tensorData(tensor), bytes);
  return { shape, dtype, values: typedArray(dtype, copy) };
}

function bytesOf({ buffer, byteOffset, byteLength }: TypedArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** A copy of the bytes of a TF_Buffer. */
export function readBuffer(buffer: Pointer): Uint8Array {
  const { data, length } = koffi.decode(buffer, "TF_Buffer") as { data: Pointer; length: number };
  return new Uint8Array(koffi.view(data, Number(length)).slice(0));
}
