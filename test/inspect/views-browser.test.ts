/**
 * Views in a browser with the network off: no errors, accessible, by keyboard alone, several on a page. Skipped without
 * Chromium. FOLIO_SCREENSHOTS=FOLDER stores screenshots.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { constants, inflateSync } from "node:zlib";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { look } from "../../lib/inspect/look.js";
import { activationPatching } from "../../lib/inspect/measures/activation-patching.js";
import { logitAttribution } from "../../lib/inspect/measures/logit-attribution.js";
import { logitLens } from "../../lib/inspect/measures/logit-lens.js";
import { tokenLosses } from "../../lib/inspect/measures/token-losses.js";
import { drawingProbabilities } from "../../lib/inspect/page/next-token.js";
import { percent } from "../../lib/inspect/page/parts/numbers.js";
import { valueView } from "../../lib/inspect/views/array.js";
import { attentionView } from "../../lib/inspect/views/attention.js";
import { matrixView } from "../../lib/inspect/views/matrix.js";
import {
  attributionView,
  logitLensView,
  patchingView,
  promptsView,
  tokenLossView,
} from "../../lib/inspect/views/measured.js";
import { modelTreeView } from "../../lib/inspect/views/model-tree.js";
import { nextTokenView } from "../../lib/inspect/views/next-token.js";
import type { View } from "../../lib/inspect/views/view.js";
import { needs } from "../needs.js";
import { missingChromium, openBrowser, openFile, takeScreenshot, violations } from "./browser.js";
import { goldenModel } from "./golden-models.js";

const { held, ids, otherIds } = goldenModel("erf");
let folder: string;
let browser: Browser;
let views: Record<string, View>;

beforeAll(async () => {
  if (missingChromium) return;
  loadTensorFlow();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-views-"));
  browser = await openBrowser();
  const losses = await tokenLosses(held, ids);
  const other = otherIds.slice(0, ids.length);
  const metric = { token: 3, minus: 4 };
  views = {
    attention: await attentionView(held, ids, { layer: 1 }),
    nextToken: await nextTokenView(held, ids),
    tree: modelTreeView(held),
    array: valueView(await look(held, ids, ["h.0.attn.scores"]), "h.0.attn.scores"),
    lens: logitLensView(await logitLens(held, ids)),
    losses: tokenLossView(losses),
    attribution: attributionView(await logitAttribution(held, ids, { token: 3 })),
    patching: patchingView(await activationPatching(held, ids.slice(0, other.length), other, { metric }), "resid_out"),
    prompts: promptsView([losses, losses]),
  };
}, 120_000);

afterAll(async () => {
  await browser?.close();
  if (folder) fs.rmSync(folder, { recursive: true });
});

/** A page of one's own, with what it complained about. */
async function opened(html: string, colorScheme: "light" | "dark" = "light") {
  const file = path.join(folder, "view.html");
  fs.writeFileSync(file, html);
  return await openFile(browser, file, { colorScheme });
}

const screenshot = (page: Page, name: string) => takeScreenshot(page, `view-${name}`);

describe("views in a browser", needs(missingChromium), () => {
  for (const scheme of ["light", "dark"] as const) {
    test(`open without the network, without errors and without violations of accessibility: ${scheme}`, async () => {
      for (const [name, view] of Object.entries(views)) {
        const { page, complaints } = await opened(view.html(), scheme);
        expect([name, await page.getByRole("heading", { level: 1 }).textContent()]).toEqual([name, view.title]);
        await screenshot(page, `${name}-${scheme}`);
        expect([name, ...complaints, ...(await violations(page))]).toEqual([name]);
        await page.context().close();
      }
    });
  }

  test("attention by keyboard: arrow keys move the cursor, a head is chosen, the readout says the weight", async () => {
    const { page } = await opened(views.attention!.html());
    const { values } = await look(held, ids, ["h.1.attn.weights", "h.0.attn.weights"]);
    const T = ids.length;
    const readout = page.locator(".readout");
    const weight = (layer: 0 | 1, head: number, row: number, column: number) =>
      values[`h.${layer}.attn.weights`].values[(head * T + row) * T + column]!;
    const close = async (wanted: number) => {
      const text = (await readout.textContent())!;
      expect(Math.abs(Number.parseFloat(text.split(": ").at(-1)!) - 100 * wanted)).toBeLessThan(0.2);
    };
    const lastRow = Array.from({ length: T }, (_, s) => weight(1, 0, T - 1, s));
    await close(Math.max(...lastRow)); // chosen first: the largest weight of the last position
    await page.locator("svg.matrix").focus();
    await page.keyboard.press("ArrowUp");
    for (let i = 0; i < T; i++) await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowRight");
    await close(weight(1, 0, T - 2, 1));
    await page.getByRole("combobox").first().selectOption("0");
    await page.getByRole("button", { name: "layer 0, head 1" }).press("Enter");
    await close(weight(0, 1, T - 2, 1));
    await page.locator("svg.matrix").focus();
    for (let i = 0; i < T; i++) await page.keyboard.press("ArrowRight");
    expect(await readout.textContent()).toContain("cannot attend to");
    await page.context().close();
  });

  test("a matrix begins at its largest value, whose column is labelled", async () => {
    const columns = Array.from({ length: 48 }, (_, i) => `n${i}`);
    const values = columns.map((_, i) => (i === 45 ? -3 : i / 48));
    const { page } = await opened(matrixView(values, { rows: ["row"], columns }).html());
    expect(await page.locator(".readout").textContent()).toBe("row, n45 (45): value −3");
    const labels = await page.locator("svg.matrix text.label").allTextContents();
    expect(labels).toEqual(expect.arrayContaining(["n0", "n45", "n47"]));
    await page.context().close();
  });

  test("the sliders of the next token give the sampler's probabilities", async () => {
    const { page } = await opened(views.nextToken!.html());
    const { values } = await look(held, ids, ["logits"]);
    const logits = values.logits.values.slice(-held.settings.vocabSize);
    const set = (label: string, value: number) =>
      page.getByLabel(label).evaluate((input: HTMLInputElement, to) => {
        input.value = `${to}`;
        input.dispatchEvent(new Event("input", { bubbles: true }));
      }, value);
    await set("temperature", 0.5);
    await set("top k", 4);
    const wanted = drawingProbabilities(logits, { temperature: 0.5, topK: 4, topP: 1 });
    const best = Math.max(...wanted);
    expect(await page.locator("svg[role=img]").textContent()).toContain(percent(best));
    expect(await page.locator(".readout").textContent()).toContain(`4 of ${logits.length} tokens can be drawn`);
    await page.getByLabel("temperature").focus();
    await page.keyboard.press("ArrowRight");
    expect(await page.locator("label", { hasText: "temperature" }).locator("output").textContent()).toBe("0.55");
    await page.context().close();
  });

  test("two views on a page, even two of the same, do not disturb each other", async () => {
    const one = views.array!.html();
    const place = one.slice(one.indexOf("<main>") + 6, one.indexOf("</main>"));
    const { page, complaints } = await opened(one.replace("</main>", `${place}</main>`));
    expect(await page.locator("svg.matrix").count()).toBe(2);
    const [first, second] = [page.locator(".readout").nth(0), page.locator(".readout").nth(1)];
    const before = await second.textContent();
    await page.locator("svg.matrix").nth(0).focus();
    await page.keyboard.press("ArrowDown");
    expect(await first.textContent()).not.toBe(before);
    expect(await second.textContent()).toBe(before);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("in a lecture room, text has at least 18 pixels", async () => {
    for (const [name, view] of Object.entries(views)) {
      const { page } = await opened(view.html());
      await page.getByRole("button", { name: "A±" }).click();
      await screenshot(page, `${name}-large`);
      const smallest = await page.evaluate(() => {
        const root = [...document.querySelectorAll("*")].find((element) => element.shadowRoot)!.shadowRoot!;
        const sizes = [...root.querySelectorAll("text, p, label, button, summary, dd, h1")].map((element) => {
          const matrix = (element as SVGGraphicsElement).getScreenCTM?.();
          return Number.parseFloat(getComputedStyle(element).fontSize) * (matrix ? Math.hypot(matrix.a, matrix.b) : 1);
        });
        return Math.min(...sizes);
      });
      expect([name, smallest >= 17.9]).toEqual([name, true]);
      await page.context().close();
    }
  });

  test("without scripts every still picture is shown", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    for (const [name, view] of Object.entries(views)) {
      const file = path.join(folder, "still.html");
      fs.writeFileSync(file, view.html());
      await page.goto(pathToFileURL(file).href);
      // A picture that is not well formed would be as small as its alternative text is long.
      const natural = await page.getByRole("img").evaluate((image: HTMLImageElement) => image.naturalWidth);
      expect([name, natural > 300]).toEqual([name, true]);
    }
    await context.close();
  });

  test("a still picture is dark on a dark page, and printed light", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false, colorScheme: "dark" });
    const page = await context.newPage();
    const place = views.attention!.bundle()["text/html"];
    const file = path.join(folder, "dark.html");
    fs.writeFileSync(file, `<!doctype html><html style="color-scheme: dark"><body>${place}</body></html>`);
    await page.goto(pathToFileURL(file).href);
    const [ground, ink] = ["1 1 1 rg", ".1216 .1373 .1569 rg"]; // #fff, #1f2328
    const [darkGround, lightInk] = [".051 .0667 .0902 rg", ".902 .9294 .9529 rg"]; // #0d1117, #e6edf3
    const printed = fillColors(await page.pdf({ printBackground: true }));
    expect(printed).toEqual(expect.arrayContaining([ground, ink]));
    expect([darkGround, lightInk].filter((color) => printed.includes(color))).toEqual([]);
    // The same picture where the page is not told what printing is.
    fs.writeFileSync(file, fs.readFileSync(file, "utf8").replaceAll("@media print", "@media not all"));
    await page.reload();
    expect(fillColors(await page.pdf({ printBackground: true }))).toEqual(
      expect.arrayContaining([darkGround, lightInk]),
    );
    await context.close();
  });
});

/** The colours with which a PDF file fills, as it writes them: three numbers from 0 to 1 and `rg`. */
function fillColors(pdf: Buffer): string[] {
  const found = new Set<string>();
  for (const { index, 0: keyword } of pdf.toString("latin1").matchAll(/(?<!end)stream\r?\n/g)) {
    const bytes = pdf.subarray(index + keyword.length);
    if (bytes[0] !== 0x78) continue; // not deflated: no drawing
    const drawing = inflateSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString("latin1");
    for (const [color] of drawing.matchAll(/[\d.]+ [\d.]+ [\d.]+ rg/g)) found.add(color);
  }
  return [...found];
}
