/**
 * The report of a study: points → one HTML page that works offline, with the fits of all three approaches, their
 * intervals and warnings, all charts, the table of runs and the conventions. If a method fails, its error is shown.
 * `folio scaling report` writes the file. Notebook 08-scaling-laws shows the charts.
 */

import type { Figure } from "../lib/charts/figure.js";
import { escapeHtml, htmlPage, reportCss } from "../lib/charts/html-page.js";
import { interactiveFigure } from "../lib/charts/line-chart.js";
import { letterTick } from "../lib/charts/log-ticks.js";
import { flopsConventions, parameterConventions } from "./conventions.js";
import { fittedLaw, rangeOf } from "./figures/common.js";
import {
  bootstrapCloud,
  exponentIntervals,
  isoflopCurves,
  lossByCompute,
  lossContour,
  lossPrediction,
  type NamedFit,
  optimumPrediction,
  predictedInterval,
  residualPlot,
} from "./figures.js";
import { computeOf } from "./fit/columns.js";
import { fitLaw } from "./fit.js";
import type { Fit, FitMethod, Interval, Point } from "./points.js";
import { relativeErrors } from "./questions/predict.js";

export { approachesTable } from "./tables/fit-table.js";

/** The three approaches of Hoffmann 2022. */
const approaches = [
  { method: "envelope", name: "approach 1: envelope" },
  { method: "isoflop", name: "approach 2: IsoFLOP parabolas" },
  { method: "parametric", name: "approach 3: L(N, D)" },
] as const satisfies readonly { method: FitMethod; name: string }[];

/** The fit of a method, or why it failed. */
export interface Approach {
  readonly method: FitMethod;
  readonly name: string;
  readonly fit?: Fit;
  readonly refused?: string;
}

/** Fits the points by all three approaches; the error of a method that fails is part of the result. */
export async function fitApproaches(
  points: readonly Point[],
  options: { readonly bootstrap?: number; readonly seed?: number; readonly threads?: number } = {},
): Promise<Approach[]> {
  const results: Approach[] = [];
  for (const { method, name } of approaches) {
    try {
      results.push({ method, name, fit: await fitLaw(points, { ...options, method }) });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      results.push({ method, name, refused: error.message });
    }
  }
  return results;
}

/** The contents of a report. */
export interface Study {
  readonly title: string;
  readonly points: readonly Point[];
  /** From fitApproaches(). */
  readonly fits: readonly Approach[];
  /** Runs left out of the fits. */
  readonly heldOut?: readonly Point[];
}

/** The report as one page; nearly all of its size is Plotly. All text is escaped. */
export function scalingReport(study: Study): string {
  const { title, points, heldOut = [] } = study;
  const surface = study.fits.find(({ fit, method }) => fit && method === "parametric")?.fit;
  const [n, d, c] = [(p: Point) => p.n, (p: Point) => p.d, computeOf].map((of) => rangeOf(points.map(of)));
  const range = `N ${span(n!)}, D ${span(d!)}, C ${c!.map((end) => end.toExponential(1)).join(" to ")} FLOPs`;
  const sections = [
    `<header><p class="kicker">Folio scaling report</p><h1>${escapeHtml(title)}</h1><p class="soft">${points.length} runs: ${range}</p></header>`,
    headlines(study, surface),
    section("Charts", charts(study, surface).map(interactiveFigure).join("")),
    section("Fits", study.fits.map(approachTables).join("")),
    section("Held-out runs", surface && heldOut.length > 0 ? runTable(heldOut, points, surface) : ""),
    section("Conventions", conventions(points)),
    section(
      "Runs",
      `<details open><summary>${points.length} runs</summary>${runTable(points, points, surface)}</details>`,
    ),
  ];
  return htmlPage({
    title: `Scaling report: ${title}`,
    body: `<main>${sections.join("\n")}</main>`,
    css: reportCss + css,
  });
}

const span = ([low, high]: Interval) => `${letterTick(low)} to ${letterTick(high)}`;
const section = (title: string, content: string) => (content ? `<section><h2>${title}</h2>${content}</section>` : "");

/** All charts that are possible with these fits. */
function charts({ points, fits, heldOut = [] }: Study, surface: Fit | undefined): Figure[] {
  const of = (method: FitMethod) => fits.find((approach) => approach.method === method)?.fit;
  const [envelope, isoflop] = [of("envelope"), of("isoflop")];
  const named = fits.flatMap(({ name, fit }): NamedFit[] => (fit ? [{ name: name.split(":")[0]!, fit }] : []));
  const upTo = 10 * rangeOf([...points, ...heldOut].map(computeOf))[1];
  return [
    lossByCompute({ points, ...(envelope && { envelope }), ...(surface && { law: surface }) }),
    ...(isoflop ? [isoflopCurves({ points, fit: isoflop })] : []),
    ...(surface
      ? [
          lossContour({ law: fittedLaw(surface, points), points }),
          residualPlot({ points, fit: surface }),
          lossPrediction({ fit: surface, points, heldOut, upTo }),
        ]
      : []),
    ...(named.length > 0 ? [optimumPrediction({ fits: named, points, upTo }), exponentIntervals({ fits: named })] : []),
    ...((surface?.bootstrap?.length ?? 0) >= 20
      ? [bootstrapCloud({ fits: [{ name: "approach 3", fit: surface! }], x: "alpha", y: "beta" })]
      : []),
  ];
}

function headlines({ points, fits, heldOut = [] }: Study, surface: Fit | undefined): string {
  const cards: [name: string, value: string, note: string][] = fits.flatMap(({ name, fit }) => {
    if (!fit?.exponents) return [];
    const ci = fit.ci80.a;
    const note = ci ? `N* ∝ C^a; 80 %: ${ci[0].toFixed(3)} to ${ci[1].toFixed(3)}` : "N* ∝ C^a";
    return [[`a, ${name.split(":")[0]}`, fit.exponents.a.toFixed(3), note]];
  });
  if (surface) {
    const law = fittedLaw(surface, points);
    const at = 10 * rangeOf(points.map(computeOf))[1];
    const { n, d } = law.optimum(at);
    cards.push([
      "tokens per parameter",
      (d / n).toFixed(1),
      `optimum at ${at.toExponential(1)} FLOPs, 10 × the largest run`,
    ]);
    for (const run of heldOut) {
      const off = law.loss!(run.n, run.d) / run.loss - 1;
      const interval = predictedInterval(surface, points, ({ loss }) => loss!(run.n, run.d), 0.95);
      const range =
        interval &&
        `; measured ${run.loss.toFixed(3)}, 95 % interval of the prediction ${interval.map((end) => end.toFixed(3)).join(" to ")}`;
      cards.push([
        "held-out run",
        percent(off),
        `predicted / measured loss − 1, at ${computeOf(run).toExponential(1)} FLOPs${range ?? ""}`,
      ]);
    }
  }
  const one = ([name, value, note]: (typeof cards)[number]) =>
    `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd><dd class="soft">${escapeHtml(note)}</dd></div>`;
  return `<dl class="cards">${cards.map(one).join("")}</dl>`;
}

function approachTables({ name, fit, refused }: Approach): string {
  const heading = `<h3>${escapeHtml(name)}</h3>`;
  if (!fit) return `${heading}<p class="warning">${escapeHtml(refused ?? "not fitted")}</p>`;
  const values = Object.entries({ ...fit.params, ...fit.exponents });
  const interval = (ends: Interval | undefined) => (ends ? `${number(ends[0])} to ${number(ends[1])}` : "");
  const rows = values.map(([key, value]) => [
    key,
    number(value),
    fit.se[key] === undefined ? "" : number(fit.se[key], 2),
    interval(fit.ci80[key]),
    interval(fit.ci95[key]),
  ]);
  const from =
    fit.intervals === "bootstrap" ? `${fit.bootstrap?.length ?? 0} refits of resampled runs` : "the covariance";
  const facts = [
    `${fit.points} runs${fit.dropped.length > 0 ? `, ${fit.dropped.length} left out` : ""}`,
    fit.converged ? "converged" : "NOT CONVERGED",
    `objective ${number(fit.huberSum)}`,
    `intervals from ${from}`,
    ...(fit.holdout
      ? [
          `${fit.holdout.points} largest runs predicted without them with an error of ${percent(relativeErrors(fit.holdout).rms, false)} (rms)`,
        ]
      : []),
  ];
  const optima = (fit.optima ?? []).map(({ c, n, d, loss }) => [
    c.toExponential(2),
    letterTick(n),
    letterTick(d),
    (d / n).toFixed(1),
    loss.toFixed(4),
  ]);
  return [
    heading,
    `<p class="soft">${escapeHtml(facts.join("; "))}.</p>`,
    ...fit.warnings.map(
      ({ kind, message }) => `<p class="warning"><b>${escapeHtml(kind)}</b> ${escapeHtml(message)}</p>`,
    ),
    tableOf(["", "estimate", "standard error", "80 %", "95 %"], rows),
    optima.length > 0 ? tableOf(["budget (FLOPs)", "N*", "D*", "D*/N*", "loss"], optima) : "",
  ].join("");
}

/** Runs, with the prediction of the law for each. */
function runTable(runs: readonly Point[], points: readonly Point[], surface: Fit | undefined): string {
  const law = surface && fittedLaw(surface, points);
  const head = ["N", "D", "D/N", "C (FLOPs)", "loss", ...(law ? ["predicted", "error"] : [])];
  const rows = runs.map((run) => {
    const predicted = law?.loss?.(run.n, run.d);
    return [
      letterTick(run.n),
      letterTick(run.d),
      (run.d / run.n).toFixed(1),
      computeOf(run).toExponential(2),
      run.loss.toFixed(4),
      ...(predicted === undefined ? [] : [predicted.toFixed(4), percent(predicted / run.loss - 1)]),
    ];
  });
  return tableOf(head, rows);
}

function conventions(points: readonly Point[]): string {
  const describe = (
    which: "nConvention" | "flopsConvention",
    known: Readonly<Record<string, string>>,
    otherwise: string,
  ) => {
    const names = [...new Set(points.map((point) => point[which] ?? otherwise))];
    return names.map((name) => (known[name] ? `${name}: ${known[name]}` : name)).join("; ");
  };
  const flops = points.every(({ c }) => c === undefined) ? "6ND" : "as in the table, convention not given";
  return tableOf(
    ["", ""],
    [
      ["Parameters, N", describe("nConvention", parameterConventions, "not given")],
      ["FLOPs, C", describe("flopsConvention", flopsConventions, flops)],
      ["Loss", "nats per token"],
      ["Intervals", "80 % and 95 %, from refits of resampled runs (points of a group are drawn together)"],
    ],
  );
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  const top = head.some((name) => name !== "") ? `<thead>${row(head, "th")}</thead>` : "";
  return `<table>${top}<tbody>${rows.map((cells) => row(cells, "td")).join("")}</tbody></table>`;
}

const number = (value: number, digits = 5) => String(Number(value.toPrecision(digits)));
const percent = (share: number, signed = true) => `${signed && share > 0 ? "+" : ""}${(100 * share).toFixed(2)} %`;

const css = `
h3 { margin: 2rem 0 .25rem; font-size: 1.05rem; }
.warning { margin: .5rem 0; padding: .5rem .75rem; border-left: 3px solid #d9662c; background: var(--card); }
.figure { margin-bottom: 1.5rem; }
`;
