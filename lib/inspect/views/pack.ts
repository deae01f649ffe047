/** What views in a page are made of: arrays as base64 text, and pixels as PNG pictures. */
import { crc32, deflateSync } from "node:zlib";
import { toHalf } from "../../host/sixteen-bit.js";
import { type Packed, type PackedText, sizeOf } from "../page/parts/numbers.js";
import { setPainter } from "../page/parts/scale.js";

/**
 * An array for a page; float16 keeps three digits, uint8 shares of 1 in steps of 1/255.
 * @throws {RangeError} when the number of values is not that of the shape
 */
export function pack(
  values: ArrayLike<number>,
  shape: readonly number[],
  format: PackedText["format"] = "float16",
): Packed {
  if (values.length !== sizeOf(shape)) {
    throw new RangeError(`Cannot show an array: it has ${values.length} values; wanted [${shape.join(", ")}].`);
  }
  const numbers = values instanceof Float32Array ? values : Float32Array.from(values);
  const typed =
    format === "uint8"
      ? Uint8Array.from(numbers, (x) => Math.round(255 * Math.min(1, Math.max(0, x))))
      : format === "float16"
        ? toHalf("float16", numbers)
        : numbers;
  const bytes = Buffer.from(typed.buffer, typed.byteOffset, typed.byteLength);
  return { shape: [...shape], format, base64: bytes.toString("base64") };
}

/** RGBA pixels as a PNG file (W3C PNG specification, colour type 6, no filter). */
export function png(pixels: Uint8ClampedArray, width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 6], 8); // bits per channel, RGBA
  const rows = Buffer.alloc(height * (1 + 4 * width)); // each row begins with its filter: 0, none
  for (let y = 0; y < height; y++) {
    rows.set(pixels.subarray(4 * width * y, 4 * width * (y + 1)), y * (1 + 4 * width) + 1);
  }
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

setPainter((pixels, width, height) => `data:image/png;base64,${png(pixels, width, height).toString("base64")}`);
