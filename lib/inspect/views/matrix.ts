/** The view of a matrix with names for its rows and columns. */
import { pack } from "./pack.js";
import { makeView, type View } from "./view.js";

export interface MatrixOptions {
  readonly title?: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly rowTitle?: string;
  readonly columnTitle?: string;
  /** What the numbers are. */
  readonly unit?: string;
  /** Numbers are shares of 1, written as per cent. */
  readonly shares?: boolean;
  /** A word for each cell, row by row. */
  readonly words?: readonly string[];
}

/**
 * A matrix as colours, in proportion to the values, with a cursor and a colour bar; blue is positive, orange negative.
 * @param values row by row, or rows
 * @throws {RangeError} when there are not rows × columns of them
 * @example matrixView([[1, 0], [0.5, 0.5]], { rows: ["a", "b"], columns: ["a", "b"], shares: true }).show();
 */
export function matrixView(values: ArrayLike<number> | readonly (readonly number[])[], options: MatrixOptions): View {
  const { title = "Matrix", rows, columns, rowTitle = "", columnTitle = "", unit = "value", shares = false } = options;
  const flat = Array.from(values as ArrayLike<number | readonly number[]>).flat();
  if (flat.length !== rows.length * columns.length) {
    throw new RangeError(
      `Cannot show ${title}: it has ${flat.length} values; wanted ${rows.length} rows × ${columns.length} columns.`,
    );
  }
  return makeView("map", {
    ...{ title, rows, columns, rowTitle, columnTitle, unit, shares, signed: flat.some((x) => x < 0) },
    ...(options.words && { words: options.words }),
    values: pack(flat, [rows.length, columns.length]),
  });
}
