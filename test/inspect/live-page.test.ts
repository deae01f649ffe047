/**
 * A model in a page: in Chromium with the network off, its values, edits, samples and training are Node's. Skipped without
 * Chromium. FOLIO_SCREENSHOTS=FOLDER stores screenshots.
 */
import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeDataset } from "../../lib/data/batches.js";
import { bpeTokenizer, gpt2Tokenizer, idTokenizer, tokenizerFromSpec } from "../../lib/data/tokenizers/tokenizer.js";
import { toHosts } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { uniform } from "../../lib/host/random.js";
import type { PageApi } from "../../lib/inspect/live/api.js";
import { editsOf } from "../../lib/inspect/live/edits.js";
import { writeLivePage } from "../../lib/inspect/live/write-page.js";
import { look } from "../../lib/inspect/look.js";
import { type ValueName, valueSpecs } from "../../lib/model/activations.js";
import { initialParameters } from "../../lib/model/model.js";
import { sample } from "../../lib/sample/sample.js";
import { parseSettings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { writeGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { type OpenModel, openModel } from "../../lib/weights/open-model.js";
import { needs } from "../needs.js";
import { collect, temporaryFolder } from "../tiny-run.js";
import { missingChromium, openBrowser, openFile, takeScreenshot, violations } from "./browser.js";
import { goldenModel, goldenModels, relative } from "./golden-models.js";

const folder = temporaryFolder();
const text = "the cat sat on the mat. the dog sat on the log. ".repeat(12);
let browser: Browser;
let model: OpenModel;
let file: string;

type InPage = { folio: PageApi };

/** The page of a file, once it shows something. */
async function opened(of: string, options: Parameters<typeof openFile>[2] = {}) {
  const found = await openFile(browser, of, options);
  await found.page.waitForSelector("#app[data-ready]", { timeout: 120_000 });
  return found;
}

beforeAll(async () => {
  if (missingChromium) return;
  loadTensorFlow();
  browser = await openBrowser();
  model = await openModel("induction");
  file = path.join(folder, "induction.html");
  await writeLivePage(model, file, { title: "Induction", text, prompt: "interface Window extends " });
});

afterAll(async () => await browser?.close());

/** Texts of the model's own characters. */
function randomTexts(count: number): string[] {
  const { vocabSize } = model.tokenizer!;
  return Array.from({ length: count }, (_, i) => {
    const length = 1 + Math.floor(uniform(1, "length", i) * model.settings.blockSize);
    return model.tokenizer!.decode(Array.from({ length }, (_, t) => Math.floor(uniform(1, "text", i, t) * vocabSize)));
  });
}

describe("a model in a page", needs(missingChromium), () => {
  test("is one file of up to 6 MB that asks the network for nothing and says what computes", async () => {
    expect(fs.statSync(file).size).toBeLessThan(6e6);
    const { page, complaints } = await opened(file);
    expect(complaints).toEqual([]);
    const { name, ms } = await page.evaluate(() => (window as unknown as InPage).folio.backend);
    expect(["wasm", "webgpu"]).toContain(name);
    expect(ms[name]).toBeGreaterThan(0);
    expect(await page.locator("header p").textContent()).toMatch(/428,800 parameters.*Web(Assembly|GPU), \d+ ms/);
    await page.context().close();
  });

  test("logits of 50 random prompts, greedy and seeded text are Node's", async () => {
    const { page } = await opened(file);
    const texts = randomTexts(50);
    const found = await page.evaluate(async (texts) => {
      const all: number[][][] = [];
      for (const text of texts) all.push(await (window as unknown as InPage).folio.logits(text));
      return all;
    }, texts);
    let largest = 0;
    for (const [i, text] of texts.entries()) {
      const { values } = (await look(model, text, ["logits"])).values.logits;
      const flat = found[i]!.flat();
      expect(flat.length).toBe(values.length);
      for (const [at, value] of values.entries()) largest = Math.max(largest, Math.abs(value - flat[at]!));
    }
    expect(largest).toBeLessThan(1e-3);
    const ways = [
      { prompt: "declare var ", maxNewTokens: 100, temperature: 1e-6 },
      { prompt: "interface ", maxNewTokens: 100, seed: 7, temperature: 1, topK: 20, topP: 0.95 },
    ];
    for (const way of ways) {
      const there = await page.evaluate((way) => (window as unknown as InPage).folio.sample(way), way);
      let here = "";
      for await (const token of sample(model, model.tokenizer!, { ...way, compile: false })) here += token.text;
      expect(there).toBe(here);
    }
    await page.context().close();
  });

  test.each(goldenModels)("every catalogued value of %s is Node's, also after edits", async (name) => {
    const { held, ids } = goldenModel(name);
    const tokenizer = idTokenizer(held.settings.vocabSize);
    const own = path.join(folder, `${name}.html`);
    const prompt = ids.join(" ");
    await writeLivePage({ ...held, tokenizer }, own, { prompt, dtype: "float32" });
    const { page, complaints } = await opened(own);
    const names = valueSpecs(held.settings).map((spec) => spec.name);
    const edits = [
      { name: "h.0.attn.heads" as ValueName, heads: [1] },
      { name: "h.1.mlp.out" as ValueName, positions: [0, 2], times: 0.5 },
    ];
    for (const plain of [[], edits]) {
      const found = await page.evaluate(
        ([prompt, names, plain]) => (window as unknown as InPage).folio.look(prompt, names, plain),
        [prompt, names, plain] as const,
      );
      const changed = editsOf(plain);
      const { values } = await look(held, ids, names, changed && { edits: changed });
      for (const name of names) {
        expect([name, found[name]!.shape]).toEqual([name, [...values[name]!.shape]]);
        expect([name, relative(found[name]!.values, values[name]!.values) < 1e-3]).toEqual([name, true]);
      }
    }
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  const bytePairs = bpeTokenizer([116, 104, 256, 101]);
  const fromHuggingFace = tokenizerFromSpec({
    kind: "huggingface",
    json: JSON.stringify({
      pre_tokenizer: { type: "Whitespace" },
      model: { type: "WordLevel", vocab: { "[UNK]": 0, the: 1, quick: 2, fox: 3 }, unk_token: "[UNK]" },
    }),
  });
  test.each([
    ["GPT-2's tokenizer", gpt2Tokenizer(), "Hello, world. naïve ☃ fox"],
    ["byte pairs of one's own", bytePairs, "the café"],
    ["a tokenizer.json", fromHuggingFace, "the quick brown fox"],
  ])("reads and writes text by %s", async (name, tokenizer, prompt) => {
    const settings = parseSettings({ nLayer: 1, nHead: 1, nEmbd: 4, blockSize: 32, vocabSize: tokenizer.vocabSize });
    const tensors = initialParameters(settings, 1);
    const params = await toHosts(tensors);
    tf.dispose(tensors);
    const own = path.join(folder, `${name}.html`);
    await writeLivePage({ params, settings, tokenizer }, own, { prompt });
    const { page, complaints } = await opened(own);
    const count = tokenizer.encode(prompt).length;
    expect(await page.locator("#tokens").textContent()).toContain(`${count} tokens`);
    const way = { prompt, maxNewTokens: 8, seed: 5, temperature: 1 };
    const there = await page.evaluate((way) => (window as unknown as InPage).folio.sample(way), way);
    let here = "";
    for await (const token of sample({ params, settings }, tokenizer, { ...way, compile: false })) here += token.text;
    expect(there).toBe(here);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("20 losses of training on are those of train() in Node; the saved file goes on there as it does in the page", async () => {
    const { page } = await opened(file);
    const options = { learningRate: 1e-3, batchSize: 4, seed: 3 };
    const inPage = await page.evaluate(
      (options) => (window as unknown as InPage).folio.train({ ...options, steps: 20 }),
      options,
    );
    const start = path.join(folder, "start");
    writeGpt2Folder(start, { params: model.params, model: model.settings, tokenizer: model.tokenizer!.toJSON() });
    const ids = model.tokenizer!.encode(text);
    writeDataset(folder, { name: "cats", tokenizer: model.tokenizer!, train: ids, val: ids });
    const losses = (await trainedHere(start, 20)).map((record) => record.loss);
    for (const [step, { loss }] of inPage.entries()) expect(Math.abs(loss / losses[step]! - 1)).toBeLessThan(1e-4);
    expect(losses[19]).toBeLessThan(losses[0]!);

    const saved = path.join(folder, "saved.safetensors");
    fs.writeFileSync(
      saved,
      Buffer.from(await page.evaluate(() => (window as unknown as InPage).folio.save()), "base64"),
    );
    const again = await page.evaluate(
      (options) => (window as unknown as InPage).folio.train({ ...options, steps: 5, restart: true }),
      options,
    );
    const there = await trainedHere(saved, 5);
    for (const [step, { loss }] of again.entries()) expect(Math.abs(loss / there[step]!.loss - 1)).toBeLessThan(1e-4);
    await page.context().close();
  });

  /** train() on the same rows, at a constant learning rate. */
  async function trainedHere(initFrom: string, maxIters: number) {
    const { nLayer, nHead, nEmbd, blockSize, vocabSize, bias, tieHead, gelu } = (await openModel(initFrom)).settings;
    const settings = {
      ...{ ...model.settings, nLayer, nHead, nEmbd, blockSize, vocabSize, bias, tieHead, gelu },
      ...{ initFrom, dataDir: folder, dataset: "cats", outDir: path.join(folder, `out-${path.basename(initFrom)}`) },
      ...{ learningRate: 1e-3, batchSize: 4, seed: 3, decayLr: false, warmupIters: 0, gradientAccumulationSteps: 1 },
      ...{ maxIters, evalInterval: 100, evalIters: 1, logInterval: 1, compile: false, device: "cpu" as const },
      ...{ dtype: "float32" as const, tensorboard: false, overwrite: true },
    };
    const records = await collect(train(settings));
    return records.flatMap((record) => (record.kind === "iter" ? [record] : [])).slice(0, maxIters);
  }

  test("500 updates and 100 looks leave no tensor and no byte behind", async () => {
    const { held } = goldenModel(goldenModels[0]!);
    const own = path.join(folder, `${goldenModels[0]}-memory.html`);
    const tokenizer = idTokenizer(held.settings.vocabSize);
    await writeLivePage({ ...held, tokenizer }, own, {
      prompt: "1 2 3",
      text: "1 2 3 4 5 6 7 8 9 1 2 3 4",
      dtype: "float32",
    });
    const { page } = await opened(own);
    const [before, after] = await page.evaluate(async () => {
      const { folio } = window as unknown as InPage;
      const run = async (steps: number) => {
        await folio.train({ steps, batchSize: 2 });
        for (let i = 0; i < steps / 5; i++) await folio.logits("1 2 3", [{ name: "embed", times: 0.5 }]);
        await new Promise((resolve) => setTimeout(resolve, 300)); // the page looks once more
        return folio.memory();
      };
      return [await run(5), await run(500)];
    });
    expect(after).toEqual(before);
    await page.context().close();
  });

  test("a keyboard types, switches a head off, applies and removes an edit, and follows the tour", async () => {
    const { page, complaints } = await opened(file);
    const loss = async () =>
      Number(/mean loss ([\d.]+)/.exec((await page.locator("#tokens").textContent()) ?? "")?.[1]);
    const mean = async (prompt: string, edits?: Parameters<typeof editsOf>[0]) => {
      const changed = editsOf(edits);
      const { ids, values } = await look(model, prompt, ["logits"], changed && { edits: changed });
      const V = model.settings.vocabSize;
      let sum = 0;
      for (let t = 0; t + 1 < ids.length; t++) {
        const row = values.logits.values.subarray(t * V, (t + 1) * V);
        sum += Math.log(row.reduce((all, logit) => all + Math.exp(logit), 0)) - row[ids[t + 1]!]!;
      }
      return sum / (ids.length - 1);
    };
    const prompt = page.getByRole("textbox", { name: "Prompt", exact: true });
    await prompt.focus();
    await page.keyboard.press("End");
    await page.keyboard.type("Window");
    const typed = "interface Window extends Window";
    await page.waitForFunction(
      (count) =>
        document.querySelector("#app")!.shadowRoot!.querySelector("#tokens")!.textContent!.includes(`${count} tokens`),
      typed.length,
    );
    expect(await loss()).toBeCloseTo(await mean(typed), 3);
    await page.getByRole("button", { name: "switch for layer 1, head 2" }).press("Enter");
    await page.waitForFunction(() =>
      document.querySelector("#app")!.shadowRoot!.querySelector("#tokens")!.textContent!.includes("without your edits"),
    );
    expect(await loss()).toBeCloseTo(await mean(typed, [{ name: "h.1.attn.heads", heads: [2] }]), 3);
    await page.getByRole("button", { name: "Remove all edits" }).press("Enter");
    await page.waitForFunction(
      () =>
        !document
          .querySelector("#app")!
          .shadowRoot!.querySelector("#tokens")!
          .textContent!.includes("without your edits"),
    );
    await prompt.fill("naïve ☃");
    expect(await page.getByRole("alert").textContent()).toContain("is not in the vocabulary");
    await prompt.fill("interface Window");
    await page.getByRole("button", { name: "Take the tour" }).press("Enter");
    for (let station = 1; station <= 8; station++) {
      expect(await page.locator(".tour h2").textContent()).toContain(`${station} of 8`);
      expect(await page.locator(".card.here").count()).toBe(1);
      await takeScreenshot(page, `live-tour-${station}`);
      await page.getByRole("button", { name: station < 8 ? "Next station" : "End the tour" }).press("Enter");
    }
    expect(await page.locator(".tour").count()).toBe(0);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("trains, writes, compares and saves by its buttons", async () => {
    const { page, complaints } = await opened(file);
    const button = (name: string) => page.getByRole("button", { name, exact: true });
    await button("One update").click();
    await page.getByText(/^Update 1: loss/).waitFor();
    await page.getByRole("img", { name: /^Gradient of each layer in this update/ }).waitFor();
    const download = page.waitForEvent("download");
    await button("Save the weights").click();
    const saved = path.join(folder, "by-button.safetensors");
    await (await download).saveAs(saved);
    const { params } = await openModel(saved);
    expect(
      relative(params["wte.weight"]!.values as Float32Array, model.params["wte.weight"]!.values as Float32Array),
    ).toBeGreaterThan(1e-6);
    await button("Put the weights back").click();
    await page.getByText("The weights are those that the page came with.").waitFor();
    const prompt = page.getByRole("textbox", { name: "Prompt", exact: true });
    const before = await prompt.inputValue();
    await button("One token").click();
    await page.getByText(/^Drawn: /).waitFor();
    let one = "";
    for await (const token of sample(model, model.tokenizer!, {
      prompt: before,
      maxNewTokens: 1,
      temperature: 0.8,
      topK: 0,
      compile: false,
    }))
      one = token.text;
    expect(await prompt.inputValue()).toBe(before + one);
    await button("Compare with another prompt").click();
    await page.getByText("Next token after B").waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  for (const colorScheme of ["light", "dark"] as const) {
    test(`has no violations of accessibility, also on a phone: ${colorScheme}`, async () => {
      for (const width of [1280, 390]) {
        const { page } = await opened(file, { colorScheme, width });
        await page.getByRole("button", { name: "Take the tour" }).click();
        await page.getByRole("checkbox").check();
        await page.locator("#residual svg.matrix").waitFor();
        await takeScreenshot(page, `live-${colorScheme}-${width}`);
        expect(await violations(page)).toEqual([]);
        expect(await wide(page)).toBeLessThanOrEqual(width);
        await page.context().close();
      }
    });
  }

  const wide = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth);

  test("in a lecture room, text has at least 18 pixels", async () => {
    const { page } = await opened(file);
    await page.getByRole("button", { name: "A±" }).click();
    await takeScreenshot(page, "live-large");
    const smallest = await page.evaluate(() => {
      const root = document.querySelector("#app")!.shadowRoot!;
      const sizes = [...root.querySelectorAll("text, p, label, button, h1, h2, textarea, output, select")].map(
        (element) => {
          const matrix = (element as SVGGraphicsElement).getScreenCTM?.();
          return Number.parseFloat(getComputedStyle(element).fontSize) * (matrix ? Math.hypot(matrix.a, matrix.b) : 1);
        },
      );
      return Math.min(...sizes);
    });
    expect(smallest).toBeGreaterThanOrEqual(17.9);
    await page.context().close();
  });
});
