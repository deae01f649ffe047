import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { commands, finish, folio, folioCommand, type Proof, root } from "./proof.js";
import { rowsOf, writeKilledPlan } from "./sweep-kill.js";

const requeues = 6;

export const sweepSlurm: Proof = {
  name: "sweep-slurm",
  claim:
    "A sweep through Slurm whose running tasks are requeued and killed ends with the same rows as one without Slurm",
  inputs: [...commands("prepare", "scaling/run", "scaling/status"), "scaling/sweep/run-process.ts", "test/slurm"],
  async run({ folder, say }) {
    if (spawnSync("slurmctld", ["-V"]).error || spawnSync("munged", ["--version"]).error) {
      throw new Error("Slurm is needed: apt-get install slurm-wlm munge, and run this as root.");
    }
    await folio("prepare", "typescript", `--data_dir=${folder}`);
    const plan = writeKilledPlan(folder);
    const [local, cluster] = [path.join(folder, "local"), path.join(folder, "cluster")];
    await folio("scaling", "run", plan, `--out=${local}`, "--json");
    const reference = rowsOf(local);

    const slurm = path.join(folder, "slurm");
    process.env.SLURM_CONF = sh("start.sh", slurm).trim();
    try {
      const args = ["scaling", "run", plan, `--out=${cluster}`, "--executor=slurm", "--workers=2", "--json"];
      const submitted = JSON.parse((await submit(args)).output) as { job: string; runs: string[] };
      say(`job ${submitted.job} has ${submitted.runs.length} runs`);
      const again = (await submit(args)).output.trim();
      let [requeued, killed] = [0, 0];
      while (active(submitted.job).length > 0) {
        await setTimeout(1000 + Math.random() * 2000);
        const running = active(submitted.job).filter(({ state }) => state === "RUNNING");
        const task = running[Math.floor(Math.random() * running.length)];
        if (!task || requeued + killed >= requeues) continue;
        if ((requeued + killed) % 2 === 0) {
          execFileSync("scontrol", ["requeue", `${submitted.job}_${task.index}`]);
          requeued++;
        } else if (killTask(submitted.runs[task.index]!)) killed++;
        say(`requeued ${requeued}, killed ${killed}; ${rowsOf(cluster).length} rows`);
      }
      // Tasks that were killed more often than Slurm restarts them are submitted again.
      const rest = (await submit(args)).output.trim();
      if (rest !== "null") {
        const { job } = JSON.parse(rest) as { job: string };
        while (active(job).length > 0) await setTimeout(500);
      }
      const rows = rowsOf(cluster);
      const sameRows = rows.join() === reference.join();
      const figures = { runs: reference.length, requeued, killed, rows: rows.length, rowsEqualBitForBit: sameRows };
      return { holds: sameRows && again === "null" && requeued + killed >= requeues, figures };
    } finally {
      sh("stop.sh", slurm);
    }
  },
};

const sh = (script: string, folder: string): string =>
  execFileSync("sh", [path.join(root, "test", "slurm", script), folder], { encoding: "utf8" });

/** Runs with SLURM_CONF, which start() of proof.ts does not pass. */
async function submit(args: readonly string[]) {
  const finished = await finish("env", [
    `SLURM_CONF=${process.env.SLURM_CONF}`,
    process.execPath,
    folioCommand,
    ...args,
  ]);
  if (finished.code !== 0) throw new Error(finished.output);
  return finished;
}

function active(job: string): { index: number; state: string }[] {
  const { stdout } = spawnSync("squeue", ["--noheader", "--array", `--jobs=${job}`, "--format=%K %T"], {
    encoding: "utf8",
  });
  return stdout
    .split("\n")
    .filter((line) => /^\s*\d+ /.test(line))
    .map((line) => line.trim().split(" "))
    .map(([index, state]) => ({ index: Number(index), state: state! }));
}

/** Kills the process of a run, but not its batch script. */
function killTask(run: string): boolean {
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8");
      if (!command.includes(`--only=${run}`)) continue;
      process.kill(Number(pid), "SIGKILL");
      return true;
    } catch {
      // it has ended
    }
  }
  return false;
}
