/** The number format of `dtype auto` on each device, and which formats are refused. */
import { describe, expect, test } from "vitest";
import { autoDtype, checkDtype, instructionFlags, parseCpuFlags } from "../../lib/engine/number-format.js";
import { productsOf } from "../../lib/engine/tensorflow/session-config.js";

const cpu = (...flags: string[]) => ({ device: "cpu", operations: "avx2", flags, compile: true }) as const;
const gpu = (computeCapability?: number) =>
  ({ device: "cuda", operations: undefined, flags: [], computeCapability, compile: true }) as const;

describe("autoDtype()", () => {
  test.each([
    [cpu("avx2", "fma"), "float32", "the processor has no bfloat16 instructions"],
    [cpu("avx512f", "avx512_vnni"), "float32", "the processor has no bfloat16 instructions"],
    [cpu("avx2", "avx512_bf16"), "bfloat16", "the processor has avx512_bf16"],
    [cpu("avx512_bf16", "amx_bf16"), "bfloat16", "the processor has avx512_bf16 and amx_bf16"],
    [cpu("asimd", "sve", "bf16"), "bfloat16", "the processor has bf16"],
    [{ ...cpu("avx512_bf16"), operations: undefined }, "float32", "bfloat16 is slow without Folio's own operations"],
    [gpu(9), "bfloat16", "the GPU has compute capability 9.0"],
    [gpu(8), "bfloat16", "the GPU has compute capability 8.0"],
    [gpu(7.5), "float32", "the GPU has compute capability 7.5, but bfloat16 needs 8.0"],
    [gpu(), "float32", "the GPU's compute capability is unknown"],
    [{ ...cpu("amx_bf16"), compile: false }, "float32", "eager steps have no other format"],
    [{ ...gpu(9), compile: false }, "float32", "eager steps have no other format"],
  ] as const)("of %j is %s", (facts, dtype, reason) => {
    expect(autoDtype(facts)).toEqual({ dtype, reason });
  });
});

describe("productsOf()", () => {
  const how = { dtype: "bfloat16", device: "cpu", fused: true } as const;
  test.each([
    [how, "bfloat16"],
    [{ ...how, dtype: "float32" }, "float32"],
    [{ ...how, dtype: "float16" }, "shortened"],
    [{ ...how, device: "cuda" }, "shortened"],
    [{ ...how, fused: false }, "shortened"],
  ] as const)("of %j is %s", (facts, products) => {
    expect(productsOf(facts)).toBe(products);
  });
});

describe("checkDtype()", () => {
  test("accepts formats that the device supports, even if they are slow", () => {
    for (const facts of [cpu(), gpu(), gpu(8)]) {
      for (const dtype of ["float32", "bfloat16", "float16"] as const) {
        expect(() => checkDtype(dtype, facts)).not.toThrow();
      }
    }
    expect(() => checkDtype("float16", gpu(7))).not.toThrow();
    expect(() => checkDtype("float32", { ...gpu(3), compile: false })).not.toThrow();
  });

  test("refuses other formats and says what to use", () => {
    expect(() => checkDtype("bfloat16", gpu(7.5))).toThrow(
      "Cannot use dtype bfloat16: the GPU has compute capability 7.5, but bfloat16 needs 8.0; use dtype float16 or float32.",
    );
    expect(() => checkDtype("float16", gpu(6.1))).toThrow(/but float16 needs 7\.0; use dtype float32\.$/);
    expect(() => checkDtype("float16", { ...cpu(), compile: false })).toThrow(/Cannot use dtype float16 eagerly/);
  });
});

test("the processor's flags are read from /proc/cpuinfo, on x86 and on Arm", () => {
  expect(parseCpuFlags("processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\nbugs\t: x\n")).toContain("amx_bf16");
  expect(parseCpuFlags("processor\t: 0\nFeatures\t: fp asimd bf16\n")).toEqual(["fp", "asimd", "bf16"]);
  if (process.platform === "linux") expect(instructionFlags().length).toBeGreaterThan(1);
});
