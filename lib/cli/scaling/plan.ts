/** `folio scaling plan`: prints a sweep's runs and dropped cells, with total FLOPs and time, as a table or as JSON. */
import path from "node:path";
import { type PlannedRun, type SweepPlan, savePlan } from "../../../scaling/plan.js";
import { statusOf } from "../../host/regular-file.js";
import { gigabytes } from "../../model/memory.js";
import { tokensPerStep } from "../../model/sizing.js";
import { checkOutput } from "../shared/output-file.js";
import { duration, grouped, type Io, styled, table } from "../shared/terminal.js";
import { processesText } from "./shared/display.js";
import { type FlagKinds, findPlan, ownPlans, positive, readFlags } from "./shared/flags.js";

export function help(): string {
  return `folio scaling plan: shows a sweep: its runs, the dropped cells and why, FLOPs and time.

Usage: folio scaling plan PLAN [--out=FILE.json] [--data_dir=DIR] [--workers=N] [--threads=N] [--no-benchmark] [--json]

PLAN is a JSON file with the options of a plan (scaling/planning/plan-types.ts), a TypeScript or JavaScript file with
the options as its default export, or one of Folio's own plans: ${ownPlans().join(", ")}.
The dataset must be prepared. Folio's own plans use a text of yours with a character tokenizer:
folio prepare novels --from=TEXT --tokenizer=char.
Times are estimated from a short benchmark of some of the shapes, which is stored for the next call; --no-benchmark
skips it. --out writes the plan to a file for \`folio scaling run\`.

  { "name": "small", "dataset": "typescript", "batchTokens": 512, "learningRate": 0.003,
    "settings": { "blockSize": 16 }, "ladder": { "widthStep": 2, "nLayer": 2, "nHead": 2 },
    "grid": { "kind": "isoflop", "budgets": [1e10, 2e10, 4e10, 8e10], "sizes": 5, "spacing": 1.6, "optimum": 60 } }

  folio scaling plan small.json
  folio scaling plan novels
  folio scaling plan my-sweep.ts --out=my-sweep.json`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const kinds: FlagKinds = {
    ...{ out: "string", "data-dir": "string", workers: "string", threads: "string" },
    ...{ "no-benchmark": "boolean", json: "boolean" },
  };
  const flags = readFlags(args, kinds, "folio scaling plan");
  const [word] = flags.words;
  const { out } = flags.text;
  // The plan's folder is made if it is missing.
  if (out !== undefined && statusOf(path.dirname(out))) checkOutput(out, "--out", word === undefined ? [] : [word]);
  const plan = await findPlan(word, {
    dataDir: flags.text["data-dir"],
    workers: positive(flags, "workers", { whole: true }),
    threads: positive(flags, "threads", { whole: true }),
    benchmark: !flags.yes["no-benchmark"],
    log: (line) => io.stderr.write(`${line}\n`),
  });
  if (out !== undefined) savePlan(out, plan);
  const lines = flags.yes.json ? [JSON.stringify(plan, null, 2)] : describePlan(plan, io);
  io.stdout.write(`${lines.join("\n")}\n`);
  return 0;
}

/** A plan as readable lines. */
export function describePlan(plan: SweepPlan, io: Io): string[] {
  const { runs, dropped, totals, workers, threads } = plan;
  const [head, ...rows] = table(
    ["run", "N", "tokens", "epochs", "batch", "rate", "steps", "FLOPs", "memory", "time"],
    runs.map(planRow),
  );
  const time =
    totals.seconds === null ? "" : `, about ${duration(1000 * totals.seconds)} with ${processesText(workers, threads)}`;
  return [
    styled(io.stdout, "bold", head!),
    ...rows,
    "",
    `${grouped(totals.runs)} runs, ${totals.flops.toExponential(3)} FLOPs, ${grouped(totals.tokens)} tokens${time}`,
    ...(dropped.length > 0 ? ["", `${dropped.length} cells are dropped:`] : []),
    ...dropped.map(({ role, budgetFlops, shape, reason }) => {
      const budget = budgetFlops === null ? "" : ` at ${budgetFlops.toExponential(2)} FLOPs`;
      return `  ${role} ${shape}${budget}: ${reason}`;
    }),
  ];
}

function planRow(run: PlannedRun): string[] {
  return [
    run.name,
    grouped(run.parameters),
    grouped(run.tokens),
    run.epochs.toFixed(2),
    grouped(tokensPerStep(run.settings)),
    String(run.settings.learningRate),
    grouped(run.steps),
    run.flops.toExponential(2),
    gigabytes(run.memoryBytes),
    run.seconds === null ? "-" : duration(1000 * run.seconds),
  ];
}
