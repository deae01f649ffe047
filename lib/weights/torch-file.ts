/**
 * Reads files of torch.save as data: a zip archive with a pickle, which names tensors, and their values as raw bytes.
 * Tensors stay in the file until one is requested, and then only its own bytes are read. Nothing in the file can call a
 * function (pickle.ts). nanogpt-checkpoint.ts interprets nanoGPT's checkpoints.
 */
import fs from "node:fs";
import { float32, type HostTensor } from "../engine/host-tensors.js";
import { type NamedGlobal, type PickleGlobal, readPickle } from "../host/python/pickle.js";
import { openRegularFile, reasonOf } from "../host/regular-file.js";
import { fromHalf } from "../host/sixteen-bit.js";
import { readInto, type ZipEntry, zipEntries } from "../host/zip-entries.js";

const MAX_PICKLE_BYTES = 256 * 2 ** 20;

/** torch's types that become float32, and the array types of their bytes. */
const formats = {
  FloatStorage: Float32Array,
  DoubleStorage: Float64Array,
  HalfStorage: Uint16Array,
  BFloat16Storage: Uint16Array,
  IntStorage: Int32Array,
  LongStorage: BigInt64Array,
  ByteStorage: Uint8Array,
  BoolStorage: Uint8Array,
} as const;
type StorageName = keyof typeof formats;

interface Storage {
  readonly type: StorageName;
  readonly key: string;
  readonly length: number;
}

/** A tensor in the file. */
export class TorchTensor {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** An open file of torch.save. */
export interface TorchFile {
  /** The saved value, with dictionaries as Maps and tensors as TorchTensors. */
  readonly value: unknown;
  /** A tensor's values as float32; `transposed` swaps the axes of a matrix. @throws {Error} if the file is damaged */
  read(tensor: TorchTensor, options?: { transposed?: boolean }): HostTensor;
  close(): void;
}

/**
 * Opens a file that torch.save wrote (PyTorch 1.6 or later). The caller closes it.
 * @throws {Error} if it is not such a file, is damaged, or names a function to call
 */
export function openTorchFile(path: string): TorchFile {
  const fail = (found: string): never => {
    throw new Error(`Cannot read ${path}: ${found}; wanted a file that torch.save wrote.`);
  };
  let file: number;
  try {
    file = openRegularFile(path);
  } catch (error) {
    return fail(reasonOf(error));
  }
  try {
    if (isOldFormat(file)) {
      throw new Error(
        `Cannot read ${path}: it has the format of PyTorch before 1.6, which is not a zip archive. To convert it in place with PyTorch, run: ${convertCommand(path)}`,
      );
    }
    const entries = archive(file, fail);
    const pickle = readEntry(file, entries.get("data.pkl") ?? fail("it has no data.pkl"), MAX_PICKLE_BYTES, fail);
    const order = entries.get("byteorder");
    if (order && Buffer.from(readEntry(file, order, 16, fail)).toString() !== "little")
      fail("its numbers are big-endian");
    const value = readPickle(pickle, { name: path, globals: torchGlobals, persistent: storageOf });
    return {
      value,
      read: (tensor, { transposed = false } = {}) => readTensor({ file, entries, fail }, tensor, transposed),
      close: () => fs.closeSync(file),
    };
  } catch (error) {
    fs.closeSync(file);
    throw error;
  }
}

/** Files from before 1.6 are a sequence of pickles, the first of which is this number. */
const OLD_MAGIC = Buffer.from("8002 8a0a 6cfc 9c46 f920 6aa8 5019 2e".replaceAll(" ", ""), "hex");

function isOldFormat(file: number): boolean {
  const start = Buffer.alloc(OLD_MAGIC.length);
  fs.readSync(file, start, 0, start.length, 0);
  return start.equals(OLD_MAGIC);
}

function convertCommand(path: string): string {
  const program =
    'import sys, torch; f = sys.argv[1]; torch.save(torch.load(f, map_location="cpu", weights_only=True), f)';
  const quoted = /^[\w@%+:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
  return `python3 -c '${program}' ${quoted}`;
}

type Fail = (found: string) => never;

/** The archive's entries, without the name of their common folder. */
function archive(file: number, fail: Fail): Map<string, ZipEntry> {
  let entries: Map<string, ZipEntry>;
  try {
    entries = zipEntries(file);
  } catch (error) {
    return fail((error as Error).message);
  }
  return new Map([...entries].map(([name, entry]) => [name.slice(name.indexOf("/") + 1), entry]));
}

function readEntry(file: number, entry: ZipEntry, most: number, fail: Fail): Uint8Array {
  if (entry.byteLength > most) fail(`its pickle has ${entry.byteLength} bytes`);
  const bytes = new Uint8Array(entry.byteLength);
  readInto(file, entry.position, bytes);
  return bytes;
}

/** `("storage", torch.FloatStorage, "0", "cpu", 1024)` */
function storageOf(id: unknown): Storage {
  const [word, type, key, , length] = Array.isArray(id) ? id : [];
  const name = (type as NamedGlobal | undefined)?.global?.replace("torch.", "") ?? "";
  if (word !== "storage" || typeof key !== "string" || !isCount(length) || !Object.hasOwn(formats, name)) {
    throw new Error("Cannot read the file of torch.save: it refers to something that is not a tensor's values.");
  }
  return { type: name as StorageName, key, length };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const areCounts = (values: unknown): values is number[] => Array.isArray(values) && values.every(isCount);

/** The Python functions that a state dictionary's pickle calls. */
const torchGlobals: Readonly<Record<string, PickleGlobal>> = {
  ...Object.fromEntries(Object.keys(formats).map((name) => [`torch.${name}`, {}])),
  "torch._utils._rebuild_tensor_v2": {
    call([storage, offset, shape, strides]) {
      const { length = -1 } = (storage ?? {}) as Partial<Storage>;
      if (
        !isCount(length) ||
        !isCount(offset) ||
        !areCounts(shape) ||
        !areCounts(strides) ||
        shape.length !== strides.length
      ) {
        throw new TypeError("wrong arguments");
      }
      // A tensor must not take more memory than its storage has in the file.
      if (product(shape) > length || offset + span(shape, strides) > length) {
        throw new RangeError(`a tensor of shape [${shape}] reaches beyond its ${length} values`);
      }
      return new TorchTensor(storage as Storage, offset, shape, strides);
    },
  },
  "torch._utils._rebuild_parameter": {
    call([tensor]) {
      if (!(tensor instanceof TorchTensor)) throw new TypeError("wrong arguments");
      return tensor;
    },
  },
};

const product = (axes: readonly number[]) => axes.reduce((total, axis) => total * axis, 1);

/** The number of the storage's values that the tensor spans. */
function span(shape: readonly number[], strides: readonly number[]): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((total, axis, i) => total + (axis - 1) * strides[i]!, 1);
}

interface Source {
  readonly file: number;
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly fail: Fail;
}

function readTensor(source: Source, tensor: TorchTensor, transposed: boolean): HostTensor {
  const turn = <T>(axes: readonly T[]) => (transposed ? [...axes].reverse() : [...axes]);
  const [shape, strides] = [turn(tensor.shape), turn(tensor.strides)];
  const found = readSpan(source, tensor);
  if (isContiguous(shape, strides)) return float32(found, shape);
  const into = new Float32Array(product(shape));
  gather(found, into, { shape, strides });
  return float32(into, shape);
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis]! > 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/** The storage's values from the tensor's first to its last, as float32. */
function readSpan({ file, entries, fail }: Source, { storage, offset, shape, strides }: TorchTensor): Float32Array {
  const entry = entries.get(`data/${storage.key}`);
  const format = formats[storage.type];
  const width = format.BYTES_PER_ELEMENT;
  if (!entry || entry.byteLength < storage.length * width) {
    return fail(`its data/${storage.key.slice(0, 20)} is missing or has fewer than ${storage.length * width} bytes`);
  }
  const values = new format(new ArrayBuffer(span(shape, strides) * width));
  readInto(file, entry.position + offset * width, new Uint8Array(values.buffer));
  if (values instanceof Float32Array) return values;
  if (storage.type === "HalfStorage") return fromHalf("float16", values as Uint16Array);
  if (storage.type === "BFloat16Storage") return fromHalf("bfloat16", values as Uint16Array);
  return Float32Array.from(values as ArrayLike<number>, Number);
}

/** Copies by strides; the last two axes in tiles that fit the processor's cache. */
function gather(
  from: Float32Array,
  into: Float32Array,
  { shape, strides }: { shape: readonly number[]; strides: readonly number[] },
): void {
  const [rows, columns] = [shape.at(-2) ?? 1, shape.at(-1) ?? 1];
  const [down, along] = [strides.at(-2) ?? 0, strides.at(-1) ?? 0];
  const outer = shape.slice(0, -2);
  const matrices = product(outer);
  for (let matrix = 0; matrix < matrices; matrix++) {
    let [rest, start] = [matrix, 0];
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      start += (rest % outer[axis]!) * strides[axis]!;
      rest = Math.floor(rest / outer[axis]!);
    }
    const base = matrix * rows * columns;
    const tile = 32;
    for (let r0 = 0; r0 < rows; r0 += tile) {
      for (let c0 = 0; c0 < columns; c0 += tile) {
        const [r1, c1] = [Math.min(rows, r0 + tile), Math.min(columns, c0 + tile)];
        for (let r = r0; r < r1; r++) {
          for (let c = c0; c < c1; c++) into[base + r * columns + c] = from[start + r * down + c * along]!;
        }
      }
    }
  }
}
