/**
 * The share of a room's mutants that its tests notice. The mutants are a sample with a fixed seed. Each runs only the
 * tests that reach it, the quick ones first, in a process of its own; after a room was interrupted it goes on.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fingerprint } from "../proofs/sources.js";
import { type Mutant, mutantsOf, sampleOf, withMutants } from "./mutants.js";
import type { Room } from "./rooms.js";
import { openSandbox, type Sandbox, type Unit } from "./sandbox.js";

export interface Result {
  /** `hangs` counts as killed; a mutant that no test reaches survives. */
  readonly status: "killed" | "hangs" | "survives" | "is not reached";
  /** The first test that noticed it. */
  readonly by?: string;
}

/** By the mutant's name. */
export type Results = Readonly<Record<string, Result>>;

export interface Score {
  readonly mutants: number;
  readonly sample: number;
  readonly killed: number;
  readonly equivalent: number;
  /** Killed of those that are not equivalent. */
  readonly percent: number;
  readonly survivors: readonly string[];
}

/** A unit with how long it takes, and the mutants that it reaches. */
interface MeasuredUnit extends Unit {
  readonly ms: number;
  readonly reaches: ReadonlySet<number>;
}

const projects = ["folio", "plain"] as const;
/** A test that takes longer is slow. */
const slowMs = 1000;

interface Options {
  readonly count: number;
  readonly seed: number;
  readonly say: (line: string) => void;
  /** File for the results so far. */
  readonly storedIn: string;
  /** Keeps what earlier tests killed, and repeats only the rest: while tests are being added. */
  readonly onlySurvivors?: boolean;
  /** How long tests may take beyond five times their usual time before they count as hanging. */
  readonly patienceMs?: number;
}

/** The files under files and folders. */
function filesUnder(root: string, names: readonly string[], ending: string): string[] {
  return names.flatMap((name) => {
    if (!fs.statSync(path.join(root, name)).isDirectory()) return [name];
    const inside = fs.readdirSync(path.join(root, name), { recursive: true, encoding: "utf8" });
    return inside
      .filter((file) => file.endsWith(ending))
      .sort()
      .map((file) => path.join(name, file));
  });
}

export function mutantsOfRoom(root: string, { sources, leaveOut = [] }: Room): Mutant[] {
  const isLeftOut = (file: string) => leaveOut.some((name) => file === name || file.startsWith(`${name}/`));
  return filesUnder(root, sources, ".ts")
    .filter((file) => !isLeftOut(file))
    .flatMap((file) => mutantsOf(file, fs.readFileSync(path.join(root, file), "utf8")));
}

/** Tests a sample of a room's mutants. @throws {Error} if its tests fail without a mutant */
export async function testRoom(root: string, room: Room, options: Options): Promise<Results> {
  const { count, seed, say, storedIn, onlySurvivors = false, patienceMs = 30_000 } = options;
  const tests = filesUnder(root, room.tests, ".test.ts");
  const sample = sampleOf(mutantsOfRoom(root, room), count, seed);
  const sources = fingerprint(root, {
    proof: "test/mutation/score.ts",
    inputs: [...room.sources, ...tests, "test/mutation/setup.ts", "vitest.config.ts"],
  });
  const stored = fs.existsSync(storedIn)
    ? (JSON.parse(fs.readFileSync(storedIn, "utf8")) as { sources: string; results: Record<string, Result> })
    : { sources, results: {} };
  const isKept = ({ status }: Result) => stored.sources === sources || (onlySurvivors && isKilled(status));
  const known = Object.entries(stored.results).filter(([, result]) => isKept(result));
  const results: Record<string, Result> = Object.fromEntries(known);
  const left = sample.filter(({ name }) => !results[name]);
  if (left.length === 0) return chosen(sample, results);
  const sandbox = openSandbox(root, mutated(root, sample));
  try {
    const units = await measureUnits(sandbox, tests, say);
    for (const mutant of left) {
      const result = await testMutant(sandbox, units, { mutant: sample.indexOf(mutant), patienceMs });
      results[mutant.name] = result;
      say(`${result.status}: ${mutant.name}${result.by ? ` (${result.by})` : ""}`);
      fs.mkdirSync(path.dirname(storedIn), { recursive: true });
      fs.writeFileSync(storedIn, JSON.stringify({ sources: onlySurvivors ? "" : sources, results }, null, 2));
    }
  } finally {
    sandbox.dispose();
  }
  return chosen(sample, results);
}

/** Without results of mutants that are no longer in the sample. */
const chosen = (sample: readonly Mutant[], results: Results) =>
  Object.fromEntries(sample.map(({ name }) => [name, results[name]!]));

function mutated(root: string, sample: readonly Mutant[]): Map<string, string> {
  const files = [...new Set(sample.map(({ file }) => file))];
  return new Map(
    files.map((file) => {
      const text = fs.readFileSync(path.join(root, file), "utf8");
      const own = sample.filter((mutant) => mutant.file === file);
      return [file, withMutants(text, own, (mutant) => sample.indexOf(mutant))];
    }),
  );
}

/** Runs all tests without a mutant: first to find the slow ones, then each unit, to see what it reaches. */
async function measureUnits(sandbox: Sandbox, tests: readonly string[], say: Options["say"]): Promise<MeasuredUnit[]> {
  const units: Unit[] = [];
  const slow: string[] = [];
  for (const project of projects) {
    const all = await sandbox.run(tests, { project });
    if (all.failures.length > 0) throw new Error(`The tests fail without a mutant: ${all.failures[0]}.`);
    const isSlow = ({ ms }: { ms: number }) => ms > slowMs;
    slow.push(...all.tests.filter(isSlow).map(({ file, name }) => `${project} ${file} ${name}`));
    for (const file of new Set(all.tests.map((one) => one.file))) {
      const halves = all.tests.filter((one) => one.file === file).map((one) => (isSlow(one) ? "slow" : "quick"));
      for (const half of new Set(halves)) units.push({ project, file, half });
    }
  }
  sandbox.markSlow(slow);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-seen-"));
  const measured: MeasuredUnit[] = [];
  for (const [i, unit] of units.entries()) {
    const seen = path.join(folder, String(i));
    fs.writeFileSync(seen, "");
    const begun = performance.now();
    const { failures } = await sandbox.run([unit.file], { ...unit, seen });
    if (failures.length > 0) throw new Error(`The tests fail without a mutant if only ${unit.half}: ${failures[0]}.`);
    const ms = performance.now() - begun;
    const reaches = new Set(fs.readFileSync(seen, "utf8").split("\n").filter(Boolean).map(Number));
    say(`${unit.file}, ${unit.half}, ${unit.project}: ${(ms / 1000).toFixed(1)} s, reaches ${reaches.size} mutants`);
    measured.push({ ...unit, ms, reaches });
  }
  fs.rmSync(folder, { recursive: true });
  return measured;
}

/** Runs the tests that reach a mutant, the quick ones first, until one fails. */
async function testMutant(
  sandbox: Sandbox,
  units: readonly MeasuredUnit[],
  { mutant, patienceMs }: { mutant: number; patienceMs: number },
): Promise<Result> {
  const reaching = units.filter(({ reaches }) => reaches.has(mutant));
  if (reaching.length === 0) return { status: "is not reached" };
  for (const half of ["quick", "slow"] as const) {
    for (const project of projects) {
      const now = reaching.filter((unit) => unit.half === half && unit.project === project);
      if (now.length === 0) continue;
      // Far more than it takes, even on a machine that is busier than before.
      const limitMs = patienceMs + 5 * now.reduce((sum, { ms }) => sum + ms, 0);
      const files = now.map(({ file }) => file);
      const { failures, hangs } = await sandbox.run(files, { project, half, limitMs, mutant });
      const [by] = failures;
      if (by !== undefined) return { status: hangs === undefined ? "killed" : "hangs", by };
    }
  }
  return { status: "survives" };
}

const isKilled = (status: Result["status"]) => status === "killed" || status === "hangs";

/** @param equivalent reasons why a mutant changes nothing that a test could see, by its name */
export function scoreOf(mutants: number, results: Results, equivalent: Readonly<Record<string, string>>): Score {
  const all = Object.entries(results);
  const killed = all.filter(([, { status }]) => isKilled(status)).length;
  const alive = all.filter(([, { status }]) => !isKilled(status)).map(([name]) => name);
  const survivors = alive.filter((name) => equivalent[name] === undefined);
  const sample = all.length;
  const percent = Math.round((1000 * killed) / (killed + survivors.length)) / 10;
  return { mutants, sample, killed, equivalent: alive.length - survivors.length, percent, survivors };
}
