/** Reads event files as TensorBoard does: TFRecords with checksums, containing events as protocol buffers. */
import fs from "node:fs";

export interface Event {
  wallTime: number;
  step: number;
  version?: string;
  sessionStart: boolean;
  scalars: Record<string, number>;
}

export function readEvents(file: string): Event[] {
  const bytes = fs.readFileSync(file);
  const events: Event[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    check(bytes.subarray(at, at + 8), bytes.readUInt32LE(at + 8));
    const content = bytes.subarray(at + 12, at + 12 + length);
    check(content, bytes.readUInt32LE(at + 12 + length));
    events.push(parseEvent(content));
    at += 16 + length;
  }
  return events;
}

function check(bytes: Buffer, masked: number): void {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  crc = (crc ^ 0xffffffff) >>> 0;
  const rotated = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  if (rotated !== masked) throw new Error(`checksum ${masked}, wanted ${rotated}`);
}

/** The fields of a message: number → values in wire format. */
function fields(bytes: Buffer): Map<number, (number | Buffer)[]> {
  const found = new Map<number, (number | Buffer)[]>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let power = 1; ; power *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * power;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    let value: number | Buffer;
    if ((key & 7) === 0) value = varint();
    else {
      const length = (key & 7) === 1 ? 8 : (key & 7) === 5 ? 4 : varint();
      value = bytes.subarray(at, at + length);
      at += length;
    }
    found.set(key >> 3, [...(found.get(key >> 3) ?? []), value]);
  }
  return found;
}

function parseEvent(bytes: Buffer): Event {
  const event = fields(bytes);
  const one = (field: number) => event.get(field)?.[0];
  const version = one(3) as Buffer | undefined;
  const summary = one(5) as Buffer | undefined;
  const session = one(7) as Buffer | undefined;
  const values = summary ? (fields(summary).get(1) as Buffer[]).map(fields) : [];
  return {
    wallTime: (one(1) as Buffer).readDoubleLE(),
    step: (one(2) as number | undefined) ?? 0,
    ...(version ? { version: version.toString() } : {}),
    sessionStart: session !== undefined && fields(session).get(1)?.[0] === 1,
    scalars: Object.fromEntries(
      values.map((value) => [String(value.get(1)![0]), (value.get(2)![0] as Buffer).readFloatLE()]),
    ),
  };
}
