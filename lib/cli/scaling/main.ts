/**
 * `folio scaling fit | optimum | predict | compare | next | curve | accuracy | decide | plan | run | status | tune | report`: the command line of the scaling-law laboratory.
 * This file finds the part and its help. Each part has a file in lib/cli/scaling/, which is loaded only when it is
 * called; the computations are in scaling/. Notebook 08-scaling-laws calls the same functions.
 */
import { closest, distance } from "fastest-levenshtein";
import type { Io } from "../shared/terminal.js";

/** The exports of a part's file. */
interface Part {
  /** The text of `folio scaling PART --help`. */
  help(): string;
  /** Runs it. @returns the exit code */
  run(args: readonly string[], io: Io): Promise<number>;
}

/** In the order of use. */
const parts: Readonly<Record<string, { summary: string; load: () => Promise<Part> }>> = {
  fit: {
    summary: "fit a law to a table of trainings, with intervals and warnings",
    load: () => import("./fit.js"),
  },
  optimum: {
    summary: "the best N and D by a law for a budget, a loss, N or D; with intervals",
    load: () => import("./optimum.js"),
  },
  predict: {
    summary: "the losses of new trainings by a fitted law, with intervals",
    load: () => import("./predict.js"),
  },
  compare: {
    summary: "which form of law predicts larger runs from smaller ones",
    load: () => import("./compare.js"),
  },
  next: {
    summary: "which runs within a budget would narrow a prediction most",
    load: () => import("./next.js"),
  },
  curve: {
    summary: "the loss curve of a learning-rate schedule, from runs under other schedules",
    load: () => import("./curve.js"),
  },
  accuracy: {
    summary: "the accuracy on a task from the loss, by a sigmoid",
    load: () => import("./accuracy.js"),
  },
  decide: {
    summary: "how often small runs put two recipes in the order of large ones",
    load: () => import("./decide.js"),
  },
  plan: {
    summary: "show a sweep: its runs, what is dropped and why, FLOPs and time",
    load: () => import("./plan.js"),
  },
  run: { summary: "do the unfinished runs of a plan", load: () => import("./run.js") },
  status: { summary: "the state of every run of a sweep", load: () => import("./status.js") },
  tune: {
    summary: "the best learning rates (and batch sizes) of a tuning sweep, and the laws fitted to them",
    load: () => import("./tune.js"),
  },
  report: {
    summary: "write one offline HTML page: charts, the fits of all three approaches, warnings, runs",
    load: () => import("./report.js"),
  },
};

/** The help of all parts, or of the one named in `args`. */
export async function help(args: readonly string[] = []): Promise<string> {
  const name = args.find((arg) => !arg.startsWith("-"));
  if (name !== undefined && Object.hasOwn(parts, name)) return (await find(name)).help();
  return `folio scaling: the scaling-law laboratory.

Usage: folio scaling PART [argument …]

${Object.entries(parts)
  .map(([part, { summary }]) => `  ${part.padEnd(9)} ${summary}`)
  .join("\n")}

\`folio scaling PART --help\` lists a part's options.
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
      : `wanted one of ${Object.keys(parts).join(", ")}.`;
  throw new RangeError(`Cannot do \`folio scaling ${name}\`: there is no such part; ${hint}`);
}
