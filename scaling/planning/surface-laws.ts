/**
 * Power laws of the optimal learning rate and batch size in N and D, through the optima of a grid's cells (surface.ts).
 */
import { fitLinear, type LinearFit } from "../fit/search/linear-fit.js";
import { normalQuantile, studentQuantile } from "../fit/uncertainty/student-quantile.js";
import type { Interval } from "../points.js";
import { type PowerRule, type Quantity, variedQuantities } from "./learning-rates.js";
import type { CellSurface, Located } from "./surface.js";

type Constant = "factor" | Quantity;

/** value = factor · N^parameters · D^tokens, with the errors of its constants. */
export interface SurfaceLaw {
  readonly rule: PowerRule;
  /** Standard errors: of ln factor, and of the exponents. */
  readonly errors: Readonly<Partial<Record<Constant, number>>>;
  readonly ci80: Readonly<Partial<Record<Constant, Interval>>>;
  readonly ci95: Readonly<Partial<Record<Constant, Interval>>>;
  /** The standard deviation of ln optimum about the law beyond the errors of the optima. */
  readonly scatter: number;
  /** Cells through which the law is fitted. */
  readonly cells: number;
}

export interface SurfaceLawOptions {
  /** The quantities on which the law depends; by default those that the cells can tell apart. */
  readonly rateIn?: readonly Quantity[];
  readonly batchIn?: readonly Quantity[];
}

/**
 * The laws of the optimal rate and batch: ln value by weighted least squares, 1 / (error² + scatter²), where the scatter
 * makes the weighted squares as large as expected (Paule and Mandel 1982). Student's t over the cells; the shifts of
 * the optima are inside the intervals. Cells with a problem are left out.
 * @throws {RangeError} if there is no cell with an optimum, or fewer cells than constants
 */
export function surfaceLaws(
  cells: readonly CellSurface[],
  { rateIn, batchIn }: SurfaceLawOptions = {},
): { learningRate: SurfaceLaw; batch: SurfaceLaw } {
  const usable = cells.flatMap(({ problem, optimum, parameters, tokens }) =>
    optimum && problem === undefined ? [{ parameters, tokens, optimum }] : [],
  );
  if (usable.length === 0) {
    const problems = [...new Set(cells.map(({ problem }) => problem))].join(", ");
    throw new RangeError(
      `Cannot fit the laws of rate and batch: no cell of N and D has a minimum inside its grid (${problems}); add rates and batches about the lowest runs.`,
    );
  }
  const lawOf = (what: "learningRate" | "batch", given: readonly Quantity[] | undefined) =>
    lawThrough(
      usable.map(({ optimum, ...size }) => ({ ...size, ...optimum[what] })),
      given ?? variedQuantities(usable),
    );
  return { learningRate: lawOf("learningRate", rateIn), batch: lawOf("batch", batchIn) };
}

type Cell = Pick<CellSurface, Quantity> & Located;

/** Errors below this are rounding. */
const leastError = 1e-10;

function lawThrough(cells: readonly Cell[], quantities: readonly Quantity[]): SurfaceLaw {
  const count = quantities.length + 1;
  const freedom = cells.length - count;
  if (freedom < 0) {
    throw new RangeError(
      `Cannot fit a law in ${quantities.join(" and ")}: ${cells.length} cells with a minimum for ${count} constants; add cells, or leave out a quantity.`,
    );
  }
  const means = quantities.map((name) => cells.reduce((sum, cell) => sum + Math.log(cell[name]), 0) / cells.length);
  const rows = cells.map((cell) => [1, ...quantities.map((name, k) => Math.log(cell[name]) - means[k]!)]);
  const lines = (scatter: number) => {
    const weights = cells.map(({ error }) => 1 / (Math.max(error, leastError) ** 2 + scatter ** 2));
    const values = cells.map(({ value }) => Math.log(value));
    return { weights, ...weightedFit(rows, values, { weights, quantities }) };
  };
  const scatter = freedom > 0 ? scatterOf((tau) => lines(tau).sum, freedom) : 0;
  const { coefficients: constants, inverse: covariance, sum, weights } = lines(scatter);
  const shift = weightedFit(
    rows,
    cells.map((cell) => cell.shift),
    { weights, quantities },
  ).coefficients;
  // The errors of few cells may be too small by chance; the squares are never taken to be smaller than expected.
  const scale = freedom > 0 ? Math.max(1, sum / freedom) : 1;
  /** A constant as a combination of those of the centred line. */
  const combined = (name: Constant) => {
    const slope =
      name === "factor" ? [1, ...means.map((mean) => -mean)] : rows[0]!.map((_, k) => +(quantities[k - 1] === name));
    const of = (values: ArrayLike<number>) => slope.reduce((total, each, k) => total + each * values[k]!, 0);
    const variance = of(slope.map((_, j) => of(slope.map((_, k) => covariance[j * count + k]!))));
    return { name, value: of(constants), error: Math.sqrt(scale * variance), shift: of(shift) };
  };
  const all = (["factor", ...quantities] as const).map(combined);
  const intervals = (level: number) => {
    const p = 0.5 + level / 2;
    const t = freedom > 0 ? studentQuantile(p, freedom) : normalQuantile(p);
    return Object.fromEntries(
      all.map(({ name, value, error, shift: by }) => {
        const ends = [value - t * error + Math.min(0, by), value + t * error + Math.max(0, by)] as const;
        return [name, name === "factor" ? ends.map(Math.exp) : ends];
      }),
    ) as SurfaceLaw["ci80"];
  };
  const value = (name: Constant) => all.find((each) => each.name === name)?.value ?? 0;
  const exponents = Object.fromEntries(quantities.map((name) => [name, value(name)]));
  return {
    rule: { factor: Math.exp(value("factor")), ...exponents },
    errors: Object.fromEntries(all.map(({ name, error }) => [name, error])),
    ...{ ci80: intervals(0.8), ci95: intervals(0.95), scatter, cells: cells.length },
  };
}

/** @throws {RangeError} if the cells do not determine the exponents */
function weightedFit(
  rows: readonly (readonly number[])[],
  values: readonly number[],
  { weights, quantities }: { weights: readonly number[]; quantities: readonly Quantity[] },
): LinearFit {
  const found = fitLinear(rows, values, { weights, mostInflation: 1e10 });
  if (found) return found;
  throw new RangeError(
    `Cannot fit a law in ${quantities.join(" and ")}: the cells do not differ in ${quantities.length > 1 ? "both independently" : "it"}; leave out a quantity.`,
  );
}

/** The scatter for which the weighted squares are as large as their degrees of freedom; 0 if they are smaller without. */
function scatterOf(squares: (scatter: number) => number, freedom: number): number {
  let [low, high] = [0, 1];
  if (squares(0) <= freedom) return 0;
  while (squares(high) > freedom && high < 1e3) high *= 2;
  for (let round = 0; round < 80; round++) {
    const middle = (low + high) / 2;
    if (squares(middle) > freedom) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
