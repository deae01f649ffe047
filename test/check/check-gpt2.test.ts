/**
 * `folio check gpt2` against a hub on this machine that has a small GPT-2: what is wanted of it was computed by Hugging
 * Face's transformers (test/golden/make-check.py).
 */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { CheckReport } from "../../lib/check/report.js";
import { writeDataset } from "../../lib/data/batches.js";
import { gpt2Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import type { Settings } from "../../lib/settings/settings.js";
import { folio } from "../cli/in-process.js";
import { temporaryFolder } from "../tiny-run.js";
import { documents, prompts, targets } from "./documents.mjs";
import { type LocalHub, openHub, smallGpt2 } from "./small-gpt2.js";

const golden = JSON.parse(fs.readFileSync(new URL("../golden/check.json", import.meta.url), "utf8")) as {
  parameters: number;
  prompts: { ids: number[]; continuation: number[] }[];
  loss: number;
  targets: number;
};
const rate = vi.hoisted(() => ({ times: 1 }));
vi.mock("../../lib/train/train.js", async (original) => {
  const { train } = await original<typeof import("../../lib/train/train.js")>();
  const changed = (settings: Settings, options: Parameters<typeof train>[1]) =>
    train({ ...settings, learningRate: rate.times * settings.learningRate }, options);
  return { train: changed };
});

const folder = temporaryFolder();
const environment = { ...process.env };
let hub: LocalHub;

beforeAll(async () => {
  hub = await openHub(smallGpt2(path.join(folder, "small")));
  Object.assign(process.env, { HF_ENDPOINT: hub.url, HF_HUB_CACHE: path.join(folder, "cache") });
  delete process.env.FOLIO_DATA_DIR;
  const tokenizer = gpt2Tokenizer();
  const ids = tokenizer.encode(documents.join("\n"));
  writeDataset(folder, { name: "own", tokenizer, train: ids, val: ids.subarray(0, 100) });
});
afterAll(() => {
  hub.close();
  for (const name of ["HF_ENDPOINT", "HF_HUB_CACHE", "FOLIO_DATA_DIR"]) {
    if (environment[name] === undefined) delete process.env[name];
    else process.env[name] = environment[name];
  }
});

/** What is wanted of the small model, with some of it changed. */
function expectation(changes: object = {}): string {
  const tokenizer = gpt2Tokenizer();
  const texts = golden.prompts.map(({ continuation }, index) => ({
    prompt: prompts[index],
    continuation: tokenizer.decode(continuation),
  }));
  const { parameters, loss } = golden;
  const wanted = { parameters, texts, loss, tolerance: 1e-4, source: "transformers", ...changes };
  const file = path.join(folder, "expect.json");
  fs.writeFileSync(file, JSON.stringify({ gpt2: wanted }));
  return file;
}

const check = async (expect: string, ...more: string[]) =>
  await folio(
    ...["check", "gpt2", `--data_dir=${folder}`, "--dataset=own", "--device=cpu", `--slice=${targets + 1}`],
    ...[`--expect=${expect}`, ...more],
  );

test("it holds for a model that gives what transformers computed, and needs the network once", async () => {
  const { code, out, err } = await check(expectation());
  expect(code, out + err).toBe(0);
  expect(out).toMatch(/^### folio check gpt2: it holds\n\n\| What \| Wanted \| Found \| Holds \|\n/);
  const rows = out.split("\n").filter((line) => line.startsWith("| gpt2: "));
  expect(rows).toHaveLength(5);
  expect(rows[0]).toBe("| gpt2: parameters | 811,728 | 811,728 | yes |");
  expect(rows[1]).toContain('greedy text after "The dog"');
  expect(rows[3]).toContain(`${golden.loss} ± 0.0001 (transformers) | ${golden.loss.toFixed(4)} | yes |`);
  const [, before, after] = /lower than before, which is ([\d.]+) \| ([\d.]+) \| yes/.exec(rows[4]!)!;
  expect(Number(after)).toBeLessThan(Number(before));
  expect(out).toMatch(/compared with .*expect\.json, not with what is published; tensorflow [\d.]+ on cpu; 20\d\d-/);
  expect(hub.requests.filter((file) => file.endsWith("model.safetensors"))).toHaveLength(1);
});

test("it does not hold, and says which row, for other parameters, another text, another loss", async () => {
  const wrong = {
    parameters: 811_729,
    texts: [{ prompt: "The dog", continuation: " barks" }],
    loss: golden.loss + 0.01,
  };
  const { code, out } = await check(expectation(wrong), "--finetune_steps=0", "--json");
  expect(code).toBe(1);
  const report = JSON.parse(out) as CheckReport;
  expect(report.rows.map(({ holds }) => holds)).toEqual([false, false, false]);
  expect(report.rows[1]).toMatchObject({ wanted: " barks", found: expect.stringMatching(/^ occup/) });
  expect(report.holds).toBe(false);
});

test("a finetuning after which the loss is higher is noticed", async () => {
  const tokenizer = gpt2Tokenizer();
  const val = tokenizer.encode(documents.join("\n"));
  // It soon expects one token everywhere.
  writeDataset(folder, { name: "one-token", tokenizer, train: new Int32Array(500).fill(7), val });
  rate.times = 5000;
  const { code, out } = await check(expectation({ texts: [] }), "--dataset=one-token", "--json").finally(() => {
    rate.times = 1;
  });
  expect(code).toBe(1);
  const { rows } = JSON.parse(out) as CheckReport;
  expect(rows.at(-1)).toMatchObject({ holds: false, what: expect.stringContaining("after 20 updates") });
  expect(rows.filter(({ holds }) => holds === false)).toHaveLength(1);
});

test.each([
  [["--sizes=gpt3"], /^folio: Cannot read --sizes: it is "gpt3"; wanted all, or one or more of gpt2,/],
  [["--expect=nowhere.json"], /^folio: Cannot read what is expected from nowhere\.json: it is missing; wanted JSON/],
  [["gpt2-xl"], /^folio: Cannot check gpt2 with gpt2-xl: it takes flags only/],
  [["--peer=python3"], /^folio: Cannot read --peer: it is a setting of `folio bench`, not of `folio check gpt2`/],
])("%j is refused with one message", async (args, message) => {
  const { code, out, err } = await folio("check", "gpt2", ...args);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toMatch(message);
  expect(err.trim().split("\n")).toHaveLength(1);
});

test("without a network it is refused with one message, before anything is computed", async () => {
  process.env.HF_ENDPOINT = "http://127.0.0.1:9";
  process.env.HF_HUB_CACHE = path.join(folder, "empty");
  const { code, out, err } = await folio("check", "gpt2", `--data_dir=${folder}`);
  Object.assign(process.env, { HF_ENDPOINT: hub.url, HF_HUB_CACHE: path.join(folder, "cache") });
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toMatch(/^folio: Cannot ask http:\/\/127\.0\.0\.1:9 for openai-community\/gpt2: .*Check the network/);
  expect(err.trim().split("\n")).toHaveLength(1);
});
