/**
 * Notebooks in a browser: JupyterLab as `folio lab FOLDER` opens it on a folder outside the checkout, controlled
 * through Chromium. Skipped without Chromium. FOLIO_SCREENSHOTS=FOLDER stores screenshots.
 */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { missingChromium, openBrowser } from "../inspect/browser.js";
import { needs } from "../needs.js";
import { root } from "./runner.js";

const setUp = fs.existsSync(path.join(root, ".venv", "share", "jupyter", "kernels", "tslab", "kernel.json"));
const missing = missingChromium ?? (setUp ? undefined : "`npm run setup` has not been run");

/** A machine may be busy with other things. */
const patienceMs = 240_000;

const training = (more: string, shape = "nLayer: 1, nHead: 1, nEmbd: 16") =>
  `const run = await trainRun({ ...presets.toy, outDir: "out", dataset: "fox", ${shape}, blockSize: 16, device: "cpu", evalInterval: 1000000, ${more} });\nrun;`;
const cells = [
  'import { lineChart, parseSettings, presets, trainRun } from "folio";\nfor await (const word of ["one", "two"]) console.log(word);',
  training("maxIters: 20"),
  'lineChart({ title: "A line", xLabel: "x", yLabel: "y", series: [{ name: "it", x: [1, 2, 3], y: [2, 4, 8] }] })',
  'const list: number[] = [];\nthrow new RangeError("the list is empty");',
  "",
];

let folder: string;
let lab: ChildProcess;
let browser: Browser;
let page: Page;
let address: URL;

beforeAll(async () => {
  if (missing) return;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-browser-"));
  const text = "the quick brown fox jumps over the lazy dog. ".repeat(60);
  const tokenizer = charTokenizer(text);
  const ids = tokenizer.encode(text);
  writeDataset(path.join(folder, "data"), { name: "fox", tokenizer, train: ids, val: ids.slice(0, 600) });
  fs.writeFileSync(path.join(folder, "own.ipynb"), notebook(cells));
  const args = [
    "--no-browser",
    "--port=0",
    "--expose-app-in-browser",
    ...(process.getuid?.() === 0 ? ["--allow-root"] : []),
  ];
  lab = spawn(process.execPath, [path.join(root, "bin", "folio.mjs"), "lab", folder, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  address = await addressOf(lab);
  browser = await openBrowser();
  page = await browser.newPage({ viewport: { width: 1300, height: 1800 } });
  await open("own.ipynb");
}, 3 * patienceMs);

afterAll(async () => {
  await browser?.close();
  if (lab?.exitCode === null) {
    const ended = new Promise((resolve) => lab.once("exit", resolve));
    lab.kill("SIGTERM");
    await ended;
  }
  if (folder) fs.rmSync(folder, { recursive: true });
});

function notebook(sources: readonly string[]): string {
  return JSON.stringify({
    cells: sources.map((source, index) => ({
      ...{ cell_type: "code", id: `cell-${index}`, metadata: {}, execution_count: null, outputs: [], source },
    })),
    metadata: { kernelspec: { display_name: "TypeScript", language: "typescript", name: "tslab" } },
    ...{ nbformat: 4, nbformat_minor: 5 },
  });
}

/** The line that the server prints when it is ready; if it does not appear, the error contains the server's log. */
function addressOf(server: ChildProcess): Promise<URL> {
  let printed = "";
  return new Promise((resolve, reject) => {
    const read = (chunk: Buffer) => {
      printed += chunk;
      const [found] = /http:\/\/127\.0\.0\.1:\d+\/lab\S*/.exec(printed) ?? [];
      if (found) resolve(new URL(found));
    };
    server.stdout!.on("data", read);
    server.stderr!.on("data", read);
    server.once("exit", (code) => reject(new Error(`folio lab ended with ${code}:\n${printed}`)));
  });
}

async function open(name: string): Promise<void> {
  await page.goto(`${address.origin}/lab/tree/${name}?token=${address.searchParams.get("token")}&reset`);
  await page.waitForSelector(".jp-Notebook .jp-Cell", { timeout: patienceMs });
  await idle(); // cells that are run before the kernel is ready would be lost
}

async function idle(): Promise<void> {
  await page.getByText("TypeScript | Idle").waitFor({ timeout: patienceMs });
}

/** One of JupyterLab's commands, as in its menus; resolves when it has been carried out. */
function command(name: string): Promise<void> {
  return page.evaluate(async (id) => {
    const { jupyterapp } = globalThis as unknown as {
      jupyterapp: { commands: { execute(id: string): Promise<unknown> } };
    };
    await jupyterapp.commands.execute(id);
  }, name);
}

const cell = (number: number) => page.locator(".jp-Notebook .jp-Cell").nth(number - 1);
const output = (number: number) => cell(number).locator(".jp-Cell-outputArea");

async function write(number: number, source: string): Promise<void> {
  await cell(number).locator(".cm-content").click();
  await page.keyboard.press("Control+A");
  await page.keyboard.insertText(source);
}

async function runCell(number: number, source?: string): Promise<void> {
  if (source === undefined) await cell(number).locator(".cm-content").click();
  else await write(number, source);
  void command("notebook:run-cell");
}

async function seen(number: number, text: string | RegExp): Promise<void> {
  await output(number).getByText(text).first().waitFor({ timeout: patienceMs });
}

async function interrupt(): Promise<void> {
  await page
    .locator('[data-command="notebook:interrupt-kernel"], [data-jp-item-name="interrupt"] >> visible=true')
    .first()
    .click();
}

/** A number that a cell prints. */
async function printed(number: number, source: string): Promise<number> {
  await runCell(number, `console.log("value", ${source}, ".");`);
  // If it does not appear, the message shows what the cell has instead.
  const text = () => output(number).allInnerTexts();
  await expect.poll(async () => (await text()).join(), { timeout: patienceMs, interval: 200 }).toMatch(/value \d+ \./);
  return Number(/value (\d+) \./.exec((await text()).join())![1]);
}

/** The notebook on disk, once it is as asked: JupyterLab does not save where a save of its own is under way. */
async function saved(name: string, asked: (cells: { outputs: unknown[] }[]) => boolean) {
  const read = () => JSON.parse(fs.readFileSync(path.join(folder, name), "utf8"));
  const save = async () => {
    await command("docmanager:save");
    return asked(read().cells);
  };
  await expect
    .poll(save, { timeout: patienceMs, interval: 500, message: `${name} is saved with its outputs` })
    .toBe(true);
  return read();
}

async function picture(name: string): Promise<void> {
  const to = process.env.FOLIO_SCREENSHOTS;
  if (to) await page.screenshot({ path: path.join(to, `${name}.png`) });
}

describe("JupyterLab in a browser", { ...needs(missing), timeout: 3 * patienceMs }, () => {
  test("runs all cells of a notebook outside the checkout, up to an error with its line and an excerpt", async () => {
    void command("notebook:run-all-cells");
    await seen(1, "two");
    await seen(2, /^Run in out/);
    await seen(4, /> 2 \| throw new RangeError\("the list is empty"\);/);
    expect(await output(4).innerText()).not.toMatch(/tslab|node:internal/);
    await picture("all");
  });

  test("shows a figure that reacts to the mouse", async () => {
    const plot = output(3).locator(".js-plotly-plot .nsewdrag").first();
    await plot.waitFor({ timeout: patienceMs });
    await plot.hover();
    await output(3).locator(".hoverlayer text").first().waitFor();
    await picture("figure");
  });

  test("shows a view whose slider changes its picture, and whose keys are not JupyterLab's", async () => {
    const logits = "{ logits: [2, 1, 0], token: (id: number) => 'abc'[id] }";
    await runCell(5, `import { nextTokenView } from "folio";\nnextTokenView(${logits}, { temperature: 1 }).show();`);
    const slider = output(5).getByLabel("temperature");
    await slider.waitFor({ timeout: patienceMs });
    const bars = output(5).locator("svg[role=img]");
    const before = await bars.textContent();
    expect(before).toContain("66.5 %"); // e² / (e² + e + 1)
    const count = await page.locator(".jp-Notebook .jp-Cell").count();
    await slider.focus();
    for (let time = 0; time < 10; time++) await page.keyboard.press("ArrowLeft"); // 0.05 each
    await expect.poll(() => bars.textContent()).toContain("86.7 %"); // e⁴ / (e⁴ + e² + 1)
    // In JupyterLab's command mode, "b" makes a new cell and Enter edits one.
    await page.keyboard.press("b");
    await page.keyboard.press("Enter");
    expect(await page.locator(".jp-Notebook .jp-Cell").count()).toBe(count);
    await page.keyboard.press("ArrowRight");
    expect(await output(5).locator("label", { hasText: "temperature" }).locator("output").textContent()).toBe("0.55");
    await picture("slider");
  });

  test("interrupts a training, which reports its checkpoint, and goes on with the next cell", async () => {
    await runCell(2, training("maxIters: 1000000, seed: 1"));
    await seen(2, /step [1-9]\d* of 1000000/);
    await picture("progress");
    const askedMs = performance.now();
    await interrupt();
    await seen(2, /is saved in out/);
    if (process.env.FOLIO_SCREENSHOTS) console.log(`interrupted after ${Math.round(performance.now() - askedMs)} ms`);
    await picture("interrupted");
    await idle(); // cells that wait when a cell ends with an error are not run
    expect(await printed(5, "6 * 7")).toBe(42);
  });

  test("runs the cell again with another setting and replaces the previous run", async () => {
    await runCell(2, training("maxIters: 40, seed: 2"));
    await seen(2, /the run made earlier by this kernel is replaced/);
    await seen(2, /^Run in out/);
    await picture("again");
  });

  test("completes a setting with its type and its documentation", async () => {
    await write(5, "parseSettings({ nLa");
    await page.keyboard.press("Tab");
    await page.keyboard.insertText("yer: 2, max");
    await expect.poll(() => cell(5).locator(".cm-content").innerText()).toContain("nLayer: 2, max");
    await page.keyboard.press("Tab");
    const list = page.locator(".jp-Completer");
    await list.getByText("maxIters").first().waitFor({ timeout: patienceMs });
    await list.getByText(/default 600000/).waitFor({ timeout: patienceMs });
    expect(await list.innerText()).toMatch(/maxIters\s+number/);
    await picture("completion");
    await page.keyboard.press("Escape");
  });

  test("holds no more memory after ten trainings than after two", async () => {
    // A training's weights and moments take 19 MB, so eight that were not freed would exceed the limit.
    const shape = "nLayer: 2, nHead: 4, nEmbd: 256";
    const resident = "Math.round(process.memoryUsage().rss / 2 ** 20)";
    const sizes: number[] = [];
    for (let time = 1; time <= 10; time++) {
      await runCell(2, training(`maxIters: ${10 + time}, overwrite: true`, shape));
      await seen(2, `${10 + time} steps in`);
      await seen(2, /^Run in out/);
      sizes.push(await printed(5, resident));
    }
    if (process.env.FOLIO_SCREENSHOTS) console.log(`MiB after each training: ${sizes.join(", ")}`);
    expect(Math.max(...sizes.slice(2)) - sizes[1]!, `MiB: ${sizes.join(", ")}`).toBeLessThan(100);
    // The page keeps one progress bar and one chart.
    expect([await output(2).locator("progress").count(), await output(2).locator(".js-plotly-plot").count()]).toEqual([
      1, 1,
    ]);
  });

  test("shows a stored figure as a picture where the notebook is not trusted, and as a chart once it is", async () => {
    const stored = await saved("own.ipynb", (cells) =>
      JSON.stringify(cells[2]!.outputs).includes("data:image/svg+xml"),
    );
    // Jupyter has signed own.ipynb, but not a notebook with other cells. It keeps the signatures of earlier runs of this
    // test, whose notebook may have been the same but for this name. The training's cell has Plotly's code, although it
    // was run several times.
    stored.cells = stored.cells.slice(1, 3);
    stored.metadata.title = folder;
    fs.writeFileSync(path.join(folder, "given.ipynb"), JSON.stringify(stored));
    await open("given.ipynb");
    await cell(2).scrollIntoViewIfNeeded();
    const image = output(2).locator("img").first();
    await image.waitFor({ timeout: patienceMs }).catch(async (error) => {
      throw new Error(
        `No picture, but:\n${await cell(2).evaluate((element) => (element as unknown as { outerHTML: string }).outerHTML)}`.slice(
          -4000,
        ),
        {
          cause: error,
        },
      );
    });
    expect(await image.evaluate((element) => (element as unknown as { naturalWidth: number }).naturalWidth)).toBe(720);
    expect(await page.locator(".js-plotly-plot").count()).toBe(0);
    await picture("untrusted");
    // The command may still be under way when the page is closed.
    const trusting = command("notebook:trust").catch(() => undefined);
    await page.getByRole("button", { name: "Trust" }).click();
    await output(2).locator(".js-plotly-plot").waitFor({ timeout: patienceMs });
    await picture("trusted");
    await Promise.race([trusting, page.waitForTimeout(1000)]);
  });
});
