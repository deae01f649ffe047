/**
 * `npm run notebooks [-- NAME…]` runs all notebooks (or those whose names start with NAME), two at a time, and prints a
 * table and the count. A notebook that exceeds its time budget (scaled by the current speed of the machine) gives a
 * warning. One that takes three times its budget fails, because it probably hangs. One that needs a public study's table
 * (metadata.folio.needsStudy) is not run where FOLIO_STUDIES lacks it. `npm run notebooks:refresh [-- NAME…]` also stores
 * the outputs of notebooks that pass; it runs one at a time, since outputs contain speeds.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createChecker } from "./check.js";
import { budgetOf, notebookText, readNotebook, withOutputs } from "./notebook.js";
import { computedBy, root, runNotebook, type Verdict } from "./runner.js";
import { slowness } from "./slowness.js";

const folder = path.join(root, "notebooks");
/** Notebooks that compare speeds, each of which has the machine to itself. */
const alone = new Set(["07-bench.ipynb"]);

async function main(args: readonly string[]): Promise<number> {
  const refresh = args.includes("--refresh");
  const wanted = args.filter((arg) => arg !== "--refresh").map((arg) => path.basename(arg, ".ipynb"));
  const files = fs
    .readdirSync(folder)
    .filter((file) => file.endsWith(".ipynb"))
    .sort();
  const unknown = wanted.filter((name) => !files.some((file) => file.startsWith(name)));
  if (files.length === 0 || unknown.length > 0) {
    console.error(
      `Cannot run notebooks: no notebook named ${unknown.join(", ") || "anything"}; there are ${files.join(", ") || "none"}.`,
    );
    return 2;
  }
  const chosen = files.filter((file) => wanted.length === 0 || wanted.some((name) => file.startsWith(name)));
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(name, () => controller.abort(new Error(`${name}: stopped`)));
  const check = createChecker();
  const verdicts: Verdict[] = [];
  console.log(row("notebook", "cells", "seconds", "budget", "verdict"));
  const run = async (file: string, neighbours: number) => {
    const slow = Math.max(await slowness(), 1 + neighbours);
    const verdict = await runNotebook(path.join(folder, file), {
      patience: 3 * slow,
      committed: !refresh,
      ...(!refresh && { answers: path.join(root, "test", "notebooks", "answers") }),
      signal: controller.signal,
      check,
    });
    verdicts.push(verdict);
    show(verdict, slow);
    if (refresh && verdict.faults.length === 0 && verdict.missing === undefined)
      write(path.join(folder, file), verdict);
  };
  await takeTurns(chosen, { two: !refresh && os.availableParallelism() > 1, run }).catch((error) => {
    controller.abort(error);
    throw error;
  });
  const [passed, failed, skipped] = (["passed", "FAILED", "not run"] as const).map(
    (word) => verdicts.filter((verdict) => wordOf(verdict) === word).length,
  );
  for (const verdict of verdicts.filter((one) => wordOf(one) === "not run"))
    console.log(`not tested: notebook ${verdict.name}, because ${verdict.missing}`);
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
  return failed ? 1 : 0;
}

const wordOf = ({ faults, missing }: Verdict) =>
  faults.length > 0 ? "FAILED" : missing === undefined ? "passed" : "not run";

interface Turns {
  /** Whether two may run at a time. */
  readonly two: boolean;
  /** @param neighbours the number of notebooks that may run beside it */
  run(file: string, neighbours: number): Promise<void>;
}

/** Runs all; if two run at a time, those with the largest budgets begin. */
async function takeTurns(files: readonly string[], { two, run }: Turns): Promise<void> {
  const budget = (file: string) => budgetOf(readNotebook(path.join(folder, file))) ?? 0;
  const paired = two ? files.filter((file) => !alone.has(file)).sort((a, b) => budget(b) - budget(a)) : [];
  const single = files.filter((file) => !paired.includes(file));
  const lane = async () => {
    for (let file = paired.shift(); file; file = paired.shift()) await run(file, 1);
  };
  await Promise.all([lane(), lane()]);
  for (const file of single) await run(file, 0);
}

function row(name: string, cells: string, seconds: string, budget: string, verdict: string): string {
  return `${name.padEnd(28)} ${cells.padStart(5)} ${seconds.padStart(8)} ${budget.padStart(7)}  ${verdict}`;
}

function show(verdict: Verdict, slow: number): void {
  const { name, cells, elapsedMs, budgetSeconds, faults, warnings } = verdict;
  const seconds = elapsedMs > 0 ? (elapsedMs / 1000).toFixed(1) : "-";
  console.log(row(name, String(cells), seconds, String(budgetSeconds ?? "-"), wordOf(verdict)));
  for (const fault of faults) console.log(`  ${name}.ipynb: ${fault}`);
  if (elapsedMs > 1000 * slow * (budgetSeconds ?? Infinity)) {
    const here = slow > 1.2 ? ` on a machine that is ${slow.toFixed(1)} times as slow as an idle one` : "";
    console.log(`  ${name}.ipynb: warning: it took ${seconds} s, and its budget is ${budgetSeconds} s${here}`);
  }
  for (const warning of warnings) console.log(`  ${name}.ipynb: warning: ${warning}`);
}

/** Says what changed beyond rounding, times and speeds. */
function write(file: string, { outputs, changes, name }: Verdict): void {
  for (const change of changes) console.log(`  ${name}.ipynb: ${change}`);
  const before = fs.readFileSync(file, "utf8");
  const after = notebookText(withOutputs(readNotebook(file), outputs, { root, computedBy: computedBy() }));
  if (after === before) return;
  fs.writeFileSync(`${file}.tmp`, after);
  fs.renameSync(`${file}.tmp`, file);
  console.log(`  ${name}.ipynb: outputs refreshed`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
