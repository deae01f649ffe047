/**
 * Writes TensorBoard's event files: `tensorboard --logdir out` shows a run's curves. An event is a protocol buffer of
 * four fields in a TFRecord (length, checksum, bytes, checksum). It is written here because tfjs-node's writer needs
 * TensorFlow and cannot record where a resumed run continues. trackers.ts chooses the numbers.
 */
import fs from "node:fs";
import path from "node:path";

/** An event file, open for appending. */
export interface EventFile {
  /** Appends one point of each curve. `wallTimeMs` is its time; default now. */
  append(step: number, scalars: Readonly<Record<string, number>>, wallTimeMs?: number): void;
  close(): void;
}

let opened = 0;

/**
 * Opens a new event file in `folder`, which is made if it does not exist.
 * @param options.resumedAt TensorBoard ignores the points of older files in the folder from this step on
 */
export function openEventFile(folder: string, { resumedAt }: { resumedAt?: number } = {}): EventFile {
  fs.mkdirSync(folder, { recursive: true });
  // TensorBoard recognizes files by "tfevents" and reads them in the order of their names.
  const name = `events.out.tfevents.${Date.now()}.${process.pid}.${opened++}`;
  const file = fs.openSync(path.join(folder, name), "ax");
  const write = (...fields: Buffer[]) => fs.writeSync(file, tfRecord(Buffer.concat(fields)));
  write(time(Date.now()), text(3, "brain.Event:2"));
  const START = Buffer.of(0x08, 1); // SessionLog.status
  if (resumedAt !== undefined) write(time(Date.now()), integer(2, resumedAt), message(7, START));
  return {
    append(step, scalars, wallTimeMs = Date.now()) {
      const values = Object.entries(scalars).map(([tag, value]) => message(1, text(1, tag), float(2, value)));
      write(time(wallTimeMs), integer(2, step), message(5, ...values));
    },
    close: () => fs.closeSync(file),
  };
}

// ------------------------------------------------------------------------------------------------ protocol buffers

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.of(...bytes, rest);
    bytes.push((rest % 128) | 128);
  }
}

const integer = (field: number, value: number) => Buffer.concat([varint(field * 8), varint(value)]);

function message(field: number, ...fields: Buffer[]): Buffer {
  const content = Buffer.concat(fields);
  return Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
}

const text = (field: number, value: string) => message(field, Buffer.from(value));

function float(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(5, field * 8 + 5);
  bytes.writeFloatLE(value, 1);
  return bytes;
}

/** Event.wall_time, in seconds. */
function time(ms: number): Buffer {
  const bytes = Buffer.alloc(9, 1 * 8 + 1);
  bytes.writeDoubleLE(ms / 1000, 1);
  return bytes;
}

// ---------------------------------------------------------------------------------------------------------- TFRecord

function tfRecord(content: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(content.length));
  return Buffer.concat([length, checksum(length), content, checksum(content)]);
}

// CRC-32C (Castagnoli), reflected polynomial; zlib uses another one.
const table = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** TFRecord's masked checksum, for data that itself contains checksums. */
function checksum(bytes: Buffer): Buffer {
  let crc = -1;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255]! ^ (crc >>> 8);
  crc = ~crc;
  const masked = Buffer.alloc(4);
  masked.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return masked;
}
