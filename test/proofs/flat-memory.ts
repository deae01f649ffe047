import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { prepare } from "../../data/typescript/prepare.js";
import { loadSettings } from "../../lib/settings/config-files.js";
import { train } from "../../lib/train/train.js";
import { type Proof, rounded } from "./proof.js";

const steps = 10_000;
const warmUp = 2_000;
const tolerance = 0.02;

/** The training loop on a small model with dropout; memory is sampled every 100 steps. */
export const flatMemory: Proof = {
  name: "flat-memory",
  claim: `over ${steps} compiled steps of a small model, after a warm-up of ${warmUp}, the smallest and largest resident memory differ by at most ${100 * tolerance} %, and the number of tensors is constant`,
  inputs: ["lib/engine", "data", "configs"],
  async run({ folder, say }) {
    await prepare({ dataDir: folder, log: say });
    const flags = [`--data_dir=${folder}`, "--dataset=typescript", `--out_dir=${path.join(folder, "run")}`];
    const shape = "--n_layer=2 --n_head=2 --n_embd=32 --block_size=32 --batch_size=4 --dropout=0.1".split(" ");
    const loop = [`--max_iters=${steps}`, `--eval_interval=${steps}`, "--eval_iters=1", "--compile=True"];
    const settings = await loadSettings(["cpu_demo", ...flags, ...shape, ...loop]);
    const samples: number[] = [];
    const tensors = new Set<number>();
    for await (const record of train(settings)) {
      if (record.kind !== "iter" || record.step < warmUp || record.step % 100 !== 0) continue;
      samples.push(process.memoryUsage().rss / 2 ** 20);
      tensors.add(tf.memory().numTensors);
      if (record.step % 1000 === 0) say(`step ${record.step}: ${rounded(samples.at(-1)!, 1)} MiB`);
    }
    const [least, most] = [Math.min(...samples), Math.max(...samples)];
    const span = most / least - 1;
    const figures = {
      steps,
      warmUp,
      samples: samples.length,
      residentMiB: rounded(mean(samples), 1),
      leastMiB: rounded(least, 1),
      mostMiB: rounded(most, 1),
      spanPercent: rounded(100 * span, 2),
      lastOverFirstPercent: rounded(100 * (samples.at(-1)! / samples[0]! - 1), 2),
      tensors: [...tensors].join(" "),
    };
    return { holds: span <= tolerance && tensors.size === 1 && samples.length === (steps - warmUp) / 100, figures };
  },
};

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
