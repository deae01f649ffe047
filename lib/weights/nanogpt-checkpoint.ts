/**
 * Reads nanoGPT's ckpt.pt: the model's weights by Folio's names and layouts, and optionally AdamW's moments, so that a
 * run of nanoGPT can continue in Folio. torch-file.ts reads the file as data. Shown in notebook 05-gpt2.
 */

import type { HostState, HostTensor, HostTensors } from "../engine/host-tensors.js";
import { type ParameterSpec, parameterSpecs } from "../model/model.js";
import type { ModelShape } from "../settings/model.js";
import { openTorchFile, type TorchFile, TorchTensor } from "./torch-file.js";

/** A checkpoint of nanoGPT. */
export interface NanoGptCheckpoint {
  readonly model: ModelShape;
  readonly params: HostTensors;
  /** Updates done when it was saved. */
  readonly iterNum: number;
  readonly bestValLoss: number | null;
  /** nanoGPT's settings by its names: `learning_rate`, `dataset`, … */
  readonly config: Readonly<Record<string, number | string | boolean>>;
  /** AdamW's state in groups by PyTorch's names, `exp_avg` and `exp_avg_sq`; if requested and present. */
  readonly optimizer: HostState | undefined;
}

/**
 * Reads a checkpoint of nanoGPT.
 * @param options.optimizer read AdamW's moments too; they take twice the memory of the weights
 * @param options.gelu not stored in the file: nanoGPT's is erf (default), that of its first versions was tanh
 * @throws {Error} if the file is damaged, is not a checkpoint of nanoGPT, or names a function to call
 */
export function readNanoGptCheckpoint(
  path: string,
  { optimizer = false, gelu = "erf" }: { optimizer?: boolean; gelu?: ModelShape["gelu"] } = {},
): NanoGptCheckpoint {
  return reading(path, ({ checkpoint, file, fail }) => {
    const { weights, model } = describe(checkpoint, file, fail);
    const specs = parameterSpecs({ ...model, gelu });
    checkNames(weights, specs, fail);
    const params = readAll(specs, file, ({ name }) => weights.get(name) ?? fail(`its model lacks ${name}`), fail);
    const step = scalar(checkpoint.get("iter_num"), file);
    const best = scalar(checkpoint.get("best_val_loss"), file);
    const state = optimizer ? checkpoint.get("optimizer") : undefined;
    return {
      model: { ...model, gelu },
      params,
      iterNum: step ?? fail("it has no iter_num"),
      bestValLoss: best === undefined || best >= 1e9 ? null : best, // 1e9: nanoGPT's "not evaluated yet"
      config: plainValues(checkpoint.get("config")),
      optimizer: state ? readMoments(asMap(state, "optimizer", fail), { specs, weights, file, fail }) : undefined,
    };
  });
}

/** The shape and settings of a checkpoint of nanoGPT, without its tensors. @throws as readNanoGptCheckpoint */
export function readNanoGptSettings(path: string): Pick<NanoGptCheckpoint, "model" | "config"> {
  return reading(path, ({ checkpoint, file, fail }) => ({
    model: { ...describe(checkpoint, file, fail).model, gelu: "erf" },
    config: plainValues(checkpoint.get("config")),
  }));
}

interface Reading {
  readonly checkpoint: ReadonlyMap<unknown, unknown>;
  readonly file: TorchFile;
  readonly fail: Fail;
}

function reading<T>(path: string, use: (opened: Reading) => T): T {
  const file = openTorchFile(path);
  try {
    const fail = (found: string): never => {
      throw new Error(`Cannot read ${path}: ${found}; wanted a checkpoint that nanoGPT's train.py saved.`);
    };
    return use({ checkpoint: asMap(file.value, "what was saved", fail), file, fail });
  } finally {
    file.close();
  }
}

function describe(checkpoint: Reading["checkpoint"], file: TorchFile, fail: Fail) {
  const weights = modelWeights(asMap(checkpoint.get("model"), "model", fail), fail);
  const args = asMap(checkpoint.get("model_args"), "model_args", fail);
  return { weights, model: modelShape(args, weights, { file, fail }) };
}

type Fail = (found: string) => never;
type Weights = ReadonlyMap<string, TorchTensor>;

function asMap(value: unknown, name: string, fail: Fail): ReadonlyMap<unknown, unknown> {
  return value instanceof Map ? value : fail(`${name} is not a dictionary`);
}

/** The state dictionary by Folio's names, without the attention masks that older versions stored. */
function modelWeights(state: ReadonlyMap<unknown, unknown>, fail: Fail): Weights {
  const weights = new Map<string, TorchTensor>();
  for (const [key, tensor] of state) {
    if (typeof key !== "string" || !(tensor instanceof TorchTensor))
      return fail("its model has an entry that is not a tensor");
    // torch.compile and DistributedDataParallel add prefixes to nanoGPT's names.
    const name = key.replace(/^(?:_orig_mod\.|module\.)*(?:transformer\.)?/, "");
    if (!/^h\.\d+\.attn\.(?:masked_)?bias$/.test(name)) weights.set(name, tensor);
  }
  return weights;
}

/** The shape from the tensors, which cannot be wrong; only the number of heads is not in them. */
function modelShape(
  args: ReadonlyMap<unknown, unknown>,
  weights: Weights,
  { file, fail }: { file: TorchFile; fail: Fail },
): Omit<ModelShape, "gelu"> {
  const [vocabSize, nEmbd] = weights.get("wte.weight")?.shape ?? [];
  const blockSize = weights.get("wpe.weight")?.shape[0];
  const nHead = args.get("n_head");
  if (!vocabSize || !nEmbd || !blockSize) return fail("its model has no tables wte and wpe");
  if (!Number.isSafeInteger(nHead) || nEmbd % (nHead as number) !== 0) return fail(`its n_head is ${nHead}`);
  const nLayer = new Set([...weights.keys()].map((name) => /^h\.(\d+)\./.exec(name)?.[1]).filter(Boolean)).size;
  checkArguments(args, { n_layer: nLayer, n_embd: nEmbd, block_size: blockSize, vocab_size: vocabSize }, fail);
  return {
    nLayer,
    nHead: nHead as number,
    nEmbd,
    blockSize,
    vocabSize,
    bias: weights.has("ln_f.bias"),
    tieHead: isTied(weights.get("wte.weight")!, weights.get("lm_head.weight"), file),
  };
}

/**
 * Checks that model_args describe the same model as the tensors; otherwise the file was edited. An unknown argument
 * means that the model is another program's.
 */
function checkArguments(
  args: ReadonlyMap<unknown, unknown>,
  found: Readonly<Record<string, number>>,
  fail: Fail,
): void {
  const own = [...Object.keys(found), "n_head", "bias", "dropout"];
  const stray = [...args.keys()].find((key) => !own.includes(String(key)));
  if (stray !== undefined) {
    fail(`its model_args have ${printed(stray)}, which nanoGPT's GPT does not have: it is another model`);
  }
  for (const [key, value] of Object.entries(found)) {
    const told = args.get(key);
    if (told !== undefined && told !== null && told !== value) {
      fail(`its model_args say ${key} ${printed(told)}, but its tensors have ${value}`);
    }
  }
}

const printed = (value: unknown): string =>
  String(value)
    .replace(/[^\w .<>-]/g, "?")
    .slice(0, 40);

/** Whether the head is the token table. In nanoGPT it is, but a file may contain the table twice. */
function isTied(table: TorchTensor, head: TorchTensor | undefined, file: TorchFile): boolean {
  if (!head || (head.storage.key === table.storage.key && head.offset === table.offset)) return true;
  if (head.shape.join() !== table.shape.join()) return false;
  const [a, b] = [file.read(table).values, file.read(head).values];
  return a.every((value, i) => value === b[i]);
}

function checkNames(weights: Weights, specs: readonly ParameterSpec[], fail: Fail): void {
  const known = new Set([...specs.map(({ name }) => name), "lm_head.weight"]);
  const stray = [...weights.keys()].find((name) => !known.has(name));
  if (stray) fail(`its model has the unknown tensor ${stray.slice(0, 80)}`);
}

/** PyTorch's Linear stores [out, in], GPT-2's Conv1D and Folio [in, out]. Tables are the same in both. */
const isLinear = (name: string) => /\.c_\w+\.weight$/.test(name);

function readAll(
  specs: readonly ParameterSpec[],
  file: TorchFile,
  find: (spec: ParameterSpec) => TorchTensor,
  fail: Fail,
): HostTensors {
  const read = specs.map((spec): [string, HostTensor] => {
    const tensor = find(spec);
    const transposed = isLinear(spec.name);
    const found = transposed ? [...tensor.shape].reverse() : tensor.shape;
    if (found.join() !== spec.shape.join()) {
      fail(`its ${spec.name} has the shape [${tensor.shape}], but its other tensors require [${spec.shape}]`);
    }
    return [spec.name, file.read(tensor, { transposed })];
  });
  return Object.fromEntries(read);
}

interface Moments {
  readonly specs: readonly ParameterSpec[];
  readonly weights: Weights;
  readonly file: TorchFile;
  readonly fail: Fail;
}

/**
 * AdamW's state numbers the parameters: matrices before vectors, each in the model's order or, in nanoGPT's first
 * versions, in alphabetical order.
 */
function readMoments(optimizer: ReadonlyMap<unknown, unknown>, { specs, weights, file, fail }: Moments) {
  const state = asMap(optimizer.get("state"), "the optimizer's state", fail);
  if (state.size === 0) return undefined; // saved before the first update
  const entry = (index: number) => asMap(state.get(index), `the optimizer's state of parameter ${index}`, fail);
  const tensor = (index: number, name: string) => {
    const found = entry(index).get(name);
    return found instanceof TorchTensor ? found : fail(`the optimizer has no ${name} of parameter ${index}`);
  };
  const inFile = [...weights.keys()].filter((name) => specs.some((spec) => spec.name === name));
  const grouped = (names: readonly string[]) =>
    [true, false].flatMap((decays) => names.filter((name) => decays === weights.get(name)!.shape.length > 1));
  const fits = (names: readonly string[]) =>
    names.length === state.size &&
    names.every((name, index) => tensor(index, "exp_avg").shape.join() === weights.get(name)!.shape.join());
  const alphabetic = inFile.map((name) => (name === "lm_head.weight" ? name : `transformer.${name}`)).sort();
  const orders = [grouped(inFile), grouped(alphabetic.map((name) => name.replace("transformer.", "")))];
  const names = orders.find(fits) ?? fail("its optimizer's state does not fit its model");
  const index = new Map(names.map((name, i) => [name, i]));
  const read = (moment: string) => readAll(specs, file, ({ name }) => tensor(index.get(name)!, moment), fail);
  return { exp_avg: read("exp_avg"), exp_avg_sq: read("exp_avg_sq") };
}

/** A number, or the value of a tensor with one element. */
function scalar(value: unknown, file: TorchFile): number | undefined {
  if (typeof value === "number") return value;
  if (!(value instanceof TorchTensor) || value.shape.some((axis) => axis !== 1)) return undefined;
  return file.read(value).values[0];
}

function plainValues(config: unknown): Record<string, number | string | boolean> {
  const entries = config instanceof Map ? [...config] : [];
  return Object.fromEntries(
    entries.filter(([key, value]) => typeof key === "string" && ["number", "string", "boolean"].includes(typeof value)),
  );
}
