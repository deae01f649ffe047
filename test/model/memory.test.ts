import { describe, expect, test } from "vitest";
import { memoryBytes, memoryTable, memoryWarning } from "../../lib/model/memory.js";
import { defaultSettings } from "../../lib/settings/settings.js";

const gpt2 = { ...defaultSettings, vocabSize: 50_257 };
const small = { ...defaultSettings, nLayer: 6, nHead: 6, nEmbd: 384, vocabSize: 65, gradientAccumulationSteps: 1 };

describe("memoryTable()", () => {
  test("counts per weight four bytes, eight for AdamW, four for gradients, and four more to accumulate", () => {
    const bytes = (part: string, settings = gpt2) => memoryTable(settings).find((row) => row.part === part)!.bytes;
    expect(bytes("weights")).toBe(4 * 124_337_664);
    expect(bytes("optimizer")).toBe(8 * 124_337_664);
    expect(bytes("gradients")).toBe(4 * 124_337_664);
    expect(bytes("accumulated gradients")).toBe(4 * 124_337_664);
    expect(bytes("accumulated gradients", { ...gpt2, gradientAccumulationSteps: 1 })).toBe(0);
    expect(bytes("logits")).toBe(8 * 12 * 1024 * 50_257);
    expect(bytes("activations")).toBe(4 * 12 * 1024 * 13 * 16 * 768);
  });

  // Peak resident memory of three training steps, Linux x86-64, 2 cores, Node 20, TensorFlow 2.21 (VmHWM, in MB).
  test.each([
    ["6L 384, 16 × 256", { ...small, blockSize: 256, batchSize: 16 }, 1494],
    ["6L 384, 16 × 512", { ...small, blockSize: 512, batchSize: 16 }, 2110],
    ["6L 384, 8 × 256, dropout", { ...small, blockSize: 256, batchSize: 8, dropout: 0.2 }, 1404],
    ["6L 384, 8 × 256, eager", { ...small, blockSize: 256, batchSize: 8, compile: false }, 2421],
    ["6L 384, 32 × 64, eager", { ...small, blockSize: 64, batchSize: 32, compile: false }, 1992],
    ["6L 384, 32 × 64, eager, dropout", { ...small, blockSize: 64, batchSize: 32, compile: false, dropout: 0.2 }, 2378],
    ["2L 128, 8 × 256, 50,257 ids", { ...gpt2, nLayer: 2, nHead: 4, nEmbd: 128, blockSize: 256, batchSize: 8 }, 1512],
    ["GPT-2 124M, 1 × 256", { ...gpt2, blockSize: 256, batchSize: 1, gradientAccumulationSteps: 1 }, 3383],
  ])("is within a third of what was measured: %s", (_name, settings, measuredMB) => {
    const ratio = memoryBytes(settings) / (measuredMB * 1e6);
    expect(ratio).toBeGreaterThan(0.75);
    expect(ratio).toBeLessThan(1.33);
  });

  test("on a GPU counts attention weights, but neither the program nor copies", () => {
    const rows = memoryTable(gpt2, { gpu: true });
    expect(rows.find(({ part }) => part === "program")!.bytes).toBe(0);
    expect(rows.find(({ part }) => part === "activations")!.formula).toBe("4 B T ((L + 1) 20 C + L 1 H T)");
  });
});

describe("memoryWarning()", () => {
  test("gives no warning if the run fits", () => {
    expect(memoryWarning(small, 64e9)).toBeUndefined();
  });

  test("proposes micro-batches that give the same update", () => {
    expect(memoryWarning(gpt2, 8e9)).toBe(
      "This run needs about 15.2 GB of memory, and there are 8.00 GB; try batchSize 4 with gradientAccumulationSteps 120 (the same update). `folio sizes` shows the parts.",
    );
  });

  test("proposes to compile an eager run", () => {
    const eager = { ...small, blockSize: 256, batchSize: 16, compile: false };
    expect(memoryWarning(eager, 2e9)).toContain("try compile (--compile=True keeps less), or batchSize");
  });

  test("proposes a smaller model if no batch is small enough", () => {
    expect(memoryWarning(gpt2, 1e9)).toContain("lower nLayer or nEmbd: a smaller batch is not enough");
  });

  test("proposes a shorter context if one sequence is too large", () => {
    const long = { ...small, batchSize: 1, blockSize: 32_768 };
    expect(memoryWarning(long, 2e9)).toMatch(/try blockSize \d+/);
  });
});
