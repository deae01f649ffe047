/**
 * The result of a check as a page to paste: what was checked, what was wanted and what was found, the measurements, the
 * machine, and whether all of it holds. The checks yield these parts; `folio check` prints them.
 */
import os from "node:os";
import { importantInstructionSets, instructionFlags } from "../engine/number-format.js";
import { folioVersion } from "../host/package.js";

/** One thing that was checked. */
export interface CheckRow {
  readonly what: string;
  /** What is wanted, with its tolerance and source. */
  readonly wanted: string;
  readonly found: string;
  /** Null: it was not checked, and `found` says why. */
  readonly holds: boolean | null;
}

/** Measurements, which are neither right nor wrong. */
export interface CheckTable {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What a check yields while it runs. */
export type CheckRecord =
  | { readonly kind: "doing"; readonly doing: string }
  | { readonly kind: "row"; readonly row: CheckRow }
  | { readonly kind: "table"; readonly table: CheckTable }
  /** A fact about where it ran: a GPU's name, a version. */
  | { readonly kind: "fact"; readonly fact: string };

export interface CheckReport {
  /** "gpu", "gpt2" or "mac". */
  readonly check: string;
  readonly date: string;
  /** Machine and versions. */
  readonly facts: readonly string[];
  readonly rows: readonly CheckRow[];
  readonly tables: readonly CheckTable[];
  /** Whether at least one row was checked, and none failed. */
  readonly holds: boolean;
}

export const doing = (doing: string): CheckRecord => ({ kind: "doing", doing });
export const fact = (fact: string): CheckRecord => ({ kind: "fact", fact });
export const checked = (what: string, wanted: string, found: string, holds: boolean): CheckRecord => ({
  kind: "row",
  row: { what, wanted, found, holds },
});
/** A row that cannot be checked here. @param why a few words */
export const notChecked = (what: string, wanted: string, why: string): CheckRecord => ({
  kind: "row",
  row: { what, wanted, found: why, holds: null },
});

/** The report of what a check has yielded. */
export function checkReport(check: string, records: readonly CheckRecord[], date = new Date()): CheckReport {
  const rows = records.flatMap((record) => (record.kind === "row" ? [record.row] : []));
  const facts = [...machineFacts(), ...records.flatMap((record) => (record.kind === "fact" ? [record.fact] : []))];
  return {
    check,
    date: date.toISOString(),
    facts: [...new Set(facts)],
    rows,
    tables: records.flatMap((record) => (record.kind === "table" ? [record.table] : [])),
    holds: rows.some(({ holds }) => holds) && rows.every(({ holds }) => holds !== false),
  };
}

function machineFacts(): string[] {
  const processor = os.cpus()[0]?.model.trim() || "unknown processor";
  const sets = importantInstructionSets(instructionFlags()).join(", ");
  return [
    `${processor}, ${os.availableParallelism()} cores${sets && ` (${sets})`}`,
    `${os.type()} ${os.release()} ${os.arch()}, ${(os.totalmem() / 2 ** 30).toFixed(1)} GiB of memory`,
    `Folio ${folioVersion()}`,
    `Node ${process.versions.node}`,
  ];
}

/** The report in Markdown, which can be pasted into an issue. */
export function reportMarkdown({ check, date, facts, rows, tables, holds }: CheckReport): string {
  const marks = new Map([
    [true, "yes"],
    [false, "**NO**"],
    [null, "–"],
  ]);
  const checks: CheckTable = {
    title: "",
    head: ["What", "Wanted", "Found", "Holds"],
    rows: rows.map((row) => [row.what, row.wanted, row.found, marks.get(row.holds)!]),
  };
  const failed = rows.filter((row) => row.holds === false).length;
  const left = rows.filter((row) => row.holds === null).length;
  const count = `${rows.length - left} of ${rows.length} rows were checked`;
  return [
    `### folio check ${check}: ${holds ? "it holds" : failed > 0 ? `${failed} ${failed === 1 ? "row does" : "rows do"} NOT hold` : "nothing was checked"}`,
    "",
    ...markdownTable(checks),
    ...tables.flatMap((table) => ["", table.title, "", ...markdownTable(table)]),
    "",
    `${facts.join("; ")}; ${date.slice(0, 16).replace("T", " ")} UTC. ${count}.`,
  ].join("\n");
}

function markdownTable({ head, rows }: CheckTable): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map(cellText).join(" | ")} |`;
  return [line(head), `|${" --- |".repeat(head.length)}`, ...rows.map(line)];
}

/** A text that stays in its cell. */
const cellText = (text: string) => text.replace(/\s*\n\s*/g, " ↵ ").replaceAll("|", "\\|");
