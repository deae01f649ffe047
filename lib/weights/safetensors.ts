/**
 * Reads and writes safetensors files (the Hugging Face format: a length, a JSON header, raw little-endian values).
 * Files are untrusted: the header's length is limited, and every offset is checked before anything is allocated.
 */
import fs from "node:fs";
import { float32, type HostTensor, type HostTensors } from "../engine/host-tensors.js";
import { openRegularFile, reasonOf } from "../host/regular-file.js";
import { fromHalf } from "../host/sixteen-bit.js";
import {
  bytesPerValue,
  type FloatFormat,
  type HeaderEntry,
  safetensorsHeader,
  typeNames,
  valueBytes,
} from "./safetensors-bytes.js";

const arrays = { float32: Float32Array, int32: Int32Array, bool: Uint8Array } as const;
const MAX_HEADER_BYTES = 100_000_000; // the limit of the reference implementation

/**
 * Writes the tensors to a new file and flushes it to the disk.
 * @param options.floats default float32
 * @throws {Error} the file system's error, for example when the disk is full; the file is then incomplete
 */
export function writeSafetensors(
  path: string,
  tensors: HostTensors,
  metadata: Record<string, string> = {},
  { floats = "float32" }: { floats?: FloatFormat } = {},
): void {
  let header: Uint8Array;
  try {
    header = safetensorsHeader(tensors, metadata, floats);
  } catch (error) {
    throw new RangeError(`Cannot write ${path}: ${(error as Error).message}.`, { cause: error });
  }
  const file = fs.openSync(path, "wx");
  try {
    writeAll(file, header);
    for (const bytes of valueBytes(tensors, floats)) writeAll(file, bytes);
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}

/**
 * Reads a file's tensors, each directly from its position, so that no more memory is needed than for the tensors.
 * 16-bit floats become float32.
 * @param options.only which tensors, by name; default all. The others may be of any type.
 * @throws {Error} when the file is not a complete safetensors file of types that Folio supports, saying what is wrong
 */
export function readSafetensors(
  path: string,
  { only = () => true }: { only?: (name: string) => boolean } = {},
): Record<string, HostTensor> {
  return readSafetensorsFile(path, only).tensors;
}

/** The same with the file's metadata, a record of texts. @throws as readSafetensors */
export function readSafetensorsFile(
  path: string,
  only: (name: string) => boolean = () => true,
): { tensors: Record<string, HostTensor>; metadata: Readonly<Record<string, unknown>> } {
  const fail = (found: string): never => {
    throw new Error(`Cannot read ${path}: ${found}; wanted a complete safetensors file. Copy or download it again.`);
  };
  const file = open(path, fail);
  try {
    const { size } = fs.fstatSync(file);
    if (size < 8) fail(`it has ${size} bytes`);
    const headerBytes = Number(readAt(file, 0, 8).readBigUInt64LE());
    if (headerBytes > MAX_HEADER_BYTES || 8 + headerBytes > size) fail(`its header claims ${headerBytes} bytes`);
    const { header, metadata } = parseHeader(readAt(file, 8, headerBytes).toString("utf8"), fail);
    const dataStart = 8 + headerBytes;
    const wanted = Object.entries(header).filter(([name]) => only(name));
    const checked = wanted.map(([name, entry]) => {
      return { name, entry, dtype: checkEntry(name, entry, size - dataStart, fail) };
    });
    checkCoverage(header, size - dataStart, fail);
    const tensors = Object.fromEntries(
      checked.map(({ name, entry: { shape, data_offsets: offsets }, dtype }) => {
        const bytes = readAt(file, dataStart + offsets[0], offsets[1] - offsets[0]).buffer;
        if (dtype === "float16" || dtype === "bfloat16") {
          return [name, float32(fromHalf(dtype, new Uint16Array(bytes)), shape)];
        }
        return [name, { dtype, shape, values: new arrays[dtype](bytes) }];
      }),
    );
    return { tensors, metadata };
  } finally {
    fs.closeSync(file);
  }
}

type Fail = (found: string) => never;

function open(path: string, fail: Fail): number {
  try {
    return openRegularFile(path);
  } catch (error) {
    return fail(reasonOf(error));
  }
}

function parseHeader(text: string, fail: Fail) {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    fail("its header is not JSON");
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) fail("its header is not a JSON object");
  const { __metadata__: metadata = {}, ...entries } = header as Record<string, unknown>;
  for (const [name, entry] of Object.entries(entries)) {
    const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Partial<Record<string, unknown>>;
    const whole = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
    const valid =
      typeof dtype === "string" &&
      Array.isArray(shape) &&
      shape.every(whole) &&
      Array.isArray(offsets) &&
      offsets.length === 2 &&
      offsets.every(whole);
    if (!valid) fail(`the entry ${JSON.stringify(name)} of its header lacks dtype, shape or data_offsets`);
  }
  return { header: entries as Record<string, HeaderEntry>, metadata: (metadata ?? {}) as Record<string, unknown> };
}

function checkEntry(
  name: string,
  { dtype, shape, data_offsets: [from, to] }: HeaderEntry,
  dataBytes: number,
  fail: Fail,
) {
  const own = (Object.keys(typeNames) as (keyof typeof typeNames)[]).find((key) => typeNames[key] === dtype);
  if (!own)
    return fail(
      `tensor ${name} has type ${dtype}, which Folio does not support (it supports F32, F16, BF16, I32, BOOL)`,
    );
  const bytes = shape.reduce((product, axis) => product * axis, bytesPerValue[own]);
  if (from > to || to > dataBytes) fail(`tensor ${name} ends at byte ${to} of ${dataBytes}: the file is cut short`);
  if (bytes !== to - from) fail(`tensor ${name} of shape [${shape}] has ${to - from} bytes instead of ${bytes}`);
  return own;
}

/** As in the reference implementation, tensors must be contiguous: no byte belongs to two of them, or to none. */
function checkCoverage(header: Record<string, HeaderEntry>, dataBytes: number, fail: Fail): void {
  const entries = Object.entries(header).sort(([, { data_offsets: a }], [, { data_offsets: b }]) => {
    return a[0] - b[0] || a[1] - b[1];
  });
  let end = 0;
  for (const [name, { data_offsets: offsets }] of entries) {
    const [from, to] = offsets;
    if (from !== end) fail(`tensor ${name} begins at byte ${from}, but the one before it ends at ${end}`);
    end = to;
  }
  if (end !== dataBytes) fail(`its tensors end at byte ${end} of ${dataBytes}`);
}

// One write or read may transfer fewer bytes than requested, and never more than 2 GiB.
const CHUNK_BYTES = 2 ** 28;

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(file, bytes, done, Math.min(CHUNK_BYTES, bytes.length - done));
  }
}

function readAt(file: number, position: number, count: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.from(new ArrayBuffer(count)); // a buffer of its own: tensors are views of it
  for (let done = 0; done < count; ) {
    const read = fs.readSync(file, bytes, done, Math.min(CHUNK_BYTES, count - done), position + done);
    if (read === 0) throw new Error(`The file ended ${count - done} bytes early.`);
    done += read;
  }
  return bytes;
}
