/**
 * `folio scaling compare`: fits several forms of law to a table, and asks which of them predicts larger runs from smaller
 * ones. scaling/questions/compare.ts computes it.
 */
import {
  type Compared,
  type Comparison,
  compareForms,
  type FormName,
  forms,
} from "../../../scaling/questions/compare.js";
import { type Io, styled, table, wrapped } from "../shared/terminal.js";
import { one } from "./shared/adapt.js";
import { withProgress } from "./shared/fitting.js";
import { readFlags } from "./shared/flags.js";
import { fileHelp, leftOut, readStudy, rowsHelp, studyKinds } from "./shared/study.js";
import { inRows, inTheirRows } from "./shared/warnings.js";

export function help(): string {
  const names = Object.keys(forms) as FormName[];
  return `folio scaling compare: which form of law do these trainings support?

Usage: folio scaling compare FILE [--forms NAME,NAME…] [--n COL] [--d COL] [--c COL] [--loss COL] [--flag value …]

${fileHelp}

Every form is fitted by squares of ln L. Rollout: the form is fitted to the smallest compute, predicts the next larger
one (a budget, or an eighth of the runs), and so on, step by step. Two forms are told apart if their squared errors
differ by more than chance over the steps (95 %, one-sided); otherwise the answer is that these data cannot tell. AICc
and BIC judge the fit within the range, not beyond it, and assume independent, normal residuals of one variance: runs
of one group, or noise that grows for small runs, make their differences too large. A difference below 2 means nothing.

  --forms NAME,…      of ${names.join(", ")}
                      (default: chinchilla,tied,kaplan, and muennighoff if tokens are repeated)
${names.map((name) => `                      ${name}: ${forms[name].says}`).join("\n")}
  --n COL --d COL --c COL --loss COL --group COL --unique COL   columns, as for \`folio scaling fit\`
${rowsHelp}
  --json              print JSON: fits, criteria, every step of the rollout, the verdict

  folio scaling compare scaling/results/novels.csv`;
}

const { bootstrap: _, seed: __, threads: ___, ...columnKinds } = studyKinds;
const kinds = { ...columnKinds, forms: "string", json: "boolean" } as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling compare");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot compare: name a table of trainings.");
  if (more.length > 0) throw new RangeError(`Cannot compare by ${file} and ${more.join(", ")}: give one file.`);
  const known = Object.keys(forms) as FormName[];
  const chosen = flags.text.forms?.split(",").map((name) => one("forms", name.trim(), known));
  if (chosen !== undefined && new Set(chosen).size < 2) {
    throw new RangeError(
      `Cannot compare ${chosen.join(" and ")} with nothing: name two forms or more with --forms, of ${known.join(", ")}.`,
    );
  }
  const study = await readStudy(file, flags);
  if (chosen?.includes("muennighoff") && study.points.some(({ unique }) => unique === undefined)) {
    throw new RangeError(
      "Cannot fit the form muennighoff: the points lack the number of unique tokens; name that column with --unique, or leave the form out.",
    );
  }
  const comparison = await inTheirRows(study, () =>
    withProgress(io, "fits", (onProgress) => compareForms(study.points, chosen, onProgress)),
  );
  if (flags.yes.json) {
    const slim = comparison.forms.map(({ fit, ...rest }) => ({ ...rest, params: fit?.params ?? null }));
    io.stdout.write(`${JSON.stringify({ file, ...comparison, forms: slim }, null, 2)}\n`);
    return 0;
  }
  const lines = [
    `${file}: ${study.points.length} points${leftOut(study)}`,
    "",
    ...formsTable(comparison),
    "",
    ...stepsTable(comparison),
    "",
    styled(io.stdout, "bold", wrapped(comparison.verdict)),
    ...comparison.forms.flatMap(({ name, refused }) =>
      refused === undefined ? [] : ["", wrapped(`${name}: ${inRows(refused, study)}`)],
    ),
  ];
  io.stdout.write(`${lines.join("\n")}\n`);
  return 0;
}

const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
const signed = (share: number) => `${share > 0 ? "+" : ""}${percent(share)}`;

function formsTable({ forms: compared }: Comparison): string[] {
  const number = (value: number | undefined) => (value === undefined ? "-" : value.toFixed(1));
  const rows = compared.map(({ name, parameters, scatter, aicc, bic, rollout }) => [
    name,
    String(parameters ?? "-"),
    scatter === undefined ? "-" : percent(scatter),
    ...[number(aicc), number(bic)],
    ...[rollout ? percent(rollout.rms) : "-", rollout ? signed(rollout.mean) : "-"],
  ]);
  return table(["form", "constants", "scatter", "ΔAICc", "ΔBIC", "rollout error (rms)", "on average"], rows);
}

/** One row per step of the rollout, one column per form. */
function stepsTable({ forms: compared }: Comparison): string[] {
  const [{ steps }] = compared as [Compared];
  const rows = steps.map(({ c, fitted, predicted }, k) => [
    ...[c.toExponential(2), String(fitted), String(predicted)],
    ...compared.map((form) => {
      const { rms } = form.steps[k]!;
      return rms === null ? "-" : percent(rms);
    }),
  ]);
  return table(["predicted from C =", "fitted runs", "predicted", ...compared.map(({ name }) => name)], rows);
}
