import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type Dataset, openDataset, type TokenFile } from "../../lib/data/batches.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { defaultSettings } from "../../lib/settings/settings.js";
import { evaluateSplit } from "../../lib/train/evaluate.js";
import { hasCheckpoint, openCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import { loadPretrained } from "../../lib/weights/open-weights.js";
import type { TrainedModel } from "../../lib/weights/pretrained.js";
import { studentQuantile } from "../../scaling/fit/uncertainty/student-quantile.js";
import { isTrial } from "./long-run.js";
import {
  commands,
  type Figures,
  finish,
  folio,
  noteSitting,
  type Proof,
  peerPython,
  root,
  rounded,
  sittingsOf,
} from "./proof.js";
import { writeReplay } from "./replay.js";

const seeds = isTrial ? [1, 2] : [1337, 1, 2, 3, 4];
const steps = isTrial ? 20 : 2000;

// The flags in nanoGPT's README, "I only have a macbook", and the checkpoint of the last step instead of the best estimate's.
const flags = [
  ..."--device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 --batch_size=12".split(" "),
  ...`--n_layer=4 --n_head=4 --n_embd=128 --max_iters=${steps} --lr_decay_iters=2000 --dropout=0.0`.split(" "),
  ...["--always_save_checkpoint=True", ...(isTrial ? ["--eval_interval=20"] : [])],
];

/** Where only rounding differs. */
const sameLoss = 0.002;

/** Runs of this proof, which stay: a sitting that was interrupted goes on, and the runs can be looked at. */
const kept = path.join(root, ".cache", isTrial ? "cpu-demo-seeds-trial" : "cpu-demo-seeds");

/** nanoGPT's own code, which is not part of Folio. */
function nanoGpt(): string {
  const folder = process.env.FOLIO_NANOGPT;
  if (folder && fs.existsSync(path.join(folder, "train.py"))) return path.resolve(folder);
  const found = folder ? `${folder} has no train.py` : "it is not set";
  throw new Error(
    `nanoGPT's own code is needed: FOLIO_NANOGPT names a checkout of github.com/karpathy/nanoGPT; ${found}`,
  );
}

/** Both are evaluated by the same code; nanoGPT's weights are read from its ckpt.pt. */
export const cpuDemoSeeds: Proof = {
  name: "cpu-demo-seeds",
  claim: `nanoGPT's CPU demo with ${seeds.length} seeds, by Folio and by nanoGPT's own code in PyTorch: the two mean losses on the whole validation split are equal within their 95 % intervals; from Folio's initial weights and on its batches, nanoGPT's code ends at Folio's loss, to ${sameLoss}`,
  inputs: [
    ...commands("prepare", "train"),
    ...["data/shakespeare_char", "test/proofs/nanogpt-seed.py", "test/proofs/nanogpt-replay.py"],
  ],
  async run({ say }) {
    const [nanogpt, python] = [nanoGpt(), peerPython()];
    fs.mkdirSync(kept, { recursive: true });
    await folio("prepare", "shakespeare_char", `--data_dir=${kept}`);
    loadTensorFlow();
    const dataset = openDataset(kept, "shakespeare_char");
    const losses: Record<"folio" | "nanogpt", number[]> = { folio: [], nanogpt: [] };
    let replayed: Replayed;
    try {
      for (const seed of seeds) {
        losses.folio.push(await wholeLoss(await folioRun(seed), dataset.val));
        say(`Folio, seed ${seed}: ${losses.folio.at(-1)!.toFixed(4)}`);
        losses.nanogpt.push(await wholeLoss(await nanoGptRun(seed, nanogpt, python), dataset.val));
        say(`nanoGPT, seed ${seed}: ${losses.nanogpt.at(-1)!.toFixed(4)}`);
      }
      replayed = await replay(losses.folio[0]!, nanogpt, python, dataset);
      say(`nanoGPT, from the weights and on the batches of Folio's seed ${seeds[0]}: ${replayed.loss.toFixed(4)}`);
    } finally {
      dataset.close();
    }
    const means = compared(losses, nanogpt);
    const figures = { ...means, replayed: { ...replayed } };
    if (isTrial) throw new Error(`a trial, which is not stored: ${JSON.stringify(figures)}`);
    return { holds: means.zeroIsInside === true && replayed.difference <= sameLoss, figures };
  },
};

async function folioRun(seed: number): Promise<TrainedModel> {
  const outDir = path.join(kept, `folio-${seed}`);
  const done = () => hasCheckpoint(outDir) && readState(outDir).step === steps;
  if (!done()) {
    const resume = hasCheckpoint(outDir) ? ["--init_from=resume"] : [];
    const where = [`--data_dir=${kept}`, `--out_dir=${outDir}`, `--seed=${seed}`, "--tensorboard=false"];
    noteSitting(kept);
    // Compiled steps give the eager ones' numbers in float32, in a third of the time.
    const own = ["--compile=True", "--dtype=float32"];
    await folio("train", "train_shakespeare_char", ...flags, ...own, ...where, ...resume);
  }
  return openCheckpoint(outDir, "last", { optimizer: false });
}

/** The mean over Folio's runs. */
const minutesOfSteps = () =>
  seeds.reduce((sum, seed) => sum + readState(path.join(kept, `folio-${seed}`)).trainedMs, 0) / seeds.length / 60_000;

async function nanoGptRun(seed: number, nanogpt: string, python: string): Promise<TrainedModel> {
  const folder = path.join(kept, `nanogpt-${seed}`);
  fs.mkdirSync(folder, { recursive: true });
  if (!fs.existsSync(path.join(folder, "done.json"))) {
    const script = path.join(root, "test", "proofs", "nanogpt-seed.py");
    const given = [nanogpt, String(seed), path.join(kept, "shakespeare_char")];
    const config = path.join("config", "train_shakespeare_char.py");
    const { code, output } = await finish(python, ["-u", script, ...given, config, ...flags, "--out_dir=out"], folder);
    if (code !== 0) throw new Error(`nanoGPT's train.py ended with ${code}:\n${output.slice(-2000)}`);
  }
  return modelOf(path.join(folder, "out", "ckpt.pt"));
}

/** A loss on the whole validation split of nanoGPT's code where nothing random is its own, and how far it is from Folio's. */
interface Replayed {
  readonly loss: number;
  readonly difference: number;
  /** Of the losses of the training's steps, relative. */
  readonly largestOfSteps: number;
}

async function replay(own: number, nanogpt: string, python: string, dataset: Dataset): Promise<Replayed> {
  const folder = path.join(kept, `replay-${seeds[0]}`);
  const run = path.join(kept, `folio-${seeds[0]}`);
  fs.mkdirSync(folder, { recursive: true });
  if (!fs.existsSync(path.join(folder, "losses.json"))) {
    await writeReplay(folder, readState(run).settings, dataset.train);
    const { code, output } = await finish(python, [path.join(root, "test/proofs/nanogpt-replay.py"), nanogpt, folder]);
    if (code !== 0) throw new Error(`nanoGPT's code ended with ${code}:\n${output.slice(-2000)}`);
  }
  const theirs: number[] = JSON.parse(fs.readFileSync(path.join(folder, "losses.json"), "utf8"));
  const steps = readRunLog(run).flatMap((record) => (record.kind === "iter" ? [record] : []));
  const off = steps.map(({ step, loss }) => Math.abs(loss / theirs[step]! - 1));
  const loss = await wholeLoss(await modelOf(path.join(folder, "ckpt.pt")), dataset.val);
  return {
    loss: rounded(loss, 4),
    difference: rounded(Math.abs(loss - own), 5),
    largestOfSteps: Number(Math.max(...off).toPrecision(2)),
  };
}

async function modelOf(checkpoint: string): Promise<TrainedModel> {
  const { params, model } = await loadPretrained(checkpoint);
  return { params, settings: { ...defaultSettings, ...model, dropout: 0 } };
}

async function wholeLoss(model: TrainedModel, tokens: TokenFile): Promise<number> {
  const how = { device: "cpu", dtype: "float32", compile: true, batchSize: 64 } as const;
  return (await evaluateSplit(model, tokens, how)).loss;
}

/** Two means with Student's intervals, and their difference with Welch's. */
function compared(losses: Readonly<Record<"folio" | "nanogpt", readonly number[]>>, nanogpt: string): Figures {
  const [a, b] = [meanOf(losses.folio), meanOf(losses.nanogpt)];
  const [va, vb] = [a.error ** 2, b.error ** 2];
  const freedom = (va + vb) ** 2 / (va ** 2 / (a.n - 1) + vb ** 2 / (b.n - 1));
  const half = studentQuantile(0.975, freedom) * Math.sqrt(va + vb);
  const difference = a.mean - b.mean;
  const commit = () =>
    execFileSync("git", ["-C", nanogpt, "rev-parse", "--short=10", "HEAD"], { encoding: "utf8" }).trim();
  return {
    folio: { ...figuresOf(a, losses.folio), minutesOfSteps: rounded(minutesOfSteps(), 2) },
    nanogpt: {
      ...figuresOf(b, losses.nanogpt),
      commit: fs.existsSync(path.join(nanogpt, ".git")) ? commit() : "unknown",
    },
    seeds: seeds.join(", "),
    trainedAt: sittingsOf(kept),
    difference: rounded(difference, 4),
    differenceInterval95: `${(difference - half).toFixed(4)} to ${(difference + half).toFixed(4)}`,
    zeroIsInside: Math.abs(difference) <= half,
    intervalsOverlap: Math.abs(difference) <= a.half + b.half,
  };
}

interface Mean {
  readonly n: number;
  readonly mean: number;
  /** Standard error of the mean. */
  readonly error: number;
  /** Half of the 95 % interval's width. */
  readonly half: number;
}

function meanOf(values: readonly number[]): Mean {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const error = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1) / n);
  return { n, mean, error, half: studentQuantile(0.975, n - 1) * error };
}

function figuresOf({ mean, half }: Mean, losses: readonly number[]): Figures {
  return {
    mean: rounded(mean, 4),
    interval95: `${(mean - half).toFixed(4)} to ${(mean + half).toFixed(4)}`,
    losses: losses.map((loss) => loss.toFixed(4)).join(", "),
  };
}
