/** What the scaling-law laboratory and a preparation write as JSON or a table and read back. */
import path from "node:path";
import { findPlan } from "../../lib/cli/scaling/shared/flags.js";
import { filesOf, readProgress } from "../../lib/data/prepare/unfinished.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { fitLawNow } from "../../scaling/fit.js";
import { type PlanOptions, planSweep } from "../../scaling/plan.js";
import { ask } from "../../scaling/questions/answer.js";
import { fittedLaw } from "../../scaling/questions/known-law.js";
import { readFit } from "../../scaling/questions/read-fit.js";
import { readRow } from "../../scaling/sweep/row-schema.js";
import { readResults } from "../../scaling/sweep.js";
import { isoflopSweep } from "../scaling/simulate.js";
import type { Reader, Write } from "./readers.js";

const row = { run: "0123456789abcdef", name: "grid-2L8", plan: "fox", role: "grid", n: 1000, d: 20_000, loss: 3.1 };

/** @param folder where the dataset "fox" is prepared */
export function scalingReaders(folder: string, written: Write): Reader[] {
  const options: PlanOptions = {
    ...{ name: "fox", dataset: "fox", dataDir: folder, settings: { blockSize: 8 }, batchTokens: 64 },
    learningRate: { factor: 1, parameters: -0.5 },
    grid: { kind: "isoflop", budgets: [1e11, 4e11], sizes: 3, spacing: 2, optimum: 20 },
    limits: { epochs: 1e9, fewestSteps: 1 },
  };
  const planned = (name: string, file: string, content: unknown): Reader => ({
    ...{ name, kind: "json", file: written(file, JSON.stringify(content, null, 2)) },
    read: (read) => findPlan(read, { benchmark: false, log: () => {} }),
    command: (read) => ["scaling", "plan", read, "--no-benchmark"],
  });
  const fit = fitLawNow(isoflopSweep({ noise: 0.01 }), { method: "projection" });
  const csv = `${Object.keys(row).join(",")}\n${Object.values(row).join(",")}\n`;
  return [
    planned("a plan", "plans/plan.json", planSweep(options)),
    planned("a plan's options", "plans/options.json", options),
    {
      ...{ name: "a fit", kind: "json", file: written("fits/fit.json", JSON.stringify(fit)) },
      read: (file) => ask(fittedLaw(readFit(file), file), { budgetFlops: 1e21 }),
      command: (file) => ["scaling", "optimum", `--law=${file}`, "--budget=1e21"],
    },
    {
      ...{ name: "a run's row", kind: "json", file: written(`sweep/runs/${row.run}/result.json`, JSON.stringify(row)) },
      read: (file) => readRow(file),
    },
    {
      ...{ name: "a sweep's table", kind: "text", file: written("sweep/results.csv", csv) },
      read: (file) => readResults(path.dirname(file)),
    },
    preparing(written),
  ];
}

function preparing(written: Write): Reader {
  const progress = {
    ...{ format: "folio-preparing", version: 1, wish: "w", checksums: ["0".repeat(64), null] },
    plan: { documents: 2, cuts: [10], tokenizer: charTokenizer("abc").toJSON() },
    ...{ next: { file: 0, offset: 8, document: 1 }, tokens: { train: 2, val: 0 } },
  };
  for (const split of ["train", "val"]) written(`preparing/${split}.bin.part`, Buffer.alloc(4));
  return {
    ...{ name: "a preparation under way", kind: "json" },
    file: written("preparing/preparing.json", JSON.stringify(progress)),
    read: (file) => readProgress(filesOf(path.dirname(file)), "w"),
  };
}
