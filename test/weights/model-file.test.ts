/** A model in one file: what a page saves, and files that are none. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { modelBytes } from "../../lib/inspect/live/save-model.js";
import { openModel } from "../../lib/weights/open-model.js";
import { writeSafetensors } from "../../lib/weights/safetensors.js";
import { goldenModel, goldenModels } from "../inspect/golden-models.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
const { held } = goldenModel("untied");
const tokenizer = { kind: "none", vocabSize: held.settings.vocabSize } as const;

function saved(name: string, floats?: "float16"): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, Buffer.concat(modelBytes({ params: held.params, model: held.settings, tokenizer }, floats)));
  return file;
}

describe("a model in one file", () => {
  test.each(goldenModels)("comes back as it was: %s", async (name) => {
    const { held } = goldenModel(name);
    const file = path.join(folder, `${name}.safetensors`);
    const tokenizer = { kind: "none", vocabSize: held.settings.vocabSize } as const;
    fs.writeFileSync(file, Buffer.concat(modelBytes({ params: held.params, model: held.settings, tokenizer })));
    const found = await openModel(file);
    expect(found.params).toEqual(held.params);
    const { nLayer, nHead, nEmbd, blockSize, vocabSize, bias, tieHead, gelu } = held.settings;
    expect(found.settings).toMatchObject({ nLayer, nHead, nEmbd, blockSize, vocabSize, bias, tieHead, gelu });
    expect(found.tokenizer?.toJSON()).toEqual(tokenizer);
  });

  test("in 16 bits takes half the bytes", () => {
    const [whole, half] = [saved("a.safetensors"), saved("b.safetensors", "float16")].map(
      (file) => fs.statSync(file).size,
    );
    expect(half! / whole!).toBeLessThan(0.75);
  });

  const params = held.params;
  const describedBy = (changes: object) => {
    const bytes = modelBytes({ params, model: held.settings, tokenizer });
    const length = Number(new DataView(bytes[0]!.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes[0]!.subarray(8, 8 + length)));
    return { folio: JSON.stringify({ ...JSON.parse(header.__metadata__.folio), ...changes }) };
  };
  const { "wpe.weight": wpe, ...without } = params;
  const wrong: [string, typeof params, Record<string, string>, RegExp][] = [
    ["weights alone", params, {}, /does not say of which model; wanted a file that a page of Folio's saved/],
    ["another version", params, describedBy({ version: 2 }), /version is 2/],
    ["no JSON", params, { folio: "{" }, /its description is wrong/],
    [
      "a shape that is none",
      params,
      describedBy({ model: { nLayer: -1 } }),
      /its description is wrong: .*nLayer|n_layer/i,
    ],
    ["no tokenizer's kind", params, describedBy({ tokenizer: { kind: "x" } }), /its kind is "x"/],
    ["a tensor too few", without, describedBy({}), /wpe\.weight is missing/],
    ["a tensor too many", { ...params, more: wpe! }, describedBy({}), /it has the tensor more/],
    [
      "another vocabulary",
      params,
      describedBy({ model: { ...held.settings, vocabSize: 7 } }),
      /wte\.weight is \[\d+,\d+\], but the model needs \[7,\d+\]/,
    ],
  ];
  test.each(wrong)("with %s is refused", async (name, tensors, metadata, message) => {
    const file = path.join(folder, `${name}.safetensors`);
    writeSafetensors(file, tensors, metadata);
    await expect(openModel(file)).rejects.toThrow(message);
  });

  test("cut short is refused", async () => {
    const file = saved("short.safetensors");
    fs.truncateSync(file, fs.statSync(file).size - 4);
    await expect(openModel(file)).rejects.toThrow(/wanted a complete safetensors file/);
  });
});
