/**
 * `folio scaling report`: writes one offline HTML page about a table of trainings, with all charts, the three
 * approaches' fits, their warnings and the runs. scaling/report.ts makes the page; this file reads the table and writes
 * the page.
 */
import path from "node:path";
import { warningKinds } from "../../../scaling/fit.js";
import { type Approach, fitApproaches, scalingReport } from "../../../scaling/report.js";
import { checkOutput, writeOutput } from "../shared/output-file.js";
import type { Io } from "../shared/terminal.js";
import { readFlags } from "./shared/flags.js";
import { fileHelp, readStudy, resampling, rowsHelp, studyKinds } from "./shared/study.js";
import { inRows, ofRows } from "./shared/warnings.js";

export function help(): string {
  return `folio scaling report: writes one offline HTML page about a table of trainings.

Usage: folio scaling report FILE [--out FILE.html] [--flag value …]

${fileHelp}
Runs of role held-out are predicted, not fitted; runs of role tuning are left out.

  --out FILE.html     the page's file (default: beside FILE, named after it)
  --title TEXT        its title (default: FILE's name)
  --n COL --d COL --c COL --loss COL --group COL   columns, as for \`folio scaling fit\`
${rowsHelp}
  --bootstrap R       bootstrap refits (default 1000, at most 100000); 0: intervals from the covariance
  --seed S            seed of the resampling (default 1337)
  --threads T         threads for refits (default: one per core)
  --json              print fits and predictions as JSON; the page is then written only if --out names it

  folio scaling report out-novels/results.csv --out novels.html`;
}

const { unique: _, ...columnKinds } = studyKinds;
const kinds = { ...columnKinds, out: "string", title: "string", json: "boolean" } as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling report");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot report: name a table of trainings.");
  if (more.length > 0) throw new RangeError(`Cannot report on ${file} and ${more.join(", ")}: give one file.`);
  const out = flags.text.out ?? (flags.yes.json ? undefined : `${file.replace(/\.[^./\\]+$/, "")}.html`);
  if (out !== undefined) checkOutput(out, "--out", [file]);
  const study = await readStudy(file, flags);
  const [points, heldOut] = [study.points, study.heldOut.points];
  const fits = (await fitApproaches(points, resampling(flags))).map(
    (each): Approach => ({
      ...each,
      ...(each.fit && { fit: { ...each.fit, warnings: ofRows(each.fit.warnings, study) } }),
      ...(each.refused !== undefined && { refused: inRows(each.refused, study) }),
    }),
  );
  if (flags.yes.json) io.stdout.write(`${JSON.stringify({ file, points, heldOut, fits }, null, 2)}\n`);
  if (out === undefined) return 0;
  const title = flags.text.title ?? path.basename(file).replace(/\.[^.]+$/, "");
  writeOutput(out, scalingReport({ title, points, heldOut, fits }));
  if (!flags.yes.json) io.stdout.write(`${summary(fits, out).join("\n")}\n`);
  return 0;
}

function summary(fits: readonly Approach[], out: string): string[] {
  const lines = fits.map(({ name, fit, refused }) => {
    if (!fit?.exponents) return `${name}: ${refused ?? "no exponents"}`;
    const { a, b } = fit.exponents;
    const kinds = warningKinds(fit);
    const warned = kinds.length > 0 ? `; warnings: ${kinds.join(", ")}` : "";
    return `${name}: N* ∝ C^${a.toFixed(3)}, D* ∝ C^${b.toFixed(3)}${fit.converged ? "" : ", not converged"}${warned}`;
  });
  return [...lines, `wrote ${out}`];
}
