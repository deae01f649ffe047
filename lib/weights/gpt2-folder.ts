/**
 * Reads and writes GPT-2 models as folders of Hugging Face's transformers (config.json and weights, in shards or not).
 * Folio's parameters have the same names and layouts. gpt2-hub.ts downloads a folder. Shown in notebooks/05-gpt2.
 */
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import * as z from "zod";
import { tokenizerFiles } from "../data/tokenizers/hugging-face.js";
import { readFolderTokenizer } from "../data/tokenizers/read-hugging-face.js";
import { type TokenizerSpec, tokenizerFromSpec } from "../data/tokenizers/tokenizer.js";
import { float32, type HostTensors } from "../engine/host-tensors.js";
import { parameterSpecs } from "../model/model.js";
import type { ModelShape } from "../settings/model.js";
import { largest } from "../settings/rows.js";

import { checkRange } from "./finite.js";
import { readFolderJson, readFolderTensors } from "./folder-tensors.js";
import type { Pretrained } from "./pretrained.js";
import { writeSafetensors } from "./safetensors.js";
import type { FloatFormat } from "./safetensors-bytes.js";

/** GPT-2's four sizes: 124 million, 355 million, 774 million and 1.6 billion parameters. */
export const gpt2Names = ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"] as const;
export type Gpt2Name = (typeof gpt2Names)[number];

const count = (most: number) => z.number().int().positive().max(most);
/** The fields of config.json that are used; absent ones have the defaults of transformers. */
const configSchema = z.object({
  model_type: z.literal("gpt2"),
  n_layer: count(largest.nLayer).default(12),
  n_head: count(largest.nHead).default(12),
  n_embd: count(largest.nEmbd).default(768),
  n_positions: count(largest.blockSize).default(1024),
  vocab_size: count(largest.vocabSize).default(50_257),
  n_inner: count(4 * largest.nEmbd).nullish(),
  activation_function: z.enum(["gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu"]).default("gelu_new"),
  layer_norm_epsilon: z.literal(1e-5).default(1e-5),
  tie_word_embeddings: z.boolean().default(true),
  scale_attn_weights: z.literal(true).default(true),
  scale_attn_by_inverse_layer_idx: z.literal(false).default(false),
  add_cross_attention: z.literal(false).default(false),
});

/**
 * Reads a Hugging Face folder of a GPT-2.
 * @throws {Error} if files are missing or damaged, the model is not a GPT-2, or its tensors do not agree with
 * config.json
 */
export function readGpt2Folder(folder: string): Pretrained {
  const described = readModelShape(path.join(folder, "config.json"));
  const wanted = new Set(parameterSpecs({ ...described, tieHead: false }).map(({ name }) => name));
  // Stored attention masks are not read.
  const tensors = readFolderTensors(folder, (name) => wanted.has(ownName(name)));
  const found: HostTensors = Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [ownName(name), tensor]),
  );
  // The weights decide: a head that differs from the token table is untied, whatever config.json says.
  const model = { ...described, tieHead: described.tieHead && !hasOwnHead(found) };
  const specs = parameterSpecs(model);
  const params = specs.map(({ name, shape }) => {
    const tensor = found[name];
    if (tensor?.dtype === "float32" && tensor.shape.join() === shape.join()) return [name, tensor] as const;
    const fault = tensor ? `${tensor.dtype} [${tensor.shape}]` : "missing";
    throw new Error(
      `Cannot read the model in ${folder}: ${name} is ${fault}; its config.json requires float32 [${shape}].`,
    );
  });
  return { params: Object.fromEntries(params), model, ...folderTokenizer(folder, model) };
}

function hasOwnHead({ "wte.weight": table, "lm_head.weight": head }: HostTensors): boolean {
  if (!table || !head) return false;
  return head.values.length !== table.values.length || head.values.some((value, at) => value !== table.values[at]);
}

/** Names in files of GPT2LMHeadModel have a prefix; those in OpenAI's upload have none. */
const ownName = (name: string) => name.replace(/^transformer\./, "");

function readModelShape(file: string): ModelShape {
  const parsed = configSchema.safeParse(readFolderJson(file));
  if (!parsed.success) {
    const { path: at, message } = parsed.error.issues[0]!;
    throw new Error(
      `Cannot read ${file}: ${at.join(".") || "the whole"}: ${message}; wanted the config.json of a GPT-2.`,
    );
  }
  const config = parsed.data;
  if (config.n_inner && config.n_inner !== 4 * config.n_embd) {
    throw new Error(`Cannot read ${file}: n_inner is ${config.n_inner}; wanted 4 × n_embd = ${4 * config.n_embd}.`);
  }
  if (config.n_embd % config.n_head !== 0) {
    throw new Error(`Cannot read ${file}: n_embd ${config.n_embd} is not divisible by n_head ${config.n_head}.`);
  }
  return {
    nLayer: config.n_layer,
    nHead: config.n_head,
    nEmbd: config.n_embd,
    blockSize: config.n_positions,
    vocabSize: config.vocab_size,
    bias: true,
    tieHead: config.tie_word_embeddings,
    gelu: config.activation_function === "gelu" ? "erf" : "tanh",
  };
}

/**
 * The folder's tokenizer; without tokenizer files, a vocabulary of GPT-2's size, padded or not, is assumed to be
 * GPT-2's.
 */
function folderTokenizer(folder: string, { vocabSize }: ModelShape): Pick<Pretrained, "tokenizer" | "tokenizerNotes"> {
  const { spec, unread } = readFolderTokenizer(folder);
  if (spec) {
    const ids = tokenizerFromSpec(spec).vocabSize;
    if (ids <= vocabSize) return { tokenizer: spec };
    throw new RangeError(
      `Cannot read the model in ${folder}: its tokenizer has ${ids} ids, but its config.json says vocab_size ${vocabSize}; save both again from the same model.`,
    );
  }
  if (unread !== undefined) {
    const how = `to get a tokenizer.json, run AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) in Python's transformers`;
    return { tokenizer: undefined, tokenizerNotes: [`${folder}/${unread} cannot be read; ${how}.`] };
  }
  if (vocabSize < 50_257 || vocabSize > 50_304) return { tokenizer: undefined };
  const guess = `${folder} has no tokenizer file: its ${vocabSize} ids are assumed to be GPT-2's. If they are not, put its tokenizer.json there.`;
  return { tokenizer: { kind: "gpt2" }, tokenizerNotes: [guess] };
}

/** The model to export as a Hugging Face folder. */
export interface Exported {
  readonly params: HostTensors;
  readonly model: ModelShape & { readonly dropout?: number };
  readonly tokenizer: TokenizerSpec | undefined;
}

/**
 * Writes a folder that `GPT2LMHeadModel.from_pretrained` and `AutoTokenizer.from_pretrained` load. GPT-2 has biases; a
 * model without biases is given zeros, which compute the same. The folder is written completely or not at all.
 * @param options.floats how weights are stored; default float32
 * @throws {Error} if the folder exists and is not empty, or cannot be written
 */
export function writeGpt2Folder(
  folder: string,
  { params, model, tokenizer }: Exported,
  { floats = "float32" }: { floats?: FloatFormat } = {},
): void {
  const there = fs.statSync(folder, { throwIfNoEntry: false });
  if (there && !(there.isDirectory() && fs.readdirSync(folder).length === 0)) {
    throw new Error(`Cannot export to ${folder}: it exists already; remove it, or name another folder.`);
  }
  const target = path.resolve(folder);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  // Written beside the folder under a similar name, by which the remains of a killed export are found and removed.
  const beside = (end: string) => path.join(path.dirname(target), `.${path.basename(target)}.partial${end}`);
  removeStale(path.dirname(target), path.basename(beside("-")));
  const partial = beside(`-${randomUUID()}`);
  try {
    fs.mkdirSync(partial);
    const { files, endOfText } = tokenizerFiles(tokenizer);
    const ends = { bos_token_id: endOfText ?? null, eos_token_id: endOfText ?? null };
    const json = {
      "config.json": { ...gpt2Config(model), ...ends, torch_dtype: floats },
      "generation_config.json": { ...ends, do_sample: true, temperature: 0.8 },
      "folio.json": { format: "folio-export", version: 1, tokenizer },
      ...files,
    };
    for (const [name, content] of Object.entries(json)) {
      const text = typeof content === "string" ? content : `${JSON.stringify(content, null, 2)}\n`;
      fs.writeFileSync(path.join(partial, name), text);
    }
    const tensors = gpt2Tensors(params, model);
    checkRange(tensors, floats);
    writeSafetensors(path.join(partial, "model.safetensors"), tensors, { format: "pt" }, { floats });
    if (there) fs.rmdirSync(target);
    fs.renameSync(partial, target);
  } catch (error) {
    fs.rmSync(partial, { recursive: true, force: true });
    throw new Error(`Cannot export to ${folder}: ${(error as Error).message}`, { cause: error });
  }
}

/** Removes the folders that killed exports to the same name left behind. */
function removeStale(folder: string, prefix: string): void {
  for (const name of fs.readdirSync(folder)) {
    if (name.startsWith(prefix)) fs.rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

function gpt2Config({ dropout = 0, ...model }: Exported["model"]): Record<string, unknown> {
  return {
    architectures: ["GPT2LMHeadModel"],
    model_type: "gpt2",
    vocab_size: model.vocabSize,
    n_positions: model.blockSize,
    n_embd: model.nEmbd,
    n_layer: model.nLayer,
    n_head: model.nHead,
    n_inner: null,
    activation_function: model.gelu === "tanh" ? "gelu_new" : "gelu",
    resid_pdrop: dropout,
    embd_pdrop: dropout,
    attn_pdrop: dropout,
    layer_norm_epsilon: 1e-5,
    initializer_range: 0.02,
    scale_attn_weights: true,
    use_cache: true,
    tie_word_embeddings: model.tieHead,
  };
}

/** The parameters by GPT2LMHeadModel's names. */
function gpt2Tensors(params: HostTensors, model: ModelShape): HostTensors {
  const specs = parameterSpecs({ ...model, bias: true });
  const entries = specs.map(({ name, shape }) => {
    const tensor = params[name];
    const isAbsentBias = !tensor && !model.bias && name.endsWith(".bias");
    if (tensor?.shape.join() !== shape.join() && !isAbsentBias) {
      throw new RangeError(`the parameter ${name} is ${tensor ? `[${tensor.shape}]` : "missing"}; wanted [${shape}].`);
    }
    const zeros = () => float32(new Float32Array(shape[0]!), shape);
    return [name.startsWith("lm_head") ? name : `transformer.${name}`, tensor ?? zeros()] as const;
  });
  return Object.fromEntries(entries);
}
