/**
 * Every setting once: its type, schema, default, unit and one line of doc. Command line, config files, help text and
 * the run folder's config.json all read these tables. Reading files and flags is lib/overrides.ts; turning a setting
 * into tensors is nobody's business here. Names and defaults are nanoGPT's, in camelCase. Shown in notebooks/01-train.
 */
import { closest, distance } from "fastest-levenshtein";
import { z } from "zod";

/** What a run may start from. Weights of GPT-2 are named here, as nanoGPT names them, but not read yet. */
export type InitFrom = "scratch" | "resume" | "gpt2" | "gpt2-medium" | "gpt2-large" | "gpt2-xl";
export type Device = "auto" | "cpu" | "cuda";
export type Dtype = "auto" | "float32" | "bfloat16" | "float16";
export type Schedule = "cosine" | "linear" | "constant" | "wsd";

/** What determines the shape of the model and its forward pass. */
export interface ModelSettings {
  /** Transformer blocks, one after the other. */
  nLayer: number;
  /** Attention heads in each block; must divide nEmbd. */
  nHead: number;
  /** Width of the model: features of a token's vector. */
  nEmbd: number;
  /** Longest context the model sees. */
  blockSize: number;
  /** Ids the model knows; 0: as many as the dataset has. */
  vocabSize: number;
  /** Share of activations set to zero while training. */
  dropout: number;
  /** Biases in linear layers and layer norms, as GPT-2 has. */
  bias: boolean;
  /** The output head shares the token embedding's weights. */
  tieHead: boolean;
  /** Activation of the MLP: erf as in PyTorch and nanoGPT, tanh as in GPT-2 and Hugging Face. */
  gelu: "erf" | "tanh";
}

/** All settings of a training run. */
export interface Settings extends ModelSettings {
  /** Folder of the run: settings, log, checkpoints. */
  outDir: string;
  /** Folder of the prepared datasets. */
  dataDir: string;
  /** Name of the dataset, a folder in dataDir. */
  dataset: string;
  /** Start from new weights (scratch) or go on from the last checkpoint in outDir (resume). */
  initFrom: InitFrom;
  /** Replace the run that outDir holds; false: fail rather than lose it. */
  overwrite: boolean;
  /** Seed of weights, batches, dropout and evaluation. */
  seed: number;
  /** Distance between two evaluations, each with a checkpoint. */
  evalInterval: number;
  /** Distance between two log lines. */
  logInterval: number;
  /** Batches that estimate a split's loss. */
  evalIters: number;
  /** Evaluate once, then stop. */
  evalOnly: boolean;
  /** Save at each evaluation, not only when the validation loss is the best so far. */
  alwaysSaveCheckpoint: boolean;
  /** Micro-batches whose gradients are averaged into one step. */
  gradientAccumulationSteps: number;
  /** Sequences in a micro-batch. */
  batchSize: number;
  /** Highest learning rate, reached after the warm-up. */
  learningRate: number;
  /** Training steps in all. */
  maxIters: number;
  /** AdamW's decay, on parameters of two or more dimensions. */
  weightDecay: number;
  /** AdamW's memory of the gradient. */
  beta1: number;
  /** AdamW's memory of the squared gradient. */
  beta2: number;
  /** Largest norm of the whole gradient; 0: no clipping. */
  gradClip: number;
  /** Follow the schedule; false: learningRate throughout, without warm-up. */
  decayLr: boolean;
  /** Shape of the learning rate after the warm-up; wsd: constant, then a decay at the end. */
  schedule: Schedule;
  /** Length of the linear warm-up. */
  warmupIters: number;
  /** Step at which the learning rate has come down to minLr. */
  lrDecayIters: number;
  /** Lowest learning rate; nanoGPT takes a tenth of learningRate. */
  minLr: number;
  /** Share of lrDecayIters in which a wsd schedule decays. */
  decayFraction: number;
  /** Where to compute; auto: the GPU where there is one. */
  device: Device;
  /** Number format of the matrix products; auto: float32. */
  dtype: Dtype;
  /** Trace the step into one TensorFlow graph; false: eager, for stepping through. */
  compile: boolean;
  /** Log to Weights & Biases (accepted as nanoGPT's name, not available yet). */
  wandbLog: boolean;
  /** Project at Weights & Biases. */
  wandbProject: string;
  /** Name of the run at Weights & Biases. */
  wandbRunName: string;
}

/** All settings of sampling from a run. */
export interface SampleSettings {
  /** Folder of the run to sample from. */
  outDir: string;
  /** Sample from the run in outDir (resume). */
  initFrom: InitFrom;
  /** Text to go on from, or FILE:path to read it from a file. */
  start: string;
  /** Samples to write. */
  numSamples: number;
  /** Length of a sample. */
  maxNewTokens: number;
  /** Below 1: more careful, above 1: more daring. */
  temperature: number;
  /** Only the k likeliest tokens are drawn; 0: all. */
  topK: number;
  /** Seed of the draws. */
  seed: number;
  /** Where to compute; auto: the GPU where there is one. */
  device: Device;
  /** Number format of the matrix products; auto: float32. */
  dtype: Dtype;
  /** Trace the step into one TensorFlow graph; false: eager. */
  compile: boolean;
}

/** Which table of settings: a training run's or a sampler's. */
export type SettingsKind = "train" | "sample";

/** One row of a settings table. `wanted` says in words what `schema` accepts. */
export interface SettingRow {
  readonly group: string;
  readonly type: "integer" | "number" | "boolean" | "text" | "choice";
  readonly wanted: string;
  readonly unit: string;
  readonly doc: string;
  readonly default: number | boolean | string;
  readonly accepts: (value: unknown) => boolean;
}

type Kind = Pick<SettingRow, "type" | "wanted" | "accepts">;

const kind = (type: SettingRow["type"], schema: z.ZodType, wanted: string): Kind => ({
  type,
  wanted,
  accepts: (value) => schema.safeParse(value).success,
});
const integer = (min: number, max?: number): Kind =>
  max === undefined
    ? kind("integer", z.int().min(min), `a whole number of at least ${min}`)
    : kind("integer", z.int().min(min).max(max), `a whole number from ${min} to ${max}`);
const atLeastZero = kind("number", z.number().min(0), "a number of at least 0");
const aboveZero = kind("number", z.number().positive(), "a number above 0");
const fraction = kind("number", z.number().min(0).lt(1), "a number of at least 0 and below 1");
const share = kind("number", z.number().positive().max(1), "a number above 0 and at most 1");
const flag = kind("boolean", z.boolean(), "true or false");
const text = kind("text", z.string(), "text");
const folder = kind("text", z.string().trim().min(1), "the path of a folder");
const name = kind("text", z.string().regex(/^(?!\.)[\w.-]+$/), "a name of letters, digits, _, - and .");
const choice = (...choices: string[]): Kind => kind("choice", z.enum(choices), choices.join(", "));

const initFrom = choice("scratch", "resume", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl");
const device = choice("auto", "cpu", "cuda");
const dtype = choice("auto", "float32", "bfloat16", "float16");
const seed = integer(0, 0xffff_ffff);

const row =
  (group: string) =>
  <T extends SettingRow["default"]>(kind: Kind, value: T, unit: string, doc: string): SettingRow & { default: T } => ({
    group,
    ...kind,
    default: value,
    unit,
    doc,
  });
const run = row("Run");
const model = row("Model");
const evaluation = row("Evaluation and log");
const batch = row("Batch");
const optimizer = row("Optimizer");
const rate = row("Learning rate");
const machine = row("Machine");
const wandb = row("Weights & Biases");
const samples = row("Samples");

const deviceDoc = "Where to compute; auto: the GPU where there is one.";
const dtypeDoc = "Number format of the matrix products; auto: float32.";

// biome-ignore format: a table reads best as a table
const trainRows: { readonly [K in keyof Settings]: SettingRow & { readonly default: Settings[K] } } = {
  outDir: run(folder, "out", "", "Folder of the run: settings, log, checkpoints."),
  dataDir: run(folder, "data", "", "Folder of the prepared datasets."),
  dataset: run(name, "openwebtext", "", "Name of the dataset, a folder in dataDir."),
  initFrom: run(initFrom, "scratch" as InitFrom, "", "Start from new weights (scratch) or go on from the last checkpoint in outDir (resume)."),
  overwrite: run(flag, false, "", "Replace the run that outDir holds; false: fail rather than lose it."),
  seed: run(seed, 1337, "", "Seed of weights, batches, dropout and evaluation."),

  nLayer: model(integer(1), 12, "blocks", "Transformer blocks, one after the other."),
  nHead: model(integer(1), 12, "heads", "Attention heads in each block; must divide nEmbd."),
  nEmbd: model(integer(1), 768, "features", "Width of the model: features of a token's vector."),
  blockSize: model(integer(1), 1024, "tokens", "Longest context the model sees."),
  vocabSize: model(integer(0), 0, "ids", "Ids the model knows; 0: as many as the dataset has."),
  dropout: model(fraction, 0, "share", "Share of activations set to zero while training."),
  bias: model(flag, false, "", "Biases in linear layers and layer norms, as GPT-2 has."),
  tieHead: model(flag, true, "", "The output head shares the token embedding's weights."),
  gelu: model(choice("erf", "tanh"), "erf" as "erf" | "tanh", "", "Activation of the MLP: erf as in PyTorch and nanoGPT, tanh as in GPT-2 and Hugging Face."),

  evalInterval: evaluation(integer(1), 2000, "steps", "Distance between two evaluations, each with a checkpoint."),
  logInterval: evaluation(integer(1), 1, "steps", "Distance between two log lines."),
  evalIters: evaluation(integer(1), 200, "batches", "Batches that estimate a split's loss."),
  evalOnly: evaluation(flag, false, "", "Evaluate once, then stop."),
  alwaysSaveCheckpoint: evaluation(flag, true, "", "Save at each evaluation, not only when the validation loss is the best so far."),

  gradientAccumulationSteps: batch(integer(1), 40, "micro-batches", "Micro-batches whose gradients are averaged into one step."),
  batchSize: batch(integer(1), 12, "sequences", "Sequences in a micro-batch."),

  maxIters: optimizer(integer(0), 600_000, "steps", "Training steps in all."),
  weightDecay: optimizer(atLeastZero, 0.1, "", "AdamW's decay, on parameters of two or more dimensions."),
  beta1: optimizer(fraction, 0.9, "", "AdamW's memory of the gradient."),
  beta2: optimizer(fraction, 0.95, "", "AdamW's memory of the squared gradient."),
  gradClip: optimizer(atLeastZero, 1, "norm", "Largest norm of the whole gradient; 0: no clipping."),

  learningRate: rate(atLeastZero, 6e-4, "", "Highest learning rate, reached after the warm-up."),
  decayLr: rate(flag, true, "", "Follow the schedule; false: learningRate throughout, without warm-up."),
  schedule: rate(choice("cosine", "linear", "constant", "wsd"), "cosine" as Schedule, "", "Shape of the learning rate after the warm-up; wsd: constant, then a decay at the end."),
  warmupIters: rate(integer(0), 2000, "steps", "Length of the linear warm-up."),
  lrDecayIters: rate(integer(1), 600_000, "steps", "Step at which the learning rate has come down to minLr."),
  minLr: rate(atLeastZero, 6e-5, "", "Lowest learning rate; nanoGPT takes a tenth of learningRate."),
  decayFraction: rate(share, 0.2, "share", "Share of lrDecayIters in which a wsd schedule decays."),

  device: machine(device, "auto" as Device, "", deviceDoc),
  dtype: machine(dtype, "auto" as Dtype, "", dtypeDoc),
  compile: machine(flag, true, "", "Trace the step into one TensorFlow graph; false: eager, for stepping through."),

  wandbLog: wandb(flag, false, "", "Log to Weights & Biases (accepted as nanoGPT's name, not available yet)."),
  wandbProject: wandb(text, "owt", "", "Project at Weights & Biases."),
  wandbRunName: wandb(text, "gpt2", "", "Name of the run at Weights & Biases."),
};

// biome-ignore format: a table reads best as a table
const sampleRows: { readonly [K in keyof SampleSettings]: SettingRow & { readonly default: SampleSettings[K] } } = {
  outDir: run(folder, "out", "", "Folder of the run to sample from."),
  initFrom: run(initFrom, "resume" as InitFrom, "", "Sample from the run in outDir (resume)."),

  start: samples(text, "\n", "", "Text to go on from, or FILE:path to read it from a file."),
  numSamples: samples(integer(1), 10, "samples", "Samples to write."),
  maxNewTokens: samples(integer(1), 500, "tokens", "Length of a sample."),
  temperature: samples(aboveZero, 0.8, "", "Below 1: more careful, above 1: more daring."),
  topK: samples(integer(0), 200, "tokens", "Only the k likeliest tokens are drawn; 0: all."),
  seed: samples(seed, 1337, "", "Seed of the draws."),

  device: machine(device, "auto" as Device, "", deviceDoc),
  dtype: machine(dtype, "auto" as Dtype, "", dtypeDoc),
  compile: machine(flag, true, "", "Trace the step into one TensorFlow graph; false: eager."),
};

/** The rows of a settings table by key, in the order in which help prints them. */
export function settingRows(kind: SettingsKind): Readonly<Record<string, SettingRow>> {
  return kind === "train" ? trainRows : sampleRows;
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

/** The setting that a key names, in any of its three spellings. @throws RangeError naming the nearest key. */
export function resolveKey(kind: SettingsKind, key: string, action = "Cannot read the settings"): string {
  const rows = settingRows(kind);
  const camel = camelCase(key);
  if (Object.hasOwn(rows, camel)) return camel;
  const other = kind === "train" ? "sample" : "train";
  if (Object.hasOwn(settingRows(other), camel)) {
    throw new RangeError(`${action}: ${key} is a setting of \`folio ${other}\`, not of \`folio ${kind}\`.`);
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
export function checkValue(kind: SettingsKind, key: string, value: unknown, action = "Cannot read the settings") {
  if (key === "topK" && value === null) return 0;
  const row = settingRows(kind)[key]!;
  if (row.accepts(value)) return value as SettingRow["default"];
  const rightType = typeof value === typeof row.default;
  const found = rightType ? quote(value) : `${quote(value)}, ${article(value)}`;
  const wanted = row.type === "choice" ? `one of ${row.wanted}` : row.wanted;
  const message = `${action}: ${key} is ${found}; wanted ${wanted}${row.unit && ` (${row.unit})`}.`;
  throw rightType ? new RangeError(message) : new TypeError(message);
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
 * Complete, checked settings of a training run: `base` (nanoGPT's defaults) with `overrides` on top, whose keys may be
 * written nLayer, n_layer or n-layer.
 * @throws TypeError for the wrong kind of value, RangeError for an unknown key (naming the nearest) or a wrong value.
 * @example parseSettings({ nLayer: 4, nHead: 4, nEmbd: 128 }).blockSize // 1024
 */
export function parseSettings(overrides: unknown = {}, base: Readonly<Settings> = defaultSettings): Readonly<Settings> {
  const settings = complete<Settings>("train", overrides, base);
  checkModelSettings(settings);
  checkStart(settings.initFrom, "train");
  checkSchedule(settings);
  if (settings.wandbLog) {
    throw new RangeError(
      "Cannot log to Weights & Biases: wandbLog is true, but Folio does not have it yet; leave wandbLog false (log.jsonl in outDir has every number).",
    );
  }
  return settings;
}

/** Complete, checked settings of sampling; as {@link parseSettings}. */
export function parseSampleSettings(
  overrides: unknown = {},
  base: Readonly<SampleSettings> = defaultSampleSettings,
): Readonly<SampleSettings> {
  const settings = complete<SampleSettings>("sample", overrides, base);
  checkStart(settings.initFrom, "sample");
  return settings;
}

/** nHead must divide nEmbd. @throws RangeError that names widths and head counts that fit. */
export function checkModelSettings({ nHead, nEmbd }: Pick<ModelSettings, "nHead" | "nEmbd">): void {
  if (nEmbd % nHead === 0) return;
  const below = Math.floor(nEmbd / nHead) * nHead;
  const widths = [below, below + nHead].filter((width) => width > 0).join(" or ");
  const divisors = Array.from({ length: nEmbd }, (_, i) => i + 1).filter((heads) => nEmbd % heads === 0);
  const near = [divisors.findLast((heads) => heads < nHead), divisors.find((heads) => heads > nHead)];
  const heads = near.filter((heads) => heads !== undefined).join(" or ");
  throw new RangeError(
    `Cannot build the model: nEmbd ${nEmbd} is not divisible by nHead ${nHead}; use nEmbd ${widths}, or nHead ${heads}.`,
  );
}

function checkStart(initFrom: InitFrom, kind: SettingsKind): void {
  const wanted = kind === "train" ? "scratch or resume" : "resume";
  if (initFrom.startsWith("gpt2")) {
    throw new RangeError(
      `Cannot start from ${initFrom}: Folio does not read GPT-2's weights yet; set initFrom to ${wanted}.`,
    );
  }
  if (kind === "sample" && initFrom === "scratch") {
    throw new RangeError("Cannot sample: initFrom is scratch, a model that has learnt nothing; set it to resume.");
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
