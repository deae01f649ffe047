import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { SweepPlan } from "../../scaling/plan.js";
import { readResults } from "../../scaling/sweep.js";
import { commands, finish, folio, folioCommand, type Proof, root, rounded } from "./proof.js";

/** A dozen runs of 5 to 30 seconds. */
const options = (dataDir: string) => ({
  ...{ name: "timed", dataset: "typescript", dataDir, batchTokens: 1024, learningRate: 4e-3, threads: 1 },
  settings: { blockSize: 64, device: "cpu", dtype: "float32" },
  grid: { kind: "isoflop", budgets: [1e11, 2e11, 4e11], sizes: 4, spacing: 1.7, optimum: 30 },
  limits: { epochs: 1000, fewestSteps: 20 },
  validationTokens: 65_536,
});

export const sweepPlan: Proof = {
  name: "sweep-plan",
  claim:
    "The plan's total FLOPs equal those of the runs, its time estimate is within 25 % of the real time, and every core is at least 90 % busy",
  inputs: [...commands("prepare", "scaling/plan", "scaling/run"), "scaling/sweep/run-process.ts"],
  async run({ folder, say }) {
    await folio("prepare", "typescript", `--data_dir=${folder}`);
    const file = path.join(folder, "timed.mjs");
    fs.writeFileSync(file, `export default ${JSON.stringify(options(folder))};\n`);
    const plan = path.join(folder, "timed.json");
    // Measured now, because the machine's speed changes from hour to hour.
    fs.rmSync(path.join(root, ".cache", "sweep-speed.json"), { force: true });
    await folio("scaling", "plan", file, `--out=${plan}`);
    const { totals } = JSON.parse(fs.readFileSync(plan, "utf8")) as SweepPlan;
    say(`planned: ${totals.runs} runs, ${totals.flops.toExponential(3)} FLOPs, ${totals.seconds!.toFixed(0)} s`);

    const out = path.join(folder, "out");
    const [busyBefore, begun] = [busySeconds(), performance.now()];
    const { code, output } = await finish(process.execPath, [folioCommand, "scaling", "run", plan, `--out=${out}`]);
    if (code !== 0) throw new Error(output);
    const seconds = (performance.now() - begun) / 1000;
    const busy = (busySeconds() - busyBefore) / seconds / os.availableParallelism();
    const flops = readResults(out).reduce((sum, { c }) => sum + Number(c), 0);
    const ratio = totals.seconds! / seconds;
    const figures = {
      ...{ runs: totals.runs, plannedFlops: totals.flops, flops, sameFlops: flops === totals.flops },
      ...{
        plannedSeconds: rounded(totals.seconds!, 1),
        seconds: rounded(seconds, 1),
        plannedOverTrue: rounded(ratio, 3),
      },
      ...{ cores: os.availableParallelism(), shareOfCoresBusy: rounded(busy, 3) },
    };
    return { holds: flops === totals.flops && Math.abs(ratio - 1) <= 0.25 && busy >= 0.9, figures };
  },
};

/** The busy time of all cores since the machine started, in seconds. */
function busySeconds(): number {
  const each = os.cpus().map(({ times: { user, nice, sys, irq } }) => user + nice + sys + irq);
  return each.reduce((sum, milliseconds) => sum + milliseconds, 0) / 1000;
}
