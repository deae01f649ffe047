/** Grids of learning rates and batch sizes: constants from runs without noise, coverage of intervals, and what is told. */
import { describe, expect, test } from "vitest";
import {
  type CellSurface,
  fitSurfaces,
  type GridPoint,
  isGrid,
  surfaceLaws,
  surfaceWarnings,
} from "../../../scaling/plan.js";
import { normal } from "../simulate.js";

const sizes = [
  ...[[1e7, 2e8] as const, [1e7, 8e8] as const, [3e7, 6e8] as const],
  ...[[3e7, 2.4e9] as const, [1e8, 2e9] as const, [1e8, 8e9] as const],
];

/** The optimum of the simulated study. */
const truth = {
  learningRate: { factor: 2, parameters: -0.5, tokens: 0.1 },
  batch: { factor: 3, parameters: -0.1, tokens: 0.55 },
};
const at = ({ factor, parameters, tokens }: Record<"factor" | "parameters" | "tokens", number>, n: number, d: number) =>
  factor * n ** parameters * d ** tokens;

interface GridOptions {
  readonly cells?: readonly (readonly [n: number, d: number])[];
  readonly rates?: number;
  readonly batches?: number;
  /** The ratio of neighbours. */
  readonly step?: number;
  /** How far the grid is moved from the optimum, in steps. */
  readonly moved?: readonly [rate: number, batch: number];
  readonly noise?: number;
  /** The loss rises faster above the best rate than below it; 0 for a quadratic. */
  readonly skew?: number;
  readonly seed?: number;
}

/** Runs whose loss has its minimum at the laws above: 2.5 + .05·(u − .45·v)² + .02·v² in ln rate and ln batch from there. */
function grid(options: GridOptions = {}): GridPoint[] {
  const {
    cells = sizes,
    rates = 7,
    batches = 6,
    step = 2,
    moved = [0.3, -0.2],
    noise = 0,
    skew = 0,
    seed = 0,
  } = options;
  return cells.flatMap(([n, d], cell) =>
    Array.from({ length: rates * batches }, (_, k) => {
      const u = (Math.floor(k / batches) - (rates - 1) / 2 + moved[0]) * Math.log(step);
      const v = ((k % batches) - (batches - 1) / 2 + moved[1]) * Math.log(step);
      const w = u - 0.45 * v;
      const bowl = skew === 0 ? w * w : (2 * (Math.expm1(skew * w) - skew * w)) / skew ** 2;
      const off = noise === 0 ? 0 : noise * normal(seed, cell, k);
      return {
        ...{ parameters: n, tokens: d, loss: 2.5 + 0.05 * bowl + 0.02 * v * v + off },
        learningRate: at(truth.learningRate, n, d) * Math.exp(u),
        batch: at(truth.batch, n, d) * Math.exp(v),
      };
    }),
  );
}

const optimumOf = ({ optimum }: CellSurface) => {
  if (!optimum) throw new Error("the cell has no optimum");
  return optimum;
};
const inside = ([low, high]: readonly [number, number], value: number) => low <= value && value <= high;

describe("without noise", () => {
  test.each([{}, { rates: 4, batches: 3 }, { step: 4 }, { step: 1.3, rates: 12 }])(
    "the optima and the constants of both laws are found to 1e-6: %j",
    (options) => {
      const cells = fitSurfaces(grid(options));
      for (const cell of cells) {
        const { learningRate, batch, loss, scatter } = optimumOf(cell);
        expect(learningRate.value / at(truth.learningRate, cell.parameters, cell.tokens)).toBeCloseTo(1, 7);
        expect(batch.value / at(truth.batch, cell.parameters, cell.tokens)).toBeCloseTo(1, 7);
        expect(loss).toBeCloseTo(2.5, 9);
        expect(scatter).toBeLessThan(1e-9);
      }
      const laws = surfaceLaws(cells);
      for (const what of ["learningRate", "batch"] as const) {
        const { factor, parameters, tokens } = laws[what].rule;
        expect(Math.abs(Math.log(factor / truth[what].factor))).toBeLessThan(1e-6);
        expect(Math.abs(parameters! - truth[what].parameters)).toBeLessThan(1e-6);
        expect(Math.abs(tokens! - truth[what].tokens)).toBeLessThan(1e-6);
      }
      expect(surfaceWarnings(cells)).toEqual([]);
    },
  );

  test("a law is in N alone where D follows from N, in D where N is the same, in neither for one cell", () => {
    const law = (cells: readonly (readonly [number, number])[]) =>
      surfaceLaws(fitSurfaces(grid({ cells }))).learningRate.rule;
    // D = 20 N: the exponents add up.
    const along = law([1e7, 3e7, 1e8].map((n) => [n, 20 * n] as const));
    expect(along).toEqual({ factor: expect.closeTo(2 * 20 ** 0.1, 6), parameters: expect.closeTo(-0.4, 7) });
    expect(law([1e8, 1e9].map((d) => [1e7, d] as const))).toEqual({
      factor: expect.closeTo(2 * 1e7 ** -0.5, 9),
      tokens: expect.closeTo(0.1, 7),
    });
    expect(law([[1e7, 1e9]])).toEqual({ factor: expect.closeTo(at(truth.learningRate, 1e7, 1e9), 9) });
  });

  test("a law depends on what it is told to, if the cells differ in it", () => {
    const cells = fitSurfaces(grid());
    expect(Object.keys(surfaceLaws(cells, { batchIn: ["tokens"] }).batch.rule)).toEqual(["factor", "tokens"]);
    expect(Object.keys(surfaceLaws(cells, { rateIn: [] }).learningRate.rule)).toEqual(["factor"]);
    const one = fitSurfaces(grid({ cells: [1e8, 1e9].map((d) => [1e7, d] as const) }));
    expect(() => surfaceLaws(one, { rateIn: ["parameters"] })).toThrow("the cells do not differ in it");
    expect(() => surfaceLaws(one, { rateIn: ["parameters", "tokens"] })).toThrow(
      "2 cells with a minimum for 3 constants",
    );
  });
});

describe("with noise", () => {
  /** The share of 80 % intervals that hold the truth, of 60 studies of six cells. */
  function coverage(options: GridOptions) {
    const hits = { learningRate: [] as boolean[], batch: [] as boolean[], laws: [] as boolean[] };
    for (let seed = 0; seed < 60; seed++) {
      const cells = fitSurfaces(grid({ ...options, seed }));
      const laws = surfaceLaws(cells);
      for (const what of ["learningRate", "batch"] as const) {
        for (const cell of cells) {
          hits[what].push(inside(optimumOf(cell)[what].ci80, at(truth[what], cell.parameters, cell.tokens)));
        }
        const { ci80 } = laws[what];
        for (const name of ["factor", "parameters", "tokens"] as const) {
          hits.laws.push(inside(ci80[name]!, truth[what][name]));
        }
      }
    }
    const share = (of: readonly boolean[]) => of.filter(Boolean).length / of.length;
    return { learningRate: share(hits.learningRate), batch: share(hits.batch), laws: share(hits.laws) };
  }

  // The seeds are fixed, so these are what was measured, with a margin for other processors' rounding only. The laws
  // cover more: with six cells, the scatter of the optima is never taken to be smaller than their errors.
  test.each([
    ["a coarse grid", { noise: 0.003 }, [0.75, 0.85], [0.8, 0.95]],
    ["a coarse grid of noisy runs", { noise: 0.01 }, [0.68, 0.85], [0.8, 0.95]],
    ["a fine grid of noisy runs", { noise: 0.01, step: 2 ** 0.5, rates: 11, batches: 9 }, [0.75, 0.86], [0.8, 0.97]],
    ["a small grid", { noise: 0.003, rates: 4, batches: 4 }, [0.75, 0.86], [0.8, 0.97]],
    ["a skewed surface, where the shift is inside", { noise: 0.003, skew: 0.7 }, [0.75, 0.98], [0.9, 1]],
  ] as const)("80 %% intervals hold the truth about as often as they say: %s", (_, options, ofCells, ofLaws) => {
    const found = coverage(options);
    for (const share of [found.learningRate, found.batch]) {
      expect(share).toBeGreaterThanOrEqual(ofCells[0]);
      expect(share).toBeLessThanOrEqual(ofCells[1]);
    }
    expect(found.laws).toBeGreaterThanOrEqual(ofLaws[0]);
    expect(found.laws).toBeLessThanOrEqual(ofLaws[1]);
  });

  test("cells that scatter about the law more than their errors widen its intervals", () => {
    const cells = fitSurfaces(grid({ noise: 0.003 }));
    const moved = cells.map((cell, k) => {
      const optimum = optimumOf(cell);
      const { learningRate } = optimum;
      const value = learningRate.value * [1.4, 0.7, 0.8, 1.3, 1.2, 0.9][k]!;
      return { ...cell, optimum: { ...optimum, learningRate: { ...learningRate, value } } };
    });
    const [before, after] = [cells, moved].map((of) => surfaceLaws(of).learningRate) as [
      ReturnType<typeof surfaceLaws>["learningRate"],
      ReturnType<typeof surfaceLaws>["learningRate"],
    ];
    expect(after.scatter).toBeGreaterThan(0.1);
    expect(after.errors.tokens!).toBeGreaterThan(3 * before.errors.tokens!);
  });
});

describe("what the grid does not tell", () => {
  const [n, d] = [1e7, 1e9];
  const one = (options: GridOptions = {}) => grid({ cells: [[n, d]], ...options });
  const kinds = (cells: readonly CellSurface[]) => surfaceWarnings(cells).map(({ kind }) => kind);

  test("missing runs are told, and need no place in the fit", () => {
    const points = one().filter((_, k) => k !== 9 && k !== 20);
    const cells = fitSurfaces(points);
    expect(cells[0]!.missing.map(({ learningRate, batch }) => [learningRate, batch])).toEqual(
      [one()[20]!, one()[9]!].map(({ learningRate, batch }) => [learningRate, batch]),
    );
    expect(optimumOf(cells[0]!).batch.value / at(truth.batch, n, d)).toBeCloseTo(1, 7);
    expect(surfaceWarnings(cells)[0]).toMatchObject({
      kind: "missing-runs",
      message: expect.stringContaining("2 of the pairs of a tried rate and a tried batch, in 1 of 1 cells"),
    });
  });

  test("rates that were rounded differently are one rate", () => {
    const points = one().map((point, k) => (k % 2 ? { ...point, learningRate: point.learningRate * 1.0005 } : point));
    expect(fitSurfaces(points)[0]!.missing).toEqual([]);
  });

  test("an optimum beyond the grid is an edge: its side is told, and the laws leave it out", () => {
    const beyond = one({ moved: [4, 0] }); // the lowest rate is one step above the best one
    const [cell] = fitSurfaces(beyond);
    expect(cell).toMatchObject({ problem: "edge", optimum: { learningRate: { edge: "lowest" } } });
    expect(optimumOf(cell!).batch.edge).toBeUndefined();
    expect(() => surfaceLaws([cell!])).toThrow("no cell of N and D has a minimum inside its grid (edge)");
    const others = fitSurfaces([...beyond, ...grid()]);
    expect(surfaceLaws(others).learningRate.cells).toBe(sizes.length);
    expect(surfaceWarnings(others)[0]!.message).toContain("beyond the lowest rate");
    const [above] = fitSurfaces(one({ moved: [0, -3.5] }));
    expect(above).toMatchObject({ problem: "edge", optimum: { batch: { edge: "highest" } } });
  });

  test("a surface that falls in some direction has no minimum", () => {
    const saddle = one().map((point) => {
      const v = Math.log(point.batch / at(truth.batch, n, d));
      return { ...point, loss: point.loss - 0.04 * v * v };
    });
    const cells = fitSurfaces(saddle);
    expect(cells[0]).toMatchObject({ problem: "no-minimum" });
    expect(cells[0]!.optimum).toBeUndefined();
    expect(kinds(cells)).toEqual(["no-minimum"]);
  });

  test("six runs, or two batches, are too few", () => {
    const two = one({ batches: 2 });
    expect([
      isGrid(two),
      isGrid(one({ rates: 3, batches: 3 })),
      isGrid(one().map(({ batch: _, ...rest }) => rest)),
    ]).toEqual([false, true, false]);
    const cells = fitSurfaces([...two, ...grid()]);
    expect(cells.map(({ problem }) => problem).filter(Boolean)).toEqual(["few-runs"]);
    expect(kinds(cells)).toEqual(["few-runs"]);
  });

  test("a surface that rises faster to one side is told, and its cubic's minimum is nearer to the truth", () => {
    const cells = fitSurfaces(one({ skew: 0.7, noise: 0.001, step: 2 ** 0.5, rates: 11, batches: 9 }));
    const { learningRate, skewed } = optimumOf(cells[0]!);
    expect(skewed).toBe(true);
    const off = Math.log(learningRate.value / at(truth.learningRate, n, d));
    expect(off).toBeLessThan(-0.05);
    expect(Math.abs(off + learningRate.shift)).toBeLessThan(Math.abs(off) / 2);
    expect(kinds(cells)).toEqual(["skewed-surface"]);
  });

  test("failed runs are not fitted, and several seeds are", () => {
    const points = one({ noise: 0.001 });
    const failed = points.map((point, k) => (k === 21 ? { ...point, loss: 9 } : point));
    const [with_, without] = [fitSurfaces(failed)[0]!, fitSurfaces(points)[0]!];
    expect(with_.fitted).toBe(without.fitted - 1);
    const seeds = fitSurfaces([...points, ...one({ noise: 0.001, seed: 1 })])[0]!;
    expect(seeds.fitted).toBe(2 * without.fitted);
    expect(optimumOf(seeds).batch.error).toBeLessThan(optimumOf(without).batch.error);
  });

  test("a window that is asked for is used also where noise would permit only a wider one", () => {
    const points = one({ noise: 0.05, rates: 11, batches: 9 });
    const widths = [undefined, 3].map((window) => fitSurfaces(points, window === undefined ? {} : { window })[0]!);
    const inside = widths[1]!.fitted;
    const rates = [...new Set(points.map(({ learningRate }) => learningRate))].sort((a, b) => a - b);
    const batches = [...new Set(points.map(({ batch }) => batch))].sort((a, b) => a - b);
    // Values within a factor of 3 to both sides, and one more for a centre between two.
    const most = (values: number[]) => Math.floor(Math.log(9) / Math.log(values[1]! / values[0]!)) + 1;
    expect(inside).toBeLessThanOrEqual(most(rates) * most(batches));
    expect(widths[0]!.fitted).toBeGreaterThan(inside);
  });

  test("no runs, and a window that is no factor above 1, are refused", () => {
    expect(() => fitSurfaces([])).toThrow("there are no finished runs");
    expect(() => fitSurfaces(one(), { window: 1 })).toThrow("the window is 1; give a factor above 1");
  });
});
