/** Reads the row or the failure of a run, with checks, because a folder may come from elsewhere. */
import fs from "node:fs";
import path from "node:path";
import * as z from "zod";
import { columns, type ResultRow, textColumns } from "./columns.js";

const text = z.string().nullable();
const number = z.number().nullable();

/** Known columns must have the right type; columns of other versions are accepted. */
const row = z
  .object(Object.fromEntries(columns.map((name) => [name, textColumns.has(name) ? text : number])))
  .partial()
  .catchall(z.union([text, number]));
const finishedRow = row.extend({ run: z.string().regex(/^[\da-f]{16}$/), loss: z.number().positive() });
const failure = z.object({ message: z.string() });

/** @throws {Error} naming the column, if this is not a row of a result table */
export function checkedRow(content: unknown, place: string): ResultRow {
  return checked(row, content, place) as ResultRow;
}

/**
 * The row in a run's folder; undefined if the run is not finished.
 * @throws {Error} for an invalid row, or that of another run
 */
export function readRow(file: string): ResultRow | undefined {
  const content = readJson(file);
  if (content === undefined) return undefined;
  const found = checked(finishedRow, content, file) as ResultRow;
  const own = path.basename(path.dirname(file));
  if (found.run === own) return found;
  throw new Error(
    `Cannot read ${file}: it is the row of run ${String(found.run)}, in the folder of ${own}; ${remedy}.`,
  );
}

/** Why a run failed; undefined if it did not. */
export function readFailure(file: string): string | undefined {
  const content = readJson(file);
  return content === undefined ? undefined : checked(failure, content, file).message;
}

const remedy = "remove the file to have the run done again";

function checked<Output>(schema: z.ZodType<Output>, content: unknown, place: string): Output {
  const read = schema.safeParse(content);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const where = issue!.path.length > 0 ? `${issue!.path.join(".")}: ` : "";
  throw new Error(`Cannot read ${place}: ${where}${issue!.message}; ${remedy}.`);
}

function readJson(file: string): unknown {
  let content: string;
  try {
    content = fs.readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new Error(`Cannot read ${file}: it is not JSON; ${remedy}.`, { cause: error });
  }
}
