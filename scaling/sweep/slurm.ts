/**
 * Runs as array jobs of Slurm: writes a script and a list of runs to the sweep's folder, calls sbatch, and reads
 * squeue. No process stays on the login node. Each task calls `folio scaling run --only`; a pre-empted task is requeued
 * and resumes from its last checkpoint. The nodes must share the folder.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { packageRoot } from "../../lib/host/package.js";
import { threadEnvironment } from "./environment.js";
import type { SweepRun } from "./run-identity.js";

/** Options for Slurm. */
export interface SlurmFlags {
  /** Additional #SBATCH lines: `["--partition=gpu", "--gpus=1", "--time=2:00:00"]`. */
  readonly flags?: readonly string[];
  /** Tasks at a time; by default as many as the cluster allows. */
  readonly tasksAtOnce?: number;
}

interface SlurmOptions extends SlurmFlags {
  /** The plan's file in the sweep's folder. */
  readonly planFile: string;
  readonly folder: string;
  readonly name: string;
  readonly threads: number;
  readonly dataDir?: string | undefined;
}

/** A submitted job. */
export interface SlurmJob {
  readonly job: string;
  /** Identities of the runs, in the order of the array. */
  readonly runs: readonly string[];
}

/** The time to save a checkpoint before a pre-emption or time limit. */
const SECONDS_TO_SAVE = 60;

/** Submits runs that Slurm does not have yet. @returns the job; undefined if there was nothing to submit */
export function submitToSlurm(runs: readonly SweepRun[], options: SlurmOptions): SlurmJob | undefined {
  const queued = queuedRuns(options.folder);
  const todo = runs.filter(({ id }) => !queued.has(id));
  if (todo.length === 0) return undefined;
  const at = path.join(path.resolve(options.folder), "slurm");
  fs.mkdirSync(at, { recursive: true });
  const number = fs.readdirSync(at).filter((file) => file.endsWith(".runs")).length + 1;
  const list = path.join(at, `${number}.runs`);
  const script = path.join(at, `${number}.sh`);
  fs.writeFileSync(list, todo.map(({ id }) => `${id}\n`).join(""));
  fs.writeFileSync(script, arrayScript(todo, list, options));
  const job = call("sbatch", ["--parsable", script]).trim().split(";")[0]!;
  fs.writeFileSync(path.join(at, `${number}.job`), `${job}\n`);
  return { job, runs: todo.map(({ id }) => id) };
}

function arrayScript(runs: readonly SweepRun[], list: string, options: SlurmOptions): string {
  const { planFile, folder, name, threads, dataDir, flags = [], tasksAtOnce } = options;
  const most = runs.reduce((bytes, run) => Math.max(bytes, run.memoryBytes), 0);
  const mebibytes = Math.ceil((1.5 * most) / 2 ** 20);
  const directives = [
    `--job-name=folio-${name}`,
    `--array=0-${runs.length - 1}${tasksAtOnce === undefined ? "" : `%${tasksAtOnce}`}`,
    ...["--requeue", "--open-mode=append", `--output=${path.join(path.dirname(list), "%A_%a.out")}`],
    ...[`--cpus-per-task=${threads}`, `--mem=${mebibytes}M`, `--signal=B:TERM@${SECONDS_TO_SAVE}`],
    ...flags,
  ];
  checkLines(directives);
  const environment = Object.entries(threadEnvironment(threads)).map(([key, value]) => `export ${key}=${value}`);
  const data = dataDir === undefined ? [] : [`--data_dir=${path.resolve(dataDir)}`];
  const command = [
    ...[process.execPath, path.join(packageRoot(), "bin", "folio.mjs"), "scaling", "run", path.resolve(planFile)],
    ...[`--out=${path.resolve(folder)}`, ...data],
  ];
  return `#!/bin/sh
${directives.map((flag) => `#SBATCH ${flag}`).join("\n")}
# A task does one run of the sweep. Its result is a row of results.csv; what it printed is beside this script.
cd ${quoted(process.cwd())} || exit 1
${environment.join("\n")}
run=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" ${quoted(list)})
${command.map(quoted).join(" ")} --only="$run" &
folio=$!
# Before a time limit or a pre-emption Slurm sends TERM: the run saves, and the task is queued again.
trap 'kill -TERM $folio' TERM
wait $folio
code=$?
if kill -0 $folio 2>/dev/null; then wait $folio; code=$?; fi
if [ $code -eq 137 ] && [ "\${SLURM_RESTART_COUNT:-0}" -lt 3 ]; then code=130; fi # killed: perhaps memory was short
if [ $code -eq 130 ]; then scontrol requeue "\${SLURM_ARRAY_JOB_ID}_\${SLURM_ARRAY_TASK_ID}"; fi
exit $code
`;
}

/** A directive must be a single line, because the shell would run a second one. */
function checkLines(directives: readonly string[]): void {
  const broken = directives.find((line) => /\p{Cc}/u.test(line));
  if (broken === undefined) return;
  throw new RangeError(
    `Cannot hand the sweep to Slurm: ${JSON.stringify(broken)} is not a valid #SBATCH line; use options without line breaks.`,
  );
}

/** Runs that are waiting or running in a Slurm job of this sweep. */
function queuedRuns(folder: string): Set<string> {
  const at = path.join(folder, "slurm");
  if (!fs.existsSync(at)) return new Set();
  return new Set(
    fs
      .readdirSync(at)
      .filter((file) => file.endsWith(".job"))
      .flatMap((file) => {
        const job = fs.readFileSync(path.join(at, file), "utf8").trim();
        if (!/^\d+(;\w+)?$/.test(job)) return []; // not an answer of sbatch
        const list = path.join(at, file.replace(/\.job$/, ".runs"));
        const runs = fs.readFileSync(list, "utf8").trim().split("\n");
        return queuedTasks(job).flatMap((task) => runs[task] ?? []);
      }),
  );
}

/** The indices of a job's tasks in squeue; none if the job has ended. */
function queuedTasks(job: string): number[] {
  try {
    return call("squeue", ["--noheader", "--array", `--jobs=${job}`, "--format=%K"])
      .split("\n")
      .filter((line) => /^\d+$/.test(line.trim()))
      .map(Number);
  } catch (error) {
    // Slurm forgets jobs that have ended.
    if (/Invalid job id/i.test((error as Error).message)) return [];
    throw error;
  }
}

function call(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    const reason =
      code === "ENOENT" ? "it is not installed on this machine" : stderr?.trim() || (error as Error).message;
    throw new Error(`Cannot hand the sweep to Slurm: ${command}: ${reason}.`, { cause: error });
  }
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
