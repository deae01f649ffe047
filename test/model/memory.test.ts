import { describe, expect, test } from "vitest";
import { gigabytes, memoryBytes, memoryTable, memoryWarning } from "../../lib/model/memory.js";
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

  // An odd shape, so that an exchange shows: 3 layers, 2 heads, 10 features, 7 positions, 13 ids, batches of 5.
  const odd = { ...defaultSettings, nLayer: 3, nHead: 2, nEmbd: 10, blockSize: 7, vocabSize: 13, batchSize: 5 };
  const N = 13 * 10 + 7 * 10 + 3 * (12 * 100 + 20) + 10;
  test.each([
    ["compiled", {}, {}, 4 * 16 * 10],
    ["compiled, dropout", { dropout: 0.1 }, {}, 4 * 16 * 10],
    ["eager", { compile: false }, {}, 3 * (67 * 10 + 8 * 2 * 7)],
    ["eager, dropout", { compile: false, dropout: 0.1 }, {}, 3 * (71.8 * 10 + 10.4 * 2 * 7)],
    ["a graphics card", {}, { gpu: true }, 4 * 20 * 10 + 3 * 2 * 7],
    ["a graphics card, dropout", { dropout: 0.1 }, { gpu: true }, 4 * 22 * 10 + 3 * 3 * 2 * 7],
  ])("adds up, by hand: %s", (_, more, where: { gpu?: boolean }, kept) => {
    for (const micros of [1, 4]) {
      const settings = { ...odd, ...more, gradientAccumulationSteps: micros };
      const bytes = Object.fromEntries(memoryTable(settings, where).map((row) => [row.part, row.bytes]));
      const program = where.gpu ? 0 : 450e6;
      const activations = 4 * 5 * 7 * kept;
      expect(bytes).toEqual({
        ...{ weights: 4 * N, optimizer: 8 * N, gradients: 4 * N, "accumulated gradients": micros > 1 ? 4 * N : 0 },
        ...{ activations: expect.closeTo(activations, 6), logits: 8 * 5 * 7 * 13 },
        ...{ "copy to open or save": where.gpu ? 0 : 12 * N, program },
        total: expect.closeTo(
          12 * N +
            (micros > 1 ? 4 * N : 0) +
            program +
            Math.max(activations + 8 * 5 * 7 * 13, where.gpu ? 4 * N : 12 * N),
          5,
        ),
      });
    }
  });

  test("gradients count where they are more than what the step keeps, and nothing is copied", () => {
    const tiny = { ...odd, batchSize: 1, blockSize: 1, gradientAccumulationSteps: 1, nEmbd: 64 };
    const rows = memoryTable(tiny, { gpu: true });
    const bytes = (part: string) => rows.find((row) => row.part === part)!.bytes;
    expect(bytes("gradients")).toBeGreaterThan(bytes("activations") + bytes("logits"));
    expect(bytes("total")).toBe(bytes("weights") + bytes("optimizer") + bytes("gradients"));
  });

  // Peak resident memory of three training steps, Linux x86-64, 2 cores, Node 20, TensorFlow 2.21 (VmHWM, in MB).
  test.each([
    ["6L 384, 16 × 256", { ...small, blockSize: 256, batchSize: 16 }, 1494],
    ["6L 384, 16 × 512", { ...small, blockSize: 512, batchSize: 16 }, 2110],
    ["6L 384, 8 × 256, dropout", { ...small, blockSize: 256, batchSize: 8, dropout: 0.2 }, 1006],
    ["6L 384, 8 × 256, eager", { ...small, blockSize: 256, batchSize: 8, compile: false }, 2421],
    ["6L 384, 32 × 64, eager", { ...small, blockSize: 64, batchSize: 32, compile: false }, 1992],
    ["6L 384, 32 × 64, eager, dropout", { ...small, blockSize: 64, batchSize: 32, compile: false, dropout: 0.2 }, 2057],
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
  test("says nothing when the run fits, to the byte", () => {
    expect(memoryWarning(small, memoryBytes(small))).toBeUndefined();
    expect(memoryWarning(small, memoryBytes(small) - 1)).toMatch(/^This run needs about /);
  });

  test("writes bytes as megabytes below a tenth of a gigabyte, and as gigabytes of three digits", () => {
    expect([9.94e6, 99.9e6, 100e6, 9.994e9, 10e9, 24.04e9].map(gigabytes)).toEqual([
      ...["9.9 MB", "99.9 MB", "0.10 GB", "9.99 GB", "10.0 GB", "24.0 GB"],
    ]);
  });

  test("proposes micro-batches that give the same update", () => {
    expect(memoryWarning(gpt2, 8e9)).toBe(
      "This run needs about 15.2 GB of memory, but there are only 8.00 GB; try batchSize 4 with gradientAccumulationSteps 120 (the same update). `folio sizes` shows the parts.",
    );
  });

  test("proposes to compile an eager run", () => {
    const eager = { ...small, blockSize: 256, batchSize: 16, compile: false };
    expect(memoryWarning(eager, 2e9)).toContain("try compile (--compile=True needs less), or batchSize");
  });

  test("proposes a smaller model if no batch is small enough", () => {
    expect(memoryWarning(gpt2, 1e9)).toContain("lower nLayer or nEmbd, since a smaller batch is not enough");
  });

  test("proposes a shorter context if one sequence is too large", () => {
    const long = { ...small, batchSize: 1, blockSize: 32_768 };
    expect(memoryWarning(long, 2e9)).toMatch(/try blockSize \d+/);
  });
});
