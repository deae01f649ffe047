/** The commands of the README's table of nanoGPT's numbers: each parses, and starts, on a model and data that are tiny. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeDataset } from "../../lib/data/batches.js";
import { charTokenizer, gpt2Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { loadSettings } from "../../lib/settings/config-files.js";
import { hasCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import { gpt2Names } from "../../lib/weights/gpt2-folder.js";
import { documents } from "../check/documents.mjs";
import { smallGpt2 } from "../check/small-gpt2.js";
import { folio } from "../cli/in-process.js";
import { temporaryFolder } from "../tiny-run.js";
import { reproduceCommands } from "./reproduce.js";

const folder = temporaryFolder();
const offered = process.env.FOLIO_DATA_DIR;

beforeAll(() => {
  const text = documents.join("\n");
  for (const [name, tokenizer] of [
    ["shakespeare_char", charTokenizer(text)],
    ["openwebtext", gpt2Tokenizer()],
  ] as const) {
    const ids = tokenizer.encode(text);
    writeDataset(folder, { name, tokenizer, train: ids, val: ids.subarray(0, 200) });
  }
  // Weights of those names, from where they need no network.
  smallGpt2(path.join(folder, "small"));
  for (const name of gpt2Names) fs.cpSync(path.join(folder, "small"), path.join(folder, name), { recursive: true });
  process.env.FOLIO_DATA_DIR = folder;
});
afterAll(() => {
  if (offered === undefined) delete process.env.FOLIO_DATA_DIR;
  else process.env.FOLIO_DATA_DIR = offered;
});

const tiny = "--n_layer=1 --n_head=2 --n_embd=8 --batch_size=1 --block_size=8 --max_iters=1 --eval_iters=1".split(" ");

test.each(reproduceCommands)("%s", async (command) => {
  const [program, name, ...args] = command.split(" ");
  expect([program, name]).toEqual(["folio", "train"]);
  const settings = await loadSettings(args);
  const outDir = path.join(folder, args[0]!);
  const own = ["--device=cpu", `--data_dir=${folder}`, `--out_dir=${outDir}`, "--tensorboard=false"];
  const micros = settings.devices > 1 ? [`--gradient_accumulation_steps=${settings.devices}`] : [];
  const save = settings.evalOnly ? [] : ["--always_save_checkpoint=True"];
  const { code, out, err } = await folio("train", ...args, ...own, ...tiny, ...micros, ...save);
  expect(code, out + err).toBe(0);
  expect(out).toMatch(/step 0: train loss \d+\.\d+, val loss \d+\.\d+/);
  if (settings.evalOnly) expect(hasCheckpoint(outDir)).toBe(false);
  else expect(readState(outDir).step).toBe(1);
});
