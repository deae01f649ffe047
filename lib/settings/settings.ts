/**
 * Completes and checks settings: keys in any spelling, values against their rows, settings against each other. The
 * settings are in this folder's tables, one per command, which the command line, config files, help text and the run
 * folder's config.json all use. config-files.ts and flags.ts read files and flags. Shown in notebooks/01-train.
 */
import { closest, distance } from "fastest-levenshtein";
import { type BenchSettings, benchRows } from "./bench.js";
import {
  type CheckGpt2Settings,
  type CheckGpuSettings,
  type CheckMacSettings,
  checkGpt2Rows,
  checkGpuRows,
  checkMacRows,
} from "./check.js";
import type { InitFrom } from "./common.js";
import { type EvalSettings, evalRows } from "./eval.js";
import type { ModelSettings } from "./model.js";
import type { SettingRow } from "./rows.js";
import { type SampleSettings, sampleRows } from "./sample.js";
import { type SizesSettings, sizesRows } from "./sizes.js";
import { type Settings, trainRows } from "./train.js";

export type { BenchSettings } from "./bench.js";
export type { CheckGpt2Settings, CheckGpuSettings, CheckMacSettings } from "./check.js";
export type { Device, Dtype } from "./common.js";
export type { EvalSettings } from "./eval.js";
export type { ModelSettings } from "./model.js";
export type { SettingRow } from "./rows.js";
export type { SampleSettings } from "./sample.js";
export type { SizesSettings } from "./sizes.js";
export type { Settings } from "./train.js";

/** The command whose table of settings is meant. */
export type SettingsKind = "train" | "sample" | "eval" | "bench" | "sizes" | keyof CheckSettings;

/** The settings of each check, by its command. */
export interface CheckSettings {
  "check gpu": CheckGpuSettings;
  "check gpt2": CheckGpt2Settings;
  "check mac": CheckMacSettings;
}

const tables: Readonly<Record<SettingsKind, Readonly<Record<string, SettingRow>>>> = {
  train: trainRows,
  sample: sampleRows,
  eval: evalRows,
  bench: benchRows,
  sizes: sizesRows,
  "check gpu": checkGpuRows,
  "check gpt2": checkGpt2Rows,
  "check mac": checkMacRows,
};

/** The rows of a settings table by key, in the order of the help text. */
export function settingRows(kind: SettingsKind): Readonly<Record<string, SettingRow>> {
  return tables[kind];
}

/** Another command that has this setting, if any. */
export function otherOwner(kind: SettingsKind, key: string): SettingsKind | undefined {
  if (Object.hasOwn(tables[kind], key)) return undefined;
  return (Object.keys(tables) as SettingsKind[]).find((other) => Object.hasOwn(tables[other], key));
}

const defaultsOf = (rows: Readonly<Record<string, SettingRow>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(rows).map(([key, row]) => [key, row.default]));

/** nanoGPT's defaults: GPT-2 124M on OpenWebText. */
export const defaultSettings: Readonly<Settings> = Object.freeze(defaultsOf(trainRows) as unknown as Settings);
/** nanoGPT's defaults: ten samples of 500 tokens from the run in `out`. */
export const defaultSampleSettings: Readonly<SampleSettings> = Object.freeze(
  defaultsOf(sampleRows) as unknown as SampleSettings,
);

/** `n_layer`, `n-layer` and `nLayer` are one key: `nLayer`. */
export function camelCase(key: string): string {
  return key.replace(/[-_]+([a-zA-Z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Flags of torchrun and of the launchers before it. */
const launchers: Readonly<Record<string, true>> = Object.fromEntries(
  "nprocPerNode standalone nnodes nodeRank masterAddr masterPort maxRestarts localRank monitorInterval startMethod logDir"
    .split(" ")
    .map((name) => [name, true] as const),
);

/** The setting that a key names, in any of its three spellings. @throws RangeError naming the nearest key. */
export function resolveKey(kind: SettingsKind, key: string, action = "Cannot read the settings"): string {
  const rows = settingRows(kind);
  const camel = camelCase(key);
  if (Object.hasOwn(rows, camel)) return camel;
  const other = otherOwner(kind, camel);
  if (other) {
    throw new RangeError(`${action}: ${key} is a setting of \`folio ${other}\`, not of \`folio ${kind}\`.`);
  }
  if (Object.hasOwn(launchers, camel) || camel.startsWith("rdzv")) {
    throw new RangeError(
      `${action}: ${key} is torchrun's, which starts a process for each GPU; here one process trains on several, with devices, or folio launch stands in torchrun's place.`,
    );
  }
  if (camel === "backend") {
    throw new RangeError(`${action}: there is no setting ${key}, which in nanoGPT joins several GPUs; leave it out.`);
  }
  const nearest = closest(camel.toLowerCase(), Object.keys(rows).map(lower));
  const known = Object.keys(rows).find((candidate) => lower(candidate) === nearest) ?? nearest;
  const near = distance(camel.toLowerCase(), nearest) <= Math.max(2, known.length / 2);
  const hint = near ? `did you mean ${known}?` : `\`folio ${kind} --help\` lists the settings.`;
  throw new RangeError(`${action}: there is no setting ${key}; ${hint}`);
}

const lower = (word: string): string => word.toLowerCase();

/**
 * One value, checked against its row. `null` (Python's None) switches topK off.
 * @throws TypeError for the wrong kind of value, RangeError for a value out of range.
 */
export function checkValue(
  kind: SettingsKind,
  key: string,
  value: unknown,
  action = "Cannot read the settings",
): SettingRow["default"] {
  if (key === "topK" && value === null) return 0;
  if (key === "device" && value === "cuda:0") return "cuda";
  if (key === "checkpoint" && Number.isSafeInteger(value)) return checkValue(kind, key, String(value), action);
  const row = settingRows(kind)[key]!;
  if (row.accepts(value)) return value as SettingRow["default"];
  const rightType = typeof value === typeof row.default;
  const found = rightType ? quote(value) : `${quote(value)}, ${article(value)}`;
  const tooMany = row.most !== undefined && typeof value === "number" && value > row.most;
  const allowed = tooMany ? `at most ${row.most!.toLocaleString("en-US")}` : row.wanted;
  const wanted = row.type === "choice" ? `one of ${row.wanted}` : allowed;
  const message = `${action}: ${key} is ${found}; wanted ${wanted}${row.unit && ` (${row.unit})`}.${adviceOn(key, value)}`;
  throw rightType ? new RangeError(message) : new TypeError(message);
}

/** What to write instead of PyTorch's name of a device, and for greedy sampling. */
function adviceOn(key: string, value: unknown): string {
  if (key === "temperature" && value === 0) return " To take the likeliest token each time, set topK to 1 (--top_k=1).";
  if (key !== "device" || typeof value !== "string") return "";
  const index = /^cuda:(\d+)$/.exec(value)?.[1];
  return index
    ? ` To choose one GPU of several, set CUDA_VISIBLE_DEVICES=${index} in the environment and device to cuda.`
    : "";
}

function quote(value: unknown): string {
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  const printed = value === undefined ? "undefined" : (JSON.stringify(value) ?? String(value));
  return printed.length > 60 ? `${printed.slice(0, 57)}...` : printed;
}

function article(value: unknown): string {
  if (value === null || value === undefined) return "no value";
  if (Array.isArray(value)) return "a list";
  return { string: "text", boolean: "a boolean", object: "an object" }[typeof value as string] ?? `a ${typeof value}`;
}

function complete<T>(kind: SettingsKind, overrides: unknown, base: Readonly<T>): T {
  if (typeof overrides !== "object" || overrides === null || Array.isArray(overrides)) {
    throw new TypeError(`Cannot read the settings: ${quote(overrides)} is not an object of settings.`);
  }
  const result: Record<string, unknown> = { ...base };
  for (const [written, value] of Object.entries(overrides)) {
    if (value === undefined) continue;
    const key = resolveKey(kind, written);
    result[key] = checkValue(kind, key, value);
  }
  return Object.freeze(result) as T;
}

/**
 * Complete, checked settings of a training run: `base` (nanoGPT's defaults) with `overrides` on top.
 * @throws {TypeError} for the wrong kind of value
 * @throws {RangeError} for an unknown key (naming the nearest) or a wrong value
 * @example
 * parseSettings({ nLayer: 4, nHead: 4, nEmbd: 128 }).blockSize // 1024
 */
export function parseSettings(
  overrides: Partial<Settings> = {},
  base: Readonly<Settings> = defaultSettings,
): Readonly<Settings> {
  return readSettings(overrides, base);
}

/**
 * As {@link parseSettings}, for settings from a file or a command line: keys may be written nLayer, n_layer or n-layer.
 */
export function readSettings(overrides: unknown = {}, base: Readonly<Settings> = defaultSettings): Readonly<Settings> {
  const settings = complete<Settings>("train", overrides, base);
  checkModelSettings(settings);
  checkSchedule(settings);
  checkDevices(settings);
  return settings;
}

/** Complete, checked settings of sampling; as {@link parseSettings}. */
export function parseSampleSettings(
  overrides: unknown = {},
  base: Readonly<SampleSettings> = defaultSampleSettings,
): Readonly<SampleSettings> {
  const settings = complete<SampleSettings>("sample", overrides, base);
  checkStart(settings.initFrom);
  return settings;
}

/** Complete, checked settings of a benchmark; as {@link parseSettings}. */
export function parseBenchSettings(overrides: unknown = {}): Readonly<BenchSettings> {
  const settings = complete<BenchSettings>("bench", overrides, defaultsOf(benchRows) as unknown as BenchSettings);
  checkModelSettings(settings);
  return settings;
}

/** Complete, checked settings of an evaluation; as {@link parseSettings}. */
export function parseEvalSettings(overrides: unknown = {}): Readonly<EvalSettings> {
  return complete<EvalSettings>("eval", overrides, defaultsOf(evalRows) as unknown as EvalSettings);
}

/**
 * Complete, checked settings of `folio sizes`: a training run's (`base`) and the hardware; as {@link parseSettings}.
 */
export function parseSizesSettings(overrides: unknown = {}, base: Partial<Settings> = {}): Readonly<SizesSettings> {
  const defaults = defaultsOf(sizesRows) as unknown as SizesSettings;
  const settings = complete<SizesSettings>("sizes", overrides, { ...defaults, ...base });
  checkModelSettings(settings);
  checkDevices(settings);
  return settings;
}

/** Complete, checked settings of one of the checks; as {@link parseSettings}. */
export function parseCheckSettings<Kind extends keyof CheckSettings>(
  kind: Kind,
  overrides: unknown = {},
): Readonly<CheckSettings[Kind]> {
  const defaults = defaultsOf(tables[kind]) as unknown as CheckSettings[Kind];
  const settings = complete<CheckSettings[Kind]>(kind, overrides, defaults);
  if ("nHead" in settings) checkModelSettings(settings);
  return settings;
}

/** nHead must divide nEmbd. @throws RangeError that names widths and head counts that fit. */
export function checkModelSettings({ nHead, nEmbd }: Pick<ModelSettings, "nHead" | "nEmbd">): void {
  if (nEmbd % nHead === 0) return;
  const below = Math.floor(nEmbd / nHead) * nHead;
  const widths = [below, below + nHead].filter((width) => width > 0).join(" or ");
  let [fewer, more] = [1, Number.POSITIVE_INFINITY];
  for (let low = 1; low * low <= nEmbd; low++) {
    if (nEmbd % low !== 0) continue;
    for (const divisor of [low, nEmbd / low]) {
      if (divisor < nHead) fewer = Math.max(fewer, divisor);
      else more = Math.min(more, divisor);
    }
  }
  const heads = [fewer, more].filter(Number.isFinite).join(" or ");
  throw new RangeError(
    `Cannot build the model: nEmbd ${nEmbd} is not divisible by nHead ${nHead}; use nEmbd ${widths}, or nHead ${heads}.`,
  );
}

/** The devices share a step's micro-batches. @throws RangeError when they cannot */
function checkDevices({ devices, gradientAccumulationSteps: micros, compile, device, xla, evalOnly }: Settings): void {
  if (devices === 1) return;
  const refuse = (why: string) => new RangeError(`Cannot train on ${devices} devices: ${why}.`);
  if (!compile) throw refuse("steps that are not compiled run on one; use compile: true, or devices: 1");
  if (device === "webgpu" || device === "mps") throw refuse("WebGPU has one; use devices: 1");
  if (xla) throw refuse("xla has not been tried with more than one; use xla: false, or devices: 1");
  if (micros % devices === 0 || evalOnly) return;
  const multiple = Math.ceil(micros / devices) * devices;
  throw refuse(
    `they cannot share ${micros} ${micros === 1 ? "micro-batch" : "micro-batches"} equally; as in nanoGPT, gradientAccumulationSteps is divided among them, so use a multiple of ${devices}, such as gradientAccumulationSteps: ${multiple}`,
  );
}

function checkStart(initFrom: InitFrom): void {
  if (initFrom === "scratch") {
    throw new RangeError("Cannot sample: initFrom is scratch, an untrained model; set it to resume.");
  }
}

function checkSchedule({
  decayLr,
  schedule,
  learningRate,
  minLr,
  warmupIters,
  lrDecayIters,
  maxIters,
}: Settings): void {
  if (!decayLr || schedule === "constant") return;
  if (minLr > learningRate) {
    throw new RangeError(
      `Cannot plan the learning rate: minLr ${minLr} is above learningRate ${learningRate}; use minLr ${Number((learningRate / 10).toPrecision(6))}, or decayLr false for a constant rate.`,
    );
  }
  // A run that ends within its warm-up never decays, so only a longer one needs room between the two.
  if (warmupIters >= lrDecayIters && maxIters > warmupIters) {
    throw new RangeError(
      `Cannot plan the learning rate: warmupIters ${warmupIters} leaves no steps to decay in before lrDecayIters ${lrDecayIters}; use a warmupIters below ${lrDecayIters}.`,
    );
  }
}
