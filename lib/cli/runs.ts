/**
 * `folio runs`: lists the runs in folders, one line each, and the settings in which they differ. It reads only
 * config.json and log.jsonl, so it also shows a run that is being trained.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, normalize } from "node:path";
import type { IterRecord, StepRecord } from "../runs/records.js";
import { inspectRunLog, readRunLog, readRunSettings } from "../runs/run-folder.js";
import type { Settings } from "../settings/settings.js";
import { grouped, type Io, millions, styled, table } from "./shared/terminal.js";

export function help(): string {
  return `folio runs: lists the runs in folders, or compares some.

Usage: folio runs [folder …] [--json | --report]

Without a folder, lists the runs in the current one. Runs are found up to two levels deep. If two or more runs are named
by their folders, also lists the settings in which they differ. --json prints everything as JSON. --report writes the
report of each named run, from its log, as report.html in its folder, and prints the file's path.

The states are finished; interrupted (stopped by a signal, or killed); running? (the log grew in the last two minutes);
and damaged (config.json cannot be read).

  folio runs
  folio runs out-a out-b
  folio runs out-a --report`;
}

/** A run's data in the list; null for what its log does not contain. */
export interface RunSummary {
  readonly path: string;
  readonly state: "finished" | "interrupted" | "running?" | "damaged";
  readonly step: number;
  readonly maxIters: number;
  readonly trainLoss: number | null;
  readonly valLoss: number | null;
  readonly bestValLoss: number | null;
  readonly parameters: number | null;
  readonly tokensPerSecond: number | null;
  /** Time of the last line of its log, ISO 8601. */
  readonly updatedAt: string;
  readonly settings: Partial<Settings>;
  /** Problems with its config.json and its log. */
  readonly problems: readonly string[];
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--json" && arg !== "--report");
  if (unknown) throw new RangeError(`Cannot list runs: there is no flag ${unknown}; see \`folio runs --help\`.`);
  const named = args.filter((arg) => !arg.startsWith("-"));
  const folders = named.length > 0 ? named : ["."];
  const missing = folders.find((folder) => !existsSync(folder));
  if (missing) throw new Error(`Cannot list runs: there is no folder ${missing}.`);
  if (args.includes("--report")) return await writeReports(named, io);
  const paths = [...new Set(folders.flatMap((folder) => findRuns(folder, 2)))];
  const runs = paths.map(summarize).sort((a, b) => (a.updatedAt < b.updatedAt ? 1 : -1));
  const compare = named.length > 1 && named.every(isRun);
  const ordered = compare ? paths.map((path) => runs.find((run) => run.path === path)!) : runs;
  const lines = args.includes("--json") ? [JSON.stringify(ordered, null, 2)] : describe(ordered, compare, folders, io);
  io.stdout.write(`${lines.join("\n")}\n`);
  return 0;
}

/** Writes a report of each run from its log and its checkpoint; nothing is computed. */
async function writeReports(folders: readonly string[], io: Io): Promise<number> {
  const [other] = folders.length === 0 ? ["."] : folders.filter((folder) => !isRun(folder));
  if (other !== undefined) {
    const found = findRuns(other, 2)[0] ?? "out";
    throw new RangeError(
      `Cannot write a report: ${other} is not a run; name the folder of a run, as in \`folio runs ${found} --report\`.`,
    );
  }
  const { hasCheckpoint, readState } = await import("../weights/checkpoint.js");
  const { writeReport } = await import("../runs/report.js");
  for (const folder of folders) {
    const { settings, problems } = readSettings(folder);
    if (!settings) throw new Error(`Cannot write a report: ${problems[0]}.`);
    const environment = hasCheckpoint(folder) ? readState(folder).versions : {};
    const content = { settings, records: readRunLog(folder), environment };
    io.stdout.write(`${await writeReport(folder, content)}\n`);
  }
  return 0;
}

function describe(runs: readonly RunSummary[], compare: boolean, folders: readonly string[], io: Io): string[] {
  if (runs.length === 0) return [`There are no runs in ${folders.join(", ")}; \`folio train\` makes one.`];
  const [head, ...rows] = list(runs);
  const bold = (line: string) => styled(io.stdout, "bold", line);
  const problems = runs.flatMap(({ problems }) => problems.map((problem) => styled(io.stdout, "yellow", problem)));
  if (!compare) return [bold(head!), ...rows, ...problems];
  const [names, ...differences] = settingsTable(runs);
  const same = "The settings are the same.";
  return [bold(head!), ...rows, ...problems, "", ...(differences.length > 0 ? [bold(names!), ...differences] : [same])];
}

function isRun(folder: string): boolean {
  return existsSync(join(folder, "config.json")) && existsSync(join(folder, "log.jsonl"));
}

/** Folders of runs in `folder`, including itself, down to `depth` levels. */
function findRuns(folder: string, depth: number): string[] {
  if (isRun(folder)) return [normalize(folder)];
  if (depth === 0 || !statSync(folder).isDirectory()) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && entry.name !== "node_modules")
    .flatMap((entry) => findRuns(join(folder, entry.name), depth - 1));
}

function summarize(path: string): RunSummary {
  const { records, problems: inLog } = readRecords(path);
  const { settings, problems } = readSettings(path);
  const iters = records.filter((record) => record.kind === "iter");
  const evaluations = records.filter((record) => record.kind === "eval");
  const last = evaluations.at(-1);
  const losses = evaluations.map((record) => record.valLoss).filter(Number.isFinite);
  const start = records.findLast((record) => record.kind === "start");
  const changedAt = statSync(join(path, "log.jsonl")).mtime;
  return {
    path,
    state: settings ? stateOf(records, changedAt) : "damaged",
    // An iteration's step is the number of iterations before it.
    step: records.reduce((most, { kind, step }) => Math.max(most, step + (kind === "iter" ? 1 : 0)), 0),
    maxIters: settings?.maxIters ?? 0,
    trainLoss: last?.trainLoss ?? null,
    valLoss: last?.valLoss ?? null,
    bestValLoss: losses.length > 0 ? Math.min(...losses) : null,
    parameters: start?.parameters ?? null,
    tokensPerSecond: medianSpeed(iters),
    updatedAt: changedAt.toISOString(),
    settings: settings ?? {},
    problems: [...problems, ...inLog],
  };
}

function stateOf(records: readonly StepRecord[], changedAt: Date): RunSummary["state"] {
  const last = records.at(-1);
  if (last?.kind === "end") return last.reason === "finished" ? "finished" : "interrupted";
  return Date.now() - changedAt.getTime() < 120_000 ? "running?" : "interrupted";
}

function readSettings(path: string): { settings?: Settings; problems: string[] } {
  try {
    return { settings: readRunSettings(path), problems: [] };
  } catch (error) {
    return { problems: [(error as Error).message] };
  }
}

/** The readable records of a log, and its problems. */
function readRecords(path: string): { records: readonly StepRecord[]; problems: string[] } {
  try {
    const { records, damaged } = inspectRunLog(path);
    const lines = damaged.slice(0, 5).join(", ") + (damaged.length > 5 ? ", …" : "");
    const found = `${damaged.length} damaged ${damaged.length === 1 ? "line" : "lines"} (${lines})`;
    const problem = `${join(path, "log.jsonl")} has ${found}, which are ignored`;
    return { records, problems: damaged.length > 0 ? [problem] : [] };
  } catch (error) {
    return { records: [], problems: [(error as Error).message] };
  }
}

function medianSpeed(iters: readonly IterRecord[]): number | null {
  const speeds = iters.map((record) => record.tokensPerSecond).sort((a, b) => a - b);
  return speeds[Math.floor(speeds.length / 2)] ?? null;
}

function list(runs: readonly RunSummary[]): string[] {
  const loss = (value: number | null) => value?.toFixed(4) ?? "-";
  return table(
    ["run", "state", "step", "train", "val", "best val", "parameters", "tokens/s", "date"],
    runs.map((run) => [
      run.path,
      run.state,
      `${run.step}/${run.maxIters}`,
      loss(run.trainLoss),
      loss(run.valLoss),
      loss(run.bestValLoss),
      run.parameters === null ? "-" : millions(run.parameters),
      run.tokensPerSecond === null ? "-" : grouped(run.tokensPerSecond),
      run.updatedAt.slice(0, 16).replace("T", " "),
    ]),
  );
}

/** The settings in which runs differ, one row each, except the folder of a run. */
function settingsTable(runs: readonly RunSummary[]): string[] {
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))] as (keyof Settings)[];
  const shown = (run: RunSummary, key: keyof Settings) => JSON.stringify(run.settings[key]) ?? "-";
  const differing = keys.filter((key) => key !== "outDir" && new Set(runs.map((run) => shown(run, key))).size > 1);
  return table(
    ["setting", ...runs.map((run) => run.path)],
    differing.map((key) => [key, ...runs.map((run) => shown(run, key))]),
  );
}
