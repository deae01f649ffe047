/** All kinds of files that Folio reads, each with a valid example and its reader. */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { openDataset, writeDataset } from "../../lib/data/batches.js";
import { listSource, readPieces } from "../../lib/data/prepare/documents.js";
import { readParquetRows } from "../../lib/data/prepare/parquet-text.js";
import { readFolderTokenizer } from "../../lib/data/tokenizers/read-hugging-face.js";
import { charTokenizer, tokenizerFromSpec } from "../../lib/data/tokenizers/tokenizer.js";
import { readPickle } from "../../lib/host/python/pickle.js";
import { inspectRunLog, readRunSettings } from "../../lib/runs/run-folder.js";
import { readOverrides } from "../../lib/settings/config-files.js";
import { defaultSettings, parseSettings } from "../../lib/settings/settings.js";

import { openCheckpoint, saveCheckpoint } from "../../lib/weights/checkpoint.js";

import { readFolderTensors } from "../../lib/weights/folder-tensors.js";

import { readGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { readNanoGptCheckpoint } from "../../lib/weights/nanogpt-checkpoint.js";
import { readSafetensors } from "../../lib/weights/safetensors.js";
import { ownColumns, readTable, toPoints } from "../../scaling/read-points.js";
import { readNotebook } from "../notebooks/notebook.js";
import { scalingReaders } from "./scaling-readers.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const golden = (...at: string[]) => path.join(root, "test", "golden", ...at);

/** One kind of file. */
export interface Reader {
  readonly name: string;
  readonly kind: "bytes" | "text" | "json" | "lines";
  /** The valid file, in its own folder. */
  readonly file: string;
  /** Reads the file, with the other files in its folder. */
  read(file: string): unknown;
  /** The command that reads it. */
  command?(file: string): string[];
}

/** Makes the valid files in `folder`. */
export function readersIn(folder: string): Reader[] {
  const at = (...parts: string[]) => {
    const file = path.join(folder, ...parts);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    return file;
  };
  const written = (file: string, content: string | Buffer) => {
    fs.writeFileSync(at(file), content);
    return at(file);
  };
  return [
    ...settingsReaders(written),
    ...runReaders(folder, written),
    ...dataReaders(folder, written),
    ...modelReaders(at),
    ...tokenizerReaders(at),
    ...scalingReaders(folder, written),
  ];
}

export type Write = (file: string, content: string | Buffer) => string;

function settingsReaders(written: Write): Reader[] {
  const flags = ["--n_layer=4", "--n-head", "4", "--dropout=0.2", "--compile=False", "--dataset=fox", "--no-bias"];
  const python =
    "import time\nn_layer = 2 * 3 # blocks\nout_dir = 'out' + \"-x\\x41\"\ndropout: float = 1e-1\nbias = False\n";
  const json = { nLayer: 4, n_head: 4, dropout: 0.2, compile: false, dataset: "fox", schedule: "wsd", topK: null };
  const sizes = (file: string) => ["sizes", file, "--vocab_size=65"];
  const words = (file: string) => JSON.parse(fs.readFileSync(file, "utf8")) as unknown;
  return [
    {
      name: "flags",
      kind: "json",
      file: written("flags/flags.json", JSON.stringify(flags)),
      read: async (file) => {
        let args: unknown;
        try {
          args = words(file);
        } catch {
          return; // not JSON
        }
        const given = (Array.isArray(args) ? args : [args]).filter((arg) => typeof arg === "string");
        parseSettings((await readOverrides("train", given)).values);
      },
    },
    {
      name: "config file in Python",
      kind: "text",
      file: written("python/config.py", python),
      read: async (file) => parseSettings((await readOverrides("train", [file])).values),
      command: sizes,
    },
    {
      name: "config file in JSON",
      kind: "json",
      file: written("json/config.json", JSON.stringify(json)),
      read: async (file) => parseSettings((await readOverrides("train", [file])).values),
      command: sizes,
    },
  ];
}

const tinyText = "the quick brown fox jumps over the lazy dog\n".repeat(10);

function runReaders(folder: string, written: Write): Reader[] {
  const outDir = path.join(folder, "run");
  const model = { nLayer: 1, nHead: 1, nEmbd: 4, blockSize: 8, vocabSize: 28, tieHead: true };
  const settings = { ...defaultSettings, ...model, outDir, dataset: "fox" };
  const tensor = (shape: number[]) => ({
    dtype: "float32" as const,
    shape,
    values: new Float32Array(shape.reduce((all, size) => all * size, 1)),
  });
  const [C, V] = [model.nEmbd, model.vocabSize];
  const block = (name: string) => `h.0.${name}.weight`;
  const params = {
    "wte.weight": tensor([V, C]),
    "wpe.weight": tensor([model.blockSize, C]),
    [block("ln_1")]: tensor([C]),
    [block("attn.c_attn")]: tensor([C, 3 * C]),
    [block("attn.c_proj")]: tensor([C, C]),
    [block("ln_2")]: tensor([C]),
    [block("mlp.c_fc")]: tensor([C, 4 * C]),
    [block("mlp.c_proj")]: tensor([4 * C, C]),
    "ln_f.weight": tensor([C]),
  };
  const state = { runId: "0123456789abcdef", step: 3, evaluated: true, bestValLoss: 2, trainedMs: 5, tokens: 48 };
  const tokenizer = charTokenizer(tinyText).toJSON();
  const saved = saveCheckpoint(
    outDir,
    { ...state, settings, tokenizer, versions: { folio: "0" }, params, optimizer: { m: params, v: params } },
    { best: true },
  );
  const log = [
    { kind: "eval", step: 0, trainLoss: 3, valLoss: 3, learningRate: 1e-3, best: true },
    {
      kind: "iter",
      step: 0,
      loss: 3,
      learningRate: 1e-3,
      gradNorm: 1,
      elapsedMs: 5,
      tokens: 16,
      tokensPerSecond: 3200,
    },
    { kind: "checkpoint", step: 1, path: saved, best: false },
    { kind: "end", step: 1, reason: "finished", bestValLoss: 3, trainedMs: 5 },
  ];
  const inRun = (name: string, file: string, kind: Reader["kind"], read: () => unknown): Reader => ({
    ...{ name, kind, file, read },
    command: () => ["runs", outDir, "--json"],
  });
  const config = written("run/config.json", JSON.stringify(settings, null, 2));
  const logFile = written("run/log.jsonl", log.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const open = () => openCheckpoint(outDir);
  const sampled = (reader: Reader): Reader => ({
    ...reader,
    command: () => ["export", `--out_dir=${outDir}`, `--to=${path.join(folder, "exported")}`],
  });
  return [
    inRun("a run's settings", config, "json", () => readRunSettings(outDir)),
    inRun("a run's log", logFile, "lines", () => inspectRunLog(outDir)),
    sampled(inRun("a checkpoint's state", path.join(saved, "state.json"), "json", open)),
    sampled(inRun("a checkpoint's pointer", path.join(outDir, "checkpoint", "last"), "text", open)),
    sampled(inRun("a checkpoint's weights", path.join(saved, "model.safetensors"), "bytes", open)),
  ];
}

function dataReaders(folder: string, written: Write): Reader[] {
  const tokenizer = charTokenizer(tinyText);
  const ids = tokenizer.encode(tinyText);
  writeDataset(folder, { name: "fox", tokenizer, train: ids, val: ids });
  const prepare = (file: string) => ["prepare", "mine", `--from=${file}`, `--data_dir=${path.join(folder, "data")}`];
  const csv = "n,d,loss\n1e6,2e7,4.1\n2e6,4e7,3.7\n4e6,8e7,3.4\n8e6,16e7,3.1\n1.6e7,3.2e8,2.9\n";
  const pieces = async (file: string) => {
    const { files, single } = listSource(file);
    const options = { textKey: "text", ...(single && { cuts: [10] }) };
    for await (const piece of readPieces(files, { file: 0, offset: 0, document: 0 }, options)) void piece;
  };
  return [
    {
      name: "a dataset's description",
      kind: "json",
      file: path.join(folder, "fox", "meta.json"),
      read: () => openDataset(folder, "fox").close(),
      command: () => ["prepare", "--check", "fox", `--data_dir=${folder}`],
    },
    {
      name: "JSON lines",
      kind: "lines",
      file: written("jsonl/texts.jsonl", '{"text":"one é"}\n{"text":"two","id":2}\n\n{"id":3,"text":"three"}\n'),
      read: pieces,
      command: prepare,
    },
    {
      name: "a JSON array",
      kind: "json",
      file: written(
        "array/texts.json",
        JSON.stringify([{ text: "one [é]" }, { id: 2, text: 'two "}' }, "three"], null, 1),
      ),
      read: pieces,
      command: prepare,
    },
    { name: "text", kind: "text", file: written("text/text.txt", tinyText), read: pieces, command: prepare },
    {
      name: "Parquet, its text",
      kind: "bytes",
      file: written("parquet/text.parquet", fs.readFileSync(golden("parquet", "train-00000-of-00003.parquet"))),
      read: async (file) => {
        for await (const row of readParquetRows(file, "text", 0)) void row;
      },
      command: prepare,
    },
    {
      name: "Parquet, a table",
      kind: "bytes",
      file: written("table/table.parquet", fs.readFileSync(golden("parquet", "train-00001-of-00003.parquet"))),
      read: (file) => readTable(file),
    },
    {
      name: "CSV",
      kind: "text",
      file: written("csv/table.csv", csv),
      read: async (file) => {
        const rows = await readTable(file);
        toPoints(rows, ownColumns(rows));
      },
      command: (file) => ["scaling", "fit", file, "--n=n", "--d=d", "--loss=loss", "--bootstrap=20"],
    },
    {
      name: "a pickle",
      kind: "bytes",
      file: written(
        "pickle/meta.pkl",
        Buffer.from(
          "80027d710028580400000073746f6971017d71022858010000006171034b0058010000006271044b0175580400000069746f7371057d7106284b0068034b01680475580a000000766f6361625f73697a6571074b02752e",
          "hex",
        ),
      ),
      read: (file) => readPickle(fs.readFileSync(file), { name: file }),
    },
    {
      name: "a notebook",
      kind: "json",
      file: written("notebook/small.ipynb", fs.readFileSync(path.join(root, "test", "debug", "forward.ipynb"))),
      read: (file) => readNotebook(file),
    },
  ];
}

/** Reads the tokenizer's files, then encodes and decodes a text. */
function readTokenizer(folder: string): void {
  const { spec } = readFolderTokenizer(folder);
  const tokenizer = tokenizerFromSpec(spec ?? { kind: "gpt2" });
  try {
    tokenizer.decode(tokenizer.encode("The café, 1851. <|endoftext|>", { special: true }));
  } catch (error) {
    if (!/^Cannot encode the text/.test((error as Error).message)) throw error;
  }
}

function tokenizerReaders(at: (...parts: string[]) => string): Reader[] {
  fs.writeFileSync(at("tokenized", "text.txt"), tinyText);
  const prepare = (folder: string) => () => [
    ...["prepare", "mine", `--from=${at("tokenized", "text.txt")}`, `--tokenizer=${folder}`],
    `--data_dir=${at("tokenized", "data")}`,
  ];
  return ["byte-level", "wordpiece", "unigram", "metaspace"].map((name): Reader => {
    const file = at("tokenizers", name, "tokenizer.json");
    fs.copyFileSync(golden("tokenizers", name, "tokenizer.json"), file);
    const folder = path.dirname(file);
    return {
      name: `tokenizer.json, ${name}`,
      kind: "json",
      file,
      read: () => readTokenizer(folder),
      command: prepare(folder),
    };
  });
}

function modelReaders(at: (...parts: string[]) => string): Reader[] {
  const hf = path.dirname(at("hf", "config.json"));
  for (const file of fs.readdirSync(golden("gpt2", "hf"))) {
    fs.copyFileSync(golden("gpt2", "hf", file), path.join(hf, file));
  }
  const copied = (from: string, ...to: string[]) => {
    fs.copyFileSync(golden("gpt2", from), at(...to));
    return at(...to);
  };
  const exported = (file: string) => ["export", `--init_from=${file}`, `--to=${at("exported", "model")}`];
  return [
    {
      name: "safetensors",
      kind: "bytes",
      file: copied("hf/model.safetensors", "safetensors", "model.safetensors"),
      read: (file) => readSafetensors(file),
    },
    {
      name: "nanoGPT's checkpoint",
      kind: "bytes",
      file: copied("ckpt.pt", "torch", "ckpt.pt"),
      read: (file) => readNanoGptCheckpoint(file, { optimizer: true }),
      command: exported,
    },
    {
      name: "pytorch_model.bin",
      kind: "bytes",
      file: copied("bin/pytorch_model.bin", "bin", "pytorch_model.bin"),
      read: (file) => readFolderTensors(path.dirname(file), () => true),
    },
    {
      name: "a Hugging Face folder's config.json",
      kind: "json",
      file: path.join(hf, "config.json"),
      read: () => readGpt2Folder(hf),
      command: () => exported(hf),
    },
    ...fs
      .readdirSync(hf)
      .filter((file) => /^(tokenizer|vocab|folio|merges)/.test(file))
      .map(
        (file): Reader => ({
          name: `a Hugging Face folder's ${file}`,
          kind: file.endsWith(".json") ? "json" : "text",
          file: path.join(hf, file),
          read: () => readGpt2Folder(hf),
        }),
      ),
  ];
}
