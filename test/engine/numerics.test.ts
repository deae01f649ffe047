/** The numerics of a resumed run, on a machine that supports the same ones and on one that does not. */
import { describe, expect, test } from "vitest";
import type { ResolvedDevice } from "../../lib/engine/device.js";
import { differingNumerics, type Numerics, numericsOf, withNumerics } from "../../lib/engine/numerics.js";

const machine: ResolvedDevice = {
  device: "cpu",
  deviceReason: "asked for",
  dtype: "float32",
  dtypeReason: "the processor has no bfloat16 instructions",
  compile: true,
  operations: "avx512",
  products: { small: "folio", large: "folio" },
};
const here = numericsOf(machine);
const what = { what: "the run in out", allow: false };

describe("withNumerics()", () => {
  test("uses the format and the products of the run, whatever this machine would choose", () => {
    const kept: Numerics = { ...here, dtype: "bfloat16", products: { small: "tensorflow", large: "folio" } };
    expect(withNumerics(machine, kept, what)).toEqual({
      ...machine,
      dtype: "bfloat16",
      dtypeReason: "as in the run in out so far",
      products: { small: "tensorflow", large: "folio" },
    });
    expect(withNumerics(machine, here, what)).toEqual(machine);
  });

  test("leaves the machine's choice if the run does not record its numerics, as in older versions", () => {
    expect(withNumerics(machine, undefined, what)).toBe(machine);
  });

  test("refuses other operations or another device and says which, or uses this machine's on request", () => {
    const kept: Numerics = { ...here, operations: "avx2", dtype: "bfloat16" };
    expect(() => withNumerics(machine, kept, what)).toThrow(
      "Cannot continue the run in out with the same numbers: operations avx512 here, avx2 there. Continue it on the machine where it began, or accept that it rounds differently from now on (allowOtherNumerics: true).",
    );
    expect(withNumerics(machine, kept, { ...what, allow: true })).toBe(machine);
    expect(() => withNumerics(machine, { device: "cuda", dtype: "bfloat16" }, what)).toThrow(
      /device cpu here, cuda there/,
    );
  });
});

describe("differingNumerics()", () => {
  test("includes the processor's instruction sets if the choice depends on them", () => {
    const there: Numerics = { ...here, instructions: ["avx2"] };
    const elsewhere: Numerics = { ...here, instructions: ["avx2", "avx512f"] };
    // Both run the same code of Folio.
    expect(differingNumerics(elsewhere, there)).toEqual([]);
    const mixed = { ...there, products: { small: "folio", large: "tensorflow" } } as const;
    expect(differingNumerics(elsewhere, mixed)).toEqual(["instruction sets avx2 avx512f here, avx2 there"]);
  });

  test("a GPU uses neither operations nor products of Folio", () => {
    const { operations: _, products: __, ...gpu } = { ...machine, device: "cuda" as const };
    expect(numericsOf(gpu)).toEqual({ device: "cuda", dtype: "float32" });
    expect(differingNumerics(numericsOf(gpu), { device: "cuda", dtype: "bfloat16" })).toEqual([]);
  });
});
