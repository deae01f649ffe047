/**
 * Reads and writes safetensors files (the Hugging Face format: a length, a JSON header, raw little-endian values).
 * A file from elsewhere is data: its header is bounded and every offset checked before anything is allocated.
 * Which tensors a checkpoint consists of is checkpoint.ts' matter.
 */
import fs from "node:fs";
import type { HostTensor, HostTensors } from "./engine/session.js";

const typeNames = { float32: "F32", int32: "I32", bool: "BOOL" } as const;
const bytesPerValue = { float32: 4, int32: 4, bool: 1 } as const;
const MAX_HEADER_BYTES = 100_000_000; // the bound of the reference implementation

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/**
 * Writes the tensors to a new file and flushes it to the disk.
 * @throws {Error} the file system's, for example when the disk is full; the file is then incomplete
 */
export function writeSafetensors(path: string, tensors: HostTensors, metadata: Record<string, string> = {}): void {
  const header: Record<string, HeaderEntry | Record<string, string>> = { __metadata__: metadata };
  let offset = 0;
  for (const [name, { dtype, shape, values }] of Object.entries(tensors)) {
    header[name] = { dtype: typeNames[dtype], shape: [...shape], data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const json = JSON.stringify(header);
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8)); // values start at a multiple of 8
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = fs.openSync(path, "wx");
  try {
    writeAll(file, length);
    writeAll(file, text);
    for (const { values } of Object.values(tensors)) {
      writeAll(file, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}

/**
 * Reads all tensors of a file.
 * @throws {Error} when the file is not a whole safetensors file of types that Folio has; the message says what is wrong
 */
export function readSafetensors(path: string): Record<string, HostTensor> {
  const file = fs.openSync(path, "r");
  try {
    const size = fs.fstatSync(file).size;
    const fail = (found: string): never => {
      throw new Error(`Cannot read ${path}: ${found}; wanted a whole safetensors file. Copy or download it again.`);
    };
    if (size < 8) fail(`it has ${size} bytes`);
    const headerBytes = Number(readAt(file, 0, 8).readBigUInt64LE());
    if (headerBytes > MAX_HEADER_BYTES || 8 + headerBytes > size) fail(`its header claims ${headerBytes} bytes`);
    const header = parseHeader(readAt(file, 8, headerBytes).toString("utf8"), fail);
    const dataStart = 8 + headerBytes;
    const tensors: Record<string, HostTensor> = {};
    for (const [name, entry] of Object.entries(header)) {
      const dtype = checkEntry(name, entry, size - dataStart, fail);
      const [from, to] = entry.data_offsets;
      const { buffer, byteOffset } = readAt(file, dataStart + from, to - from);
      const bytes = buffer.slice(byteOffset, byteOffset + to - from) as ArrayBuffer;
      const values =
        dtype === "float32"
          ? new Float32Array(bytes)
          : dtype === "int32"
            ? new Int32Array(bytes)
            : new Uint8Array(bytes);
      tensors[name] = { dtype, shape: entry.shape, values };
    }
    return tensors;
  } finally {
    fs.closeSync(file);
  }
}

type Fail = (found: string) => never;

function parseHeader(text: string, fail: Fail): Record<string, HeaderEntry> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    fail("its header is not JSON");
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) fail("its header is not a JSON object");
  const { __metadata__: _metadata, ...entries } = header as Record<string, unknown>;
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
  return entries as Record<string, HeaderEntry>;
}

function checkEntry(
  name: string,
  { dtype, shape, data_offsets: [from, to] }: HeaderEntry,
  dataBytes: number,
  fail: Fail,
) {
  const own = (Object.keys(typeNames) as (keyof typeof typeNames)[]).find((key) => typeNames[key] === dtype);
  if (!own) return fail(`tensor ${name} has type ${dtype}, which Folio does not read yet (it reads F32, I32, BOOL)`);
  const bytes = shape.reduce((product, axis) => product * axis, bytesPerValue[own]);
  if (from > to || to > dataBytes) fail(`tensor ${name} ends at byte ${to} of ${dataBytes}: the file is cut short`);
  if (bytes !== to - from) fail(`tensor ${name} of shape [${shape}] has ${to - from} bytes instead of ${bytes}`);
  return own;
}

// One write or read of the file system may move fewer bytes than asked, and never more than 2 GiB.
const CHUNK_BYTES = 2 ** 28;

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(file, bytes, done, Math.min(CHUNK_BYTES, bytes.length - done));
  }
}

function readAt(file: number, position: number, count: number): Buffer {
  const bytes = Buffer.alloc(count);
  for (let done = 0; done < count; ) {
    const read = fs.readSync(file, bytes, done, Math.min(CHUNK_BYTES, count - done), position + done);
    if (read === 0) throw new Error(`The file ended ${count - done} bytes early.`);
    done += read;
  }
  return bytes;
}
