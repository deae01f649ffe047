/** Handouts of a notebook in Chromium without a network: one page, slides, and what is said about bad input. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromiumFile, openBrowser, openFile, takeScreenshot, violations } from "../inspect/browser.js";

const root = path.join(import.meta.dirname, "..", "..");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-handout-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const markdown = (...lines: string[]) => ({ cell_type: "markdown", metadata: {}, source: lines.join("\n") });
const code = (source: string, ...outputs: object[]) => ({ cell_type: "code", metadata: {}, source, outputs });
const stream = (text: string) => ({ output_type: "stream", name: "stdout", text });
const shown = (data: object) => ({ output_type: "display_data", metadata: {}, data });
const longLine = `const long = "${"words and ".repeat(30)}";`;

const small = {
  cells: [
    markdown(
      "# Small",
      "",
      "The mean is $\\frac{a + b}{2}$.",
      "",
      "![far](https://example.com/far.png) ![near](near.png)",
    ),
    code("const x: number = 1 < 2 ? 1 : 0;", stream("step 1\rstep 2\n\u001b[31mred\u001b[0m & <b>\n")),
    markdown("Before.", "", "## Long & `wide`", "", "After."),
    code(longLine, shown({ "image/png": png, "text/plain": "a dot" })),
    code(Array.from({ length: 60 }, (_, i) => `line(${i});`).join("\n"), stream("printed after sixty lines")),
    markdown("## The end"),
    { ...code("hidden()", stream("of hidden code")), metadata: { jupyter: { source_hidden: true } } },
    code("", shown({ "text/html": '<iframe title="page" src="other.html" height="9"></iframe>' })),
    code("throw 1", {
      output_type: "error",
      ename: "Error",
      evalue: "no",
      traceback: ["\u001b[31mError: no\u001b[0m"],
    }),
  ],
  metadata: { language_info: { name: "typescript" } },
  ...{ nbformat: 4, nbformat_minor: 5 },
};
const smallFile = path.join(folder, "small.ipynb");
fs.writeFileSync(smallFile, JSON.stringify(small));
fs.writeFileSync(path.join(folder, "near.png"), Buffer.from(png, "base64"));

function handout(...args: string[]): { status: number | null; stderr: string } {
  return spawnSync(process.execPath, [path.join(root, "bin", "handout.mjs"), ...args], { encoding: "utf8" });
}

function written(...args: string[]): string {
  const file = path.join(folder, `${args.join("").replace(/\W/g, "")}.html`);
  const { status, stderr } = handout(...args, `--to=${file}`);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return file;
}

describe.skipIf(!chromiumFile)(
  `in a browser${chromiumFile ? "" : " (not run: there is no Chromium)"}`,
  { timeout: 60_000 },
  () => {
    let browser: Browser;
    beforeAll(async () => {
      browser = await openBrowser();
    });
    afterAll(() => browser?.close());

    const size = (page: Page, selector: string) =>
      page.locator(selector).evaluate(({ scrollWidth, clientWidth }) => ({ scrollWidth, clientWidth }));

    test("a page shows text, formulas, coloured code, outputs as they are stored and local pictures", async () => {
      const { page, complaints } = await openFile(browser, written(smallFile, "--html"));
      expect(await page.title()).toBe("Small");
      expect(await page.locator("h1, h2").allInnerTexts()).toEqual(["Small", "Long & wide", "The end"]);
      expect(await page.locator("mfrac").count()).toBe(1);
      expect(await page.locator(".hljs-keyword").first().innerText()).toBe("const");
      expect(await page.locator("pre.text").first().innerText()).toBe("step 2\nred & <b>");
      expect(await page.getByText("not in this file: other.html").count()).toBe(1);
      expect(await page.getByText("of hidden code").count()).toBe(1);
      expect(await page.getByText("hidden()").count()).toBe(0);
      expect(await page.locator("pre.error").innerText()).toBe("Error: no");
      expect(await page.getByAltText("near").evaluate((image) => (image as HTMLImageElement).naturalWidth)).toBe(1);
      expect(await page.getByRole("link", { name: "far" }).getAttribute("href")).toBe("https://example.com/far.png");
      const line = await size(page, "pre.source >> nth=1");
      expect(line.scrollWidth).toBeGreaterThan(line.clientWidth);
      const whole = await size(page, "html");
      expect(whole.scrollWidth).toBe(whole.clientWidth);
      expect(await violations(page)).toEqual([]);
      await page.emulateMedia({ colorScheme: "dark" });
      expect(await violations(page)).toEqual([]);
      expect(complaints).toEqual([]);
    });

    test("slides begin at headings, go on below where a cell does not fit, and answer to keys", async () => {
      const { page, complaints } = await openFile(browser, written(smallFile, "--slides"));
      const slide = page.locator("section.slide.present");
      const number = page.locator(".slide-number");
      await expect.poll(() => number.innerText()).toMatch(/^1\s*\/\s*5$/);
      expect(await slide.locator("h1").innerText()).toBe("Small");
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("ArrowRight");
      await expect.poll(() => slide.locator("h2").innerText()).toBe("Long & wide");
      expect(
        await slide.locator("pre.source").evaluate((pre) => parseFloat(getComputedStyle(pre).fontSize)),
      ).toBeGreaterThanOrEqual(16);
      const line = await size(page, "section.slide.present pre.source");
      expect(line.scrollWidth).toBe(line.clientWidth);
      // Sixty lines are more than a slide: arrow down scrolls to their end before it goes on.
      await page.keyboard.press("ArrowRight");
      await expect.poll(() => slide.innerText()).toContain("line(59)");
      expect(await slide.locator(".of").innerText()).toBe("Long & wide");
      await page.keyboard.press("ArrowDown");
      expect(await slide.evaluate(({ scrollTop }) => scrollTop)).toBeGreaterThan(0);
      expect(await number.innerText()).toMatch(/^3/);
      await page.keyboard.press("End");
      await expect.poll(() => slide.locator("h2").innerText()).toBe("The end");
      // Printed, there is a page for each slide; the one that scrolls may take two.
      await page.goto(page.url().replace(/(#.*)?$/, "?print-pdf"));
      await expect.poll(() => page.locator(".pdf-page").count()).toBeGreaterThanOrEqual(5);
      await expect.poll(() => page.evaluate(() => document.body.scrollHeight)).toBeGreaterThan(4 * 720);
      expect(complaints).toEqual([]);
    });

    test("a real notebook's figures and views answer to the mouse, on a page and on slides", async () => {
      for (const kind of ["--html", "--slides"]) {
        const { page, complaints } = await openFile(browser, written("0", kind), { width: 1600 });
        const figure = page.locator(".js-plotly-plot");
        const view = page.locator('[class^="folio-"]:not(.js-plotly-plot)').first();
        if (kind === "--slides") await showSlide(page, ".js-plotly-plot");
        await figure.locator(".nsewdrag").hover();
        await figure.locator(".hoverlayer text").first().waitFor();
        if (kind === "--slides") await showSlide(page, '[class^="folio-"]:not(.js-plotly-plot)');
        const words = view.locator("[aria-live]").first();
        const before = await words.innerText();
        await view.locator("svg[tabindex]").first().hover();
        await expect.poll(() => words.innerText()).not.toBe(before);
        await takeScreenshot(page, `handout${kind}`);
        expect(complaints).toEqual([]);
      }
    });

    /** Goes on with the arrow key until something is seen. */
    async function showSlide(page: Page, selector: string): Promise<void> {
      await page.keyboard.press("Home");
      for (let step = 0; step < 40; step++) {
        if (await page.locator(`section.slide.present ${selector}`).first().isVisible()) return;
        await page.keyboard.press("ArrowRight");
      }
      throw new Error(`No slide shows ${selector}.`);
    }
  },
);

test.each([
  [["induktion", "--html"], /there is no notebook induktion; the nearest name in notebooks\/ is 13-induction/],
  [["mine/00-stat.ipynb", "--html"], /there is no notebook mine\/00-stat\.ipynb; the nearest name .* is 00-start/],
  [["mine/00-start.ipynb", "--html"], /there is no notebook mine\/00-start\.ipynb/],
  [["0"], /either --html or --slides, not neither/],
  [["0", "--html", "--slides"], /either --html or --slides, not both/],
  [["--html"], /wanted one notebook, not 0/],
  [["0", "--htm"], /Unknown option '--htm'/],
  [["0", "--html", "--to=start.ipynb"], /--to is "start.ipynb"; wanted a name that ends in .html/],
  [
    ["0", "--html", `--to=${path.join(folder, "missing", "x.html")}`],
    /cannot write .*x\.html \(ENOENT.*--to=FILE\.html/,
  ],
  [[path.join(folder, "text.ipynb"), "--html"], /text\.ipynb is no notebook \(.*wanted a file that Jupyter has saved/],
  [[path.join(folder, "old.ipynb"), "--html"], /old\.ipynb is no notebook of format 4/],
])("%j is refused with one message, and nothing is written", (args, message) => {
  fs.writeFileSync(path.join(folder, "text.ipynb"), "hello");
  fs.writeFileSync(path.join(folder, "old.ipynb"), '{ "worksheets": [], "nbformat": 3 }');
  const before = fs.readdirSync(folder);
  const { status, stderr } = handout(...args);
  expect(stderr).toMatch(message);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(status).toBe(1);
  expect(fs.readdirSync(folder)).toEqual(before);
});
