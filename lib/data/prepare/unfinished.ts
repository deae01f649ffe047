/**
 * The files of an unfinished preparation: the incomplete token files, and preparing.json, which says how much of them
 * is valid. After a kill at any moment the next call can continue from them. Shown in notebook 02-data.
 */
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import * as z from "zod";
import { faultOf } from "../../host/checked-json.js";
import { type FolderLock, lockFolder } from "../../host/folder-lock.js";
import { readRegularText } from "../../host/regular-file.js";
import { replaceFile } from "../../host/replace-file.js";
import { metaSchema, type TokenMeta } from "../dataset.js";
import { bytesPerToken, type TokenDtype, toLittleEndian } from "../token-file.js";
import { dtypeOf, syncDirectory } from "../token-writer.js";
import { type TokenizerSpec, tokenizerFromSpec } from "../tokenizers/tokenizer.js";
import type { Place } from "./documents.js";
import type { Encoded, Ids } from "./encode-threads.js";

/** The survey's results, fixed before the first id is written. */
export interface Plan {
  readonly documents: number;
  /** For a single text: where validation begins. */
  readonly cuts: readonly number[];
  readonly tokenizer: TokenizerSpec;
}

/** preparing.json: the progress so far. */
export interface Progress {
  format: "folio-preparing";
  version: 1;
  /** The options of the preparation; with others it starts anew. */
  wish: string;
  plan: Plan;
  /** By file; null for files that have not been read completely. */
  checksums: (string | null)[];
  next: Place;
  tokens: { train: number; val: number };
  /** Set when everything is written and checked; only the renames remain. */
  meta?: TokenMeta;
}

export const splits = ["train", "val"] as const;
export type Split = (typeof splits)[number];

/** The files of an unfinished preparation. */
export type DatasetFiles = ReturnType<typeof filesOf>;

export function filesOf(directory: string) {
  const at = (file: string) => path.join(directory, file);
  return {
    progress: at("preparing.json"),
    part: { train: at("train.bin.part"), val: at("val.bin.part") },
    final: { train: at("train.bin"), val: at("val.bin") },
    meta: at("meta.json"),
  };
}

/** The files that an unfinished preparation leaves behind. */
export function unfinished(files: DatasetFiles): string[] {
  return [files.progress, files.part.train, files.part.val];
}

const count = z.int().min(0);
const schema = z.object({
  format: z.literal("folio-preparing"),
  version: z.literal(1),
  wish: z.string(),
  plan: z.object({ documents: count, cuts: z.array(count), tokenizer: z.record(z.string(), z.unknown()) }),
  checksums: z.array(z.string().nullable()),
  next: z.object({ file: count, offset: count, document: count }),
  tokens: z.object({ train: count, val: count }),
  meta: metaSchema.optional(),
});

/** The progress of an earlier call; undefined if it had other options, or its files are missing or damaged. */
export function readProgress(files: DatasetFiles, wish: string): Progress | undefined {
  let progress: Progress;
  try {
    progress = JSON.parse(readRegularText(files.progress)) as Progress;
  } catch {
    return undefined;
  }
  if (faultOf(schema, progress) !== undefined || progress.wish !== wish) return undefined;
  if (progress.meta) return progress;
  const width = bytesPerToken[dtypeOf(tokenizerFromSpec(progress.plan.tokenizer).vocabSize)];
  const isThere = (split: Split): boolean => {
    const size = fs.statSync(files.part[split], { throwIfNoEntry: false })?.size ?? 0;
    return size >= progress.tokens[split] * width;
  };
  return splits.every(isThere) ? progress : undefined;
}

/** Allows one process at a time. @throws {Error} when another is preparing the dataset */
export function lock(directory: string, name: string): FolderLock {
  const taken = lockFolder(directory);
  if ("release" in taken) return taken;
  throw new Error(
    `Cannot prepare ${name}: another process is preparing it (${taken.holder}); wait until it has finished.`,
  );
}

/** Opens the unfinished files, truncated to the last recorded progress. */
export function openParts(files: DatasetFiles, dtype: TokenDtype, progress: Progress) {
  const width = bytesPerToken[dtype];
  const open = (split: Split): number => {
    const descriptor = fs.openSync(files.part[split], fs.constants.O_RDWR | fs.constants.O_CREAT);
    fs.ftruncateSync(descriptor, progress.tokens[split] * width);
    return descriptor;
  };
  const descriptors = { train: open("train"), val: open("val") };
  const appendTo = (split: Split, ids: Ids): void => {
    const bytes = toLittleEndian(Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength), dtype);
    const start = progress.tokens[split] * width;
    for (let done = 0; done < bytes.length; ) {
      done += fs.writeSync(descriptors[split], bytes, done, bytes.length - done, start + done);
    }
    progress.tokens[split] += ids.length;
  };
  return {
    append(ids: Encoded): void {
      for (const split of splits) appendTo(split, ids[split]);
    },
    async commit(): Promise<void> {
      for (const split of splits) await fdatasync(descriptors[split]);
      writeJson(files.progress, progress);
    },
    close(): void {
      for (const split of splits) fs.closeSync(descriptors[split]);
    },
  };
}

const fdatasync = promisify(fs.fdatasync);

/** Replaces a JSON file of the preparation atomically. */
export function writeJson(filePath: string, value: unknown): void {
  replaceFile(filePath, `${JSON.stringify(value, null, 2)}\n`);
}

/** Moves the files into place; may be called again after a kill at any moment. */
export function finish(directory: string, files: DatasetFiles, meta: TokenMeta): void {
  fs.rmSync(files.meta, { force: true });
  syncDirectory(directory);
  for (const split of splits) {
    if (fs.existsSync(files.part[split])) fs.renameSync(files.part[split], files.final[split]);
  }
  writeJson(files.meta, meta);
  fs.rmSync(files.progress);
  syncDirectory(directory);
}
