/** The choice of number format and products from given measurements. */
import { describe, expect, test } from "vitest";
import {
  type Candidate,
  candidates,
  chooseFormat,
  chooseProducts,
  eagerRatio,
  gain,
  type MeasuredSteps,
  usualProducts,
} from "../../lib/engine/choices.js";

const rounds = 7;
/** Times about the given milliseconds; each round is a little slower or faster for all candidates alike. */
const times = (ms: number) => Array.from({ length: rounds }, (_, round) => ms * (1 + 0.02 * Math.sin(round)));

function measured(
  small: Partial<Record<Candidate, number>>,
  large: Partial<Record<Candidate, number>> = small,
): MeasuredSteps {
  const step = (ms: Partial<Record<Candidate, number>>) => ({
    shape: "a test's",
    gigaflop: 1,
    ms: Object.fromEntries(Object.entries(ms).map(([name, each]) => [name, times(each)])),
  });
  return { small: step(small), large: step(large) };
}

const avx2 = { operations: "avx2", flags: ["avx2", "fma"] };
const bf16 = { operations: "avx512bf16", flags: ["avx2", "avx512f", "avx512_bf16"] };
const amx = { operations: "avx512bf16", flags: ["avx512_bf16", "amx_bf16"] };
const without = (facts: typeof avx2) => ({ ...facts, operations: undefined });
const both = (whose: string) => ({ small: whose, large: whose });

describe("gain()", () => {
  test("of 4 % does not count, of 6 % counts", () => {
    expect(gain(times(104), times(100))).toBeUndefined();
    expect(gain(times(106), times(100))).toBeCloseTo(1.06);
    expect(gain(times(100), times(106))).toBeUndefined();
    expect(gain([], times(100))).toBeUndefined();
    expect(gain(times(100), [])).toBeUndefined();
  });

  test("is neither made nor hidden by one disturbed round", () => {
    const disturbed = (ms: number) => times(ms).with(3, 10 * ms);
    expect(gain(disturbed(100), times(100))).toBeUndefined();
    const many = { usual: [...times(120), ...times(120)], other: [...times(100), ...times(100)].with(5, 900) };
    expect(gain(many.usual, many.other)).toBeCloseTo(1.2);
  });

  test("does not count on a machine whose times vary, however large it is", () => {
    // two of five measurements made while two other programs were running
    expect(gain([388, 244, 289, 285, 337], [60, 63, 308, 217, 83])).toBeUndefined();
    expect(gain([1321, 1140, 1112, 1086, 925], [1096, 1028, 1084, 1025, 1115])).toBeUndefined();
  });
});

describe("chooseProducts()", () => {
  test("takes Folio's if they are loaded, TensorFlow's for AMX and for unsupported formats", () => {
    expect(usualProducts("float32", avx2)).toEqual(both("folio"));
    expect(usualProducts("float32", without(avx2))).toEqual(both("tensorflow"));
    expect(usualProducts("bfloat16", bf16)).toEqual(both("folio"));
    expect(usualProducts("bfloat16", avx2)).toEqual(both("tensorflow"));
    expect(usualProducts("bfloat16", amx)).toEqual(both("tensorflow"));
    expect(usualProducts("float16", bf16)).toEqual(both("tensorflow"));
    // of the variants, those that are compiled for it
    expect(usualProducts("bfloat16", { operations: "neonbf16", flags: ["bf16"] })).toEqual(both("folio"));
    expect(usualProducts("bfloat16", { ...bf16, operations: "avx2" })).toEqual(both("tensorflow"));
  });

  test("takes the others for the size and the format in which they gain more than 5 %", () => {
    const figures = measured(
      { "float32 folio": 104, "float32 tensorflow": 100, "bfloat16 folio": 90, "bfloat16 tensorflow": 120 },
      { "float32 folio": 127, "float32 tensorflow": 100, "bfloat16 folio": 120, "bfloat16 tensorflow": 110 },
    );
    expect(chooseProducts("float32", bf16, figures)).toEqual({ small: "folio", large: "tensorflow" });
    expect(chooseProducts("bfloat16", bf16, figures)).toEqual({ small: "folio", large: "tensorflow" });
    expect(chooseProducts("bfloat16", amx, figures)).toEqual({ small: "folio", large: "tensorflow" });
    expect(chooseProducts("float16", bf16, figures)).toEqual(both("tensorflow"));
    expect(chooseProducts("float32", bf16, undefined)).toEqual(both("folio"));
  });

  test("keeps TensorFlow's if Folio's are not loaded", () => {
    const figures = measured({ "float32 tensorflow": 100 });
    expect(candidates(without(avx2))).toEqual(["float32 tensorflow"]);
    expect(chooseProducts("float32", without(avx2), figures)).toEqual(both("tensorflow"));
  });
});

describe("chooseFormat()", () => {
  test("is bfloat16 if the hardware supports it and Folio's operations are loaded, unless measured otherwise", () => {
    expect(chooseFormat(avx2, undefined)).toEqual({
      dtype: "float32",
      reason: "the processor has no bfloat16 instructions",
    });
    expect(chooseFormat(bf16, undefined)).toEqual({ dtype: "bfloat16", reason: "the processor has avx512_bf16" });
    expect(chooseFormat(without(bf16), undefined)).toEqual({
      dtype: "float32",
      reason: "bfloat16 is slow without Folio's own operations",
    });
  });

  test("each format is measured with its best products: 4 % keeps the usual one, 6 % changes it", () => {
    const figures = (bfloat16: number) =>
      measured({
        ...{ "float32 folio": 120, "float32 tensorflow": 100 },
        ...{ "bfloat16 folio": bfloat16, "bfloat16 tensorflow": 2 * bfloat16 },
      });
    expect(chooseFormat(bf16, figures(104))).toMatchObject({ dtype: "bfloat16" });
    expect(chooseFormat(bf16, figures(106))).toEqual({
      dtype: "float32",
      reason: "a step took 1.06 times as long in bfloat16 when measured",
    });
    expect(chooseFormat(without(bf16), measured({ "float32 tensorflow": 106, "bfloat16 tensorflow": 100 }))).toEqual({
      dtype: "bfloat16",
      reason: "a step took 1.06 times as long in float32 when measured",
    });
  });

  test("a loss in the small step must be outweighed by a gain in the large one", () => {
    const figures = measured(
      { "float32 folio": 100, "bfloat16 folio": 150 },
      { "float32 folio": 150, "bfloat16 folio": 100 },
    );
    expect(chooseFormat(bf16, figures)).toMatchObject({ dtype: "bfloat16" });
    expect(chooseFormat(without(bf16), figures)).toMatchObject({ dtype: "float32" });
  });

  test("a processor without the instructions is not measured in bfloat16", () => {
    expect(candidates(avx2)).toEqual(["float32 folio", "float32 tensorflow"]);
    expect(candidates(bf16)).toHaveLength(4);
    expect(chooseFormat(avx2, measured({ "float32 folio": 1, "float32 tensorflow": 2 })).dtype).toBe("float32");
  });
});

test("eagerRatio() compares with the chosen products", () => {
  const figures = measured({ eager: 300, "float32 folio": 150, "float32 tensorflow": 100 });
  expect(eagerRatio(avx2, figures)).toBeCloseTo(3);
  expect(eagerRatio(avx2, measured({ "float32 folio": 100 }))).toBeUndefined();
  expect(eagerRatio(avx2, undefined)).toBeUndefined();
});
