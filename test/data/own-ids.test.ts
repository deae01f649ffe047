/** Datasets of ids without a known tokenizer: trained on, evaluated, sampled as ids, exported. */
import fs from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { resolveData } from "../../lib/bench/modes.js";
import { main } from "../../lib/cli/main.js";
import { openDataset, readMeta } from "../../lib/data/dataset.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { parseBenchSettings } from "../../lib/settings/settings.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { loadPlan, planSweep } from "../../scaling/plan.js";
import { doRun } from "../../scaling/sweep/find-run.js";
import { readResults, runSweep, type StartJob } from "../../scaling/sweep.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
const dataDir = path.join(folder, "data");

/** By Python: base64 of pickle.dumps(value, protocol), with NumPy 2 unless said otherwise. */
const pickles: Record<string, [base64: string, kind: string, vocabSize: number]> = {
  "vocab_size alone": ["gASVJgAAAAAAAAB9lCiMCnZvY2FiX3NpemWUSxSMBG5vdGWUjAhwcm90ZWluc5R1Lg==", "none", 20],
  "np.int64(20), protocol 2": [
    "gAJ9cQBYCgAAAHZvY2FiX3NpemVxAWNudW1weS5fY29yZS5tdWx0aWFycmF5CnNjYWxhcgpxAmNudW1weQpkdHlwZQpxA1gCAAAAaThxBImIh3EFUnEGKEsDWAEAAAA8cQdOTk5K/////0r/////SwB0cQhiY19jb2RlY3MKZW5jb2RlCnEJWAgAAAAUAAAAAAAAAHEKWAYAAABsYXRpbjFxC4ZxDFJxDYZxDlJxD3Mu",
    "none",
    20,
  ],
  "np.int64(20), protocol 4": [
    "gASVegAAAAAAAAB9lIwKdm9jYWJfc2l6ZZSMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAZzY2FsYXKUk5SMBW51bXB5lIwFZHR5cGWUk5SMAmk4lImIh5RSlChLA4wBPJROTk5K/////0r/////SwB0lGJDCBQAAAAAAAAAlIaUUpRzLg==",
    "none",
    20,
  ],
  "np.int64(20) of NumPy 1": [
    "gASVegAAAAAAAAB9lIwKdm9jYWJfc2l6ZZSMFW51bXB5LmNvcmUubXVsdGlhcnJheZSMBnNjYWxhcpSTlIwFbnVtcHmUjAVkdHlwZZSTlIwCaTiUiYiHlFKUKEsDjAE8lE5OTkr/////Sv////9LAHSUYkMIFAAAAAAAAACUhpRSlHMu",
    "none",
    20,
  ],
  "tokens of several letters": [
    "gASVpQAAAAAAAAB9lCiMCnZvY2FiX3NpemWUjBZudW1weS5fY29yZS5tdWx0aWFycmF5lIwGc2NhbGFylJOUjAVudW1weZSMBWR0eXBllJOUjAJpNJSJiIeUUpQoSwOMATyUTk5OSv////9K/////0sAdJRiQwQDAAAAlIaUUpSMBGl0b3OUfZQoSwCMBTxwYWQ+lEsBjANBbGGUSwKMA0dseZR1jARzdG9plH2UdS4=",
    "none",
    3,
  ],
  "characters under np.int64 keys": [
    "gASV2gAAAAAAAAB9lCiMCnZvY2FiX3NpemWUjBZudW1weS5fY29yZS5tdWx0aWFycmF5lIwGc2NhbGFylJOUjAVudW1weZSMBWR0eXBllJOUjAJ1MZSJiIeUUpQoSwOMAXyUTk5OSv////9K/////0sAdJRiQwEClIaUUpSMBGl0b3OUfZQoaARoB4wCaTiUiYiHlFKUKEsDjAE8lE5OTkr/////Sv////9LAHSUYkMIAAAAAAAAAACUhpRSlIwBYZRoBGgUQwgBAAAAAAAAAJSGlFKUjAFilHWMBHN0b2mUfZR1Lg==",
    "char",
    2,
  ],
};

/** A folder as a user's own script might write it: ids that repeat a scale. */
function writeIds(name: string, pickle?: string): void {
  const at = path.join(dataDir, name);
  fs.mkdirSync(at, { recursive: true });
  const ids = Uint16Array.from({ length: 600 }, (_, index) => index % 20);
  for (const file of ["train.bin", "val.bin"]) fs.writeFileSync(path.join(at, file), ids);
  if (pickle) fs.writeFileSync(path.join(at, "meta.pkl"), Buffer.from(pickle, "base64"));
}

const folio = async (...args: string[]) => {
  const [out, err]: string[][] = [[], []];
  const io = {
    stdout: { write: (text: string) => out!.push(text) },
    stderr: { write: (text: string) => err!.push(text) },
  };
  return { code: await main(args, io), out: out!.join(""), err: err!.join("") };
};

const tiny = (dataset: string, ...more: string[]) => [
  "train",
  ...[`--data_dir=${dataDir}`, `--dataset=${dataset}`, `--out_dir=${path.join(folder, `out-${dataset}`)}`],
  ..."--n_layer=1 --n_head=1 --n_embd=8 --block_size=8 --batch_size=2 --gradient_accumulation_steps=1".split(" "),
  ..."--eval_iters=1 --eval_interval=2 --max_iters=2 --device=cpu --compile=False".split(" "),
  ...more,
];

beforeAll(() => {
  loadTensorFlow();
});

describe("a meta.pkl", () => {
  test.each(Object.entries(pickles))("with %s", (_, [pickle, kind, vocabSize]) => {
    fs.rmSync(path.join(dataDir, "own"), { recursive: true, force: true });
    writeIds("own", pickle);
    expect(readMeta(dataDir, "own")).toMatchObject({ vocabSize, tokenizer: { kind } });
  });
});

describe("a dataset of one's own ids", () => {
  test("is trained on, evaluated, sampled as ids and exported", async () => {
    writeIds("scale", pickles["vocab_size alone"]![0]);
    const outDir = `--out_dir=${path.join(folder, "out-scale")}`;
    expect(await folio(...tiny("scale"))).toMatchObject({ code: 0, err: "" });
    expect(openCheckpoint(path.join(folder, "out-scale")).tokenizer).toEqual({ kind: "none", vocabSize: 20 });

    const sampled = await folio(
      "sample",
      outDir,
      "--num_samples=1",
      "--max_new_tokens=5",
      "--start=3 4",
      "--compile=False",
    );
    expect(sampled.out).toMatch(/^3 4( \d+){5}\n-+\n$/);
    // nanoGPT's default prompt, a newline, is not an id.
    expect((await folio("sample", outDir, "--num_samples=1", "--max_new_tokens=2", "--compile=False")).out).toMatch(
      /^0( \d+){2}\n/,
    );
    expect((await folio("sample", outDir, "--start=to be", "--compile=False")).err).toContain(
      "this model has no tokenizer; give ids from 0 to 19, separated by spaces",
    );

    const evaluated = await folio("eval", outDir, "--json", "--compile=False");
    const { results } = JSON.parse(evaluated.out) as { results: Record<string, unknown>[] };
    expect(results[0]).toMatchObject({ tokens: 599, bitsPerByte: null, bytes: null });
    expect((await folio("eval", outDir, "--compile=False")).out).toMatch(/scale val +\d\.\d{4} +[\d.]+ +- +599 +-/);

    const exported = await folio("export", outDir, `--to=${path.join(folder, "exported")}`);
    expect(exported.out).toContain("Its ids have no text, so there are no tokenizer files.");
  });

  test("in a bare train.bin has as many ids as vocab_size says", async () => {
    writeIds("bare");
    // Without meta.pkl, the ids are GPT-2's, as in nanoGPT.
    expect(readMeta(dataDir, "bare")).toMatchObject({ vocabSize: 50_257, tokenizer: { kind: "gpt2" } });
    expect(readMeta(dataDir, "bare", { vocabSize: 50_304 }).tokenizer).toEqual({ kind: "gpt2" });
    const { tokenizer, meta, close } = openDataset(dataDir, "bare", { vocabSize: 20 });
    close();
    expect([tokenizer.kind, meta.vocabSize]).toEqual(["none", 20]);
    expect(await folio(...tiny("bare", "--vocab_size=20"))).toMatchObject({ code: 0, err: "" });
    const outDir = `--out_dir=${path.join(folder, "out-bare")}`;
    const evaluated = await folio("eval", outDir, "--json", "--compile=False");
    expect(JSON.parse(evaluated.out)).toMatchObject({ results: [{ tokens: 599, bitsPerByte: null }] });
  });

  test("in a bare train.bin is planned, swept and timed with as many ids as the settings say", async () => {
    writeIds("bare");
    const settings = { vocabSize: 20, blockSize: 8, device: "cpu", compile: false } as const;
    const plan = planSweep({
      ...{ name: "ids", dataset: "bare", dataDir, settings, batchTokens: 16, learningRate: 1e-3 },
      grid: { kind: "sizes", sizes: [500], budgets: [2e6] },
      limits: { epochs: 1000, fewestSteps: 1 },
      ...{ tokenizer: "none", validationTokens: 64, workers: 1, threads: 1 },
    });
    expect(plan.runs.map((run) => run.settings.vocabSize)).toEqual([20]);
    const sweep = path.join(folder, "sweep");
    // In this process: to start one takes seconds.
    const start: StartJob = (run, { planFile }) => {
      const done = doRun(loadPlan(planFile), { folder: sweep, run: run.id });
      return { done, stop: () => {}, kill: () => {} };
    };
    for await (const record of runSweep(plan, { folder: sweep, start })) void record;
    expect(readResults(sweep)).toMatchObject([{ tokenizer: "none", vocab_size: 20, dataset_tokens: 600 }]);

    const bench = parseBenchSettings({ ...settings, dataDir, dataset: "bare", realData: true });
    expect(resolveData(bench)).toMatchObject({ data: "bare", realData: true, settings: { vocabSize: 20 } });
  });
});
