/**
 * Notebooks in a browser: JupyterLab as `folio lab FOLDER` opens it on a folder outside the checkout, controlled
 * through Chromium. Skipped without Chromium. FOLIO_SCREENSHOTS=FOLDER stores screenshots.
 */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { root } from "./runner.js";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) =>
  fs.existsSync(file),
);
const setUp = fs.existsSync(path.join(root, ".venv", "share", "jupyter", "kernels", "tslab", "kernel.json"));
const why = executablePath ? (setUp ? "" : " (not run: npm run setup was not)") : " (not run: there is no Chromium)";

const training = (more: string) =>
  `const run = await trainRun({ ...presets.toy, outDir: "out", dataset: "fox", nLayer: 1, nHead: 1, nEmbd: 16, blockSize: 16, device: "cpu", ${more} });\nrun;`;
const cells = [
  'import { lineChart, presets, trainRun } from "folio";\nfor await (const word of ["one", "two"]) console.log(word);',
  training("maxIters: 1000000, evalInterval: 1000000"),
  'lineChart({ title: "A line", xLabel: "x", yLabel: "y", series: [{ name: "it", x: [1, 2, 3], y: [2, 4, 8] }] })',
  'const list: number[] = [];\nthrow new RangeError("the list is empty");',
];

let folder: string;
let lab: ChildProcess;
let browser: Browser;
let page: Page;
let address: URL;

beforeAll(async () => {
  if (why) return;
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
  browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
  page = await browser.newPage({ viewport: { width: 1300, height: 1800 } });
  await open("own.ipynb");
}, 240_000);

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
  await page.waitForSelector(".jp-Notebook .jp-Cell", { timeout: 120_000 });
  // Cells that are run before the kernel is ready would be lost.
  await page.getByText("TypeScript | Idle").waitFor({ timeout: 120_000 });
}

/** JupyterLab's commands, as in its menus. */
function command(name: string): Promise<void> {
  return page.evaluate(async (id) => {
    const { jupyterapp } = globalThis as unknown as {
      jupyterapp: { commands: { execute(id: string): Promise<unknown> } };
    };
    void jupyterapp.commands.execute(id);
  }, name);
}

const cell = (number: number) => page.locator(".jp-Notebook .jp-Cell").nth(number - 1);
const output = (number: number) => cell(number).locator(".jp-Cell-outputArea");

async function runCell(number: number, source?: string): Promise<void> {
  const editor = cell(number).locator(".cm-content");
  await editor.click();
  if (source !== undefined) {
    await page.keyboard.press("Control+A");
    await page.keyboard.insertText(source);
  }
  await command("notebook:run-cell");
}

async function seen(number: number, text: string | RegExp): Promise<void> {
  await output(number).getByText(text).first().waitFor({ timeout: 120_000 });
}

async function picture(name: string): Promise<void> {
  const to = process.env.FOLIO_SCREENSHOTS;
  if (to) await page.screenshot({ path: path.join(to, `${name}.png`) });
}

describe.skipIf(why !== "")(`JupyterLab in a browser${why}`, { timeout: 180_000 }, () => {
  test("runs a cell of a notebook outside the checkout, which finds Folio", async () => {
    await runCell(1);
    await seen(1, "two");
  });

  test("interrupts a training, which reports its checkpoint", async () => {
    await runCell(2);
    await seen(2, /step [1-9]\d* of 1000000/);
    await picture("progress");
    await page
      .locator('[data-command="notebook:interrupt-kernel"], [data-jp-item-name="interrupt"] >> visible=true')
      .first()
      .click();
    await seen(2, /is saved in out/);
    await picture("interrupted");
  });

  test("runs the cell again with another setting and replaces the previous run", async () => {
    await runCell(2, training("maxIters: 40, evalInterval: 20"));
    await seen(2, /the run made earlier by this kernel is replaced/);
    await seen(2, /^Run in out/);
    await picture("again");
  });

  test("shows a figure that reacts to the mouse", async () => {
    await runCell(3);
    const plot = output(3).locator(".js-plotly-plot .nsewdrag").first();
    await plot.waitFor({ timeout: 120_000 });
    await plot.hover();
    await output(3).locator(".hoverlayer text").first().waitFor();
    await picture("figure");
  });

  test("shows an error with its line and an excerpt", async () => {
    await runCell(4);
    await seen(4, /> 2 \| throw new RangeError\("the list is empty"\);/);
    expect(await output(4).innerText()).not.toMatch(/tslab|node:internal/);
    await picture("error");
  });
});
