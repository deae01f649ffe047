/**
 * Budgets → cells: pairs of a model size and a budget or number of tokens. There are three kinds of grid: IsoFLOP
 * (sizes around the expected optimum of each budget), given sizes, and a fixed number of tokens per parameter. plan.ts
 * chooses shapes, steps and learning rates.
 */

/** FLOPs per run. */
export type BudgetFlops = number;

/** Sizes around the expected optimum of each budget, √(C / 6r) with r tokens per parameter. */
export interface IsoFlopGrid {
  readonly kind: "isoflop";
  readonly budgets: readonly BudgetFlops[];
  /** Sizes per budget; 7 by default. */
  readonly sizes?: number;
  /** Ratio of two neighbouring sizes; 1.5 by default. */
  readonly spacing?: number;
  /** The expected optimum: its tokens per parameter (20 by default), or its N at a budget. */
  readonly optimum?: number | Optimum;
}

/** The expected optimum: N = parameters · (C / budget)^exponent. */
export interface Optimum {
  readonly budgetFlops: BudgetFlops;
  readonly parameters: number;
  /** 0.5 by default. */
  readonly exponent?: number;
}

/** Every size at every budget. */
export interface SizesGrid {
  readonly kind: "sizes";
  readonly budgets: readonly BudgetFlops[];
  /** N of each size, or widths of the ladder. */
  readonly sizes: readonly number[];
}

/** Each size trained on a fixed multiple of its parameters. */
export interface RatioGrid {
  readonly kind: "tokens-per-parameter";
  readonly sizes: readonly number[];
  /** D / N. */
  readonly ratios: readonly number[];
}

export type Grid = IsoFlopGrid | SizesGrid | RatioGrid;

/** A cell: a model size, and its budget or tokens. */
export interface Wanted {
  readonly parameters: number;
  readonly budgetFlops?: BudgetFlops;
  /** Instead of a budget. */
  readonly tokensPerParameter?: number;
}

/** The cells of a grid, budget by budget. @throws {RangeError} for a grid without cells */
export function wantedCells(grid: Grid): Wanted[] {
  checkGrid(grid);
  switch (grid.kind) {
    case "isoflop":
      return grid.budgets.flatMap((budgetFlops) => isoFlopSizes(grid, budgetFlops));
    case "sizes":
      return grid.budgets.flatMap((budgetFlops) => grid.sizes.map((parameters) => ({ parameters, budgetFlops })));
    case "tokens-per-parameter":
      return grid.sizes.flatMap((parameters) =>
        grid.ratios.map((tokensPerParameter) => ({ parameters, tokensPerParameter })),
      );
  }
}

function isoFlopSizes(grid: IsoFlopGrid, budgetFlops: BudgetFlops): Wanted[] {
  const { sizes = 7, spacing = 1.5 } = grid;
  const centre = expectedOptimum(grid.optimum ?? 20, budgetFlops);
  return Array.from({ length: sizes }, (_, index) => ({
    parameters: centre * spacing ** (index - (sizes - 1) / 2),
    budgetFlops,
  }));
}

/** The expected optimal N: √(C / 6r) for r tokens per parameter (6ND = C, D = rN). */
export function expectedOptimum(optimum: number | Optimum, budgetFlops: BudgetFlops): number {
  if (typeof optimum === "number") return Math.sqrt(budgetFlops / (6 * optimum));
  const { budgetFlops: at, parameters, exponent = 0.5 } = optimum;
  return parameters * (budgetFlops / at) ** exponent;
}

/** @throws {RangeError} for a grid without cells */
export function checkGrid(grid: Grid): void {
  const lists: Record<string, readonly number[] | undefined> =
    grid.kind === "isoflop"
      ? { budgets: grid.budgets }
      : grid.kind === "sizes"
        ? { budgets: grid.budgets, sizes: grid.sizes }
        : grid.kind === "tokens-per-parameter"
          ? { sizes: grid.sizes, ratios: grid.ratios }
          : {};
  const entries = Object.entries(lists);
  if (entries.length === 0) {
    const found = JSON.stringify((grid as { kind?: unknown }).kind);
    throw new RangeError(
      `Cannot plan the sweep: its grid is of kind ${found}; wanted isoflop, sizes or tokens-per-parameter.`,
    );
  }
  if (grid.kind === "isoflop") checkSizes(grid);
  for (const [name, values] of entries) {
    const wrong = Array.isArray(values) ? values.find((value) => !(Number.isFinite(value) && value > 0)) : values;
    if (Array.isArray(values) && values.length > 0 && wrong === undefined) continue;
    const found = Array.isArray(values) && values.length > 0 ? JSON.stringify(wrong) : JSON.stringify(values);
    throw new RangeError(
      `Cannot plan the sweep: ${name} of the grid is ${found}; wanted a list of numbers above 0, such as [1e11, 3e11].`,
    );
  }
}

function checkSizes({ sizes }: IsoFlopGrid): void {
  if (sizes === undefined || (Number.isInteger(sizes) && sizes > 0)) return;
  throw new RangeError(
    `Cannot plan the sweep: sizes of the grid is ${JSON.stringify(sizes)}; wanted a whole number of sizes per budget, such as 7.`,
  );
}
