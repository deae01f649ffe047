/** Every command that takes a model can use a checkpoint that was kept by its step. */
import fs from "node:fs";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { readSafetensors } from "../../lib/weights/safetensors.js";
import { temporaryFolder, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
const outDir = path.join(folder, "run");
const common = [`--data_dir=${folder}`, "--dataset=fox", "--device=cpu", "--compile=False", "--eval_iters=1"];
const batch = "--batch_size=2 --gradient_accumulation_steps=1 --warmup_iters=1 --eval_interval=100".split(" ");

async function folio(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(argv, { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

beforeAll(async () => {
  writeFox(folder);
  const model = "--n_layer=1 --n_head=1 --n_embd=8 --block_size=8 --max_iters=6 --save_interval=2".split(" ");
  const { code, out } = await folio("train", `--out_dir=${outDir}`, ...common, ...batch, ...model);
  expect(code).toBe(0);
  // The learning rate has a line of its own; nanoGPT's lines have nothing added.
  expect(out).toMatch(/^iter 1: loss \d\.\d{4}, time [\d.]+ms, mfu -100\.00%$/m);
  expect(out).toMatch(/^step 6: train loss \d\.\d{4}, val loss \d\.\d{4}\nlearning rate 6\.00e-4$/m);
}, 120_000);

const kept = () => openCheckpoint(outDir, 2).path;

test("sample and eval say which checkpoint they use", async () => {
  const prompt = ["--start=the ", "--num_samples=1", "--max_new_tokens=3", "--compile=False", "--device=cpu"];
  for (const flags of [
    [`--out_dir=${outDir}`, "--checkpoint=2"],
    [`--init_from=${outDir}`, "--checkpoint=2"],
    [`--init_from=${kept()}`],
  ]) {
    const sampled = await folio("sample", ...flags, ...prompt);
    expect([sampled.code, sampled.err]).toEqual([0, expect.stringContaining("checkpoint of step 2\n")]);
    const evaluated = await folio("eval", ...flags, ...common.filter((flag) => !flag.startsWith("--eval")), "--json");
    expect([evaluated.code, JSON.parse(evaluated.out)]).toEqual([0, expect.objectContaining({ step: 2 })]);
  }
  const none = await folio("sample", `--out_dir=${outDir}`, "--checkpoint=3", ...prompt);
  expect([none.code, none.err]).toEqual([
    1,
    expect.stringContaining("those of steps 2, 4, 6 exist; set --save_interval"),
  ]);
  const wrong = await folio("eval", `--out_dir=${outDir}`, "--checkpoint=first");
  expect(wrong.err).toContain('Cannot read --checkpoint: it is "first"; wanted auto, best, last, or the step of one');
});

test("export writes the weights of the named checkpoint", async () => {
  for (const [name, flags] of [
    ["by-step", [`--out_dir=${outDir}`, "--checkpoint=2"]],
    ["by-folder", [`--init_from=${kept()}`]],
  ] as const) {
    const to = path.join(folder, name);
    expect((await folio("export", ...flags, `--to=${to}`)).code).toBe(0);
    const exported = readSafetensors(path.join(to, "model.safetensors"))["transformer.wte.weight"];
    expect(exported).toEqual(openCheckpoint(outDir, 2).params["wte.weight"]);
    expect(fs.readdirSync(folder).filter((name) => name.includes("partial"))).toEqual([]);
  }
});

test("train starts from the named checkpoint; a resumed run uses its last one", async () => {
  for (const [name, flags] of [
    ["tuned-by-step", [`--init_from=${outDir}`, "--checkpoint=2"]],
    ["tuned-by-folder", [`--init_from=${kept()}`]],
  ] as const) {
    const to = path.join(folder, name);
    const still = ["--max_iters=1", "--learning_rate=0", "--min_lr=0"];
    const trained = await folio("train", `--out_dir=${to}`, ...flags, ...common, ...batch, ...still);
    expect([trained.code, trained.err]).toEqual([0, ""]);
    expect(openCheckpoint(to).params["wte.weight"]).toEqual(openCheckpoint(outDir, 2).params["wte.weight"]);
    // When resumed, the run does not report its origin again.
    const more = await folio("train", `--out_dir=${to}`, "--init_from=resume", "--max_iters=2");
    expect([more.code, more.err]).toEqual([0, ""]);
  }
  const back = await folio("train", `--out_dir=${outDir}`, "--init_from=resume", "--checkpoint=2", "--max_iters=7");
  expect([back.code, back.err]).toEqual([1, expect.stringContaining("a run resumes from its last one")]);
});
