import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { prepare } from "../../data/typescript/prepare.js";
import { loadSettings } from "../../lib/overrides.js";
import { train } from "../../lib/train.js";
import { type Proof, rounded } from "./proof.js";

const steps = 10_000;
const warmUp = 2_000;
const tolerance = 0.02;

/** The training loop itself, on a small model with dropout, from which a sample of memory is taken every 100 steps. */
export const flatMemory: Proof = {
  name: "flat-memory",
  claim: `${steps} compiled steps leave resident memory flat within ${100 * tolerance} % and as many tensors as before`,
  inputs: ["lib", "data", "configs"],
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
    const growth = mean(samples.slice(-10)) / mean(samples.slice(0, 10)) - 1;
    const figures = {
      steps,
      samples: samples.length,
      residentMiB: rounded(mean(samples), 1),
      leastMiB: rounded(least, 1),
      mostMiB: rounded(most, 1),
      growthPercent: rounded(100 * growth, 2),
      tensors: [...tensors].join(" "),
    };
    const flat = Math.abs(growth) <= tolerance && (most - least) / mean(samples) <= 2 * tolerance;
    return { holds: flat && tensors.size === 1 && samples.length === (steps - warmUp) / 100, figures };
  },
};

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
