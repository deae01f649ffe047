import fs from "node:fs";
import path from "node:path";
import type { Page } from "playwright-core";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { resolveDevice } from "../../lib/engine/device.js";
import { toHost } from "../../lib/engine/host-tensors.js";
import { median } from "../../lib/host/statistics.js";
import { attentionView } from "../../lib/inspect/views/attention.js";
import { initialParameters } from "../../lib/model/model.js";
import { defaultSettings } from "../../lib/settings/settings.js";
import { openBrowser, openFile } from "../inspect/browser.js";
import { type Proof, rounded } from "./proof.js";

const times = 10;
const megabytes = 60;
const tokens = 1024;
/** Milliseconds of a plain loop on the machine that the bounds are for. */
const plainLoopMs = 100;

/** The attention of every head of a model of GPT-2's shape on its longest text, as a page of its own. */
export const attentionPage: Proof = {
  name: "attention-page",
  claim: `the attention of 12 × 12 heads on ${tokens} tokens is one file of up to ${megabytes} MB, which opens within 5 s and shows another head within 500 ms, where a plain loop of 10^8 multiplications takes ${plainLoopMs} ms (medians of ${times}, in proportion to that loop)`,
  inputs: ["lib/inspect", "lib/model", "bin/bundle.mjs"],
  async run({ folder, say }) {
    const file = path.join(folder, "attention.html");
    fs.writeFileSync(file, await pageOfHeads());
    const browser = await openBrowser();
    try {
      const [openings, heads, loops]: [number[], number[], number[]] = [[], [], []];
      let requests: string[] = [];
      for (let i = 0; i < times; i++) {
        const { page, complaints } = await openFile(browser, file);
        await page.waitForFunction(
          () =>
            [...document.querySelectorAll("div")].some((one) =>
              one.shadowRoot?.querySelector('[aria-label^="Attention weights of"]'),
            ),
          undefined,
          { polling: "raf" },
        );
        openings.push(await page.evaluate(() => performance.now()));
        const timed = await chooseHead(page, i);
        heads.push(timed.head);
        loops.push(timed.loop);
        requests = [...requests, ...complaints];
        await page.context().close();
        say(
          `opening ${i + 1} of ${times}: ${Math.round(openings.at(-1)!)} ms, another head ${Math.round(timed.head)} ms`,
        );
      }
      const size = fs.statSync(file).size / 1e6;
      const [opening, head, loop] = [median(openings), median(heads), median(loops)];
      const scale = plainLoopMs / loop;
      return {
        holds: size <= megabytes && requests.length === 0 && opening * scale < 5000 && head * scale < 500,
        figures: {
          fileMB: rounded(size, 1),
          openingMs: Math.round(opening),
          anotherHeadMs: Math.round(head),
          plainLoopMs: Math.round(loop),
          requestsAndErrors: requests.length,
        },
      };
    } finally {
      await browser.close();
    }
  },
};

/** Random weights: how fast a page is does not depend on what they are. */
async function pageOfHeads(): Promise<string> {
  const tokenizer = charTokenizer("abcdefghijklmnopqrstuvwxyz \n");
  const { vocabSize } = tokenizer;
  const settings = { ...defaultSettings, nLayer: 12, nHead: 12, nEmbd: 768, blockSize: tokens, vocabSize };
  await resolveDevice({ ...settings, device: "cpu", dtype: "float32", compile: false });
  const entries = Object.entries(initialParameters(settings, 1)).map(async ([name, tensor]) => {
    const host = await toHost(tensor);
    tensor.dispose();
    return [name, host] as const;
  });
  const params = Object.fromEntries(await Promise.all(entries));
  const ids = Array.from({ length: tokens }, (_, t) => (t * t) % vocabSize);
  return (await attentionView({ params, settings, tokenizer }, ids)).html();
}

/** Chooses a head that was not shown yet, in a layer of its own. */
function chooseHead(page: Page, index: number): Promise<{ head: number; loop: number }> {
  return page.evaluate(async (index) => {
    const numbers = Float64Array.from({ length: 10_000 }, (_, i) => 1 + 1e-9 * i);
    let [loop, product] = [0, 0];
    for (let again = 0; again < 3; again++) {
      const from = performance.now();
      for (let round = 0; round < 10_000; round++) {
        for (let i = 0; i < numbers.length; i++) product += numbers[i]! * round;
      }
      loop = performance.now() - from;
    }
    if (!Number.isFinite(product)) throw new Error("the loop was left out");
    const root = [...document.querySelectorAll("div")].find((one) => one.shadowRoot)!.shadowRoot!;
    const wanted = `layer ${1 + index}, head ${index}`;
    const from = performance.now();
    root.querySelector<HTMLElement>(`button[aria-label="${wanted}"]`)!.click();
    await new Promise<void>((resolve) => {
      const check = () => {
        const shown = root.querySelector(`[aria-label^="Attention weights of ${wanted}:"]`);
        // Drawn in the frame that follows.
        if (shown) requestAnimationFrame(() => setTimeout(resolve));
        else setTimeout(check, 1);
      };
      check();
    });
    return { head: performance.now() - from, loop };
  }, index);
}
