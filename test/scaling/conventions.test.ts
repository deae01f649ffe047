import { describe, expect, test } from "vitest";
import { chinchillaFlops, chinchillaParameters, gpt2Shapes } from "../../lib/model/sizing.js";
import { defaultSettings } from "../../lib/settings/settings.js";
import { countFlops, countParameters } from "../../scaling/conventions.js";
import { sizeColumns } from "../../scaling/sweep/columns.js";

// nanoGPT's transformer_sizing.ipynb: GPT-2 124M without biases.
const gpt2 = { ...gpt2Shapes.gpt2, bias: false };

describe("countParameters()", () => {
  test("counts GPT-2 in three ways", () => {
    expect(countParameters(gpt2, "total")).toBe(124_337_664);
    expect(countParameters(gpt2, "blocks")).toBe(84_953_088 + 768);
    expect(countParameters(gpt2, "blocks-head")).toBe(84_953_088 + 768 + 38_597_376);
  });

  // gpt_params of nanoGPT's scaling_laws.ipynb counts the head and no embeddings.
  test.each([
    ["gpt2", 123_653_376],
    ["gpt2-medium", 353_774_592],
    ["gpt2-large", 772_719_360],
    ["gpt2-xl", 1_555_972_800],
  ] as const)("blocks-head of %s is nanoGPT's gpt_params", (name, parameters) => {
    expect(countParameters(gpt2Shapes[name], "blocks-head")).toBe(parameters);
  });

  test("the head counts once, whether it is tied or not", () => {
    const untied = { ...gpt2, tieHead: false };
    expect(countParameters(untied, "blocks-head")).toBe(countParameters(gpt2, "blocks-head"));
    expect(countParameters(untied, "total")).toBe(124_337_664 + 38_597_376);
  });
});

describe("countFlops()", () => {
  const by = (flops: "6ND" | "attention" | "chinchilla" | "palm", shape = gpt2) =>
    countFlops(shape, 1024, { parameters: "blocks-head", flops });

  test("counts a sequence of GPT-2 in four ways", () => {
    expect(by("attention")).toBe(874_944_921_600);
    expect(by("palm")).toBe(875_062_886_400);
    expect(by("6ND")).toBe(6 * 123_551_232 * 1024);
    expect(countFlops(gpt2, 1024, { parameters: "total", flops: "6ND" })).toBe(6 * 124_337_664 * 1024);
    // All but the logits, with 3·H·T² for softmax per layer, times three (the backward pass costs twice the forward
    // pass).
    expect(by("chinchilla")).toBe(874_944_921_600 - 3 * 79_047_426_048 + 3 * 12 * 3 * 12 * 1024 * 1024);
  });

  // Hoffmann 2022, table A4.
  test.each([
    [10, 640, 10, 73_825_280, 929_877_196_800, "1.025036"],
    [20, 1024, 16, 305_707_008, 4_135_248_199_680, "1.100817"],
    [24, 1280, 10, 552_604_160, 7_353_453_772_800, "1.082919"],
    [26, 1792, 14, 1_143_453_696, 14_670_316_437_504, "1.044094"],
    [28, 2048, 16, 1_593_126_912, 20_220_437_594_112, "1.032902"],
    [40, 3584, 28, 6_796_274_688, 83_021_046_743_040, "0.994114"],
  ])("chinchilla of %d/%d is table A4's", (nLayer, nEmbd, nHead, parameters, flops, ratio) => {
    const shape = { ...gpt2, nLayer, nEmbd, nHead, blockSize: 2048, vocabSize: 32_000 };
    expect(countFlops(shape, 2048, { parameters: "blocks-head", flops: "chinchilla" })).toBe(flops);
    expect(chinchillaFlops({ layers: nLayer, width: nEmbd, heads: nHead })).toBe(flops);
    const N = chinchillaParameters({ layers: nLayer, width: nEmbd, heads: nHead });
    expect(N).toBe(parameters);
    expect((flops / (6 * N * 2048)).toFixed(6)).toBe(ratio);
  });

  test("a sweep's table has the same counts", () => {
    const settings = { ...defaultSettings, nLayer: 3, nHead: 2, nEmbd: 24, blockSize: 32, vocabSize: 65 };
    expect(sizeColumns(settings, 1e6)).toMatchObject({
      n_blocks: countParameters(settings, "blocks"),
      n_blocks_head: countParameters(settings, "blocks-head"),
      n_total: countParameters(settings, "total"),
      c_6nd: countFlops(settings, 1e6, { parameters: "blocks-head", flops: "6ND" }),
      c_attention: countFlops(settings, 1e6, { parameters: "blocks-head", flops: "attention" }),
      c_chinchilla: countFlops(settings, 1e6, { parameters: "blocks-head", flops: "chinchilla" }),
      c_palm: countFlops(settings, 1e6, { parameters: "blocks-head", flops: "palm" }),
    });
  });
});
