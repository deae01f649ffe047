/**
 * What a preparation under way has on disk: the unfinished token files, and preparing.json, which says how far they are
 * right. A kill at any moment leaves what the next call goes on with. What this file is not: it reads no text and
 * encodes nothing (corpus.ts does). Notebook 02-data shows it.
 */
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { faultOf } from "../../host/checked-json.js";
import { type FolderLock, lockFolder } from "../../host/folder-lock.js";
import { readRegularText } from "../../host/regular-file.js";
import { replaceFile } from "../../host/replace-file.js";
import { bytesPerToken, metaSchema, type TokenDtype, type TokenMeta, toLittleEndian } from "../token-file.js";
import { dtypeOf, syncDirectory } from "../token-writer.js";
import { type TokenizerSpec, tokenizerFromSpec } from "../tokenizers/tokenizer.js";
import type { Place } from "./documents.js";
import type { Encoded, Ids } from "./encode-threads.js";

/** What the survey found: fixed before the first id is written. */
export interface Plan {
  readonly documents: number;
  /** Of a single text: where validation begins. */
  readonly cuts: readonly number[];
  readonly tokenizer: TokenizerSpec;
}

/** preparing.json: how far it has come. */
export interface Progress {
  format: "folio-preparing";
  version: 1;
  /** What was asked for; another wish begins anew. */
  wish: string;
  plan: Plan;
  /** By file, as far as they have been read whole. */
  checksums: (string | null)[];
  next: Place;
  tokens: { train: number; val: number };
  /** Everything is written and checked; only renames are missing. */
  meta?: TokenMeta;
}

export const splits = ["train", "val"] as const;
export type Split = (typeof splits)[number];

/** The files of a preparation under way. */
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

/** What is left behind by a preparation that is not finished. */
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

/** How far an earlier call has come; nothing if it wanted something else, its files are not there any more, or damaged. */
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

/** One process at a time. @throws {Error} when another prepares the dataset */
export function lock(directory: string, name: string): FolderLock {
  const taken = lockFolder(directory);
  if ("release" in taken) return taken;
  throw new Error(`Cannot prepare ${name}: another process is preparing it (${taken.holder}); wait for it.`);
}

/** The unfinished files: what is written beyond the last commit is cut off first. */
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

/** A file of what is known of a preparation, replaced whole. */
export function writeJson(filePath: string, value: unknown): void {
  replaceFile(filePath, `${JSON.stringify(value, null, 2)}\n`);
}

/** Puts the files in place; may be called again after a kill at any moment. */
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
