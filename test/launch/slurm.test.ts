/** `srun folio launch` under a real Slurm: from sbatch to a finished run, with a rank that is killed on the way. */
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../lib/host/package.js";
import { needs } from "../needs.js";
import { missingSlurm, startSlurm } from "../slurm/cluster.js";
import { checkpointFile, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();

/** A training's arguments; long enough that it can be killed on the way. */
function training(run: string): string[] {
  const {
    vocabSize: _,
    devices: __,
    ...settings
  } = tinySettings(folder, run, {
    ...{ compile: true, device: "cpu", dtype: "float32", gradientAccumulationSteps: 2, dropout: 0.1 },
    ...{ tensorboard: false, maxIters: 400, lrDecayIters: 400, evalInterval: 100, saveInterval: 20 },
  });
  const given = Object.entries(settings).filter(([, value]) => value !== "");
  return ["train", ...given.map(([key, value]) => `--${key}=${value}`)];
}

const program = [process.execPath, path.join(packageRoot(), "bin", "folio.mjs"), "launch"];
const weights = (run: string) => checkpointFile(path.join(folder, run), "model.safetensors", "last");

describe("srun folio launch", needs(missingSlurm), () => {
  beforeAll(() => {
    writeFox(folder);
    return startSlurm(path.join(folder, "cluster"));
  });

  test("trains in Slurm's tasks without flags; a killed job that is requeued resumes, and ends with the same bits", async () => {
    const [node, ...args] = [...program, "--standalone", "--nproc_per_node=2", ...training("undisturbed")];
    expect(spawnSync(node!, args).status).toBe(0);

    const script = path.join(folder, "job.sh");
    const command = ["srun", ...program, ...training("job")].join(" ");
    const lines = [
      ...[
        "#!/bin/sh",
        "#SBATCH --ntasks=2",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem-per-cpu=2G",
        "#SBATCH --requeue",
      ],
      ...["#SBATCH --open-mode=append", `#SBATCH --output=${folder}/job.out`, command, "code=$?"],
      '[ $code -eq 0 ] || [ -n "$SLURM_RESTART_COUNT" ] || scontrol requeue "$SLURM_JOB_ID"',
      "exit $code",
    ];
    fs.writeFileSync(script, `${lines.join("\n")}\n`);
    const job = execFileSync("sbatch", ["--parsable", script], { encoding: "utf8" }).trim();
    const said = () => (fs.existsSync(`${folder}/job.out`) ? fs.readFileSync(`${folder}/job.out`, "utf8") : "");
    const state = () =>
      /JobState=(\w+)/.exec(execFileSync("scontrol", ["show", "job", job], { encoding: "utf8" }))![1]!;
    const until = async (condition: () => boolean) => {
      while (!condition()) {
        if (/FAILED|CANCELLED|COMPLETED/.test(state()))
          throw new Error(`the job has ended early (${state()}):\n${said()}`);
        await setTimeout(100);
      }
    };

    await until(() => fs.existsSync(path.join(folder, "job", "checkpoint", "last")));
    process.kill(rankOf(path.join(folder, "job"), 1), "SIGKILL");
    await until(() => /rank 1 \(process \d+ on .*\) was ended by SIGKILL/.test(said()));
    while (!/FAILED|CANCELLED|COMPLETED/.test(state())) await setTimeout(200);
    expect(state(), said()).toBe("COMPLETED");
    expect(execFileSync("scontrol", ["show", "job", job], { encoding: "utf8" })).toMatch(/Restarts=1 /);
    expect(said()).toMatch(/resum/i);
    expect(weights("job").equals(weights("undisturbed"))).toBe(true);
  });
});

/** The process of a rank that trains into this folder. */
function rankOf(outDir: string, rank: number): number {
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [line, environment] = ["cmdline", "environ"].map((file) => fs.readFileSync(`/proc/${pid}/${file}`, "utf8"));
      if (line!.includes(`--outDir=${outDir}\0`) && environment!.includes(`FOLIO_RANK={"rank":${rank},`))
        return Number(pid);
    } catch {
      // It has ended.
    }
  }
  throw new Error(`no process is rank ${rank}`);
}
