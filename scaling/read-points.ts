/**
 * A table of finished trainings, CSV or Parquet, one's own or another study's → points. Which column is what is said by
 * name; a sweep's own table says it by itself. What this file is not: it fits nothing (fit.ts).
 */
import { readFile } from "node:fs/promises";
import { fromCSV } from "arquero";
import { closest } from "fastest-levenshtein";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import type { TuningPoint } from "./planning/learning-rates.js";
import type { Point } from "./points.js";

/** Which column holds what. D may be missing where C is there, and C where N and D are (C = 6ND). */
export interface PointColumns {
  readonly n?: string;
  readonly d?: string;
  readonly c?: string;
  readonly loss: string;
  /** The run that points share. */
  readonly group?: string;
  /** Tokens that differ, of the law of repeated data. */
  readonly unique?: string;
}

/** A row of any table. */
export type TableRow = Readonly<Record<string, unknown>>;

export interface ReadPointsOptions {
  /** A row without one of the numbers: refuse the table (the default), or leave the row out. */
  readonly missing?: "refuse" | "drop";
  /** For messages. */
  readonly name?: string;
}

export interface ReadPoints {
  readonly points: readonly Point[];
  /** The row that each point is of, from 0. */
  readonly rows: readonly number[];
  /** Rows left out for want of a number. */
  readonly dropped: readonly number[];
}

/** The rows of a CSV or Parquet file. @throws {Error} where there is none, or it cannot be read */
export async function readRows(file: string): Promise<TableRow[]> {
  const parquet = /\.parquet$/i.test(file);
  let rows: TableRow[];
  try {
    if (parquet) rows = await parquetReadObjects({ file: await asyncBufferFromFile(file), compressors });
    // Kept as text, so that what is no number can be shown as it stands.
    else rows = fromCSV(await readFile(file, "utf8"), { autoType: false }).objects() as TableRow[];
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new Error(`Cannot read ${file}: there is no such file.`, { cause: error });
    throw new Error(`Cannot read ${file}: it is no ${parquet ? "Parquet" : "CSV"} file (${message}).`, {
      cause: error,
    });
  }
  if (rows.length === 0) throw new RangeError(`Cannot read ${file}: it has no rows.`);
  return rows;
}

/** The columns that a table has by the names of Folio's own sweeps, for whoever names none. */
export function ownColumns(rows: readonly TableRow[]): PointColumns {
  const has = new Set(Object.keys(rows[0] ?? {}));
  const own = (["n", "d", "c"] as const).filter((name) => has.has(name));
  return { loss: "loss", ...Object.fromEntries(own.map((name) => [name, name])) };
}

/**
 * The points of a table's rows. Columns n_convention, flops_convention, warmup_steps with steps, and final_lr_ratio, where
 * there are any, are what a fit's warnings go by.
 * @throws {RangeError} for a column that there is not (naming the nearest), or a row without one of the numbers
 */
export function toPoints(
  rows: readonly TableRow[],
  columns: PointColumns,
  options: ReadPointsOptions = {},
): ReadPoints {
  const { name = "the table", missing = "refuse" } = options;
  checkColumns(rows, columns, name);
  const points: Point[] = [];
  const kept: number[] = [];
  const dropped: number[] = [];
  rows.forEach((row, index) => {
    const numbers = numbersOf(row, columns);
    const gap = Object.entries(numbers).find(([, value]) => !Number.isFinite(value))?.[0] as keyof PointColumns;
    if (gap === undefined) {
      points.push(toPoint(row, columns, numbers));
      kept.push(index);
    } else if (missing === "drop") dropped.push(index);
    else throw gapError(row, { index, column: columns[gap]!, name });
  });
  return { points, rows: kept, dropped };
}

/** Which column of a tuning sweep's table holds what. */
export interface TuningColumns {
  readonly n: string;
  readonly d: string;
  readonly rate: string;
  readonly loss: string;
}

/**
 * The runs of a tuning sweep; of a table with a column role, those of role tuning.
 * @throws {RangeError} for a column that there is not, a row without one of the numbers, and where no run is left
 */
export function toTuningPoints(
  rows: readonly TableRow[],
  columns: TuningColumns,
  { name = "the table", missing = "refuse" }: ReadPointsOptions = {},
): TuningPoint[] {
  checkColumns(rows, columns, name);
  const tuning = rows.map((row, index) => ({ row, index })).filter(({ row }) => (row.role ?? "tuning") === "tuning");
  if (tuning.length === 0) {
    throw new RangeError(
      `Cannot read points of ${name}: it has no runs of role tuning; a plan's \`tuning\` makes them.`,
    );
  }
  const points = tuning.flatMap(({ row, index }) => {
    const gap = Object.values(columns).find((column) => !(numberOf(row[column]) > 0));
    if (gap !== undefined && missing === "refuse") throw gapError(row, { index, column: gap, name, above: 0 });
    const [parameters, tokens] = [numberOf(row[columns.n]), numberOf(row[columns.d])];
    const [learningRate, loss] = [numberOf(row[columns.rate]), numberOf(row[columns.loss])];
    return gap === undefined ? [{ parameters, tokens, learningRate, loss }] : [];
  });
  if (points.length > 0) return points;
  throw new RangeError(`Cannot read points of ${name}: every row lacks a number.`);
}

function checkColumns(rows: readonly TableRow[], columns: PointColumns | TuningColumns, name: string): void {
  const there = Object.keys(rows[0] ?? {});
  for (const [what, column] of Object.entries(columns) as [string, string | undefined][]) {
    if (column === undefined || there.includes(column)) continue;
    throw new RangeError(
      `Cannot read points of ${name}: it has no column "${column}" (for ${what}); the nearest is "${closest(column, there)}" of ${there.join(", ")}.`,
    );
  }
}

function gapError(
  row: TableRow,
  { index, column, name, above }: { index: number; column: string; name: string; above?: number },
): RangeError {
  const found =
    row[column] === undefined || row[column] === null || row[column] === "" ? "nothing" : `"${row[column]}"`;
  return new RangeError(
    `Cannot read points of ${name}: row ${index + 1} has ${found} in column "${column}", where a number${above === undefined ? "" : ` above ${above}`} is wanted; complete or remove it, or leave such rows out (--drop_missing).`,
  );
}

function numberOf(value: unknown): number {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  return typeof value === "string" && value.trim() !== "" ? Number(value.replaceAll("_", "")) : Number.NaN;
}

function numbersOf(row: TableRow, columns: PointColumns): Partial<Record<"n" | "d" | "c" | "loss" | "unique", number>> {
  const wanted = (["n", "d", "c", "loss", "unique"] as const).filter((what) => columns[what] !== undefined);
  return Object.fromEntries(wanted.map((what) => [what, numberOf(row[columns[what]!])]));
}

function toPoint(row: TableRow, columns: PointColumns, numbers: ReturnType<typeof numbersOf>): Point {
  const { n = Number.NaN, c, loss, unique } = numbers;
  const d = numbers.d ?? (c === undefined ? Number.NaN : c / (6 * n));
  const steps = numberOf(row.steps);
  const optional = {
    c,
    unique,
    group: columns.group === undefined ? undefined : String(row[columns.group]),
    nConvention: textOf(row.n_convention),
    flopsConvention: textOf(row.flops_convention),
    warmupShare: steps > 0 ? finite(numberOf(row.warmup_steps) / steps) : undefined,
    finalLrRatio: finite(numberOf(row.final_lr_ratio)),
  };
  const there = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined));
  return { n, d, loss: loss!, ...there };
}

const finite = (value: number): number | undefined => (Number.isFinite(value) ? value : undefined);
const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
