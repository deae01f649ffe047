import { describe, expect, test } from "vitest";
import { fromHalf, toHalf } from "../../lib/host/sixteen-bit.js";

const f32 = (...values: number[]) => Float32Array.from(values);

describe("float16", () => {
  test("has the values of the standard", () => {
    const codes = Uint16Array.of(0, 0x8000, 1, 0x03ff, 0x0400, 0x3555, 0x3c00, 0xc000, 0x7bff, 0x7c00, 0xfc00, 0x7e00);
    const values = [
      0,
      -0,
      2 ** -24,
      1023 * 2 ** -24,
      2 ** -14,
      0.333251953125,
      1,
      -2,
      65504,
      Infinity,
      -Infinity,
      Number.NaN,
    ];
    expect([...fromHalf("float16", codes)]).toEqual(values);
    expect(toHalf("float16", f32(...values))).toEqual(codes);
  });

  test("all 63,488 numbers are converted back without change", () => {
    const codes = Uint16Array.from({ length: 65_536 }, (_, code) => code).filter((code) => (code & 0x7c00) !== 0x7c00);
    expect(toHalf("float16", fromHalf("float16", codes))).toEqual(codes);
  });

  test("ties round to even, and slightly larger values round up, at every magnitude", () => {
    for (let code = 0; code < 0x7bff; code += 7) {
      const [low, high] = fromHalf("float16", Uint16Array.of(code, code + 1)) as unknown as [number, number];
      const middle = (low + high) / 2; // exact in float32
      const above = new Float32Array(new Uint32Array([new Uint32Array(f32(middle).buffer)[0]! + 1]).buffer)[0]!;
      expect([...toHalf("float16", f32(middle, above, -middle))]).toEqual([
        code + (code % 2),
        code + 1,
        0x8000 + code + (code % 2),
      ]);
    }
    expect([...toHalf("float16", f32(65519, 65520, -1e30, 1e-30))]).toEqual([0x7bff, 0x7c00, 0xfc00, 0]);
  });
});

describe("bfloat16", () => {
  test("is the upper half of float32, with ties rounded to even", () => {
    const codes = Uint16Array.of(0, 0x8000, 0x3f80, 0xc000, 0x7f80, 1, 0x7f7f);
    const values = [0, -0, 1, -2, Infinity, 2 ** -133, 3.3895313892515355e38];
    expect([...fromHalf("bfloat16", codes)]).toEqual(values);
    expect(toHalf("bfloat16", f32(...values))).toEqual(codes);
    const ulp = 2 ** -7;
    expect([...toHalf("bfloat16", f32(1 + ulp / 2, 1 + (3 * ulp) / 2, 1 + ulp / 2 + 2 ** -23, 3.4e38))]).toEqual([
      0x3f80, 0x3f82, 0x3f81, 0x7f80,
    ]);
    const nan = new Float32Array(new Uint32Array([0x7f800001]).buffer);
    expect(fromHalf("bfloat16", toHalf("bfloat16", nan))[0]).toBeNaN();
  });
});
