/** Pages in Chromium with the network off, and what they complain about. */
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";

export const chromiumFile = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) =>
  fs.existsSync(file),
);

/** The requirement of tests in a browser. */
export const missingChromium = chromiumFile ? undefined : "there is no Chromium (Debian's package chromium)";

export async function openBrowser(): Promise<Browser> {
  if (!chromiumFile) throw new Error("Cannot open a browser: there is no Chromium.");
  // The hooks by which proofs run TypeScript cannot import it.
  const { chromium } = createRequire(import.meta.url)("playwright-core") as typeof import("playwright-core");
  return await chromium.launch({ executablePath: chromiumFile, args: ["--no-sandbox"] });
}

/** A page for a file; `complaints` are its errors and whatever it asks the network for. */
export async function openFile(
  browser: Browser,
  file: string,
  { colorScheme = "light", width = 1280 }: { colorScheme?: "light" | "dark"; width?: number } = {},
): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser.newContext({ offline: true, colorScheme, viewport: { width, height: 720 } });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("request", (request) => !/^(file|data):/.test(request.url()) && complaints.push(request.url()));
  await page.goto(pathToFileURL(file).href);
  return { page, complaints };
}

const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The rules of accessibility that a page breaks. */
export async function violations(page: Page): Promise<string[]> {
  // Evaluated, not added as a script: the page's policy allows only its own.
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { axe } = window as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const { violations } = await axe.run();
    return violations.map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .map(({ html }) => html)
          .slice(0, 2)
          .join(" ")}`,
    );
  });
}

/** Stores a screenshot in the folder FOLIO_SCREENSHOTS, if that is set. */
export async function takeScreenshot(page: Page, name: string): Promise<void> {
  const to = process.env.FOLIO_SCREENSHOTS;
  if (to) await page.screenshot({ path: path.join(to, `${name}.png`), fullPage: true });
}
