/** What a grid of learning rates and batch sizes does not tell, in words: missing runs, optima at an edge, skewed surfaces. */
import type { FitWarning } from "../points.js";
import type { CellSurface, SurfaceProblem } from "./surface.js";

const short = (value: number) => Number(value.toPrecision(3)).toExponential().replace("e+", "e");
const named = ({ parameters, tokens }: CellSurface) => `N ${short(parameters)}, D ${short(tokens)}`;

/** The most cells that a message names. */
const mostNamed = 5;

function list(items: readonly string[]): string {
  const rest = items.length - mostNamed;
  return items.slice(0, mostNamed).join("; ") + (rest > 0 ? `; and ${rest} more` : "");
}

const problems: Readonly<
  Record<SurfaceProblem, { found: string; wanted: string; about: (cell: CellSurface) => string }>
> = {
  "few-runs": {
    found: "have too few runs about the lowest one for a surface (seven, with three rates and three batches)",
    wanted: "add runs, or use a larger --window",
    about: (cell) => `${named(cell)}: ${cell.fitted} of ${cell.runs}`,
  },
  "no-minimum": {
    found: "have a surface without a minimum: it falls or is flat in some direction",
    wanted: "add rates and batches beyond the lowest runs, or use a larger --window",
    about: ({ lowest, ...cell }) =>
      `${named({ ...cell, lowest })}: lowest at rate ${short(lowest.learningRate)}, batch ${short(lowest.batch)}`,
  },
  edge: {
    found: "have their optimum at or beyond the edge of the grid, where it is extrapolated",
    wanted: "add runs on that side",
    about: (cell) => {
      const { learningRate, batch } = cell.optimum ?? {};
      const sides = [
        ...(learningRate?.edge ? [`beyond the ${learningRate.edge} rate`] : []),
        ...(batch?.edge ? [`beyond the ${batch.edge} batch`] : []),
      ];
      return `${named(cell)}: ${sides.join(", ")}`;
    },
  },
};

/** The warnings about a grid's cells. */
export function surfaceWarnings(cells: readonly CellSurface[]): FitWarning[] {
  const of = (kind: SurfaceProblem): FitWarning[] => {
    const found = cells.filter(({ problem }) => problem === kind);
    if (found.length === 0) return [];
    const { found: what, wanted, about } = problems[kind];
    const message = `${found.length} of ${cells.length} cells ${what}, and are not in the laws; ${wanted}. ${list(found.map(about))}.`;
    return [{ kind, message }];
  };
  return [...of("few-runs"), ...of("no-minimum"), ...of("edge"), ...ofMissing(cells), ...ofSkew(cells)];
}

function ofMissing(cells: readonly CellSurface[]): FitWarning[] {
  const gaps = cells.filter(({ missing }) => missing.length > 0);
  if (gaps.length === 0) return [];
  const total = gaps.reduce((sum, { missing }) => sum + missing.length, 0);
  const about = gaps.map((cell) => {
    const [first] = cell.missing;
    return `${named(cell)}: ${cell.missing.length}, such as rate ${short(first!.learningRate)} with batch ${short(first!.batch)}`;
  });
  const message = `Runs are missing: ${total} of the pairs of a tried rate and a tried batch, in ${gaps.length} of ${cells.length} cells. If these runs failed, the surface is too low there. ${list(about)}.`;
  return [{ kind: "missing-runs", message }];
}

function ofSkew(cells: readonly CellSurface[]): FitWarning[] {
  const skewed = cells.filter(({ optimum }) => optimum?.skewed);
  if (skewed.length === 0) return [];
  const mean = (what: "learningRate" | "batch") =>
    skewed.reduce((sum, { optimum }) => sum + optimum![what].shift, 0) / skewed.length;
  const percent = (shift: number) => `${shift < 0 ? "−" : "+"}${Math.abs(100 * Math.expm1(shift)).toFixed(0)} %`;
  const message = `In ${skewed.length} of ${cells.length} cells the loss does not rise equally to both sides: the minimum of a cubic surface is at another rate (${percent(mean("learningRate"))} on average) and batch (${percent(mean("batch"))}). The intervals include this, the estimates do not; a smaller --window makes it smaller.`;
  return [{ kind: "skewed-surface", message }];
}
