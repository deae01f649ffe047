import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { float32, int32 } from "../../lib/engine/host-tensors.js";
import { readSafetensors, writeSafetensors } from "../../lib/weights/safetensors.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
let files = 0;
const newFile = () => path.join(folder, `${files++}.safetensors`);

/** A file with this header and the given number of bytes after it. */
function write(header: unknown, dataBytes: number, claimedLength?: bigint): string {
  const file = newFile();
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimedLength ?? BigInt(text.length));
  fs.writeFileSync(file, Buffer.concat([length, text, Buffer.alloc(dataBytes)]));
  return file;
}

const entry = (from: number, to: number, more: object = {}) => ({
  dtype: "F32",
  shape: [(to - from) / 4],
  data_offsets: [from, to],
  ...more,
});

describe("writeSafetensors() and readSafetensors()", () => {
  test("round-trip shapes, types, order, and extreme values", () => {
    const file = newFile();
    const tensors = {
      second: float32([1.5, -0, Number.POSITIVE_INFINITY, 1e-45, 3.4e38, 0], [2, 3]),
      first: int32([-(2 ** 31), 2 ** 31 - 1], [2]),
      mask: { dtype: "bool" as const, shape: [3], values: Uint8Array.of(1, 0, 1) },
      scalar: float32([7], []),
      nothing: float32([], [0, 4]),
      "ключ 🙂": float32([1], [1]),
    };
    writeSafetensors(file, tensors, { format: "pt" });
    expect(readSafetensors(file)).toEqual(tensors);
    expect(Object.keys(readSafetensors(file))).toEqual(Object.keys(tensors));
    const headerBytes = Number(fs.readFileSync(file).readBigUInt64LE());
    expect(headerBytes % 8).toBe(0);
  });

  test("accept a file without tensors", () => {
    const file = newFile();
    writeSafetensors(file, {});
    expect(readSafetensors(file)).toEqual({});
    expect(readSafetensors(write({}, 0))).toEqual({});
  });

  test("write only the bytes of a view, not those around it", () => {
    const file = newFile();
    writeSafetensors(file, { view: float32(Float32Array.of(1, 2, 3, 4).subarray(1, 3), [2]) });
    expect([...readSafetensors(file).view!.values]).toEqual([2, 3]);
  });

  test("accept names of Object.prototype", () => {
    const file = newFile();
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty"];
    const tensors = Object.fromEntries(names.map((name, i) => [name, float32([i], [1])]));
    writeSafetensors(file, tensors);
    const read = readSafetensors(file);
    expect(Object.keys(read)).toEqual(names);
    for (const [i, name] of names.entries()) {
      expect(Object.getOwnPropertyDescriptor(read, name)!.value.values[0]).toBe(i);
    }
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>).dtype).toBe(undefined);
  });

  test("refuse __metadata__ as the name of a tensor, and do not overwrite files", () => {
    const file = newFile();
    expect(() => writeSafetensors(file, { __metadata__: float32([1], [1]) })).toThrow("may be called __metadata__");
    expect(fs.existsSync(file)).toBe(false);
    writeSafetensors(file, {});
    expect(() => writeSafetensors(file, {})).toThrow("EEXIST");
  });

  test("read 16-bit floats as float32, and write float32 as 16 bits on request, integers unchanged", () => {
    for (const [floats, third, bytes] of [
      ["float16", 0.333251953125, 2] as const,
      ["bfloat16", 0.333984375, 2] as const,
    ]) {
      const file = newFile();
      writeSafetensors(file, { a: float32([1.5, -2, 1 / 3], [3]), b: int32([7], [1]) }, {}, { floats });
      expect(readSafetensors(file)).toEqual({ a: float32([1.5, -2, third], [3]), b: int32([7], [1]) });
      expect(fs.readFileSync(file).toString("latin1")).toContain(`"data_offsets":[0,${3 * bytes}]`);
    }
  });

  test("read only the requested tensors; others may have any type", () => {
    const file = write({ mask: entry(0, 4, { dtype: "U8", shape: [4] }), a: entry(4, 8), b: entry(8, 12) }, 12);
    expect(Object.keys(readSafetensors(file, { only: (name) => name === "a" }))).toEqual(["a"]);
    expect(() => readSafetensors(file)).toThrow("tensor mask has type U8");
  });

  test("read tensors whose order differs from that of their bytes", () => {
    const file = write({ b: entry(4, 8), a: entry(0, 4), empty: entry(4, 4) }, 8);
    expect(Object.keys(readSafetensors(file))).toEqual(["b", "a", "empty"]);
  });
});

describe("readSafetensors() refuses", () => {
  const cases: Record<string, [file: string, message: string]> = {
    "a file that is not there": [path.join(folder, "none.safetensors"), "it is missing"],
    "a header longer than the file": [write("{}", 0, 3n), "its header claims 3 bytes"],
    "a header of 2⁶⁴ − 1 bytes": [write("{}", 0, 2n ** 64n - 1n), "its header claims"],
    "a header that is not JSON": [write("{]", 0), "its header is not JSON"],
    "a header that is a list": [write("[]", 0), "not a JSON object"],
    "a header that is null": [write("null", 0), "not a JSON object"],
    "an entry that is null": [write({ a: null }, 0), 'the entry "a"'],
    "an entry without a shape": [write({ a: entry(0, 4, { shape: undefined }) }, 4), 'the entry "a"'],
    "a negative axis": [write({ a: entry(0, 4, { shape: [-1] }) }, 4), 'the entry "a"'],
    "an axis of 1.5": [write({ a: entry(0, 4, { shape: [1.5] }) }, 4), 'the entry "a"'],
    "three offsets": [write({ a: entry(0, 4, { data_offsets: [0, 4, 4] }) }, 4), 'the entry "a"'],
    "offsets below 0": [write({ a: entry(0, 4, { data_offsets: [-4, 0] }) }, 4), 'the entry "a"'],
    "an unknown type": [write({ a: entry(0, 4, { dtype: "F8_E4M3" }) }, 4), "has type F8_E4M3"],
    "offsets that run backwards": [write({ a: entry(0, 4, { data_offsets: [4, 0] }) }, 4), "tensor a ends at byte 0"],
    "a tensor beyond the end": [write({ a: entry(0, 8) }, 4), "ends at byte 8 of 4: the file is cut short"],
    "bytes that are not the shape's": [write({ a: entry(0, 8, { shape: [3] }) }, 8), "has 8 bytes instead of 12"],
    "a shape of more bytes than numbers can count": [
      write({ a: entry(0, 4, { shape: [2 ** 50, 2 ** 50, 2 ** 50] }) }, 4),
      "has 4 bytes instead of",
    ],
    "tensors that overlap": [write({ a: entry(0, 8), b: entry(4, 12) }, 12), "tensor b begins at byte 4"],
    "two names for the same bytes": [write({ a: entry(0, 4), b: entry(0, 4) }, 4), "tensor b begins at byte 0"],
    "a gap between tensors": [write({ a: entry(0, 4), b: entry(8, 12) }, 12), "tensor b begins at byte 8"],
    "bytes behind the last tensor": [write({ a: entry(0, 4) }, 12), "its tensors end at byte 4 of 12"],
    "a folder": [folder, "it is a folder, not a file"],
  };
  for (const [name, [file, message]] of Object.entries(cases)) {
    test(name, () => {
      expect(() => readSafetensors(file)).toThrow(message);
      expect(() => readSafetensors(file)).toThrow(`Cannot read ${file}: `);
    });
  }

  test("a file truncated at any byte, and closes it", () => {
    const whole = newFile();
    writeSafetensors(whole, { a: float32([1, 2], [2]), b: int32([3], [1]) });
    const bytes = fs.readFileSync(whole);
    const openBefore = openFiles();
    for (let length = 0; length < bytes.length; length++) {
      const cut = path.join(folder, "cut");
      fs.writeFileSync(cut, bytes.subarray(0, length));
      expect(() => readSafetensors(cut), `${length} bytes`).toThrow("Cannot read");
    }
    expect(openFiles()).toBe(openBefore);
  });
});

const openFiles = () => (process.platform === "linux" ? fs.readdirSync("/proc/self/fd").length : 0);
