/**
 * Finds the entries of a zip archive that stores them uncompressed, as torch.save does, so that each can be read by its
 * position in the file without holding the archive in memory. 64-bit archives are supported. Most zip readers on npm
 * hold a whole archive or stream its entries. yauzl gives the positions, but by callbacks, whereas checkpoints are read
 * synchronously here; and it accepts entries that must be refused (compressed, encrypted, or with a duplicate name).
 * The file is untrusted: every number is checked.
 */
import fs from "node:fs";

/** The position of an entry's bytes in the file. */
export interface ZipEntry {
  readonly position: number;
  readonly byteLength: number;
}

const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;

/**
 * The entries of an open archive by name.
 * @throws {Error} saying what is wrong with the archive, without the file's name
 */
export function zipEntries(file: number): Map<string, ZipEntry> {
  const size = fs.fstatSync(file).size;
  const directory = findDirectory(file, size);
  if (!(directory.position + directory.byteLength <= size) || directory.byteLength > MAX_DIRECTORY_BYTES) {
    throw new Error("its table of contents lies beyond its end");
  }
  const table = readBytes(file, directory.position, directory.byteLength);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0; at < table.length; ) {
    if (at + 46 > table.length || table.readUInt32LE(at) !== 0x02014b50)
      throw new Error("its table of contents is damaged");
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => table.readUInt16LE(at + field));
    const end = at + 46 + nameBytes! + extraBytes! + commentBytes!;
    if (end > table.length) throw new Error("its table of contents is damaged");
    const name = table.toString("utf8", at + 46, at + 46 + nameBytes!);
    const extra = table.subarray(at + 46 + nameBytes!, at + 46 + nameBytes! + extraBytes!);
    const [method, flags] = [table.readUInt16LE(at + 10), table.readUInt16LE(at + 8)];
    const { byteLength, header } = sizes(table, at, extra);
    if (method !== 0 || flags & 1) throw new Error(`its entry ${JSON.stringify(name)} is compressed or encrypted`);
    if (entries.has(name)) throw new Error(`it has two entries ${JSON.stringify(name)}`);
    entries.set(name, { byteLength, position: dataPosition(file, { size, header, byteLength, name }) });
    at = end;
  }
  return entries;
}

/** The position of the central directory, from the record at the archive's end. */
function findDirectory(file: number, size: number): ZipEntry {
  const tail = readBytes(file, Math.max(0, size - 65_557), Math.min(size, 65_557)); // a comment follows, of ≤ 65,535 bytes
  for (let at = tail.length - 22; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== 0x06054b50) continue;
    const byteLength = tail.readUInt32LE(at + 12);
    const position = tail.readUInt32LE(at + 16);
    if (byteLength !== 0xffffffff && position !== 0xffffffff) return { position, byteLength };
    if (at < 20 || tail.readUInt32LE(at - 20) !== 0x07064b50) throw new Error("its 64-bit record is missing");
    const record = whole(tail.readBigUInt64LE(at - 12));
    if (record + 56 > size) throw new Error("its 64-bit record lies beyond its end");
    const bytes = readBytes(file, record, 56);
    if (bytes.readUInt32LE(0) !== 0x06064b50) throw new Error("its 64-bit record is damaged");
    return { byteLength: whole(bytes.readBigUInt64LE(40)), position: whole(bytes.readBigUInt64LE(48)) };
  }
  throw new Error("it is not a zip archive, or it is cut short");
}

/** An entry's length and the position of its own header; the extra field has the 64-bit numbers, in this order. */
function sizes(table: Buffer, at: number, extra: Buffer): { byteLength: number; header: number } {
  let wide: Buffer = extra.subarray(0, 0);
  for (let field = 0; field + 4 <= extra.length; field += 4 + extra.readUInt16LE(field + 2)) {
    if (extra.readUInt16LE(field) === 1) wide = extra.subarray(field + 4, field + 4 + extra.readUInt16LE(field + 2));
  }
  let next = 0;
  const [unpacked, packed, header] = [24, 20, 42].map((offset) => {
    const value = table.readUInt32LE(at + offset);
    if (value !== 0xffffffff) return value;
    if (next + 8 > wide.length) throw new Error("its table of contents is damaged");
    next += 8;
    return whole(wide.readBigUInt64LE(next - 8));
  }) as [number, number, number];
  if (unpacked !== packed) throw new Error("its table of contents is damaged");
  return { byteLength: packed, header };
}

/** The position of the bytes after the entry's own header, whose padding may differ from that in the table. */
function dataPosition(
  file: number,
  { size, header, byteLength, name }: { size: number; header: number; byteLength: number; name: string },
): number {
  const damaged = new Error(`its entry ${JSON.stringify(name)} lies beyond its end: the file is cut short`);
  if (header + 30 > size) throw damaged;
  const bytes = readBytes(file, header, 30);
  if (bytes.readUInt32LE(0) !== 0x04034b50) throw damaged;
  const position = header + 30 + bytes.readUInt16LE(26) + bytes.readUInt16LE(28);
  if (position + byteLength > size) throw damaged;
  return position;
}

function whole(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error("its table of contents is damaged");
  return Number(value);
}

function readBytes(file: number, position: number, count: number): Buffer {
  const bytes = Buffer.alloc(count);
  readInto(file, position, bytes);
  return bytes;
}

// One read may return fewer bytes than requested, and never more than 2 GiB.
const CHUNK_BYTES = 2 ** 28;

/** Fills `bytes` from the file's `position` on. @throws {Error} if the file ends too early */
export function readInto(file: number, position: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const read = fs.readSync(file, bytes, done, Math.min(CHUNK_BYTES, bytes.length - done), position + done);
    if (read === 0) throw new Error(`the file ends ${bytes.length - done} bytes early`);
    done += read;
  }
}
