import { describe, expect, test } from "vitest";
import { findHardware, knownHardware } from "../../lib/host/hardware.js";
import { parameterSpecs } from "../../lib/model/model.js";
import {
  chinchillaFlops,
  chinchillaParameters,
  countParameters,
  flopsPerToken,
  flopsTable,
  gpt2Shapes,
  knownPeakFlops,
  modelFlopsUtilization,
  parameterTable,
  type SizeRow,
  tokensPerStep,
  trainingSeconds,
} from "../../lib/model/sizing.js";
import { defaultSettings } from "../../lib/settings/settings.js";

// nanoGPT's transformer_sizing.ipynb: GPT-2 124M without biases.
const gpt2 = { ...defaultSettings, vocabSize: 50_257 };
const counts = (rows: readonly SizeRow[]) => Object.fromEntries(rows.map(({ part, count }) => [part, count]));

describe("parameterTable()", () => {
  test("has the numbers of nanoGPT's transformer_sizing", () => {
    expect(counts(parameterTable(gpt2))).toEqual({
      "embedding/positions": 786_432,
      "embedding/tokens": 38_597_376,
      embedding: 39_383_808,
      "attention/norm": 768,
      "attention/qkv": 1_769_472,
      "attention/projection": 589_824,
      attention: 2_360_064,
      "mlp/norm": 768,
      "mlp/expand": 2_359_296,
      "mlp/contract": 2_359_296,
      mlp: 4_719_360,
      block: 7_079_424,
      blocks: 84_953_088,
      "final norm": 768,
      head: 0,
      total: 124_337_664,
    });
    expect(parameterTable(gpt2).at(-1)!.share).toBe(1);
    expect(parameterTable(gpt2)[1]!.share).toBeCloseTo(0.3104, 4);
  });

  test.each([
    ["124M", 12, 12, 768, 123_653_376, 124_439_808],
    ["350M", 24, 16, 1024, 353_774_592, 354_823_168],
    ["774M", 36, 20, 1280, 772_719_360, 774_030_080],
    ["1558M", 48, 25, 1600, 1_555_972_800, 1_557_611_200],
  ])("counts GPT-2 %s as nanoGPT's gpt_params does", (_name, nLayer, nHead, nEmbd, without, all) => {
    const shape = { ...gpt2, nLayer, nHead, nEmbd, bias: true };
    expect(countParameters(shape, { positions: false })).toBe(without);
    expect(countParameters(shape)).toBe(all);
  });

  // The sizes that nanoGPT's README gives its shapes.
  test.each([
    ["gpt2", 124_439_808],
    ["gpt2-medium", 354_823_168],
    ["gpt2-large", 774_030_080],
    ["gpt2-xl", 1_557_611_200],
  ] as const)("the published shape of %s has its parameters", (name, all) => {
    expect(countParameters(gpt2Shapes[name])).toBe(all);
  });

  test("counts the parameters of the model, with and without biases and an untied head", () => {
    for (const bias of [false, true]) {
      for (const tieHead of [false, true]) {
        const shape = {
          ...defaultSettings,
          nLayer: 3,
          nHead: 2,
          nEmbd: 10,
          blockSize: 7,
          vocabSize: 65,
          bias,
          tieHead,
        };
        const all = parameterSpecs(shape).reduce((sum, { shape: [rows, columns = 1] }) => sum + rows! * columns, 0);
        expect(countParameters(shape)).toBe(all);
        expect(countParameters(shape, { positions: false })).toBe(all - 7 * 10);
      }
    }
  });

  test("requires a vocabulary", () => {
    expect(() => parameterTable(defaultSettings)).toThrow("Cannot size the model: vocabSize is 0");
  });
});

describe("flopsTable()", () => {
  test("has the numbers of nanoGPT's transformer_sizing", () => {
    expect(counts(flopsTable(gpt2))).toEqual({
      "attention/qkv": 3_623_878_656,
      "attention/scores": 1_610_612_736,
      "attention/reduce": 1_610_612_736,
      "attention/projection": 1_207_959_552,
      attention: 8_053_063_680,
      "mlp/expand": 4_831_838_208,
      "mlp/contract": 4_831_838_208,
      mlp: 9_663_676_416,
      block: 17_716_740_096,
      blocks: 212_600_881_152,
      head: 79_047_426_048,
      forward: 291_648_307_200,
      backward: 583_296_614_400,
      total: 874_944_921_600,
    });
  });

  test("agrees with PaLM's formula to one in ten thousand", () => {
    const palm = flopsPerToken(gpt2) * 1024;
    expect(palm).toBe(875_062_886_400);
    expect((palm / flopsTable(gpt2).at(-1)!.count).toFixed(4)).toBe("1.0001");
  });

  test("an untied head costs the same as a tied one", () => {
    expect(flopsPerToken({ ...gpt2, tieHead: false })).toBe(flopsPerToken(gpt2));
  });

  test("PaLM's formula by hand: six a weight that multiplies, and attention's two squares, backward twice", () => {
    // 2 layers of 12·10² weights and two gains of 10, a last gain, 13 ids of 10; 12·L·C·T.
    const shape = { nLayer: 2, nHead: 2, nEmbd: 10, blockSize: 7, vocabSize: 13, bias: false, tieHead: true };
    expect(flopsPerToken(shape)).toBe(6 * (2 * (1200 + 20) + 10 + 130) + 12 * 2 * 10 * 7);
  });

  test("a total is its parts, each with its share", () => {
    const shape = { nLayer: 3, nHead: 2, nEmbd: 10, blockSize: 7, vocabSize: 13, bias: true, tieHead: false };
    for (const rows of [parameterTable(shape), flopsTable(shape)]) {
      const total = rows.at(-1)!.count;
      for (const { count, share } of rows) expect(share).toBeCloseTo(count / total, 15);
    }
    const of = counts(flopsTable(shape)) as Record<string, number>;
    // By hand: 2·T·C·(3C + C + 8C) and two squares of 2·T²·C a block; the head; backward twice forward.
    expect(of.block).toBe(2 * 7 * 10 * 120 + 4 * 7 * 7 * 10);
    expect(of.total).toBe(3 * (3 * of.block! + 2 * 7 * 10 * 13));
  });
});

describe("time and utilization", () => {
  test("a batch of 100 in 0.755 s on an A100 is 37.14 % of its peak", () => {
    const mfu = modelFlopsUtilization({
      flopsPerToken: flopsTable(gpt2).at(-1)!.count / 1024,
      tokensPerSecond: (100 * 1024) / 0.755,
      peakFlops: knownPeakFlops("A100", "bfloat16")!,
    });
    expect((100 * mfu).toFixed(2)).toBe("37.14");
  });

  test("300 billion tokens take 3.46 days on eight A100 at 30 %, by 6ND", () => {
    const flops = 6 * countParameters(gpt2) * 300e9;
    const seconds = trainingSeconds({ flops, peakFlops: 8 * 312e12, utilization: 0.3 });
    expect((seconds / 86_400).toFixed(2)).toBe("3.46");
  });

  test("a step of train_gpt2 has 491,520 tokens", () => {
    expect(tokensPerStep(defaultSettings)).toBe(491_520);
  });
});

describe("chinchillaFlops()", () => {
  // Hoffmann 2022, table A4, recomputed from nanoGPT's scaling_laws.ipynb; ratio to 6ND with D = 2,048.
  test.each([
    [10, 640, 10, 73_825_280, 929_877_196_800, "1.025036"],
    [20, 1024, 16, 305_707_008, 4_135_248_199_680, "1.100817"],
    [24, 1280, 10, 552_604_160, 7_353_453_772_800, "1.082919"],
    [26, 1792, 14, 1_143_453_696, 14_670_316_437_504, "1.044094"],
    [28, 2048, 16, 1_593_126_912, 20_220_437_594_112, "1.032902"],
    [40, 3584, 28, 6_796_274_688, 83_021_046_743_040, "0.994114"],
  ])("has table A4's row %i/%i", (layers, width, heads, parameters, flops, ratio) => {
    const shape = { layers, width, heads };
    expect(chinchillaParameters(shape)).toBe(parameters);
    expect(chinchillaFlops(shape)).toBe(flops);
    expect((flops / (6 * parameters * 2048)).toFixed(6)).toBe(ratio);
  });
});

describe("knownPeakFlops()", () => {
  test.each([
    ["NVIDIA A100-SXM4-80GB", "bfloat16", 312e12],
    ["NVIDIA A100 80GB PCIe", "float16", 312e12],
    ["NVIDIA A100-SXM4-40GB", "float32", 156e12],
    ["NVIDIA H100 80GB HBM3", "bfloat16", 989e12],
    ["NVIDIA H100 PCIe", "bfloat16", 756e12],
    ["NVIDIA H200", "bfloat16", 989e12],
    ["Tesla V100-SXM2-16GB", "float16", 125e12],
    ["Tesla V100-PCIE-32GB", "float16", 112e12],
    ["Tesla T4", "float16", 65e12],
    ["NVIDIA GeForce RTX 3090", "bfloat16", 71e12],
    ["NVIDIA GeForce RTX 4090", "bfloat16", 165.2e12],
    ["NVIDIA L4", "bfloat16", 121e12],
    ["NVIDIA L40S", "bfloat16", 362.05e12],
    ["NVIDIA A10", "bfloat16", 125e12],
    ["NVIDIA A10G", "bfloat16", 70e12],
    ["a100", "bfloat16", 312e12],
  ] as const)("%s in %s", (device, dtype, peak) => {
    expect(knownPeakFlops(device, dtype)).toBe(peak);
  });

  test("is undefined for unknown devices, and for formats that a GPU lacks", () => {
    expect(knownPeakFlops("Intel Xeon", "float32")).toBeUndefined();
    expect(knownPeakFlops("NVIDIA A1000", "float32")).toBeUndefined();
    expect(knownPeakFlops("Tesla V100-SXM2-16GB", "bfloat16")).toBeUndefined();
  });

  test("every name in the table finds its own row, and a memory size in the name is respected", () => {
    for (const name of knownHardware) expect(findHardware(name)!.name).toBe(name);
    expect(findHardware("NVIDIA A100-SXM4-80GB")!.memoryBytes).toBe(80e9);
    expect(findHardware("A100")!.memoryBytes).toBe(40e9);
  });
});
