/**
 * `folio scaling fit | optimum | plan | run | status | tune | report`: the command line of the scaling-law laboratory.
 * This file finds the part and its help; each has a file in lib/cli/scaling/, loaded only when it is called, and its
 * arithmetic in scaling/. Notebook 08-scaling-laws does the same as functions.
 */
import { closest, distance } from "fastest-levenshtein";
import type { Io } from "../shared/terminal.js";

/** What a part's file exports. */
interface Part {
  /** The text of `folio scaling PART --help`. */
  help(): string;
  /** Does it. @returns the exit code */
  run(args: readonly string[], io: Io): Promise<number>;
}

/** In the order of the work. */
const parts: Readonly<Record<string, { summary: string; load: () => Promise<Part> }>> = {
  fit: {
    summary: "a law fitted to a table of trainings, with intervals and warnings",
    load: () => import("./fit.js"),
  },
  optimum: {
    summary: "what a law says: the best N and D of a budget, of a loss, of N or D; with intervals",
    load: () => import("./optimum.js"),
  },
  plan: {
    summary: "what a sweep would do: its runs, what is dropped and why, FLOPs and time",
    load: () => import("./plan.js"),
  },
  run: { summary: "do the runs of a plan that are not done yet", load: () => import("./run.js") },
  status: { summary: "where every run of a sweep stands", load: () => import("./status.js") },
  tune: {
    summary: "the learning rates that a tuning sweep finds best, and the rule through them",
    load: () => import("./tune.js"),
  },
  report: {
    summary: "one offline HTML page: charts, the fits of all three approaches, warnings, runs",
    load: () => import("./report.js"),
  },
};

/** All parts, or the one that `args` begins with. */
export async function help(args: readonly string[] = []): Promise<string> {
  const name = args.find((arg) => !arg.startsWith("-"));
  if (name !== undefined && Object.hasOwn(parts, name)) return (await find(name)).help();
  return `folio scaling: the scaling-law laboratory.

Usage: folio scaling PART [argument …]

${Object.entries(parts)
  .map(([part, { summary }]) => `  ${part.padEnd(9)} ${summary}`)
  .join("\n")}

\`folio scaling PART --help\` lists what a part takes.
For example: folio scaling optimum --budget=1e21 --law=epoch`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    io.stdout.write(`${await help()}\n`);
    return 0;
  }
  return await (await find(name)).run(rest, io);
}

async function find(name: string): Promise<Part> {
  const part = Object.hasOwn(parts, name) ? parts[name] : undefined;
  if (part) return await part.load();
  const nearest = closest(name, Object.keys(parts));
  const hint =
    distance(name, nearest) <= 3
      ? `did you mean \`folio scaling ${nearest}\`?`
      : `there are ${Object.keys(parts).join(", ")}.`;
  throw new RangeError(`Cannot do \`folio scaling ${name}\`: there is no such part; ${hint}`);
}
