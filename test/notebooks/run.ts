/**
 * `npm run notebooks [-- NAME…]` runs all notebooks (or those whose names start with NAME) one at a time and prints a
 * table and the count. A notebook that exceeds its time budget (scaled by the current speed of the machine) gives a
 * warning. One that takes three times its budget fails, because it probably hangs. `npm run notebooks:refresh [--
 * NAME…]` also stores the outputs of notebooks that pass.
 */
import fs from "node:fs";
import path from "node:path";
import { createChecker } from "./check.js";
import { notebookText, readNotebook, withOutputs } from "./notebook.js";
import { computedBy, root, runNotebook, type Verdict } from "./runner.js";
import { slowness } from "./slowness.js";

const folder = path.join(root, "notebooks");

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
  for (const file of chosen) {
    const slow = await slowness();
    const verdict = await runNotebook(path.join(folder, file), {
      patience: 3 * slow,
      committed: !refresh,
      ...(!refresh && { answers: path.join(root, "test", "notebooks", "answers") }),
      signal: controller.signal,
      check,
    });
    verdicts.push(verdict);
    show(verdict, slow);
    if (refresh && verdict.faults.length === 0) write(path.join(folder, file), verdict);
  }
  const failed = verdicts.filter(({ faults }) => faults.length > 0).length;
  console.log(`${verdicts.length - failed} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}

function row(name: string, cells: string, seconds: string, budget: string, verdict: string): string {
  return `${name.padEnd(20)} ${cells.padStart(5)} ${seconds.padStart(8)} ${budget.padStart(7)}  ${verdict}`;
}

function show({ name, cells, elapsedMs, budgetSeconds, faults, warnings }: Verdict, slow: number): void {
  const seconds = elapsedMs > 0 ? (elapsedMs / 1000).toFixed(1) : "-";
  console.log(row(name, String(cells), seconds, String(budgetSeconds ?? "-"), faults.length > 0 ? "FAILED" : "passed"));
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
