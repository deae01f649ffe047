/**
 * A run's folder besides its checkpoints: `config.json` (the resolved settings), `log.jsonl` (one record a line), and
 * the run's identity. Which records there are stands in records.ts, where else they go in trackers.ts.
 */
import fs from "node:fs";
import path from "node:path";
import { replaceFile } from "../host/replace-file.js";
import type { Settings } from "../settings/settings.js";
import { cannotWrite } from "./cannot-write.js";
import type { StepRecord, Tracker } from "./records.js";

/** The log of a run, open for appending. */
export interface RunLog extends Tracker {
  /** What the log has of before. */
  readonly kept: readonly StepRecord[];
  close(): void;
}

/**
 * Opens a run's folder for writing: stores the settings, and cuts the log to what came before `step` (0: empties it),
 * evaluation of that step included when it was done, so that a resumed run's log reads as if it had never stopped.
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

/** The records of a run's log; a last line that a kill cut short is left out. Empty when there is no log. */
export function readRunLog(outDir: string): StepRecord[] {
  const file = path.join(outDir, "log.jsonl");
  if (!fs.existsSync(file)) return [];
  return fs
    .readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        const record: unknown = JSON.parse(line);
        return typeof record === "object" && record !== null ? [record as StepRecord] : [];
      } catch {
        return [];
      }
    });
}
