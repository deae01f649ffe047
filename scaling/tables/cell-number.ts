/**
 * A cell of a table → its number, as people write numbers: 12000000, 12_000_000, "12,000,000", 12 000 000, 1.2e7, 12M. It
 * tells a cell that has no value apart from one whose text is no number, which may be a unit or a slip.
 */

/** Written for "no value", by hand or by a program. A run that diverged has no loss. */
const missing = new Set([
  "",
  "na",
  "n/a",
  "#n/a",
  "nan",
  "null",
  "none",
  "nil",
  "-",
  "inf",
  "+inf",
  "-inf",
  "infinity",
]);

const suffixes: Readonly<Record<string, number>> = { k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12 };

const thousands = /^[+-]?\d{1,3}([,_'’ \u00a0\u202f])\d{3}(\1\d{3})*(?=\D|$)/;
const plain = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A finite number; null where the cell has no value; undefined where it holds something else. */
export function cellNumber(value: unknown): number | null | undefined {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  return typeof value === "string" ? textNumber(value.trim()) : undefined;
}

function textNumber(text: string): number | null | undefined {
  if (missing.has(text.toLowerCase())) return null;
  const [, digits = "", letter = ""] = /^(.*?)\s?([kmbgt]?)$/i.exec(text.replace(/^\u2212/, "-")) ?? [];
  const separator = thousands.exec(digits)?.[1];
  const joined = separator === undefined ? digits.replaceAll(/(?<=\d)_(?=\d)/g, "") : digits.replaceAll(separator, "");
  if (!plain.test(joined)) return undefined;
  const value = Number(joined) * (suffixes[letter.toLowerCase()] ?? 1);
  return Number.isFinite(value) ? value : undefined;
}

const decimalComma = /^[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+(e[+-]?\d+)?$/i;
const dotThousands = /^[+-]?\d{1,3}(\.\d{3}){2,}$/;
const decimalPoint = /^[+-]?\d*\.\d+(e[+-]?\d+)?$/i;

/**
 * Whether a table whose cells are not divided by commas has decimal commas: some number is written with one, and none
 * with a point.
 */
export function hasDecimalCommas(cells: Iterable<unknown>): boolean {
  let found = false;
  for (const cell of cells) {
    if (typeof cell !== "string") continue;
    if (decimalPoint.test(cell) && !dotThousands.test(cell)) return false;
    found ||= decimalComma.test(cell);
  }
  return found;
}

/** 1.234,5 → 1234.5; what is no such number is left as it is. */
export function withoutDecimalComma(cell: unknown): unknown {
  if (typeof cell !== "string" || !(decimalComma.test(cell) || dotThousands.test(cell))) return cell;
  return cell.replaceAll(".", "").replace(",", ".");
}
