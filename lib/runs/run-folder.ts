/**
 * A run's folder besides its checkpoints: `config.json` (the resolved settings) and `log.jsonl` (one record per line).
 * records.ts has the types of records; trackers.ts sends them elsewhere.
 */
import fs from "node:fs";
import path from "node:path";
import { readRegularText } from "../host/regular-file.js";
import { replaceFile } from "../host/replace-file.js";
import { parseSettings, type Settings } from "../settings/settings.js";
import { cannotWrite } from "./cannot-write.js";
import { recordSchema, type StepRecord, type Tracker } from "./records.js";

/** The log of a run, open for appending. */
export interface RunLog extends Tracker {
  /** The earlier records in the log. */
  readonly kept: readonly StepRecord[];
  close(): void;
}

/**
 * Opens a run's folder for writing: stores the settings, and truncates the log to the records before `step` (0: empties
 * it), keeping the evaluation of that step if it was done, so that a resumed run's log reads like an uninterrupted
 * one's.
 * @throws {Error} when the folder cannot be written
 */
export function openRunLog(settings: Settings, { step, evaluated }: { step: number; evaluated: boolean }): RunLog {
  const { outDir } = settings;
  const file = path.join(outDir, "log.jsonl");
  try {
    fs.mkdirSync(outDir, { recursive: true });
    const before = (record: StepRecord) =>
      record.step < step ||
      (evaluated && record.step === step && (record.kind === "eval" || record.kind === "checkpoint"));
    const kept = step === 0 ? [] : readRunLog(outDir).filter((record) => record.kind !== "end" && before(record));
    replaceFile(file, kept.map((record) => `${JSON.stringify(record)}\n`).join(""));
    replaceFile(path.join(outDir, "config.json"), `${JSON.stringify(settings, null, 2)}\n`);
    const descriptor = fs.openSync(file, "a");
    return {
      kept,
      append(record) {
        try {
          fs.writeFileSync(descriptor, `${JSON.stringify(record)}\n`);
        } catch (error) {
          throw cannotWrite(outDir, error);
        }
      },
      close: () => fs.closeSync(descriptor),
    };
  } catch (error) {
    throw cannotWrite(outDir, error);
  }
}

/** The records of a log, and which of its lines cannot be read. */
export interface RunRecords {
  readonly records: readonly StepRecord[];
  /** Numbers of damaged lines, from 1, except a last line that was cut short by a kill. */
  readonly damaged: readonly number[];
}

/** The readable records of a run's log; empty if there is no log. */
export function readRunLog(outDir: string): StepRecord[] {
  return [...inspectRunLog(outDir).records];
}

/** As readRunLog, with the damaged lines. @throws {Error} when log.jsonl is not a regular file, or is too large */
export function inspectRunLog(outDir: string): RunRecords {
  const file = path.join(outDir, "log.jsonl");
  if (!fs.existsSync(file)) return { records: [], damaged: [] };
  let text: string;
  try {
    text = readRegularText(file);
  } catch (error) {
    throw new Error(`Cannot read the run's log ${file}: ${(error as Error).message}.`, { cause: error });
  }
  const lines = text.split("\n");
  const records: StepRecord[] = [];
  const damaged: number[] = [];
  for (const [index, line] of lines.entries()) {
    const record = line === "" ? undefined : parseRecord(line);
    if (record) records.push(record);
    else if (index < lines.length - 1) damaged.push(index + 1);
  }
  return { records, damaged };
}

function parseRecord(line: string): StepRecord | undefined {
  try {
    const record: unknown = JSON.parse(line);
    return recordSchema.safeParse(record).success ? (record as StepRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** A run's settings from its config.json. @throws {Error} when they cannot be read or are wrong */
export function readRunSettings(outDir: string): Readonly<Settings> {
  const file = path.join(outDir, "config.json");
  try {
    return parseSettings(JSON.parse(readRegularText(file, 2 ** 24)));
  } catch (error) {
    const reason = (error as Error).message.replace(/^Cannot read the settings: /, "");
    throw new Error(`Cannot read ${file}: ${reason}`, { cause: error });
  }
}
