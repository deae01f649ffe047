import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { writeDataset } from "../../lib/data/batches.js";
import { charTokenizer, type TokenizerSpec } from "../../lib/data/tokenizers/tokenizer.js";
import { float32, type HostTensors, int32 } from "../../lib/engine/host-tensors.js";
import { openSession } from "../../lib/engine/session.js";
import { forward } from "../../lib/model/model.js";
import { defaultSettings, type Settings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { readFolderTensors } from "../../lib/weights/folder-tensors.js";
import { readGpt2Folder, writeGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { loadPretrained } from "../../lib/weights/open-weights.js";
import { cropBlockSize, type Pretrained, padVocabulary } from "../../lib/weights/pretrained.js";
import { readSafetensors, writeSafetensors } from "../../lib/weights/safetensors.js";
import { temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

// Written by transformers; test/golden/make-gpt2.py has the model.
const golden = fileURLToPath(new URL("../golden/gpt2/", import.meta.url));
const hf = path.join(golden, "hf");
const index: { hf: { ids: number[][]; logits: number[][][]; greedy: number[] } } = JSON.parse(
  fs.readFileSync(path.join(golden, "index.json"), "utf8"),
);
const folder = temporaryFolder();
let folders = 0;

/** A copy of the folder with another config.json and with tensors changed by `change`. */
function changed(config: object, change: (tensors: HostTensors) => HostTensors = (tensors) => tensors): string {
  const target = path.join(folder, `model-${folders++}`);
  fs.mkdirSync(target);
  const json = JSON.parse(fs.readFileSync(path.join(hf, "config.json"), "utf8")) as object;
  fs.writeFileSync(path.join(target, "config.json"), JSON.stringify({ ...json, ...config }));
  const tensors = readSafetensors(path.join(hf, "model.safetensors"));
  writeSafetensors(path.join(target, "model.safetensors"), change(tensors));
  return target;
}

async function logitsOf({ params, model }: Pick<Pretrained, "params" | "model">, ids: number[][], compile = false) {
  const session = await openSession({ params }, { compile });
  try {
    const run = session.define(({ params }, { ids }) => ({
      outputs: { logits: forward(params!, ids as tf.Tensor2D, { ...defaultSettings, ...model }).logits },
    }));
    return [...(await run({ ids: int32(ids.flat(), [ids.length, ids[0]!.length]) })).logits!.values];
  } finally {
    session.dispose();
  }
}
const difference = (a: readonly number[], b: readonly number[]) =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

describe("readGpt2Folder()", () => {
  test("gives the logits of transformers to 1e-4, eager and compiled", async () => {
    const read = readGpt2Folder(hf);
    expect(read.model).toEqual({
      ...{ nLayer: 2, nHead: 4, nEmbd: 16, blockSize: 16, vocabSize: 41, bias: true, tieHead: true, gelu: "tanh" },
    });
    expect(read.tokenizer).toBe(undefined);
    for (const compile of [false, true]) {
      expect(difference(await logitsOf(read, index.hf.ids, compile), index.hf.logits.flat(2))).toBeLessThan(1e-4);
    }
  });

  test("continues greedily with the same ids as transformers", async () => {
    const read = readGpt2Folder(hf);
    const ids = index.hf.greedy.slice(0, 4);
    while (ids.length < index.hf.greedy.length) {
      const last = (await logitsOf(read, [ids])).slice(-41);
      ids.push(last.indexOf(Math.max(...last)));
    }
    expect(ids).toEqual(index.hf.greedy);
  });

  test("reads names without a prefix, masks and an untied head, as in OpenAI's upload", () => {
    const { params } = readGpt2Folder(hf);
    const target = changed({}, (tensors) => ({
      ...Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name.replace("transformer.", ""), t])),
      "h.0.attn.bias": { dtype: "bool", shape: [1, 1, 2, 2], values: Uint8Array.of(1, 0, 1, 1) },
      "h.0.attn.masked_bias": float32([-1e4], []),
      "lm_head.weight": tensors["transformer.wte.weight"]!,
    }));
    expect(readGpt2Folder(target).params).toEqual(params);
  });

  test("reads an untied head, erf-GELU, and 16-bit weights", () => {
    const head = float32(
      Float32Array.from({ length: 41 * 16 }, (_, i) => i / 8),
      [41, 16],
    );
    const untied = changed({ tie_word_embeddings: false, activation_function: "gelu" }, (t) => ({
      ...t,
      "lm_head.weight": head,
    }));
    const { model, params } = readGpt2Folder(untied);
    expect([model.tieHead, model.gelu]).toEqual([false, "erf"]);
    expect(params["lm_head.weight"]).toEqual(head);
    const half = path.join(untied, "model.safetensors");
    fs.rmSync(half);
    writeSafetensors(half, params, {}, { floats: "bfloat16" });
    const rounded = readGpt2Folder(untied).params;
    const [from, to] = ["h.0.mlp.c_fc.weight"].flatMap((name) => [params[name]!.values, rounded[name]!.values]);
    expect(to!.every((value, i) => Math.abs(value - from![i]!) <= Math.abs(from![i]!) / 256)).toBe(true);
  });

  test("reads shards, but none outside the folder", () => {
    const { params } = readGpt2Folder(hf);
    const target = changed({});
    const whole = path.join(target, "model.safetensors");
    const tensors = Object.entries(readSafetensors(whole));
    fs.rmSync(whole);
    const map: Record<string, string> = {};
    for (const [i, part] of [tensors.slice(0, 9), tensors.slice(9)].entries()) {
      const name = `model-0000${i + 1}-of-00002.safetensors`;
      writeSafetensors(path.join(target, name), Object.fromEntries(part));
      for (const [tensor] of part) map[tensor] = name;
    }
    const write = (weight_map: unknown) =>
      fs.writeFileSync(path.join(target, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
    write(map);
    expect(readGpt2Folder(target).params).toEqual(params);
    write({ a: "../elsewhere.safetensors" });
    expect(() => readGpt2Folder(target)).toThrow('it names "../elsewhere.safetensors", which is not a file beside it.');
    write([]);
    expect(() => readGpt2Folder(target)).toThrow("it has no weight_map");
  });

  test("recognizes GPT-2's vocabulary by its size, padded or not", () => {
    expect(readGpt2Folder(tinyFolder(50_304)).tokenizer).toEqual({ kind: "gpt2" });
    expect(readGpt2Folder(tinyFolder(50_305)).tokenizer).toBe(undefined);
  });

  const wrong: Record<string, [target: string, message: string]> = {
    "a folder without config.json": [golden, "it is missing; wanted a folder with config.json and model.safetensors"],
    "another kind of model": [
      changed({ model_type: "llama" }),
      'config.json: model_type: Invalid input: expected "gpt2"',
    ],
    "an activation that is not GPT-2's": [changed({ activation_function: "relu" }), "activation_function"],
    "another epsilon": [changed({ layer_norm_epsilon: 1e-6 }), "layer_norm_epsilon"],
    "scores that are not scaled": [changed({ scale_attn_weights: false }), "scale_attn_weights"],
    "a narrow MLP": [changed({ n_inner: 32 }), "n_inner is 32; wanted 4 × n_embd = 64"],
    "heads that do not divide": [changed({ n_head: 5 }), "n_embd 16 is not divisible by n_head 5"],
    "more layers than tensors": [
      changed({ n_layer: 3 }),
      "h.2.ln_1.weight is missing; its config.json requires float32 [16]",
    ],
    "another vocabulary": [
      changed({ vocab_size: 40 }),
      "wte.weight is float32 [41,16]; its config.json requires float32 [40,16]",
    ],
    "a head that is not there": [changed({ tie_word_embeddings: false }), "lm_head.weight is missing"],
  };
  for (const [name, [target, message]] of Object.entries(wrong)) {
    test(`refuses ${name}`, () => expect(() => readGpt2Folder(target)).toThrow(message));
  }
});

/** A model of one layer, 4 features and this vocabulary, exported. */
function tinyFolder(vocabSize: number): string {
  const target = path.join(folder, `tiny-${folders++}`);
  const model = {
    nLayer: 1,
    nHead: 1,
    nEmbd: 4,
    blockSize: 16,
    vocabSize,
    bias: false,
    tieHead: true,
    gelu: "erf",
  } as const;
  writeGpt2Folder(target, { params: tinyParameters(vocabSize), model, tokenizer: undefined });
  return target;
}
function tinyParameters(vocabSize: number): HostTensors {
  const shapes = {
    "wte.weight": [vocabSize, 4],
    "wpe.weight": [16, 4],
    ...{ "h.0.ln_1.weight": [4], "h.0.attn.c_attn.weight": [4, 12], "h.0.attn.c_proj.weight": [4, 4] },
    ...{ "h.0.ln_2.weight": [4], "h.0.mlp.c_fc.weight": [4, 16], "h.0.mlp.c_proj.weight": [16, 4], "ln_f.weight": [4] },
  };
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const count = shape.reduce((product, axis) => product * axis, 1);
      return [
        name,
        float32(
          Float32Array.from({ length: count }, (_, i) => Math.sin(i + name.length)),
          shape,
        ),
      ];
    }),
  );
}

describe("cropBlockSize() and padVocabulary()", () => {
  test("with fewer positions, keep the logits of short texts", async () => {
    const read = readGpt2Folder(hf);
    const cropped = cropBlockSize(read, 9);
    expect(cropped.params["wpe.weight"]!.shape).toEqual([9, 16]);
    expect(await logitsOf(cropped, index.hf.ids)).toEqual(await logitsOf(read, index.hf.ids));
    expect(cropBlockSize(read, 16)).toBe(read);
    expect(() => cropBlockSize(read, 17)).toThrow("blockSize is 17, but it has 16 positions");
  });

  test("with more ids, keep the other logits; a new id's logit is their mean", async () => {
    const read = readGpt2Folder(hf);
    expect(padVocabulary(read, read.model.vocabSize)).toBe(read);
    const padded = padVocabulary(read, 64);
    const [before, after] = [await logitsOf(read, [[1, 2, 3]]), await logitsOf(padded, [[1, 2, 3]])];
    for (let position = 0; position < 3; position++) {
      const own = before.slice(41 * position, 41 * (position + 1));
      const all = after.slice(64 * position, 64 * (position + 1));
      expect(difference(all.slice(0, 41), own)).toBeLessThan(1e-6);
      const mean = own.reduce((sum, value) => sum + value, 0) / 41;
      expect(difference(all.slice(41), Array(23).fill(mean))).toBeLessThan(1e-5);
    }
    expect(() => padVocabulary(read, 40)).toThrow("vocabSize is 40, but it has 41 ids");
  });
});

test.each(["hf", "bin"])("readFolderTensors() reads only the tensors that are wanted: %s", (kind) => {
  const from = path.join(golden, kind);
  const all = Object.keys(readFolderTensors(from, () => true));
  expect(all.length).toBeGreaterThan(20);
  const wanted = all.filter((name) => name.endsWith("ln_1.weight"));
  expect(wanted).toHaveLength(2);
  const some = readFolderTensors(from, (name) => name.endsWith("ln_1.weight"));
  expect(Object.keys(some).sort()).toEqual(wanted.sort());
});

describe("writeGpt2Folder()", () => {
  test("writes weights, shape and tokenizer that are read back unchanged", () => {
    const read = readGpt2Folder(hf);
    const tokenizer = charTokenizer("abc").toJSON();
    const target = path.join(folder, "again");
    writeGpt2Folder(target, { ...read, tokenizer });
    expect(readGpt2Folder(target)).toEqual({ ...read, tokenizer });
    const stored = JSON.parse(fs.readFileSync(path.join(target, "config.json"), "utf8")) as Record<string, unknown>;
    const original = JSON.parse(fs.readFileSync(path.join(hf, "config.json"), "utf8")) as Record<string, unknown>;
    for (const key of [
      "architectures",
      "activation_function",
      "n_positions",
      "vocab_size",
      "layer_norm_epsilon",
      "n_inner",
    ]) {
      expect(stored[key], key).toEqual(original[key]);
    }
  });

  test("names the token that ends a text in both files, where the tokenizer has one", () => {
    const read = readGpt2Folder(hf);
    const ends = (tokenizer: TokenizerSpec) => {
      const target = path.join(folder, `ends-${folders++}`);
      writeGpt2Folder(target, { ...read, tokenizer });
      return ["config.json", "generation_config.json"].map((name) => {
        const { bos_token_id, eos_token_id } = JSON.parse(fs.readFileSync(path.join(target, name), "utf8"));
        return [bos_token_id, eos_token_id];
      });
    };
    expect(ends(charTokenizer("abc").toJSON())).toEqual(Array(2).fill([null, null]));
    expect(ends({ kind: "gpt2" })).toEqual(Array(2).fill([50_256, 50_256]));
  });

  test("writes zeros for missing biases, with the same results", async () => {
    const model = {
      nLayer: 1,
      nHead: 1,
      nEmbd: 4,
      blockSize: 16,
      vocabSize: 23,
      bias: false,
      tieHead: true,
      gelu: "erf",
    } as const;
    const before = await logitsOf({ params: tinyParameters(23), model }, [[5, 6, 7]]);
    const read = readGpt2Folder(tinyFolder(23));
    expect(read.model).toEqual({ ...model, bias: true });
    expect(difference(await logitsOf(read, [[5, 6, 7]]), before)).toBeLessThan(1e-6);
  });

  test("refuses a non-empty folder and missing parameters, and leaves nothing half-written", () => {
    const read = readGpt2Folder(hf);
    expect(() => writeGpt2Folder(hf, read)).toThrow("it exists already; remove it, or name another folder");
    const { "wte.weight": _, ...params } = read.params;
    const target = path.join(folder, "lacking");
    expect(() => writeGpt2Folder(target, { ...read, params })).toThrow(
      "the parameter wte.weight is missing; wanted [41,16]",
    );
    expect(fs.existsSync(target)).toBe(false);
    expect(fs.readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
  });
});

describe("train() from other weights", () => {
  const dataDir = path.join(folder, "train");
  const settings = (initFrom: string, more: Partial<Settings> = {}) =>
    tinySettings(dataDir, `out-${folders++}`, { initFrom, dataset: "small", learningRate: 0, minLr: 0, ...more });
  const tokenizer = charTokenizer("abcdefghijk");
  const ids = Uint32Array.from({ length: 60 }, (_, i) => (i * i) % 11);
  writeDataset(dataDir, { name: "small", tokenizer, train: ids, val: ids });
  // The same number of ids as in the Hugging Face folder, whose tokenizer is unknown.
  const more = charTokenizer("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno");
  writeDataset(dataDir, { name: "large", tokenizer: more, train: ids, val: ids });

  for (const [name, file, dataset] of [
    ["a Hugging Face folder", "hf", "large"],
    ["nanoGPT's ckpt.pt", "ckpt.pt", "small"],
  ] as const) {
    test(`starts with those of ${name}, cropped`, async () => {
      const source = path.join(golden, file);
      const own = settings(source, { dataset, blockSize: 5, maxIters: 1 });
      for await (const _ of train(own)) void _;
      const wanted = await loadPretrained(source, { blockSize: 5 });
      const { params, settings: found } = openCheckpoint(own.outDir);
      expect(params).toEqual(wanted.params);
      expect(found).toMatchObject(wanted.model);
    });
  }

  test("pads the vocabulary to vocabSize", async () => {
    const own = settings(path.join(golden, "ckpt.pt"), { blockSize: 6, vocabSize: 16, maxIters: 1 });
    for await (const _ of train(own)) void _;
    expect(openCheckpoint(own.outDir).params["wte.weight"]!.shape).toEqual([16, 8]);
  });
});

describe("loadPretrained()", () => {
  const dataDir = process.env.FOLIO_DATA_DIR;
  beforeEach(() => {
    process.env.FOLIO_DATA_DIR = path.join(folder, "offered");
  });
  afterEach(() => {
    if (dataDir === undefined) delete process.env.FOLIO_DATA_DIR;
    else process.env.FOLIO_DATA_DIR = dataDir;
  });

  test("reads a Hugging Face folder, cropped and padded", async () => {
    const { model } = await loadPretrained(hf, { blockSize: 8, vocabSize: 48 });
    expect([model.blockSize, model.vocabSize]).toEqual([8, 48]);
  });

  test("takes gpt2 from FOLIO_DATA_DIR, without the network", async () => {
    const offered = path.join(folder, "offered", "gpt2");
    fs.cpSync(hf, offered, { recursive: true });
    const hubUrl = "http://127.0.0.1:2";
    expect((await loadPretrained("gpt2", { hubUrl })).params).toEqual(readGpt2Folder(hf).params);
    await expect(loadPretrained("gpt2-medium", { hubUrl, cacheDir: path.join(folder, "empty") })).rejects.toThrow(
      "Cannot ask http://127.0.0.1:2 for openai-community/gpt2-medium: connect ECONNREFUSED 127.0.0.1:2. Check the network",
    );
  });

  test("reads nanoGPT's ckpt.pt or its folder, with the tokenizer of its dataset", async () => {
    const file = path.join(golden, "ckpt.pt");
    const { model, tokenizer } = await loadPretrained(file, { dataDir: path.join(folder, "none") });
    expect([model.nLayer, model.bias, tokenizer]).toEqual([2, false, undefined]);
    const nanoGpt = path.join(folder, "nanoGPT");
    fs.mkdirSync(path.join(nanoGpt, "out"), { recursive: true });
    fs.copyFileSync(file, path.join(nanoGpt, "out", "ckpt.pt"));
    writeFox(path.join(nanoGpt, "data"), "shakespeare_char"); // 28 characters: more than the 11 ids of the model
    expect((await loadPretrained(path.join(nanoGpt, "out"))).tokenizer).toBe(undefined);
    fs.rmSync(path.join(nanoGpt, "data"), { recursive: true });
    const own = charTokenizer("abcdefghij\n");
    const ids = Uint32Array.from({ length: 40 }, (_, i) => i % 11);
    writeDataset(path.join(nanoGpt, "data"), { name: "shakespeare_char", tokenizer: own, train: ids, val: ids });
    expect((await loadPretrained(path.join(nanoGpt, "out"))).tokenizer).toEqual(own.toJSON());
  });

  test("reads a run's best checkpoint", async () => {
    writeFox(path.join(folder, "run"));
    const settings = tinySettings(path.join(folder, "run"), "out", { maxIters: 2 });
    for await (const _ of train(settings)) void _;
    const { model, tokenizer, params } = await loadPretrained(settings.outDir);
    expect([model.nEmbd, tokenizer?.kind, params["wte.weight"]!.shape]).toEqual([8, "char", [28, 8]]);
    expect(Object.keys(model)).toHaveLength(8);
  });

  test("says what it expects if nothing is found", async () => {
    await expect(loadPretrained("gpt-2")).rejects.toThrow("there is no such file or folder; wanted gpt2, gpt2-medium");
    await expect(loadPretrained("gpt-2")).rejects.toThrow("Did you mean gpt2?");
    await expect(loadPretrained(folder)).rejects.toThrow("the folder has no checkpoint, no config.json and no ckpt.pt");
  });
});
