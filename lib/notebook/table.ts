/** A table of words and numbers: in a notebook as HTML, elsewhere as text in columns. */
import { escapeHtml } from "../charts/html-page.js";
import { type MimeBundle, notebookKernel } from "../host/notebook.js";

export interface Table {
  /** In a notebook, shows the table; elsewhere prints it. */
  show(): void;
  text(): string;
  /** The representations that a notebook keeps. */
  bundle(): MimeBundle;
}

type Cell = string | number;

/**
 * A table with a heading for each column. Columns of numbers are aligned right, also with units and as text: "9.2 ms".
 * Whole numbers are grouped (1,024), others have four digits; for other formats give text.
 * @throws {RangeError} for a row with another number of cells than there are headings
 * @example table(["model", "parameters"], [["small", 25_984], ["GPT-2", 124_439_808]]).show();
 */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): Table {
  const odd = rows.findIndex(({ length }) => length !== head.length);
  if (odd >= 0) {
    throw new RangeError(
      `Cannot make a table: row ${odd + 1} has ${rows[odd]?.length} cells; wanted ${head.length}, one per heading.`,
    );
  }
  const cells = rows.map((row) => row.map(shown));
  const isRight = head.map((_, column) => isNumeric(cells.map((row) => row[column] ?? "")));
  const result: Table = {
    show() {
      const kernel = notebookKernel();
      if (kernel) kernel.display(result.bundle());
      else console.log(result.text());
    },
    text: () => inColumns([head, ...cells], isRight),
    bundle: () => ({ "text/html": html(head, cells, isRight), "text/plain": result.text() }),
  };
  return result;
}

function shown(cell: Cell): string {
  if (typeof cell === "string") return cell;
  return Number.isInteger(cell) ? cell.toLocaleString("en") : String(Number(cell.toPrecision(4)));
}

/** Whether every cell that is not empty is a number, or an interval, with at most a short unit. */
function isNumeric(column: readonly string[]): boolean {
  const filled = column.filter((cell) => cell !== "");
  const letters = (cell: string) => cell.replace(/[\d.,\s%×+−±-]|e(?=[+-]\d)|\bto\b/g, "");
  return filled.length > 0 && filled.every((cell) => /^[-−+±]?\.?\d/.test(cell) && letters(cell).length <= 3);
}

function html(head: readonly string[], rows: readonly (readonly string[])[], isRight: readonly boolean[]): string {
  const row = (cells: readonly string[], tag: string) => {
    const one = (text: string, column: number) =>
      `<${tag} style="text-align:${isRight[column] ? "right" : "left"}">${escapeHtml(text)}</${tag}>`;
    return `<tr>${cells.map(one).join("")}</tr>`;
  };
  return `<table><thead>${row(head, "th")}</thead><tbody>${rows.map((cells) => row(cells, "td")).join("")}</tbody></table>`;
}

function inColumns(rows: readonly (readonly string[])[], isRight: readonly boolean[]): string {
  const widths = isRight.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row.map((text, column) => (isRight[column] ? text.padStart(widths[column]!) : text.padEnd(widths[column]!)));
  return rows.map((row) => line(row).join("  ").trimEnd()).join("\n");
}
