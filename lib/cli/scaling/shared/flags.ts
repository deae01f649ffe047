/** Shared by the commands of a sweep: reading flags, finding a plan, and the folder of a sweep. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { closest, distance } from "fastest-levenshtein";
import { createJiti } from "jiti";
import { loadPlan, type PlanOptions, planSweep, type SweepPlan, share } from "../../../../scaling/plan.js";
import { measureSpeed } from "../../../../scaling/sweep.js";
import { packageRoot } from "../../../host/package.js";
import { statusOf } from "../../../host/regular-file.js";

/** The flags of a command, with a text or without a value. Written --data_dir or --data-dir. */
export type FlagKinds = Readonly<Record<string, "string" | "boolean">>;

export interface Flags {
  readonly words: readonly string[];
  readonly text: Readonly<Record<string, string | undefined>>;
  readonly yes: Readonly<Record<string, boolean | undefined>>;
}

/** @throws {TypeError} for an unknown flag, or one without its value */
export function readFlags(args: readonly string[], kinds: FlagKinds, command: string): Flags {
  checkPrinted(args, kinds, command);
  const options = Object.fromEntries(Object.entries(kinds).map(([name, type]) => [name, { type }]));
  const written = args.map((arg) => (arg.startsWith("--") ? arg.replace(/^--[^=]*/, dashed) : arg));
  try {
    const { values, positionals } = parseArgs({ args: written, options, allowPositionals: true });
    const entries = Object.entries(values);
    return {
      words: positionals,
      text: Object.fromEntries(entries.filter(([, value]) => typeof value === "string")) as Record<string, string>,
      yes: Object.fromEntries(entries.filter(([, value]) => typeof value === "boolean")) as Record<string, boolean>,
    };
  } catch (error) {
    const reason = unknownFlag(args, kinds) ?? asTyped((error as Error).message.split(". ")[0]!, args);
    const see = reason.endsWith("?") ? " See" : "; see";
    throw new TypeError(`Cannot read the flags: ${reason}${see} \`${command} --help\`.`);
  }
}

const dashed = (flag: string): string => flag.replaceAll("_", "-");

/** @throws {RangeError} for a new file after a --json that prints */
function checkPrinted(args: readonly string[], kinds: FlagKinds, command: string): void {
  if (kinds.json !== "boolean") return;
  const inline = args.find((arg) => arg.startsWith("--json="))?.slice("--json=".length);
  const next = args[args.indexOf("--json") + 1];
  const file = inline ?? (args.includes("--json") && next?.endsWith(".json") && !statusOf(next) ? next : undefined);
  if (file === undefined) return;
  throw new RangeError(
    `Cannot write ${file}: --json of \`${command}\` takes no file, it prints; add > ${file} instead.`,
  );
}

/** The first flag that there is not, as it was typed, and the nearest one that there is. */
function unknownFlag(args: readonly string[], kinds: FlagKinds): string | undefined {
  const written = args.map((arg) => arg.replace(/=.*$/s, ""));
  const typed = written.find(
    (arg) => arg.startsWith("--") && arg !== "--" && !Object.hasOwn(kinds, dashed(arg).slice(2)),
  );
  if (typed === undefined) return undefined;
  const near = closest(dashed(typed).slice(2), Object.keys(kinds));
  const hint = distance(dashed(typed).slice(2), near) <= 2 ? `; did you mean --${snakeCase(near)}?` : "";
  return `there is no flag ${typed}${hint}`;
}

/** A message of Node's, with flags as they were typed. */
function asTyped(message: string, args: readonly string[]): string {
  return args
    .map((arg) => arg.replace(/=.*$/s, ""))
    .filter((arg) => arg.startsWith("--") && arg !== dashed(arg))
    .reduce((said, arg) => said.replaceAll(dashed(arg), arg), message);
}

interface Wanted {
  readonly whole?: boolean;
  readonly zero?: boolean;
}

/** A flag's number, above 0 or also 0, written 3, 1e12 or 1_000. */
function numberOf(flags: Flags, name: string, { whole = false, zero = false }: Wanted): number | undefined {
  const written = flags.text[name];
  if (written === undefined) return undefined;
  const value = Number(written.replaceAll("_", ""));
  const large = zero ? value >= 0 : value > 0;
  if (written.trim() !== "" && large && Number.isFinite(value) && (!whole || Number.isInteger(value))) return value;
  const wanted = `a ${whole ? "whole " : ""}number ${zero ? "of at least 0" : "above 0"}`;
  throw new RangeError(`Cannot read --${snakeCase(name)}: ${JSON.stringify(written)} is not ${wanted}.`);
}

const snakeCase = (name: string): string => name.replaceAll("-", "_");

/** A flag's number above 0. */
export const positive = (flags: Flags, name: string, { whole = false } = {}): number | undefined =>
  numberOf(flags, name, { whole });

/** A flag's number of at least 0. */
export const atLeastZero = (flags: Flags, name: string): number | undefined => numberOf(flags, name, { zero: true });

/** A flag's whole number of at least 0. */
export const whole = (flags: Flags, name: string): number | undefined =>
  numberOf(flags, name, { whole: true, zero: true });

const plansFolder = () => path.join(packageRoot(), "scaling", "plans");

/** Names of Folio's own plans. */
export function ownPlans(): string[] {
  return readdirSync(plansFolder())
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -3));
}

/** Options of a plan from a TypeScript, JavaScript or JSON file, or those of one of Folio's own plans by its name. */
async function readOptions(word: string): Promise<PlanOptions | SweepPlan> {
  const own = path.join(plansFolder(), `${word}.ts`);
  const isFile = statusOf(word)?.isFile();
  const file = isFile ? word : existsSync(own) ? own : undefined;
  if (!file) {
    throw new Error(
      `Cannot read the plan ${word}: there is no such file; Folio's own plans are ${ownPlans().join(", ")}.`,
    );
  }
  if (file.endsWith(".json")) return readJsonPlan(file);
  let content: unknown;
  try {
    const jiti = createJiti(import.meta.url, { fsCache: false, moduleCache: false, interopDefault: false });
    content = (await jiti.import<{ default?: unknown }>(path.resolve(file))).default;
  } catch (error) {
    throw new Error(`Cannot read the plan ${file}: ${(error as Error).message.split("\n")[0]}`, { cause: error });
  }
  if (typeof content === "object" && content !== null && "dataset" in content) return content as PlanOptions;
  throw new TypeError(`Cannot read the plan ${file}: wanted an object as its default export, with name and dataset.`);
}

/** A plan written by `folio scaling plan --out`, or options as JSON. */
function readJsonPlan(file: string): PlanOptions | SweepPlan {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, "utf8").replace(/^\ufeff/, ""));
  } catch (error) {
    throw new Error(`Cannot read the plan ${file}: it is not JSON (${(error as Error).message}).`, { cause: error });
  }
  const isOptions = typeof content === "object" && content !== null && !("format" in content);
  return isOptions ? (content as PlanOptions) : loadPlan(file);
}

/** Options for making a plan. */
export interface PlanningOptions {
  readonly dataDir?: string | undefined;
  readonly workers?: number | undefined;
  readonly threads?: number | undefined;
  /** Measure steps, to estimate times. */
  readonly benchmark: boolean;
  readonly log: (line: string) => void;
}

/** The plan that an argument names: a saved plan, or one made now from options. */
export async function findPlan(word: string | undefined, given: PlanningOptions): Promise<SweepPlan> {
  if (word === undefined) throw new RangeError(`Cannot plan: name a plan's file, or one of ${ownPlans().join(", ")}.`);
  const read = await readOptions(word);
  if ("format" in read) return read;
  const { dataDir, workers, threads, benchmark, log } = given;
  const options: PlanOptions = {
    ...read,
    ...(dataDir !== undefined && { dataDir }),
    ...(workers !== undefined && { workers }),
    ...(threads !== undefined && { threads }),
  };
  const plan = planSweep(options);
  if (!benchmark) return plan;
  return planSweep(options, await measureSpeed(plan, { ...share(options), log }));
}

/** The folder of a sweep: --out, or by default out-NAME. */
export const folderOf = (plan: Pick<SweepPlan, "name">, out: string | undefined): string => out ?? `out-${plan.name}`;
