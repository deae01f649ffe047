/** Runs resumed from nanoGPT's ckpt.pt. Other starting weights are in going-on.test.ts and gpt2-folder.test.ts. */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { openDataset, writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { float32 } from "../../lib/engine/host-tensors.js";
import { openSession } from "../../lib/engine/session.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import type { IterRecord } from "../../lib/runs/records.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import type { Settings } from "../../lib/settings/settings.js";
import { batchFeed } from "../../lib/train/batch-feed.js";
import { biasCorrections } from "../../lib/train/optimizers/adamw.js";
import { learningRate } from "../../lib/train/optimizers/schedule.js";
import { trainingSteps } from "../../lib/train/steps.js";
import { train } from "../../lib/train/train.js";
import { hasCheckpoint, openCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import { readNanoGptCheckpoint } from "../../lib/weights/nanogpt-checkpoint.js";
import { nanoGptSettings, readNanoGptWeights } from "../../lib/weights/nanogpt-run.js";
import { collect, temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
// After 3 steps of nanoGPT on 11 ids; test/golden/make-gpt2.py has the model and its settings.
const golden = fileURLToPath(new URL("../golden/gpt2/ckpt.pt", import.meta.url));
const dataDir = path.join(folder, "data");
let runs = 0;

/** An output folder of nanoGPT. */
function nanoGptRun(): string {
  const outDir = path.join(folder, `out-${runs++}`);
  fs.mkdirSync(outDir);
  fs.copyFileSync(golden, path.join(outDir, "ckpt.pt"));
  return outDir;
}

const going = (outDir: string, more: Partial<Settings> = {}): Settings => ({
  ...nanoGptSettings(path.join(outDir, "ckpt.pt")),
  ...{ dataDir, compile: false, batchSize: 2, gradientAccumulationSteps: 1, evalIters: 2, ...more },
});

const folio = async (...args: string[]) => {
  const [out, err]: string[][] = [[], []];
  const io = {
    stdout: { write: (text: string) => out!.push(text) },
    stderr: { write: (text: string) => err!.push(text) },
  };
  return { code: await main(args, io), out: out!.join(""), err: err!.join("") };
};

beforeAll(() => {
  loadTensorFlow();
  const text = "abcdefghij\n".repeat(60);
  const tokenizer = charTokenizer(text);
  const ids = tokenizer.encode(text);
  writeDataset(dataDir, { name: "shakespeare_char", tokenizer, train: ids.subarray(0, 500), val: ids.subarray(500) });
  const longer = charTokenizer("zyxwvutsrqp");
  writeDataset(dataDir, { name: "other", tokenizer: longer, train: ids.subarray(0, 500), val: ids.subarray(500) });
});

describe("initFrom resume in a folder of nanoGPT's", () => {
  test("has the settings of its run, except for those of the machine", () => {
    const settings = nanoGptSettings(path.join(nanoGptRun(), "ckpt.pt"));
    expect(settings).toMatchObject({ nLayer: 2, nHead: 2, nEmbd: 8, blockSize: 6, vocabSize: 11, bias: false });
    // As nanogpt() of make-gpt2.py has them.
    expect(settings).toMatchObject({ dataset: "shakespeare_char", learningRate: 1e-2, maxIters: 5, gradClip: 0 });
    expect(settings).toMatchObject({ initFrom: "resume", device: "auto", dtype: "auto" });
  });

  // nanogpt-checkpoint.test.ts compares such updates with PyTorch's, the proof ckpt-pt the losses of a whole run.
  test("continues with its weights, moments, step and best loss, and does not change ckpt.pt", async () => {
    const outDir = nanoGptRun();
    const settings = going(outDir, { maxIters: 6, evalInterval: 100 });
    const wanted = await updates(settings, 3);
    const records = await collect(train(settings));
    expect(records[0]).toMatchObject({ kind: "start", step: 3, resumedFrom: path.join(outDir, "ckpt.pt") });
    const iters = records.filter((record): record is IterRecord => record.kind === "iter");
    expect(iters.map(({ step }) => step)).toEqual([3, 4, 5]);
    for (const [i, { loss }] of iters.entries()) expect(Math.abs(loss - wanted[i]!)).toBeLessThan(1e-6);
    expect(records.find(({ kind }) => kind === "eval")).toMatchObject({ step: 6 });
    expect(fs.readFileSync(path.join(outDir, "ckpt.pt")).equals(fs.readFileSync(golden))).toBe(true);
    const { step, bestValLoss, origin, tokens } = readState(outDir);
    expect({ step, tokens }).toEqual({ step: 6, tokens: 3 * tokensOfTheirs(outDir) + 3 * 2 * 6 });
    expect(bestValLoss).toBeLessThanOrEqual(2.5); // nanoGPT's
    expect(origin).toMatchObject({ step: 3 }); // another batch size from there on
    // From now on, it is a run of Folio.
    const more = await collect(train({ ...settings, maxIters: 7 }));
    expect(more[0]).toMatchObject({ kind: "start", step: 6 });
  });

  test("keeps one identity with the same settings, however often it is stopped", async () => {
    const outDir = nanoGptRun();
    const settings = { ...nanoGptSettings(path.join(outDir, "ckpt.pt")), dataDir };
    const small: Settings = { ...settings, gradientAccumulationSteps: 1, batchSize: 1, evalIters: 1, compile: false };
    const controller = new AbortController();
    for await (const record of train(small, { signal: controller.signal })) {
      if (record.kind === "iter") controller.abort();
    }
    const { runId, step } = readState(outDir);
    expect(step).toBe(4);
    const [start] = await collect(train({ ...small, maxIters: 5 }));
    expect(start).toMatchObject({ step: 4, runId });
    expect(openCheckpoint(outDir).step).toBe(5);
  });

  test("refuses another shape and another tokenizer, and evaluates without writing", async () => {
    const outDir = nanoGptRun();
    await expect(collect(train(going(outDir, { nLayer: 3 })))).rejects.toThrow(
      /^Cannot resume from .*: the checkpoint has another shape \(nLayer 2 there, 3 here\)/,
    );
    await expect(collect(train(going(outDir, { dataset: "other" })))).rejects.toThrow(
      "its tokenizer is not that of other",
    );
    const records = await collect(train(going(outDir, { evalOnly: true })));
    expect(records.map(({ kind, step }) => `${kind} ${step}`)).toEqual(["start 3", "eval 3", "end 3"]);
    expect(fs.readdirSync(outDir)).toEqual(["ckpt.pt"]);
  });

  test("trained on a bare train.bin of its own ids, it stands for ids and no text", () => {
    const bare = path.join(folder, "bare", "shakespeare_char");
    fs.mkdirSync(bare, { recursive: true });
    for (const file of ["train.bin", "val.bin"]) {
      fs.writeFileSync(
        path.join(bare, file),
        Uint16Array.from({ length: 60 }, (_, index) => index % 11),
      );
    }
    const file = path.join(nanoGptRun(), "ckpt.pt");
    const { tokenizer } = readNanoGptWeights(file, { dataDir: path.join(folder, "bare") });
    expect(tokenizer).toEqual({ kind: "none", vocabSize: 11 });
  });

  test("on the command line: train, eval and sample take the folder as it is", async () => {
    const outDir = nanoGptRun();
    const place = [`--out_dir=${outDir}`, `--data_dir=${dataDir}`, "--compile=False"];
    const evaluated = await folio("eval", `--out_dir=${outDir}`, `--data_dir=${dataDir}`, "--json");
    expect(evaluated.code, evaluated.err).toBe(0);
    expect(JSON.parse(evaluated.out)).toMatchObject({ model: path.join(outDir, "ckpt.pt"), blockSize: 6 });
    const sampled = await folio("sample", ...place, "--start=a", "--num_samples=1", "--max_new_tokens=5");
    expect(sampled.code, sampled.err).toBe(0);
    expect(sampled.err).toContain(`sampling from ${outDir}/ckpt.pt`);
    const size = ["--batch_size=2", "--gradient_accumulation_steps=1", "--eval_iters=2"];
    const trained = await folio("train", ...place, ...size, "--init_from=resume", "--max_iters=4");
    expect(trained.code, trained.err).toBe(0);
    expect(trained.out).toMatch(/^Resuming training from .* \(step 3\)$/m);
    expect(trained.out).toMatch(/^iter 3: loss/m);
    expect(hasCheckpoint(outDir)).toBe(true);
    expect(readRunLog(outDir).at(-1)).toMatchObject({ kind: "end", step: 4, reason: "finished" });
  });
});

const tokensOfTheirs = (outDir: string) => {
  const { batchSize, blockSize, gradientAccumulationSteps } = nanoGptSettings(path.join(outDir, "ckpt.pt"));
  return batchSize * blockSize * gradientAccumulationSteps;
};

/** The losses of the next updates, computed with the steps directly. */
async function updates(settings: Settings, count: number): Promise<number[]> {
  const { params, optimizer, iterNum: step } = readNanoGptCheckpoint(golden, { optimizer: true });
  const { exp_avg: m, exp_avg_sq: v } = optimizer!;
  const dataset = openDataset(dataDir, settings.dataset);
  const feed = batchFeed(settings, dataset, { step, tokens: 0 });
  const session = await openSession({ params, m: m!, v: v! }, { compile: false });
  try {
    const update = session.define(trainingSteps(settings).update);
    const losses: number[] = [];
    for (let i = step; i < step + count; i++) {
      const [first, second] = biasCorrections(i + 1, settings).map((value) => float32([value], []));
      const rates = { learningRate: float32([learningRate(i, settings)], []) };
      const inputs = { ...feed.take(i, 0)[0], ...rates, biasCorrection1: first!, biasCorrection2: second! };
      losses.push((await update(inputs)).loss!.values[0]!);
    }
    return losses;
  } finally {
    session.dispose();
    dataset.close();
  }
}
