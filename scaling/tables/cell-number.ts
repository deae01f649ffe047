/**
 * A cell of a table → its number, in any usual notation: 12000000, 12_000_000, "12,000,000", 12 000 000, 1.2e7, 12M. A
 * cell without a value is distinguished from one whose text is not a number, such as a unit or a typing error.
 */

/** Common ways to write "no value", such as for the loss of a run that diverged. */
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

/** A finite number; null if the cell has no value; undefined if it contains something else. */
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
 * Whether a table that is not separated by commas has decimal commas: some numbers have a comma and none has a point.
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

/** 1.234,5 → 1234.5; other text is returned unchanged. */
export function withoutDecimalComma(cell: unknown): unknown {
  if (typeof cell !== "string" || !(decimalComma.test(cell) || dotThousands.test(cell))) return cell;
  return cell.replaceAll(".", "").replace(",", ".");
}
