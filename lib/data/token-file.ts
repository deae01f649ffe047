/**
 * Files of token ids: raw little-endian uint16, or uint32 for more than 65,536 ids, in nanoGPT's format. Only the rows in
 * use are read, so memory does not grow with the file. dataset.ts opens the files of a dataset; token-writer.ts writes
 * them.
 */
import fs from "node:fs";
import { openRegularFile, reasonOf } from "../host/regular-file.js";

/** How an id is stored: 2 bytes, or 4 for a vocabulary of more than 65,536 ids. */
export type TokenDtype = "uint16" | "uint32";

/** An open token file; the owner must call `close()`. */
export interface TokenFile {
  readonly path: string;
  /** In tokens. */
  readonly length: number;
  /**
   * `count` ids from `start` on, by one positioned read. Ids of 2³¹ and more come out negative.
   * @throws {RangeError} if the range exceeds the file
   */
  read(start: number, count: number): Int32Array;
  close(): void;
}

/** Bytes per id. */
export const bytesPerToken = { uint16: 2, uint32: 4 } as const;
const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}

/** Swaps bytes in place on a big-endian machine, since the files are always little-endian. */
export function toLittleEndian(bytes: Buffer, dtype: TokenDtype): Buffer {
  if (!littleEndian) dtype === "uint16" ? bytes.swap16() : bytes.swap32();
  return bytes;
}

/**
 * Opens a raw file of token ids for positioned reads.
 * @param options.tokens how many ids it must have; default any number
 * @throws {RangeError} if the file is missing, empty, cut inside an id, or has another number of ids
 * @example
 * const file = openTokenFile("data/shakespeare_char/val.bin", { dtype: "uint16" });
 * file.read(0, 3); // Int32Array [12, 0, 0]
 * file.close();
 */
export function openTokenFile(filePath: string, options: { dtype: TokenDtype; tokens?: number }): TokenFile {
  const { dtype, tokens } = options;
  const refuse = (found: string): RangeError =>
    new RangeError(`Cannot open the token file ${filePath}: ${found}; prepare the dataset again.`);
  let descriptor: number;
  try {
    descriptor = openRegularFile(filePath);
  } catch (error) {
    throw refuse(reasonOf(error));
  }
  try {
    const status = fs.fstatSync(descriptor);
    const width = bytesPerToken[dtype];
    const length = status.size / width;
    if (status.size === 0) throw refuse("it is empty");
    if (!Number.isInteger(length)) {
      throw refuse(
        `it is truncated: ${status.size} bytes are not a whole number of ${dtype} ids (${width} bytes each)`,
      );
    }
    if (tokens !== undefined && tokens !== length) {
      const what = length < tokens ? "it is truncated" : "it is too long";
      throw refuse(`${what}: it has ${length} ids, but meta.json says ${tokens}`);
    }
    return tokenFile(filePath, descriptor, dtype, length);
  } catch (error) {
    fs.closeSync(descriptor);
    throw error;
  }
}

function tokenFile(filePath: string, descriptor: number, dtype: TokenDtype, length: number): TokenFile {
  const width = bytesPerToken[dtype];
  let open = true;
  let scratch = Buffer.alloc(0); // reused by small reads, since an allocation per row would dominate the time of a batch
  return {
    path: filePath,
    length,
    read(start, count) {
      if (!open) throw new Error(`Cannot read ${filePath}: it has been closed.`);
      if (!Number.isInteger(start) || !Number.isInteger(count) || start < 0 || count < 0 || start + count > length) {
        throw new RangeError(`Cannot read ids ${start} to ${start + count} of ${filePath}: it has ${length}.`);
      }
      if (count === 0) return new Int32Array(0);
      const byteCount = count * width;
      if (scratch.length < byteCount) scratch = Buffer.from(new ArrayBuffer(Math.max(byteCount, 8192)));
      const bytes = scratch.subarray(0, byteCount);
      for (let done = 0; done < byteCount; ) {
        const got = fs.readSync(descriptor, bytes, done, byteCount - done, start * width + done);
        if (got === 0)
          throw new RangeError(`Cannot read ids from ${filePath}: it has become shorter since it was opened.`);
        done += got;
      }
      toLittleEndian(bytes, dtype);
      const Ids = dtype === "uint16" ? Uint16Array : Uint32Array;
      const ids = new Int32Array(new Ids(bytes.buffer, bytes.byteOffset, count));
      if (scratch.length > 1 << 20) scratch = Buffer.alloc(0);
      return ids;
    },
    close() {
      if (open) fs.closeSync(descriptor);
      open = false;
    },
  };
}
