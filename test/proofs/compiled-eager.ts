import path from "node:path";
import type { IterRecord } from "../../lib/runs/records.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { commands, folio, type Proof } from "./proof.js";

const steps = 100;
const tolerance = 1e-5;

/** The CPU demo's model with dropout and accumulation, fp32, on the embedded corpus. */
export const compiledEager: Proof = {
  name: "compiled-eager",
  claim: `${steps} steps, eager and compiled, have the same losses to ${tolerance} of their size in fp32, and a checkpoint of one goes on in the other`,
  inputs: [...commands("prepare", "train"), "data"],
  async run({ folder, say }) {
    await folio("prepare", "typescript", `--data_dir=${folder}`);
    const train = async (name: string, { compile, until = steps }: { compile: boolean; until?: number }) => {
      const outDir = path.join(folder, name);
      const resume = readRunLog(outDir).length > 0 ? ["--init_from=resume"] : [];
      const flags = [
        `--compile=${compile ? "True" : "False"}`,
        `--max_iters=${until}`,
        `--out_dir=${outDir}`,
        ...resume,
      ];
      const { minutes } = await folio(
        ...["train", "cpu_demo", `--data_dir=${folder}`, "--dataset=typescript", "--dtype=float32", ...flags],
        ..."--dropout=0.1 --gradient_accumulation_steps=2 --eval_interval=1000 --eval_iters=1 --log_interval=1".split(
          " ",
        ),
      );
      say(`${name}: step ${until} after ${minutes} minutes`);
      return losses(outDir);
    };
    const eager = await train("eager", { compile: false });
    const compiled = await train("compiled", { compile: true });
    await train("eager-then-compiled", { compile: false, until: steps / 2 });
    const thenCompiled = await train("eager-then-compiled", { compile: true });
    await train("compiled-then-eager", { compile: true, until: steps / 2 });
    const thenEager = await train("compiled-then-eager", { compile: false });
    const figures = {
      steps,
      lossFell: `${eager[0]?.toFixed(3)} to ${eager.at(-1)?.toFixed(3)}`,
      largestDifference: largestDifference(eager, compiled),
      largestDifferenceGoingOnCompiled: largestDifference(eager, thenCompiled),
      largestDifferenceGoingOnEager: largestDifference(eager, thenEager),
    };
    const all = [eager, compiled, thenCompiled, thenEager].every(({ length }) => length === steps);
    const differences = [compiled, thenCompiled, thenEager].map((other) => largestDifference(eager, other));
    return { holds: all && differences.every((difference) => difference <= tolerance), figures };
  },
};

function losses(outDir: string): number[] {
  const records = readRunLog(outDir).filter((record): record is IterRecord => record.kind === "iter");
  return records.map(({ loss }) => loss);
}

function largestDifference(a: readonly number[], b: readonly number[]): number {
  return Number(Math.max(...a.map((loss, step) => Math.abs((b[step] ?? Number.NaN) / loss - 1))).toPrecision(2));
}
