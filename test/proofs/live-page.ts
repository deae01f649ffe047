import fs from "node:fs";
import path from "node:path";
import type { Page } from "playwright-core";
import { median } from "../../lib/host/statistics.js";
import type { PageApi } from "../../lib/inspect/live/api.js";
import { openBrowser, openFile } from "../inspect/browser.js";
import { commands, folio, type Proof, rounded } from "./proof.js";

const times = 50;
const megabytes = 6;

interface Keys {
  readonly pass: readonly number[];
  readonly key: readonly number[];
}

/**
 * The page of the quickstart's model: how large it is, how soon it shows something, and how long after a key is pressed all of
 * it is drawn, beside a plain forward pass of 64 tokens in the same page.
 */
export const livePage: Proof = {
  name: "live-page",
  claim: `the page of the quickstart's model is a file of up to ${megabytes} MB, which shows its first picture within 2 s, and what a key changes within 100 ms, where a plain forward pass of 64 tokens takes 40 ms (medians of ${times}, in proportion to that pass)`,
  inputs: [...commands("start", "view"), "lib/inspect", "lib/engine/page", "lib/model", "bin/bundle.mjs"],
  async run({ folder, say }) {
    const run = path.join(folder, "out");
    await folio("start", `--out_dir=${run}`, `--data_dir=${folder}`, "--device=cpu");
    const file = path.join(run, "model.html");
    const browser = await openBrowser();
    try {
      const first: number[] = [];
      let keys: Keys | undefined;
      let requests: string[] = [];
      for (let i = 0; i < times; i++) {
        const { page, complaints } = await openFile(browser, file);
        await page.waitForSelector("#app[data-ready]");
        first.push(await page.evaluate(() => performance.now()));
        if (i === 0) keys = await pressKeys(page);
        requests = [...requests, ...complaints];
        await page.context().close();
        if (i % 10 === 9) say(`${i + 1} of ${times} openings`);
      }
      const [pass, key, opening] = [median(keys!.pass), median(keys!.key), median(first)];
      const size = fs.statSync(file).size / 1e6;
      const scale = 40 / pass;
      return {
        holds: size <= megabytes && requests.length === 0 && opening * scale < 2000 && key * scale < 100,
        figures: {
          fileMB: rounded(size, 2),
          firstPictureMs: Math.round(opening),
          keyMs: Math.round(key),
          plainPassMs: rounded(pass, 1),
          requestsAndErrors: requests.length,
        },
      };
    } finally {
      await browser.close();
    }
  },
};

/** Types and deletes a character at the end of 63 tokens, in turns with a plain pass of 64. */
function pressKeys(page: Page): Promise<Keys> {
  return page.evaluate(async (times) => {
    const { folio } = window as unknown as { folio: PageApi };
    const root = document.querySelector("#app")!.shadowRoot!;
    const prompt = root.querySelector("textarea")!;
    const type = (value: string) => {
      const from = performance.now();
      prompt.value = value;
      prompt.dispatchEvent(new Event("input", { bubbles: true }));
      return new Promise<number>((resolve) => {
        const check = () => {
          const shown = root.querySelector("#tokens")!.textContent!.includes(`${value.length} tokens`);
          if (shown) requestAnimationFrame(() => resolve(performance.now() - from));
          else setTimeout(check, 1);
        };
        check();
      });
    };
    const text = "interface AudioBuffer extends AudioNode { readonly length: number; }".slice(0, 64);
    await type(text.slice(0, 63));
    const [pass, key]: [number[], number[]] = [[], []];
    for (let i = 0; i < times; i++) {
      const from = performance.now();
      await folio.pass(text);
      pass.push(performance.now() - from);
      key.push(await type(i % 2 === 0 ? text : text.slice(0, 63)));
    }
    return { pass, key };
  }, times);
}
