/**
 * `folio scaling curve`: a law of whole loss curves, fitted to runs under some learning-rate schedules, predicts the curve
 * of another schedule. scaling/curves.ts computes it.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import {
  type Curve,
  type CurveErrors,
  type CurveFit,
  type CurveLaw,
  crossCheck,
  curveErrors,
  curveLaws,
  fitCurves,
  predictCurve,
  ratesOf,
  readCurve,
  undeterminedFall,
} from "../../../scaling/curves.js";
import type { FitWarning } from "../../../scaling/points.js";
import { readRunSettings } from "../../runs/run-folder.js";
import type { Settings } from "../../settings/settings.js";
import { grouped, type Io, table, wrapped } from "../shared/terminal.js";
import { constraintsOf, one } from "./shared/adapt.js";
import { atLeastZero, type Flags, positive, readFlags } from "./shared/flags.js";
import { inFlags, writeWarnings } from "./shared/warnings.js";

export function help(): string {
  return `folio scaling curve: predicts the loss curve of a learning-rate schedule from runs under other schedules.

Usage: folio scaling curve RUN RUN … [--predict RUN,RUN…] [--schedule NAME [--steps T]] [--flag value …]

RUN is the folder of a run (config.json, log.jsonl), such as out-cosine, or runs/ID in the folder of a sweep. The runs
should differ in their schedules only: same size, batch, peak rate and seed. Two or three are enough, if their rates
fall differently; at least one must fall, and better two. The points are means of the training loss over windows of
steps, which is the loss of batches not seen before if no text is repeated. If three runs are fitted, each is also
predicted from the others.

  --law NAME          ${Object.keys(curveLaws).join(", ")}, or both (default both)
                      annealing: L0 + A S1^-alpha - C S2 (Tissue 2024); multi-power: with a power law for every fall of
                      the rate (Luo 2025)
  --predict RUN,…     predict these runs, and compare with their losses
  --schedule NAME     predict this schedule, with the other settings of the first run: cosine, linear, constant or wsd
  --steps T           … of so many steps (default: as the first run)
  --min_rate X        … falling to this rate (default: as the first run; 0 is possible)
  --fix NAME:X,… --tie NAME,NAME   constants with a given value, or with one in common; with --law
  --windows W         points per curve (default 100)
  --skip X            leave out this share of the steps, and the warm-up at least (default .1)
  --json              print JSON: constants, errors, predicted and measured curves

If these runs do not determine what a fall of the rate does (their rates hardly fall, or the search did not converge), a
warning says so, and no schedule is predicted. Runs of --predict are still compared with their losses.

  folio scaling curve out-cosine out-constant --predict=out-wsd
  folio scaling curve out-cosine out-constant --schedule=linear --min_rate=0 --steps=20000`;
}

const kinds = {
  law: "string",
  predict: "string",
  schedule: "string",
  steps: "string",
  "min-rate": "string",
  windows: "string",
  fix: "string",
  tie: "string",
  skip: "string",
  json: "boolean",
} as const;

interface Predicted {
  readonly name: string;
  readonly steps: readonly number[];
  /** Null if the runs do not determine them; a warning of the fit says why. */
  readonly predicted: readonly number[] | null;
  readonly measured?: readonly number[];
  readonly errors?: CurveErrors;
}

interface Result {
  readonly fit: CurveFit;
  readonly crossCheck: readonly CurveErrors[];
  readonly predictions: readonly Predicted[];
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling curve");
  const { words } = flags;
  if (words.length === 0) throw new RangeError("Cannot fit a law of loss curves: name the folders of runs.");
  const options = readingOf(flags);
  const law = one("law", flags.text.law ?? "both", [...(Object.keys(curveLaws) as CurveLaw[]), "both"]);
  const curves = words.map((word) => readCurve(folderOf(word), options));
  const unseen = (flags.text.predict?.split(",") ?? []).map((word) => readCurve(folderOf(word.trim()), options));
  const planned = plannedOf(flags, words[0]!);
  const constraints = constraintsOf(flags);
  if (law === "both" && Object.keys(constraints).length > 0) {
    throw new RangeError(
      `Cannot fix or tie constants of two laws at once: their constants differ; choose one with --law (${Object.keys(curveLaws).join(", ")}).`,
    );
  }
  const laws = law === "both" ? (Object.keys(curveLaws) as CurveLaw[]) : [law];
  const results = laws.map((name): Result => {
    const fitted = fitCurves(curves, name, constraints);
    const fit = { ...fitted, warnings: inFlags(fitted.warnings) };
    const checked = curves.length > 2 ? crossCheck(curves, name, constraints) : [];
    const measured = unseen.map((curve) => compared(fit, curve));
    const predictions = [...measured, ...(planned ? [predictedOf(fit, planned)] : [])];
    const warnings = [...fit.warnings, ...warnOfNumbers(predictions, fit)];
    return { fit: { ...fit, warnings }, crossCheck: checked, predictions };
  });
  if (flags.yes.json) {
    io.stdout.write(`${JSON.stringify({ runs: words, results }, null, 2)}\n`);
    return 0;
  }
  const windows = `Points: means of the training loss over windows of ${grouped(Math.max(...curves.map(({ rates }) => rates.length)) / options.windows)} steps or fewer, ${curves.map(({ points }) => points.length).join(" and ")} of them.`;
  io.stdout.write(`${[...results.flatMap(describe), wrapped(windows)].join("\n")}\n`);
  writeWarnings(
    io,
    results.flatMap(({ fit }) => fit.warnings),
  );
  return 0;
}

/** @throws {Error} for a word that is not a folder with a run */
function folderOf(word: string): string {
  if (existsSync(path.join(word, "config.json"))) return word;
  throw new Error(
    `Cannot read the curve of ${word}: there is no ${path.join(word, "config.json")}; name the folder of a run.`,
  );
}

function readingOf(flags: Flags): { windows: number; skip: number } {
  const windows = positive(flags, "windows", { whole: true }) ?? 100;
  const skip = atLeastZero(flags, "skip") ?? 0.1;
  if (skip < 1) return { windows, skip };
  throw new RangeError(`Cannot read --skip: ${skip} is not a share of the steps, at least 0 and below 1.`);
}

/** The settings of the schedule that is to be predicted. */
function plannedOf(flags: Flags, first: string): Settings | undefined {
  const { schedule } = flags.text;
  const [steps, minRate] = [positive(flags, "steps", { whole: true }), atLeastZero(flags, "min-rate")];
  if (schedule === undefined) {
    if (steps === undefined && minRate === undefined) return undefined;
    throw new RangeError("Cannot predict a schedule: --steps and --min_rate belong to --schedule; name one.");
  }
  const settings = readRunSettings(first);
  const name = one("schedule", schedule, ["cosine", "linear", "constant", "wsd"] satisfies Settings["schedule"][]);
  const maxIters = steps ?? settings.maxIters;
  return {
    ...settings,
    schedule: name,
    decayLr: true,
    maxIters,
    lrDecayIters: maxIters,
    minLr: minRate ?? settings.minLr,
  };
}

function compared(fit: CurveFit, curve: Curve): Predicted {
  const steps = curve.points.map(({ step }) => step);
  const predicted = predictCurve(fit, curve, steps);
  const measured = curve.points.map(({ loss }) => loss);
  if (!predicted.every(isLoss)) return { name: curve.name, steps, predicted: null, measured };
  return { name: curve.name, steps, predicted, measured, errors: curveErrors(fit, curve) };
}

const isLoss = (value: number) => value > 0 && Number.isFinite(value);
const isUndetermined = ({ warnings }: CurveFit) => warnings.some(({ kind }) => kind === undeterminedFall);

/** The warning if predictions are no losses, and nothing else says so. */
function warnOfNumbers(predictions: readonly Predicted[], fit: CurveFit): FitWarning[] {
  const wrong = predictions.filter(({ predicted }) => predicted === null).map(({ name }) => name);
  if (wrong.length === 0 || isUndetermined(fit)) return [];
  const message = `By this law the losses of ${wrong.join(" and ")} are not numbers above 0, so these runs do not determine what a fall of the learning rate does; add a run whose rate falls further, or fix constants (--fix).`;
  return [{ kind: undeterminedFall, message }];
}

function predictedOf(fit: CurveFit, settings: Settings): Predicted {
  const rates = ratesOf(settings);
  const count = 20;
  const first = Math.max(1, rates.warmup);
  const steps = Array.from({ length: count }, (_, k) =>
    Math.round(first + ((settings.maxIters - first) * (k + 1)) / count),
  );
  const name = `${settings.schedule}, ${grouped(settings.maxIters)} steps, to ${settings.minLr}`;
  const predicted = isUndetermined(fit) ? null : predictCurve(fit, rates, steps);
  return { name, steps, predicted: predicted?.every(isLoss) ? predicted : null };
}

const percent = (share: number, signed = false) => `${signed && share > 0 ? "+" : ""}${(100 * share).toFixed(2)} %`;

function describe({ fit, crossCheck: checked, predictions }: Result): string[] {
  const constants = Object.entries(fit.params).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`);
  const row = (what: string, { name, mean, largest, end }: CurveErrors) => [
    ...[what, name, percent(mean), percent(largest), percent(end, true)],
  ];
  const rows = [
    ...fit.errors.map((errors) => row("fitted", errors)),
    ...checked.map((errors) => row("predicted from the other runs", errors)),
    ...predictions.flatMap(({ errors }) => (errors ? [row("predicted", errors)] : [])),
  ];
  const planned = predictions.flatMap(({ name, steps, predicted, errors }) => {
    if (errors) return [];
    if (!predicted) return [wrapped(`${name}: no prediction; see the warning (${undeterminedFall})`)];
    return [wrapped(`${name}: loss ${predicted.at(-1)!.toFixed(4)} at step ${grouped(steps.at(-1)!)}`)];
  });
  return [
    `${fit.law}: ${curveLaws[fit.law].formula}${fit.converged ? "" : ", NOT CONVERGED"}`,
    wrapped(constants.join(", ")),
    "",
    ...table(["", "run", "error on average", "largest", "at the end"], rows),
    ...(planned.length > 0 ? ["", ...planned] : []),
    "",
  ];
}
