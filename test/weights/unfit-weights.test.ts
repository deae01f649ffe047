/** Weights that do not match their description or are NaN, and weights in old formats. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { openDataset, writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { float32, type HostTensors } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { defaultSettings } from "../../lib/settings/settings.js";
import { startOf } from "../../lib/train/start.js";
import { train } from "../../lib/train/train.js";
import { openCheckpoint, saveCheckpoint } from "../../lib/weights/checkpoint.js";
import { checkRange } from "../../lib/weights/finite.js";
import { readGpt2Folder, writeGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { readNanoGptCheckpoint } from "../../lib/weights/nanogpt-checkpoint.js";
import { nanoGptSettings } from "../../lib/weights/nanogpt-run.js";
import { loadPretrained } from "../../lib/weights/open-weights.js";
import { readSafetensors, writeSafetensors } from "../../lib/weights/safetensors.js";
import { collect, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

const golden = fileURLToPath(new URL("../golden/gpt2/", import.meta.url));
const hf = path.join(golden, "hf");
const folder = temporaryFolder();
let files = 0;
const newPath = (name = "") => path.join(folder, `${files++}${name}`);

beforeAll(() => {
  loadTensorFlow();
});

const folio = async (...args: string[]) => {
  const [out, err]: string[][] = [[], []];
  const io = {
    stdout: { write: (text: string) => out!.push(text) },
    stderr: { write: (text: string) => err!.push(text) },
  };
  return { code: await main(args, io), out: out!.join(""), err: err!.join("") };
};

/** The Hugging Face folder with other tensors. */
function changedFolder(change: (tensors: HostTensors) => HostTensors, config: object = {}): string {
  const target = newPath();
  fs.mkdirSync(target);
  const json = JSON.parse(fs.readFileSync(path.join(hf, "config.json"), "utf8")) as object;
  fs.writeFileSync(path.join(target, "config.json"), JSON.stringify({ ...json, ...config }));
  writeSafetensors(path.join(target, "model.safetensors"), change(readSafetensors(path.join(hf, "model.safetensors"))));
  return target;
}

describe("an untied head despite tie_word_embeddings", () => {
  const head = float32(
    Float32Array.from({ length: 41 * 16 }, (_, i) => i / 8),
    [41, 16],
  );

  test("is read, as in a ckpt.pt", () => {
    const { model, params } = readGpt2Folder(changedFolder((tensors) => ({ ...tensors, "lm_head.weight": head })));
    expect(model.tieHead).toBe(false);
    expect(params["lm_head.weight"]).toEqual(head);
  });

  test("counts as tied if it equals the token table", () => {
    const target = changedFolder((tensors) => ({ ...tensors, "lm_head.weight": tensors["transformer.wte.weight"]! }));
    const { model, params } = readGpt2Folder(target);
    expect(model.tieHead).toBe(true);
    expect(params["lm_head.weight"]).toBe(undefined);
  });
});

describe("a ckpt.pt whose description does not match its tensors", () => {
  /** Replaces bytes of the archive: its pickle is stored as it is. */
  function patched(from: string | Uint8Array, to: string | Uint8Array): string {
    const bytes = fs.readFileSync(path.join(golden, "ckpt.pt"));
    const at = bytes.indexOf(from);
    expect(at).toBeGreaterThan(0);
    bytes.set(Buffer.from(to as string), at);
    const file = newPath(".pt");
    fs.writeFileSync(file, bytes);
    return file;
  }
  /** `n_layer: 2` as the pickle has it: the key, where it is remembered, and the number. */
  function withArgument(key: string, value: number): string {
    const bytes = fs.readFileSync(path.join(golden, "ckpt.pt"));
    const at = bytes.indexOf(key, bytes.indexOf("model_args"));
    const number = bytes.indexOf("K", at + key.length);
    expect(number - at).toBeLessThan(key.length + 6);
    bytes[number + 1] = value;
    const file = newPath(".pt");
    fs.writeFileSync(file, bytes);
    return file;
  }

  test.each([
    ["n_layer", 3, "its model_args say n_layer 3, but its tensors have 2"],
    ["vocab_size", 12, "its model_args say vocab_size 12, but its tensors have 11"],
    ["block_size", 9, "its model_args say block_size 9, but its tensors have 6"],
    ["n_embd", 16, "its model_args say n_embd 16, but its tensors have 8"],
  ])("%s is refused", (key, value, message) => {
    expect(() => readNanoGptCheckpoint(withArgument(key, value))).toThrow(message);
  });

  test("an unknown key is refused by name", () => {
    expect(() => readNanoGptCheckpoint(patched("dropout", "rotated"))).toThrow(
      "its model_args have rotated, which nanoGPT's GPT does not have: it is another model",
    );
  });
});

describe("a model and a dataset of different numbers of ids", () => {
  const dataDir = path.join(folder, "data");
  const write = (name: string, characters: string) => {
    const ids = charTokenizer(characters).encode(characters.repeat(40));
    writeDataset(dataDir, { name, tokenizer: charTokenizer(characters), train: ids, val: ids });
  };
  beforeAll(() => {
    write("shakespeare_char", "abcde"); // the name that ckpt.pt gives its dataset, of 11 ids
    write("many", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"); // 43
  });

  test("a ckpt.pt is not resumed with a dataset of the same name that has fewer ids", async () => {
    const outDir = newPath();
    fs.mkdirSync(outDir);
    fs.copyFileSync(path.join(golden, "ckpt.pt"), path.join(outDir, "ckpt.pt"));
    const settings = { ...nanoGptSettings(path.join(outDir, "ckpt.pt")), dataDir };
    const dataset = openDataset(dataDir, "shakespeare_char");
    try {
      await expect(startOf(settings, dataset)).rejects.toThrow(
        "it was trained on 11 ids, but the dataset shakespeare_char has 5, so the ids would mean something else",
      );
    } finally {
      dataset.close();
    }
  });

  test("weights with an unknown tokenizer are not finetuned on a dataset with fewer ids", async () => {
    const dataset = openDataset(dataDir, "shakespeare_char");
    try {
      const settings = { ...defaultSettings, initFrom: hf, dataDir, blockSize: 16, vocabSize: 5, outDir: newPath() };
      await expect(startOf(settings, dataset)).rejects.toThrow(
        "the tokenizer of its 41 ids is unknown, and the dataset shakespeare_char has 5",
      );
    } finally {
      dataset.close();
    }
  });
});

describe("pytorch_model.bin", () => {
  test("in one file and in shards, has the weights of model.safetensors", () => {
    const wanted = readGpt2Folder(hf);
    for (const from of ["bin/pytorch_model.bin", "bin/shards"]) {
      const target = newPath();
      const source = path.join(golden, from);
      fs.mkdirSync(target);
      fs.copyFileSync(path.join(hf, "config.json"), path.join(target, "config.json"));
      const all = fs.statSync(source).isDirectory()
        ? fs.readdirSync(source).map((name) => path.join(source, name))
        : [source];
      for (const file of all) fs.copyFileSync(file, path.join(target, path.basename(file)));
      expect(readGpt2Folder(target)).toEqual(wanted);
    }
  });

  test("from before PyTorch 1.6 is refused with the command that converts it", () => {
    const target = newPath();
    fs.mkdirSync(target);
    fs.copyFileSync(path.join(hf, "config.json"), path.join(target, "config.json"));
    const file = path.join(target, "pytorch_model.bin");
    fs.copyFileSync(path.join(golden, "bin", "before-1.6.bin"), file);
    expect(() => readGpt2Folder(target)).toThrow(
      `Cannot read ${file}: it has the format of PyTorch before 1.6, which is not a zip archive. To convert it in place with PyTorch, run: python3 -c 'import sys, torch; f = sys.argv[1]; torch.save(torch.load(f, map_location="cpu", weights_only=True), f)' ${file}`,
    );
  });

  test("a named pipe in its place is refused without waiting", () => {
    const target = newPath();
    fs.mkdirSync(target);
    fs.copyFileSync(path.join(hf, "config.json"), path.join(target, "config.json"));
    for (const name of ["pytorch_model.bin", "model.safetensors"]) {
      execFileSync("mkfifo", [path.join(target, name)]);
      expect(() => readGpt2Folder(target)).toThrow(`${name}: it is a pipe, not a file`);
    }
  });
});

describe("weights that are NaN or infinite", () => {
  const nan = (tensors: HostTensors) => {
    const values = Float32Array.from(tensors["transformer.ln_f.weight"]!.values);
    values[3] = Number.NaN;
    return { ...tensors, "transformer.ln_f.weight": float32(values, [16]) };
  };

  test("are refused by sample, eval and export with one message, from a folder and from a run", async () => {
    const settings = tinySettings(folder, "run");
    writeFox(folder);
    await collect(train({ ...settings, maxIters: 1 }));
    const { path: _, format, version, ...checkpoint } = openCheckpoint(settings.outDir);
    const values = Float32Array.from(checkpoint.params["wte.weight"]!.values).fill(Number.POSITIVE_INFINITY, 0, 2);
    const params = { ...checkpoint.params, "wte.weight": float32(values, checkpoint.params["wte.weight"]!.shape) };
    saveCheckpoint(settings.outDir, { ...checkpoint, params }, { best: true });
    const broken = changedFolder(nan);
    const ways = [
      ["sample", `--out_dir=${settings.outDir}`],
      ["eval", `--out_dir=${settings.outDir}`, `--data_dir=${folder}`],
      ["export", `--out_dir=${settings.outDir}`, `--to=${newPath()}`],
      ["sample", `--init_from=${broken}`],
      ["eval", `--init_from=${broken}`, "--dataset=fox"],
      ["export", `--init_from=${broken}`, `--to=${newPath()}`],
    ];
    for (const argv of ways) {
      const { code, out, err } = await folio(...argv);
      expect([code, out], argv.join(" ")).toEqual([1, ""]);
      expect(err).toMatch(
        /Cannot use the model of .*: [12] of the \d+ values of (wte|ln_f)\.weight are NaN or infinite; .* Use an earlier checkpoint/,
      );
    }
  });

  test("a 16-bit export that would overflow reports it and leaves nothing", () => {
    const { params, model, tokenizer } = readGpt2Folder(hf);
    const values = Float32Array.from(params["ln_f.bias"]!.values);
    values[0] = 70_000;
    const large = { params: { ...params, "ln_f.bias": float32(values, [16]) }, model, tokenizer };
    const target = newPath();
    expect(() => writeGpt2Folder(target, large, { floats: "float16" })).toThrow(
      `Cannot export to ${target}: transformer.ln_f.bias has the value 70000, but the largest in float16 is 65504: it would become infinite; use bfloat16 or float32.`,
    );
    expect(fs.existsSync(target)).toBe(false);
    writeGpt2Folder(target, large, { floats: "bfloat16" });
    expect(() => checkRange({ x: float32([65_519], []) }, "float16")).not.toThrow();
  });

  test("a model without NaN is loaded as before", async () => {
    expect((await loadPretrained(hf)).model.nLayer).toBe(2);
  });
});

describe("a run resumed with a smaller blockSize", () => {
  test("keeps the first positions of its weights and moments, and its count of tokens", async () => {
    const settings = tinySettings(folder, "cropped");
    writeFox(folder);
    await collect(train({ ...settings, maxIters: 2 }));
    const before = openCheckpoint(settings.outDir);
    const dataset = openDataset(folder, "fox");
    const resumed = { ...before.settings, blockSize: 5, outDir: settings.outDir, initFrom: "resume" };
    const { params, from } = await startOf(resumed, dataset);
    dataset.close();
    const groups = Object.keys(before.optimizer).filter((group) => before.optimizer[group]!["wpe.weight"]);
    expect(groups).toEqual(["m", "v"]);
    for (const [there, here] of [
      [before.params, params],
      ...groups.map((group) => [before.optimizer[group]!, from!.optimizer[group]!] as const),
    ] as const) {
      const [whole, cropped] = [there["wpe.weight"]!, here["wpe.weight"]!];
      expect(cropped.shape).toEqual([5, 8]);
      expect([...cropped.values]).toEqual([...whole.values].slice(0, 40));
      expect(here["wte.weight"]).toEqual(there["wte.weight"]);
    }
    const records = await collect(train({ ...settings, blockSize: 5, initFrom: "resume" }));
    expect(records.at(-1)).toMatchObject({ kind: "end", reason: "finished", step: 6 });
    const after = openCheckpoint(settings.outDir);
    expect(after.settings.blockSize).toBe(5);
    expect(after.tokens).toBe(2 * 2 * 8 + 4 * 2 * 5);
    await expect(collect(train({ ...settings, blockSize: 9, initFrom: "resume" }))).rejects.toThrow(
      "the checkpoint has another shape (blockSize 5 there, 9 here)",
    );
  });
});
