import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { packageRoot } from "../../../lib/host/package.js";
import { type PlanOptions, planSweep } from "../../../scaling/plan.js";
import { readResults, submitSweep, sweepStatus } from "../../../scaling/sweep.js";
import { needs } from "../../needs.js";
import { missingSlurm, slurmIsInstalled, startSlurm } from "../../slurm/cluster.js";
import { temporaryFolder, writeFox } from "../../tiny-run.js";

const folder = temporaryFolder();
const root = packageRoot();
writeFox(folder);

const options: PlanOptions = {
  ...{ name: "fox", dataset: "fox", dataDir: folder, batchTokens: 16, learningRate: 1e-2, threads: 1 },
  settings: { blockSize: 8, device: "cpu", dtype: "float32" },
  grid: { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.2] },
  limits: { fewestSteps: 1 },
  validationTokens: 128,
};

describe("a sweep through Slurm", needs(missingSlurm), () => {
  beforeAll(() => startSlurm(path.join(folder, "cluster")));

  it("is submitted once, done by an array task, and its folder shows the state", async () => {
    const plan = planSweep(options);
    const out = path.join(folder, "out");
    const job = await submitSweep(plan, { folder: out });
    expect(job).toMatchObject({ job: expect.stringMatching(/^\d+$/), runs: [expect.stringMatching(/^[\da-f]{64}$/)] });
    expect(await submitSweep(plan, { folder: out })).toBeUndefined();
    while (sweepStatus(plan, { folder: out })[0]!.state !== "finished") await setTimeout(200);
    expect(readResults(out)).toMatchObject([{ name: plan.runs[0]!.name, steps: plan.runs[0]!.steps }]);
    expect(await submitSweep(plan, { folder: out })).toBeUndefined();
    const [list] = fs.readdirSync(path.join(out, "slurm")).filter((file) => file.endsWith(".sh"));
    expect(fs.readFileSync(path.join(out, "slurm", list!), "utf8")).toMatch(/^#SBATCH --array=0-0$/m);
  });
});

/** Stand-ins for Slurm's commands, which note what they are told; squeue answers with the file `queue`. */
function standIns(name: string) {
  const own = path.join(folder, name);
  const at = (file: string) => path.join(own, "bin", file);
  fs.mkdirSync(path.dirname(at("told")), { recursive: true });
  const answers = {
    sbatch: 'echo "42;cluster"',
    squeue: `cat ${at("queue")}; test ! -e ${at("error")} || { cat ${at("error")} >&2; exit 1; }`,
    scontrol: "true",
    node: "exit $CODE",
  };
  for (const [command, answer] of Object.entries(answers)) {
    fs.writeFileSync(at(command), `#!/bin/sh\necho ${command} "$@" >> ${at("told")}\n${answer}\n`, { mode: 0o755 });
  }
  fs.writeFileSync(at("queue"), "");
  const before = process.env.PATH;
  process.env.PATH = `${path.dirname(at("told"))}:${before}`;
  onTestFinished(() => {
    process.env.PATH = before;
  });
  const told = () => fs.readFileSync(at("told"), "utf8").trim().split("\n");
  return { out: path.join(own, "out"), at, told };
}

const grid: PlanOptions["grid"] = { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.1, 0.2] };
const two = planSweep({ ...options, grid, threads: 2 });

describe("what Slurm is given", () => {
  it("is an array of the runs, the longest first, with the plan's threads and memory, and further flags", async () => {
    const { out, told } = standIns("whole");
    const slurm = { flags: ["--partition=gpu", "--time=2:00:00"], tasksAtOnce: 3 };
    const job = await submitSweep(two, { folder: out, dataDir: folder, slurm });
    const long = sweepStatus(two, { folder: out, dataDir: folder }).map(({ run }) => run);
    expect(long.map(({ tokens }) => tokens)).toEqual([176, 368]);
    const ids = [long[1]!.id, long[0]!.id];
    expect(job).toEqual({ job: "42", runs: ids });
    const at = path.join(out, "slurm");
    expect(told()).toEqual([`sbatch --parsable ${at}/1.sh`]);
    expect(fs.readFileSync(path.join(at, "1.runs"), "utf8")).toBe(`${ids.join("\n")}\n`);
    expect(fs.readFileSync(path.join(at, "1.job"), "utf8")).toBe("42\n");
    const script = fs.readFileSync(path.join(at, "1.sh"), "utf8");
    // 450 MB of the program and 20 kB of the model, half of it more, in units of 2^20 bytes.
    expect(script.match(/^#.*/gm)!.slice(0, 11)).toEqual([
      ...["#!/bin/sh", "#SBATCH --job-name=folio-fox", "#SBATCH --array=0-1%3", "#SBATCH --requeue"],
      ...["#SBATCH --open-mode=append", `#SBATCH --output=${at}/%A_%a.out`, "#SBATCH --cpus-per-task=2"],
      ...["#SBATCH --mem=644M", "#SBATCH --signal=B:TERM@60", "#SBATCH --partition=gpu", "#SBATCH --time=2:00:00"],
    ]);
    expect(script.match(/^export .*/gm)).toEqual([
      ...["export TF_NUM_INTRAOP_THREADS=2", "export TF_NUM_INTEROP_THREADS=1", "export OMP_NUM_THREADS=2"],
    ]);
  });

  it("is a script that does its task's run, and queues it again if it was interrupted or killed", async () => {
    const { out, at, told } = standIns("task");
    await submitSweep(two, { folder: out, dataDir: folder });
    const runs = fs.readFileSync(path.join(out, "slurm", "1.runs"), "utf8").split("\n");
    const script = fs.readFileSync(path.join(out, "slurm", "1.sh"), "utf8");
    expect(script).toContain("#SBATCH --array=0-1\n");
    const own = path.join(out, "task.sh");
    fs.writeFileSync(own, script.replace(process.execPath, at("node")));
    const [plan] = fs.readdirSync(path.join(out, "plans"));
    const task = (CODE: number, more = {}) => {
      fs.rmSync(at("told"), { force: true });
      const ids = { SLURM_ARRAY_JOB_ID: "42", SLURM_ARRAY_TASK_ID: "1" };
      const { status } = spawnSync("sh", [own], { env: { ...process.env, ...ids, CODE: String(CODE), ...more } });
      return [status, ...told()];
    };
    const run = `node ${root}/bin/folio.mjs scaling run ${out}/plans/${plan} --out=${out} --data_dir=${folder} --only=${runs[1]}`;
    expect(task(0)).toEqual([0, run]);
    expect(task(1)).toEqual([1, run]);
    expect(task(130)).toEqual([130, run, "scontrol requeue 42_1"]);
    // Killed, perhaps for lack of memory: three times.
    expect(task(137, { SLURM_RESTART_COUNT: "2" })).toEqual([130, run, "scontrol requeue 42_1"]);
    expect(task(137, { SLURM_RESTART_COUNT: "3" })).toEqual([137, run]);
  });

  it("leaves out the runs that Slurm still has", async () => {
    const { out, at, told } = standIns("queued");
    const first = (await submitSweep(two, { folder: out }))!.runs;
    // The second task waits or runs; what is not a number is not a task.
    fs.writeFileSync(at("queue"), "a notice\n 1\n");
    expect(await submitSweep(two, { folder: out })).toEqual({ job: "42", runs: [first[0]] });
    expect(told()[1]).toBe("squeue --noheader --array --jobs=42 --format=%K");
    expect(fs.readFileSync(path.join(out, "slurm", "2.runs"), "utf8")).toBe(`${first[0]}\n`);
    // What sbatch did not answer has no job.
    fs.writeFileSync(path.join(out, "slurm", "1.job"), "?\n");
    fs.rmSync(path.join(out, "slurm", "2.job"));
    expect((await submitSweep(two, { folder: out }))!.runs).toEqual(first);
    fs.writeFileSync(at("error"), "slurm_load_jobs error: Invalid job id specified\n");
    expect((await submitSweep(two, { folder: out }))!.runs).toEqual(first);
    fs.writeFileSync(at("error"), "slurm_load_jobs error: Unable to contact slurm controller\n");
    await expect(submitSweep(two, { folder: out })).rejects.toThrow(
      "Cannot hand the sweep to Slurm: squeue: slurm_load_jobs error: Unable to contact slurm controller.",
    );
  });
});

describe("a batch script", () => {
  it("is not written for a folder whose name contains a line break", async () => {
    const out = path.join(folder, "x\ntouch OWNED");
    await expect(submitSweep(planSweep(options), { folder: out })).rejects.toThrow(
      /^Cannot hand the sweep to Slurm: "--output=.*x\\ntouch OWNED.*" is not a valid #SBATCH line; use options without line breaks\.$/,
    );
    expect(fs.readdirSync(path.join(out, "slurm")).filter((file) => file.endsWith(".sh"))).toEqual([]);
  });
});

describe("a machine without Slurm", needs(slurmIsInstalled ? "Slurm is installed" : undefined), () => {
  it("is reported", async () => {
    await expect(submitSweep(planSweep(options), { folder: path.join(folder, "none") })).rejects.toThrow(
      "Cannot hand the sweep to Slurm: sbatch: it is not installed on this machine.",
    );
  });
});
