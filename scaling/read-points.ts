/**
 * A table of finished trainings → points. The caller names the columns; the tables of Folio's sweeps have known column
 * names, and a column for the role of each run (grid, held-out or tuning). tables/read-table.ts reads the file.
 */
import type { ColumnTable } from "arquero";
import type { TuningPoint } from "./planning/learning-rates.js";
import type { LossUnit, Point } from "./points.js";
import { cellNumber } from "./tables/cell-number.js";
import { checkedColumns, chosenRows, columnNamed } from "./tables/columns.js";
import { rowsWhere, withExpressions } from "./tables/expression.js";

export type { LossUnit } from "./points.js";
export { readTable } from "./tables/read-table.js";
export { type PublicStudy, type StudyName, studies, studyFile } from "./tables/studies.js";

/**
 * The columns of a training, each a name or an expression over the row d, such as "10 ** d.log_n". D may be missing if
 * there is C, and C if there are N and D (C = 6ND).
 */
export interface PlaceColumns {
  readonly n?: string;
  readonly d?: string;
  readonly c?: string;
  readonly loss?: string;
  /** The run of a point. */
  readonly group?: string;
  /** Unique tokens, for the law of repeated data. */
  readonly unique?: string;
  /** The weight of a point in a fit. */
  readonly weights?: string;
  /** The standard error of the loss, in its unit. */
  readonly errors?: string;
}

/** The columns of a finished training. */
export interface PointColumns extends PlaceColumns {
  readonly loss: string;
}

export interface ReadPointsOptions {
  /** What to do if a row lacks a number: throw an error (the default), or leave out the row. */
  readonly missing?: "refuse" | "drop";
  /** The table's name in messages. */
  readonly name?: string;
  /** Only rows for which this expression holds. */
  readonly where?: string;
  /** Rows for which this expression holds are held out: a fit is to predict them. */
  readonly holdOut?: string;
  /** The unit of the loss in the table; nats by default. Points have nats. */
  readonly lossUnit?: LossUnit;
}

export interface ReadPoints {
  readonly points: readonly Point[];
  /** The row of each point, from 0. */
  readonly rows: readonly number[];
  /** Rows left out because they lack a number. */
  readonly dropped: readonly number[];
}

/** The points of a table by role. */
export interface Study extends ReadPoints {
  /** Held-out runs, which a fit is to predict, with their rows. */
  readonly heldOut: ReadPoints;
  /** Rows of tuning runs. */
  readonly tuning: readonly number[];
}

/** The columns of a table that have the names used by Folio's sweeps; the default if no columns are named. */
export function ownColumns(table: ColumnTable): PointColumns {
  const there = table.columnNames();
  const find = (name: string) => columnNamed(there, name);
  const own = (["n", "d", "c"] as const).filter((name) => find(name) !== undefined);
  return { loss: find("loss") ?? "loss", ...Object.fromEntries(own.map((name) => [name, find(name)])) };
}

const pointsOfTable = ({ name = "the table" }: ReadPointsOptions) => `points of ${name}`;

/**
 * The points of all rows of a table, of any role. If the table has the columns n_convention, flops_convention,
 * warmup_steps (with steps) and final_lr_ratio, a fit uses them for its warnings.
 * @throws {RangeError} for a missing column (naming the nearest), or a row that lacks a number
 */
export function toPoints(table: ColumnTable, columns: PointColumns, options: ReadPointsOptions = {}): ReadPoints {
  return pointsOf(openRows(table, columns, options), chosenRows(table, options.where, pointsOfTable(options)));
}

/**
 * The trainings of a table that may not be finished: without a column of losses, the loss is NaN.
 * @throws {RangeError} as `toPoints`
 */
export function toPlaces(table: ColumnTable, columns: PlaceColumns, options: ReadPointsOptions = {}): ReadPoints {
  return pointsOf(openRows(table, columns, options), chosenRows(table, options.where, pointsOfTable(options)));
}

/**
 * The points of a table by its column role: those of the grid, and the held-out ones. Without this column, all points
 * belong to the grid.
 * @throws {RangeError} as `toPoints`, and if there are no runs of the grid
 */
export function toStudy(table: ColumnTable, columns: PointColumns, options: ReadPointsOptions = {}): Study {
  const rows = openRows(table, columns, options);
  const { holdOut } = options;
  const out = holdOut === undefined ? [] : rowsWhere(table, holdOut, { what: "--hold_out" });
  const roles = rolesOf(table).map((role, row) => (out[row] ? "held-out" : role));
  const chosen = chosenRows(table, options.where, pointsOfTable(options));
  const of = (wanted: (role: string) => boolean) => chosen.filter((row) => wanted(roles[row]!));
  const [heldOut, tuning] = [of((role) => role === "held-out"), of((role) => role === "tuning")];
  const grid = of((role) => role !== "held-out" && role !== "tuning");
  if (grid.length === 0) {
    const all = options.where === undefined ? "all" : "all of the chosen";
    const matched = holdOut !== undefined && chosen.every((row) => out[row]);
    throw new RangeError(
      matched
        ? `Cannot read points of ${rows.name}: --hold_out ${JSON.stringify(holdOut)} matches ${all} ${chosen.length} rows, which leaves none to fit; narrow this condition.`
        : `Cannot read points of ${rows.name}: it has only tuning and held-out runs; \`folio scaling tune\` reads tuning runs.`,
    );
  }
  return { ...pointsOf(rows, grid), heldOut: pointsOf(rows, heldOut), tuning };
}

/** The role of each row, in lower case; "" if the table has none. */
function rolesOf(table: ColumnTable): string[] {
  const column = columnNamed(table.columnNames(), "role");
  if (column === undefined) return Array.from({ length: table.numRows() }, () => "");
  return Array.from(table.array(column) as ArrayLike<unknown>, (role) =>
    String(role ?? "")
      .trim()
      .toLowerCase()
      .replace(/^held[ _]?out$/, "held-out"),
  );
}

/** Access to the cells of a table, and what to do with rows that lack a number. */
interface Rows {
  readonly name: string;
  readonly missing: "refuse" | "drop";
  readonly columns: PlaceColumns;
  readonly lossUnit: LossUnit;
  cell(column: string, row: number): unknown;
}

function openRows(given: ColumnTable, named: PlaceColumns, options: ReadPointsOptions): Rows {
  const { name = "the table", missing = "refuse", lossUnit = "nats" } = options;
  const table = withExpressions(given, named);
  return {
    name,
    missing,
    lossUnit,
    columns: checkedColumns(table, named, pointsOfTable(options)),
    cell: cellReader(table),
  };
}

function cellReader(table: ColumnTable): Rows["cell"] {
  const read = new Map<string, ArrayLike<unknown>>();
  const there = new Set(table.columnNames());
  return (column, row) => {
    if (!there.has(column)) return undefined;
    const cells = read.get(column) ?? (table.array(column) as ArrayLike<unknown>);
    read.set(column, cells);
    return cells[row];
  };
}

const measured = ["n", "d", "c", "loss", "unique", "weights", "errors"] as const;
type Numbers = Partial<Record<(typeof measured)[number], number>>;

function pointsOf(rows: Rows, indices: readonly number[]): ReadPoints {
  const points: Point[] = [];
  const kept: number[] = [];
  const dropped: number[] = [];
  for (const row of indices) {
    const numbers = numbersOf(rows, row);
    if (numbers === undefined) dropped.push(row);
    else {
      points.push(toPoint(rows, row, numbers));
      kept.push(row);
    }
  }
  return { points, rows: kept, dropped };
}

/** The numbers of a row; undefined if it lacks one and such rows are left out. */
function numbersOf(rows: Rows, row: number): Numbers | undefined {
  const numbers: Numbers = {};
  for (const what of measured) {
    const column = rows.columns[what];
    if (column === undefined) continue;
    const value = positiveCell(rows, row, column);
    if (value === null) return undefined;
    numbers[what] = value;
  }
  return numbers;
}

/** A number above 0; null if the row is to be left out. @throws {RangeError} for any other text */
function positiveCell({ cell, missing, name }: Pick<Rows, "cell" | "missing" | "name">, row: number, column: string) {
  const found = cell(column, row);
  const value = cellNumber(found);
  if (value !== null && value !== undefined && value > 0) return value;
  if (value === null && missing === "drop") return null;
  const said = found === undefined || found === null || found === "" ? "nothing" : `"${String(found)}"`;
  const help =
    value === null
      ? "complete or remove this row, or leave out such rows (--drop_missing)"
      : "correct or remove this row (a number may be written 12000000, 1.2e7 or 12M)";
  throw new RangeError(
    `Cannot read points of ${name}: row ${row + 1} has ${said} in column "${column}", where a number above 0 is wanted; ${help}.`,
  );
}

/** A loss in nats, and the derivative of this with respect to the loss as it is written. */
const inNats: Readonly<Record<LossUnit, (loss: number) => readonly [nats: number, slope: number]>> = {
  nats: (loss) => [loss, 1],
  bits: (loss) => [loss * Math.LN2, Math.LN2],
  ppl: (loss) => [Math.log(loss), 1 / loss],
};

/** @throws {RangeError} for a perplexity of 1 or less, whose loss is not above 0 */
function lossOf({ lossUnit, name }: Rows, row: number, written: number): readonly [nats: number, slope: number] {
  const found = inNats[lossUnit](written);
  if (!(found[0] <= 0)) return found;
  throw new RangeError(
    `Cannot read points of ${name}: row ${row + 1} has a perplexity of ${written}, where a number above 1 is wanted; correct or remove this row.`,
  );
}

function toPoint(rows: Rows, row: number, numbers: Numbers): Point {
  const { columns, cell } = rows;
  const { n = Number.NaN, c, unique, weights, errors } = numbers;
  const [loss, slope] = lossOf(rows, row, numbers.loss ?? Number.NaN);
  const d = numbers.d ?? (c === undefined ? Number.NaN : c / (6 * n));
  const of = (column: string) => cellNumber(cell(column, row)) ?? Number.NaN;
  const steps = of("steps");
  const optional = {
    c,
    unique,
    weight: weights,
    error: errors === undefined ? undefined : errors * slope,
    group: columns.group === undefined ? undefined : String(cell(columns.group, row)),
    nConvention: textOf(cell("n_convention", row)),
    flopsConvention: textOf(cell("flops_convention", row)),
    warmupShare: steps > 0 ? finite(of("warmup_steps") / steps) : undefined,
    finalLrRatio: finite(of("final_lr_ratio")),
  };
  const there = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined));
  return { n, d, loss, ...there };
}

const finite = (value: number): number | undefined => (Number.isFinite(value) ? value : undefined);
const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** The names of the columns in the table of a tuning sweep. */
export interface TuningColumns {
  readonly n: string;
  readonly d: string;
  readonly rate: string;
  readonly loss: string;
  /** Tokens or sequences per step; by default the column of a Folio sweep, or one named batch. */
  readonly batch?: string;
}

const batchColumns = ["batch_tokens", "batch_size", "batch"];

/** The column of batch sizes that is read if none is named. */
export const batchColumnOf = (table: ColumnTable): string | undefined =>
  batchColumns.find((column) => columnNamed(table.columnNames(), column) !== undefined);

/** Settings that affect the best rate; runs that differ in one of them do not differ only by their seed. */
const otherSettings = ["weight_decay", "beta1", "beta2", "grad_clip", "dropout", "schedule", "optimizer", "dataset"];

/**
 * The runs of a tuning sweep. If the table has a column role, only those of role tuning.
 * @throws {RangeError} for a missing column, a row that lacks a number, runs of the same N and D that differ in a
 * setting other than rate, batch and seed, and if there are no runs
 */
export function toTuningPoints(
  read: ColumnTable,
  given: TuningColumns,
  options: ReadPointsOptions = {},
): TuningPoint[] {
  const { name = "the table", missing = "refuse" } = options;
  const batch = given.batch ?? batchColumnOf(read);
  const named = { ...given, ...(batch !== undefined && { batch }) };
  const table = withExpressions(read, named);
  const columns = checkedColumns(table, named, pointsOfTable(options));
  const rows = { name, missing, cell: cellReader(table) };
  const roles = rolesOf(table);
  const tuning = chosenRows(table, options.where, pointsOfTable(options)).filter(
    (row) => roles[row] === "tuning" || roles[row] === "",
  );
  if (tuning.length === 0) {
    throw new RangeError(
      `Cannot read points of ${name}: it has no runs of role tuning; a plan's \`tuning\` makes them.`,
    );
  }
  checkSettings(rows, tuning, columns);
  const points = tuning.flatMap((row) => {
    const read = (column: string) => positiveCell(rows, row, column);
    const [parameters, tokens] = [read(columns.n), read(columns.d)];
    const [learningRate, loss] = [read(columns.rate), read(columns.loss)];
    const batchOf = columns.batch === undefined ? undefined : read(columns.batch);
    if (parameters === null || tokens === null || learningRate === null || loss === null || batchOf === null) return [];
    return [{ parameters, tokens, learningRate, loss, ...(batchOf !== undefined && { batch: batchOf }) }];
  });
  if (points.length > 0) return points;
  throw new RangeError(`Cannot read points of ${name}: every row lacks a number.`);
}

/** Rows with the same N, D and batch may differ only in rate and seed. */
function checkSettings(
  { name, cell }: Pick<Rows, "name" | "cell">,
  rows: readonly number[],
  columns: TuningColumns,
): void {
  const { n, d, batch } = columns;
  for (const setting of otherSettings) {
    const found = new Map<string, unknown>();
    for (const row of rows) {
      const key = JSON.stringify([n, d, ...(batch ? [batch] : [])].map((column) => cellNumber(cell(column, row))));
      const value = cell(setting, row) ?? null;
      if (found.has(key) && found.get(key) !== value) {
        throw new RangeError(
          `Cannot read points of ${name}: runs with the same N and D differ in ${setting} (${String(found.get(key))} and ${String(value)}), so their losses depend on more than the rate; keep the runs of one of these.`,
        );
      }
      found.set(key, value);
    }
  }
}
