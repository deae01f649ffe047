import path from "node:path";
import { openDataset } from "../../lib/data/batches.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { evaluateSplit } from "../../lib/train/evaluate.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { commands, type Figures, folio, type Proof, rounded } from "./proof.js";

// The flags in nanoGPT's README, "I only have a macbook", with its spelling.
const readme =
  "--device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0";
const mostLoss = 1.92;

export const cpuDemo: Proof = {
  name: "cpu-demo",
  claim: `nanoGPT's CPU demo, with the flags from its README, ends at a loss of ${mostLoss} or less on the whole validation split (nanoGPT's own: 1.898)`,
  inputs: [...commands("prepare", "train"), "data/shakespeare_char"],
  async run({ folder, say }) {
    await folio("prepare", "shakespeare_char", `--data_dir=${folder}`);
    const measure = async (name: string, ...more: string[]): Promise<Figures & { loss: number }> => {
      const outDir = path.join(folder, name);
      const where = [`--data_dir=${folder}`, `--out_dir=${outDir}`];
      const flags = ["train", "configs/train_shakespeare_char.ts", ...readme.split(" "), ...where, ...more];
      const { minutes } = await folio(...flags);
      say(`${name}: trained in ${minutes} minutes`);
      const dataset = openDataset(folder, "shakespeare_char");
      try {
        const last = openCheckpoint(outDir);
        const { loss, targets } = await evaluateSplit(
          { ...last, settings: { ...last.settings, compile: true } },
          dataset.val,
        );
        const records = readRunLog(outDir);
        const times = records.flatMap((record) => (record.kind === "iter" ? [record.elapsedMs] : []));
        const medianMs = times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
        const evaluated = records.flatMap((record) => (record.kind === "eval" ? [record.valLoss] : [])).at(-1)!;
        return {
          loss: rounded(loss, 4),
          targets,
          lossOf20RandomBatches: rounded(evaluated, 4),
          steps: last.step,
          minutes,
          medianStepMs: rounded(medianMs, 2),
          tokensPerSecond: Math.round((12 * 64 * 1000) / medianMs),
        };
      } finally {
        dataset.close();
      }
    };
    const eager = await measure("as-in-the-readme");
    const compiled = await measure("compiled", "--compile=True");
    const holds = [eager, compiled].every(({ loss, steps }) => loss <= mostLoss && steps === 2000);
    return { holds, figures: { asInTheReadme: eager, compiled } };
  },
};
