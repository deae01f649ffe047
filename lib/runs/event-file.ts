/**
 * Writes TensorBoard's event files: `tensorboard --logdir out` shows a run's curves. An event is a protocol buffer of
 * four fields in a TFRecord (length, checksum, bytes, checksum). It is written here because tfjs-node's writer needs
 * TensorFlow and cannot record where a resumed run continues. trackers.ts chooses the numbers.
 */
import fs from "node:fs";
import path from "node:path";
import { PbfWriter } from "pbf";

/** An event file, open for appending. */
export interface EventFile {
  /** Appends one point of each curve. `wallTimeMs` is its time; default now. */
  append(step: number, scalars: Readonly<Record<string, number>>, wallTimeMs?: number): void;
  close(): void;
}

// Field numbers of event.proto and summary.proto.
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const SESSION_STATUS = 1;
const START = 1;
const SUMMARY_VALUE = 1;
const VALUE = { tag: 1, simpleValue: 2 } as const;

function writeSummary(scalars: Readonly<Record<string, number>>, summary: PbfWriter): void {
  for (const entry of Object.entries(scalars)) summary.writeMessage(SUMMARY_VALUE, writeValue, entry);
}

function writeValue([tag, number]: readonly [string, number], value: PbfWriter): void {
  value.writeStringField(VALUE.tag, tag);
  value.writeFloatField(VALUE.simpleValue, number);
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
  const write = (wallTimeMs: number, writeFields: (event: PbfWriter) => void) => {
    const event = new PbfWriter();
    event.writeDoubleField(EVENT.wallTime, wallTimeMs / 1000);
    writeFields(event);
    fs.writeSync(file, tfRecord(event.finish()));
  };
  write(Date.now(), (event) => event.writeStringField(EVENT.fileVersion, "brain.Event:2"));
  if (resumedAt !== undefined) {
    write(Date.now(), (event) => {
      event.writeVarintField(EVENT.step, resumedAt);
      event.writeMessage(EVENT.sessionLog, (status, log) => log.writeVarintField(SESSION_STATUS, status), START);
    });
  }
  return {
    append(step, scalars, wallTimeMs = Date.now()) {
      write(wallTimeMs, (event) => {
        event.writeVarintField(EVENT.step, step);
        event.writeMessage(EVENT.summary, writeSummary, scalars);
      });
    },
    close: () => fs.closeSync(file),
  };
}

// ---------------------------------------------------------------------------------------------------------- TFRecord

function tfRecord(content: Uint8Array): Buffer {
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
function checksum(bytes: Uint8Array): Buffer {
  let crc = -1;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255]! ^ (crc >>> 8);
  crc = ~crc;
  const masked = Buffer.alloc(4);
  masked.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return masked;
}
