import { type ChildProcess, execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { readResults, type SweepRecord } from "../../scaling/sweep.js";
import { commands, finish, folio, folioCommand, type Proof, start } from "./proof.js";

const kills = 20;

/** Six runs of a few seconds, each saved after every tenth of its steps. */
export const killedPlan = (folder: string, learningRate: number) => ({
  ...{ name: "killed", dataset: "typescript", dataDir: folder, batchTokens: 256, learningRate, workers: 2, threads: 1 },
  settings: { blockSize: 32, device: "cpu", dtype: "float32" },
  grid: { kind: "isoflop", budgets: [8e9, 1.6e10], sizes: 3, spacing: 2, optimum: 40 },
  limits: { fewestSteps: 20 },
  validationTokens: 4096,
});

/** Writes the plan's options for `folio scaling`. @returns the file */
export function writeKilledPlan(folder: string, learningRate = 4e-3): string {
  const file = path.join(folder, `plan-${learningRate}.mjs`);
  fs.writeFileSync(file, `export default ${JSON.stringify(killedPlan(folder, learningRate))};\n`);
  return file;
}

/** The part of a row that is compared: all except times, versions and the number of sittings. */
export function rowsOf(folder: string): string[] {
  return readResults(folder)
    .map(({ run, name, loss, loss_se, loss_smoothed, d, c, curve }) =>
      JSON.stringify({ run, name, loss, loss_se, loss_smoothed, d, c, curve }),
    )
    .sort();
}

export const sweepKill: Proof = {
  name: "sweep-kill",
  claim: `A sweep whose workers or all processes are killed with -9 at ${kills} random moments ends with the same rows as an uninterrupted sweep`,
  inputs: [...commands("prepare", "train", "scaling/run"), "scaling/sweep/run-process.ts"],
  async run({ folder, say }) {
    await folio("prepare", "typescript", `--data_dir=${folder}`);
    const plan = writeKilledPlan(folder);
    const [whole, killed] = [path.join(folder, "whole"), path.join(folder, "killed")];
    const args = (out: string, file = plan) => ["scaling", "run", file, `--out=${out}`, "--json"];
    await folio(...args(whole));
    const reference = rowsOf(whole);
    say(`the sweep that is not killed did ${reference.length} runs`);

    const done = { workers: 0, everything: 0 };
    let child: Sweep | undefined;
    while (done.workers + done.everything < kills) {
      child = child && isAlive(child) ? child : begin(args(killed));
      // Alternately at any moment after the start, and at any moment when workers are running.
      while (done.workers <= done.everything && isAlive(child) && childrenOf(child.process).length === 0)
        await setTimeout(20);
      await setTimeout(Math.random() * 3000);
      if (!isAlive(child)) {
        // A run whose process was killed often is left for the next call. If all are finished, start over.
        if (rowCount(killed) < reference.length) continue;
        say("finished between two kills; its folder is emptied");
        if (rowsOf(killed).join() !== reference.join()) return { holds: false, figures: { ...done, sameRows: false } };
        fs.rmSync(killed, { recursive: true });
        continue;
      }
      const workers = childrenOf(child.process);
      if (done.workers <= done.everything && workers.length > 0) {
        process.kill(workers[Math.floor(Math.random() * workers.length)]!, "SIGKILL");
        done.workers++;
      } else {
        for (const pid of [child.process.pid!, ...workers]) end(pid);
        await child.ended;
        done.everything++;
      }
      say(`killed, ${done.workers} workers and ${done.everything} times everything; ${rowCount(killed)} rows`);
    }
    if (child && isAlive(child)) await child.ended;
    await folio(...args(killed));

    const rows = rowsOf(killed);
    const wholeLines = fs.readFileSync(path.join(killed, "results.csv"), "utf8").trimEnd().split("\n").length - 1;
    const sameRows = rows.join() === reference.join() && wholeLines === reference.length;
    const again = await startedBy(args(killed));
    const changed = await startedBy(args(killed, writeKilledPlan(folder, 5e-3)));
    const figures = {
      ...{ runs: reference.length, killsOfAWorker: done.workers, killsOfEverything: done.everything },
      ...{ rows: rows.length, rowsEqualBitForBit: sameRows },
      ...{ startedByASecondCall: again, startedByAnotherLearningRate: changed },
    };
    return { holds: sameRows && again === 0 && changed === reference.length, figures };
  },
};

interface Sweep {
  readonly process: ChildProcess;
  readonly ended: Promise<unknown>;
}

function begin(args: readonly string[]): Sweep {
  const child = start(process.execPath, [folioCommand, ...args]);
  child.stdout!.resume();
  child.stderr!.resume();
  return { process: child, ended: new Promise((resolve) => child.on("close", resolve)) };
}

const isAlive = ({ process: { exitCode, signalCode } }: Sweep): boolean => exitCode === null && signalCode === null;

function childrenOf({ pid }: ChildProcess): number[] {
  try {
    return execFileSync("pgrep", ["-P", String(pid)], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map(Number);
  } catch {
    return []; // between two runs
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it has ended by itself
  }
}

const rowCount = (folder: string): number => readResults(folder).length;

async function startedBy(args: readonly string[]): Promise<number> {
  const { output } = await finish(process.execPath, [folioCommand, ...args]);
  const records = output.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as SweepRecord] : []));
  return records.filter(({ kind }) => kind === "run-start").length;
}
