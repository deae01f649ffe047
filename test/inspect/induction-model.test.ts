/** The trained model that comes with Folio does what data/induction/README.md says of it, and is in the npm package. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import induction from "../../configs/induction.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { activationPatching } from "../../lib/inspect/measures/activation-patching.js";
import { repeatedTokens } from "../../lib/inspect/measures/attention-scores.js";
import { logitAttribution } from "../../lib/inspect/measures/logit-attribution.js";
import { tokenLosses } from "../../lib/inspect/measures/token-losses.js";
import { sample } from "../../lib/sample/sample.js";
import { type OpenModel, openModel } from "../../lib/weights/open-model.js";
import { loadPretrained } from "../../lib/weights/open-weights.js";
import { temporaryFolder } from "../tiny-run.js";
import { measureInduction } from "./induction.js";

const root = path.join(import.meta.dirname, "..", "..");
const folder = path.join(root, "data", "induction", "model");
const elsewhere = temporaryFolder();
let model: OpenModel;

beforeAll(async () => {
  loadTensorFlow();
  model = await openModel("induction");
});

describe('openModel("induction")', () => {
  test("has the shape of configs/induction.ts, and takes at most 1.5 MB", () => {
    const { nLayer, nHead, nEmbd, blockSize, tieHead, bias } = induction;
    expect(model.settings).toMatchObject({ nLayer, nHead, nEmbd, blockSize, tieHead, bias });
    const bytes = fs.readdirSync(folder).map((name) => fs.statSync(path.join(folder, name)).size);
    expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1.5e6);
  });

  test("has a previous-token head and an induction head; without them, copying costs at least 1 nat per token more", async () => {
    const { previousToken, induction, loss, ablatedLoss } = await measureInduction(model);
    expect([previousToken.layer, induction.layer]).toEqual([0, 1]);
    expect(previousToken.score).toBeGreaterThan(0.7);
    expect(induction.score).toBeGreaterThan(0.5);
    expect(loss).toBeLessThan(1); // ln 93 = 4.5 is chance
    expect(ablatedLoss - loss).toBeGreaterThan(1);
  });

  test("adds each logit up from its components, and copies by heads of its second layer, from where the token stood", async () => {
    const ids = repeatedTokens(model, { seed: 3, length: 30 });
    const [place, last] = [12, 41]; // the token at 12 follows that at 11, which is the one at 41
    const clean = ids.slice(0, last + 1);
    const right = ids[place]!;
    const wrong = Array.from({ length: 93 }, (_, id) => id).find((id) => !ids.includes(id))!;
    const corrupted = clean.with(place, wrong);
    const metric = { token: right, minus: wrong };
    const { sum, logit, contributions } = await logitAttribution(model, clean, metric);
    expect(logit).toBeGreaterThan(5);
    expect(Math.abs(sum - logit)).toBeLessThan(1e-4);
    const byHeads = contributions.filter(({ layer, head }) => layer === 1 && head !== undefined);
    expect(byHeads.reduce((all, { value }) => all + value, 0)).toBeGreaterThan(logit / 4); // its MLP adds most of the rest
    const names = ["resid_out", "attn.head_out"] as const;
    const { maps } = await activationPatching(model, clean, corrupted, { metric, names });
    expect(maps.resid_out[0]!.effects[place]).toBeGreaterThan(0.8);
    expect(maps.resid_out[1]!.effects[last]).toBeCloseTo(1, 4);
    expect(maps.resid_out[1]!.effects[place]).toBe(0);
    const heads = maps["attn.head_out"].filter(({ layer }) => layer === 1);
    expect(heads.reduce((all, { effects }) => all + effects[last]!, 0)).toBeGreaterThan(0.5);
  });

  test("can be read: a name that it has just read is cheaper the second time, and it writes declarations", async () => {
    const { losses, tokens } = await tokenLosses(model, "    zqxwvKey: string;\n    zqxwvKey");
    const second = tokens.join("").lastIndexOf("zqxwv") + 1;
    const total = (from: number) => losses.slice(from, from + 4).reduce<number>((sum, loss) => sum + (loss ?? 0), 0);
    expect(total(second)).toBeLessThan(total(5) - 4);
    let text = "";
    const options = { prompt: "declare var HTML", maxNewTokens: 40, topK: 1 };
    for await (const { text: piece } of sample(model, model.tokenizer!, options)) text += piece;
    expect(text).toMatch(/^\w*: \{\n {4}prototype: HTML\w*/);
  });

  test("is a Hugging Face folder; a folder of that name elsewhere comes first", async () => {
    const files = fs.readdirSync(folder);
    expect(files).toEqual(expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json"]));
    const before = process.cwd();
    process.chdir(elsewhere);
    try {
      expect((await loadPretrained("induction")).model.nLayer).toBe(2);
      fs.mkdirSync("induction");
      await expect(loadPretrained("induction")).rejects.toThrow("the folder has no checkpoint");
      await expect(loadPretrained("inductoin")).rejects.toThrow("Did you mean induction?");
    } finally {
      process.chdir(before);
    }
  });

  test("is in the npm package", () => {
    const options = { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 } as const;
    const packed = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], options);
    const files = (JSON.parse(packed) as { files: { path: string }[] }[])[0]!.files.map((file) => file.path);
    for (const name of fs.readdirSync(folder)) expect(files).toContain(`data/induction/model/${name}`);
    expect(files).toContain("data/induction/README.md");
    expect(files.filter((file) => file.endsWith(".bin"))).toEqual([]);
  });
});
