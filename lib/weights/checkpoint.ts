/**
 * Saves and opens checkpoints. `outDir/checkpoint/` has one folder per saved step (weights and the optimizer's state as
 * safetensors, the rest as state.json), two pointer files, `last` and `best`, each with a folder's name, and
 * `numbered`, a list of the checkpoints kept by their step. A folder is flushed before a rename makes it visible, and
 * pointers change by a rename too, so a kill at any moment leaves the last good checkpoint. Notebook 01-train resumes
 * from one.
 */
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import * as z from "zod";
import type { TokenizerSpec } from "../data/tokenizers/tokenizer.js";
import type { HostState, HostTensors } from "../engine/host-tensors.js";
import { numericsSchema } from "../engine/numerics.js";
import { faultOf } from "../host/checked-json.js";
import { readRegularText } from "../host/regular-file.js";
import { replaceFile } from "../host/replace-file.js";
import { parameterSpecs } from "../model/model.js";
import { shapeOf } from "../settings/model.js";
import { parseSettings, type Settings } from "../settings/settings.js";
import type { Pretrained, Training } from "./pretrained.js";
import { readSafetensors, writeSafetensors } from "./safetensors.js";

/** The content of state.json: everything in a checkpoint that is not a tensor. */
export interface CheckpointState extends Omit<Training, "path" | "params" | "optimizer"> {
  readonly format: "folio-checkpoint";
  readonly version: 1;
  readonly runId: string;
  readonly tokenizer: TokenizerSpec;
  /** The versions of folio, node and tensorflow that wrote it. */
  readonly versions: Readonly<Record<string, string>>;
}

/** A checkpoint in memory. */
export type Checkpoint = CheckpointState & Training;

/** A number is a step; `step-…` is the name of a checkpoint's folder. */
export type CheckpointName = "last" | "best" | number | `step-${string}`;

/** How to save a checkpoint. */
export interface SaveOptions {
  best: boolean;
  /** Keep it by its step, with this many of the newest such checkpoints; 0: all. */
  keep?: number;
}

const folderOf = (outDir: string) => path.join(outDir, "checkpoint");

/** Whether `outDir` has a checkpoint of that name. */
export function hasCheckpoint(outDir: string, name: CheckpointName = "last"): boolean {
  if (typeof name === "number") return numberedCheckpoints(outDir).includes(name);
  return fs.existsSync(path.join(folderOf(outDir), name));
}

/** The folder of the newest checkpoint in `outDir`, whose name differs from that of every other; undefined if there is none. */
export function lastCheckpoint(outDir: string): string | undefined {
  return hasCheckpoint(outDir) ? readRegularText(path.join(folderOf(outDir), "last")).trim() : undefined;
}

/** A checkpoint of a run: `openCheckpoint(outDir, name)`. */
export interface ChosenCheckpoint {
  readonly outDir: string;
  readonly name: CheckpointName;
}

/**
 * The checkpoint that a path and the setting `checkpoint` mean: in a run's folder, the best if there is one, or the one
 * of that name or step; for a checkpoint's own folder, that checkpoint. Undefined when the path is neither.
 */
export function chooseCheckpoint(source: string, wanted = "auto"): ChosenCheckpoint | undefined {
  const folder = path.resolve(source);
  const name = path.basename(folder);
  if (/^step-[\w-]+$/.test(name) && fs.existsSync(path.join(folder, "state.json"))) {
    return { outDir: path.dirname(path.dirname(folder)), name: name as `step-${string}` };
  }
  if (hasCheckpoint(source)) {
    if (wanted === "auto") return { outDir: source, name: hasCheckpoint(source, "best") ? "best" : "last" };
    return { outDir: source, name: wanted === "best" || wanted === "last" ? wanted : Number(wanted) };
  }
  if (!/^\d+$/.test(wanted)) return undefined;
  throw new RangeError(`Cannot find the checkpoint of step ${wanted}: ${source} is not a run of Folio's.`);
}

/** A checkpoint's description for commands: `out, best checkpoint, step 1000`. */
export function describeCheckpoint({ outDir, name }: ChosenCheckpoint, step: number): string {
  return name === "best" || name === "last"
    ? `${outDir}, ${name} checkpoint, step ${step}`
    : `${outDir}, checkpoint of step ${step}`;
}

/** The steps of the checkpoints that were kept by their step, oldest first. */
export function numberedCheckpoints(outDir: string): number[] {
  return readNumbered(folderOf(outDir)).map(stepOf);
}

/**
 * Saves a checkpoint and points `last`, and if requested `best`, to it. Folders that no pointer names are removed.
 * @returns the checkpoint's folder
 * @throws {Error} when the disk is full or not writable; the previous checkpoint is then still intact
 */
export function saveCheckpoint(
  outDir: string,
  { params, optimizer, ...state }: Omit<Checkpoint, "path" | "format" | "version">,
  { best, keep }: SaveOptions,
): string {
  const folder = folderOf(outDir);
  let target: string;
  try {
    fs.mkdirSync(folder, { recursive: true });
    const name = freeName(folder, `step-${String(state.step).padStart(6, "0")}-${state.runId.slice(0, 8)}`);
    target = path.join(folder, name);
    const content: CheckpointState = { format: "folio-checkpoint", version: 1, ...state };
    // mkdtemp would make a folder that others cannot read.
    const partial = path.join(folder, `.partial-${randomUUID()}`);
    fs.mkdirSync(partial);
    writeSafetensors(path.join(partial, "model.safetensors"), params, { format: "pt" });
    writeSafetensors(path.join(partial, "optimizer.safetensors"), flatGroups(optimizer));
    fs.writeFileSync(path.join(partial, "state.json"), `${JSON.stringify(content, null, 2)}\n`, { flush: true });
    flushFolder(partial);
    fs.renameSync(partial, target);
    flushFolder(folder);
    if (keep !== undefined) writeNumbered(folder, name, keep);
    for (const pointer of best ? ["best", "last"] : ["last"]) replaceFile(path.join(folder, pointer), `${name}\n`);
    flushFolder(folder);
  } catch (error) {
    removeUnreferenced(folder);
    throw new Error(`Cannot save the checkpoint of step ${state.step} to ${folder}: ${reasonOf(error, outDir)}`, {
      cause: error,
    });
  }
  removeUnreferenced(folder);
  return target;
}

/** An unused name: a step is saved again when it is evaluated after a stop, or by callers with weights of their own. */
function freeName(folder: string, name: string): string {
  for (let copy = 2, free = name; ; copy++) {
    if (!fs.existsSync(path.join(folder, free))) return free;
    free = `${name}-${copy}`;
  }
}

const stepOf = (name: string): number => Number(/^step-(\d+)/.exec(name)?.[1]);

/** Names of the folders kept by their step, oldest first. */
function readNumbered(folder: string): string[] {
  const file = path.join(folder, "numbered");
  if (!fs.existsSync(file)) return [];
  const names = readRegularText(file).split("\n");
  return names.filter((name) => /^step-\d+-[\w-]+$/.test(name));
}

function writeNumbered(folder: string, name: string, keep: number): void {
  const all = [...readNumbered(folder).filter((other) => stepOf(other) !== stepOf(name)), name];
  const kept = all.sort((a, b) => stepOf(a) - stepOf(b)).slice(keep === 0 ? 0 : -keep);
  replaceFile(path.join(folder, "numbered"), `${kept.join("\n")}\n`);
}

/** Why a checkpoint was not saved, and which one is left. */
function reasonOf(error: unknown, outDir: string): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const full = code === "ENOSPC" || code === "EDQUOT";
  const reason = full ? "the disk is full; free some space, or choose another outDir" : message;
  if (!hasCheckpoint(outDir)) return `${reason}. There is no earlier checkpoint.`;
  try {
    return `${reason}. The previous checkpoint (step ${openCheckpoint(outDir).step}) is intact.`;
  } catch (error) {
    return `${reason}. The previous checkpoint is damaged: ${(error as Error).message}`;
  }
}

/**
 * Opens a checkpoint and checks its format version and that its tensors are those required by its settings.
 * @param options.optimizer read the optimizer's state too (default true); sampling does not need it
 * @throws {Error} when there is none, or it is damaged or from another version
 */
export function openCheckpoint(
  outDir: string,
  name: CheckpointName = "last",
  { optimizer = true }: { optimizer?: boolean } = {},
): Checkpoint {
  const state = readState(outDir, name);
  const folder = pointedFolder(outDir, name);
  const params = readSafetensors(path.join(folder, "model.safetensors"));
  checkTensors(folder, params, state.settings);
  const groups = optimizer ? inGroups(folder, readSafetensors(path.join(folder, "optimizer.safetensors"))) : {};
  for (const group of Object.values(groups)) {
    // A group with tensors named like parameters must have all of them; other groups are checked by their owners.
    if (Object.keys(params).some((name) => name in group)) checkTensors(folder, group, state.settings);
  }
  return { ...state, path: folder, params, optimizer: groups };
}

/** The weights of one of a run's checkpoints, or of a checkpoint's own folder; see chooseCheckpoint. */
export function readRun(source: string, { checkpoint }: { checkpoint?: string | undefined } = {}): Pretrained {
  const { outDir, name } = chooseCheckpoint(source, checkpoint) ?? { outDir: source, name: "last" };
  const { params, settings, tokenizer } = openCheckpoint(outDir, name, { optimizer: false });
  return { params, tokenizer, model: shapeOf(settings) };
}

/** A checkpoint without its tensors: step, loss, settings. @throws as openCheckpoint */
export function readState(outDir: string, name: CheckpointName = "last"): CheckpointState {
  const file = path.join(pointedFolder(outDir, name), "state.json");
  let state: CheckpointState;
  try {
    state = JSON.parse(fs.readFileSync(file, "utf8")) as CheckpointState;
  } catch (error) {
    throw new Error(`Cannot open the checkpoint in ${outDir}: ${file} is missing or damaged.`, { cause: error });
  }
  if (state?.format !== "folio-checkpoint" || state.version !== 1) {
    throw new Error(
      `Cannot open the checkpoint in ${outDir}: ${file} has format ${JSON.stringify(state?.format)}, version ${JSON.stringify(state?.version)}; this Folio reads folio-checkpoint 1.`,
    );
  }
  const fault = faultOf(stateSchema, state);
  if (fault) throw new Error(`Cannot open the checkpoint in ${outDir}: ${file} is damaged: ${fault}.`);
  try {
    return { ...state, settings: parseSettings(state.settings) };
  } catch (error) {
    throw new Error(`Cannot open the checkpoint in ${outDir}: ${file}: ${(error as Error).message}`, { cause: error });
  }
}

const count = z.int().min(0);
const stateSchema = z.object({
  format: z.literal("folio-checkpoint"),
  version: z.literal(1),
  runId: z.string().regex(/^[\da-f]{8,64}$/),
  origin: z
    .object({ weights: z.string().max(64).optional(), runId: z.string().max(64).optional(), step: count.optional() })
    .optional(),
  step: count,
  evaluated: z.boolean(),
  bestValLoss: z.number().nullable(),
  trainedMs: z.number().min(0),
  tokens: count.optional(),
  settings: z.record(z.string(), z.unknown()), // parseSettings() checks them
  tokenizer: z.record(z.string(), z.unknown()), // checked when the tokenizer is built
  numerics: numericsSchema.optional(),
  versions: z.record(z.string(), z.string()),
});

const POINTERS = ["last", "best", "numbered"] as const;

/**
 * Removes the checkpoints of an earlier run in `outDir`, pointers first, so that a kill leaves none to an incomplete
 * folder.
 */
export function removeCheckpoints(outDir: string): void {
  for (const pointer of POINTERS) fs.rmSync(path.join(folderOf(outDir), pointer), { force: true });
  fs.rmSync(folderOf(outDir), { recursive: true, force: true });
}

function pointedFolder(outDir: string, name: CheckpointName): string {
  const folder = folderOf(outDir);
  if (typeof name === "string" && name.startsWith("step-")) return path.join(folder, name);
  if (typeof name === "number") {
    const kept = [...readNumbered(folder), ...pointed(folder)];
    const ofStep = kept.find((other) => stepOf(other) === name);
    if (ofStep) return path.join(folder, ofStep);
    const steps = [...new Set(kept.map(stepOf))].sort((a, b) => a - b).join(", ");
    const found = steps ? `those of steps ${steps} exist` : "none was kept by step";
    throw new Error(
      `Cannot find the checkpoint of step ${name} in ${outDir}: ${found}; set saveInterval to keep checkpoints by step.`,
    );
  }
  const pointer = path.join(folder, name);
  if (!fs.existsSync(pointer)) {
    throw new Error(
      `Cannot find a checkpoint: there is no ${pointer}. ${elsewhere(outDir) ?? `Train a model into ${outDir} first`}, or name another outDir.`,
    );
  }
  const target = readRegularText(pointer).trim();
  if (!/^step-[\w-]+$/.test(target))
    throw new Error(`Cannot open the checkpoint: ${pointer} names ${JSON.stringify(target)}, not a checkpoint.`);
  return path.join(folder, target);
}

/** The folders that `last` and `best` name. */
function pointed(folder: string): string[] {
  const files = ["last", "best"].map((name) => path.join(folder, name)).filter((file) => fs.existsSync(file));
  return files.map((file) => readRegularText(file).trim()).filter((name) => /^step-\d+[\w-]*$/.test(name));
}

/** Advice for a folder that nanoGPT trained into. */
function elsewhere(outDir: string): string | undefined {
  const file = path.join(outDir, "ckpt.pt");
  return fs.existsSync(file) ? `It has nanoGPT's ${file}: start from its weights with initFrom: "${file}"` : undefined;
}

/** The tensors must be exactly the parameters that the settings describe. */
function checkTensors(folder: string, tensors: HostTensors, settings: Settings): void {
  const specs = parameterSpecs(settings);
  for (const { name, shape } of specs) {
    const found = tensors[name];
    if (found?.dtype === "float32" && found.shape.join() === shape.join()) continue;
    throw new Error(
      `Cannot open the checkpoint ${folder}: ${name} is ${found ? `${found.dtype} [${found.shape}]` : "missing"}; its settings require float32 [${shape}].`,
    );
  }
  const extra = Object.keys(tensors).find((name) => !specs.some((spec) => spec.name === name));
  if (extra)
    throw new Error(
      `Cannot open the checkpoint ${folder}: it has the tensor ${extra}, which its settings do not have.`,
    );
}

/** Groups of tensors as one record: `{ m: { "wpe.weight": … } }` → `{ "m/wpe.weight": … }`. */
export const flatGroups = (groups: HostState): HostTensors =>
  Object.fromEntries(
    Object.entries(groups).flatMap(([group, tensors]) =>
      Object.entries(tensors).map(([name, tensor]) => [`${group}/${name}`, tensor] as const),
    ),
  );

/** The inverse of `flatGroups`. */
function inGroups(folder: string, tensors: HostTensors): HostState {
  const groups: Record<string, Record<string, HostTensors[string]>> = {};
  for (const [key, tensor] of Object.entries(tensors)) {
    const [group, name] = [key.slice(0, key.indexOf("/")), key.slice(key.indexOf("/") + 1)];
    if (!group || !name) {
      throw new Error(`Cannot open the checkpoint ${folder}: its optimizer has the unknown tensor ${key}.`);
    }
    groups[group] ??= {};
    groups[group][name] = tensor;
  }
  return groups;
}

/** Removes folders that no pointer names. A failure is ignored; the next save tries again. */
function removeUnreferenced(folder: string): void {
  try {
    const kept = new Set(
      POINTERS.map((name) => path.join(folder, name))
        .filter((file) => fs.existsSync(file))
        .flatMap((file) => readRegularText(file).trim().split("\n")),
    );
    for (const entry of fs.readdirSync(folder)) {
      const at = path.join(folder, entry);
      if (entry.startsWith("step-") && !kept.has(entry)) {
        // Renamed first, so that a kill never leaves an incomplete folder under a complete one's name.
        const leaving = path.join(folder, `.partial-${entry}`);
        fs.renameSync(at, leaving);
        fs.rmSync(leaving, { recursive: true, force: true });
      } else if (entry.startsWith(".partial-")) fs.rmSync(at, { recursive: true, force: true });
    }
  } catch {
    // see above
  }
}

function flushFolder(folder: string): void {
  if (process.platform === "win32") return; // Windows cannot open folders
  const descriptor = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
