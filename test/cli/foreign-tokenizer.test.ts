/** A model with its own tokenizer, through all commands: prepare, train, sample, eval, export. */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { openDataset } from "../../lib/data/dataset.js";
import { readFolderTokenizer } from "../../lib/data/tokenizers/read-hugging-face.js";
import { sameTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { float32 } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { uniform } from "../../lib/host/random.js";
import { parameterSpecs } from "../../lib/model/model.js";
import { defaultSettings } from "../../lib/settings/settings.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { writeGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { temporaryFolder } from "../tiny-run.js";

const golden = fileURLToPath(new URL("../golden/tokenizers/", import.meta.url));
const folder = temporaryFolder();
const at = (...names: string[]) => path.join(folder, ...names);
const dataDir = `--data_dir=${at("data")}`;

/** A Hugging Face folder of a small GPT-2 with these tokenizer files, and nothing that Folio added. */
function writeModel(name: string, vocabSize: number, tokenizerFrom?: string): string {
  const shape = { nLayer: 1, nHead: 2, nEmbd: 8, blockSize: 16, vocabSize, bias: true, tieHead: true };
  const model = { ...shape, gelu: "tanh" as const };
  const params = parameterSpecs({ ...defaultSettings, ...model }).map(({ name, shape }) => {
    const length = shape.reduce((product, axis) => product * axis, 1);
    return [
      name,
      float32(
        Float32Array.from({ length }, (_, i) => uniform(1, "init", i, length) - 0.5),
        shape,
      ),
    ] as const;
  });
  writeGpt2Folder(at(name), { params: Object.fromEntries(params), model, tokenizer: undefined });
  fs.rmSync(at(name, "folio.json"));
  if (tokenizerFrom) fs.copyFileSync(path.join(golden, tokenizerFrom, "tokenizer.json"), at(name, "tokenizer.json"));
  return at(name);
}

const folio = async (...args: string[]) => {
  const [out, err]: string[][] = [[], []];
  const io = {
    stdout: { write: (text: string) => out!.push(text) },
    stderr: { write: (text: string) => err!.push(text) },
  };
  return { code: await main(args, io), out: out!.join(""), err: err!.join("") };
};

const text = "The quick brown fox, 1851. They'll go on; we've gone.\nCall me Ishmael: naïve café.\n";
const training = [
  ..."--block_size=8 --batch_size=2 --gradient_accumulation_steps=1 --eval_iters=1 --eval_interval=2".split(" "),
  ..."--max_iters=2 --device=cpu --compile=False".split(" "),
];

beforeAll(() => {
  loadTensorFlow();
  fs.writeFileSync(at("poems.txt"), text.repeat(12));
});

describe("a model's own tokenizer", () => {
  test.each([
    ["byte-level", 330],
    ["unigram", 100],
  ])("%s is carried through prepare, train, sample, eval and export", async (kind, vocabSize) => {
    const model = writeModel(`model-${kind}`, vocabSize, kind);
    const { spec } = readFolderTokenizer(model);
    const name = `poems-${kind}`;
    const prepared = await folio("prepare", name, dataDir, `--from=${at("poems.txt")}`, `--tokenizer=${model}`);
    expect(prepared).toMatchObject({ code: 0, err: "" });
    const { meta, train, tokenizer, close } = openDataset(at("data"), name);
    expect(sameTokenizer(meta.tokenizer, spec!)).toBe(true);
    expect(tokenizer.decode(train.read(0, 40))).toContain("quick brown fox");
    close();

    const outDir = at(`out-${kind}`);
    const trained = await folio(
      "train",
      dataDir,
      `--dataset=${name}`,
      `--init_from=${model}`,
      `--out_dir=${outDir}`,
      ...training,
    );
    expect(trained).toMatchObject({ code: 0, err: "" });
    expect(openCheckpoint(outDir).tokenizer).toEqual(spec);
    // The folder does not name the end-of-text token; a Folio run does.
    const again = await folio("prepare", `${name}-2`, dataDir, `--from=${at("poems.txt")}`, `--tokenizer=${outDir}`);
    expect(again).toMatchObject({ code: 0, err: "" });

    const writing = ["--num_samples=1", "--max_new_tokens=4", "--compile=False", "--start=The fox"];
    for (const source of [`--out_dir=${outDir}`, `--init_from=${model}`]) {
      const sampled = await folio("sample", source, ...writing);
      expect(sampled.code).toBe(0);
      expect(sampled.out).toMatch(/^The fox/);
      expect(sampled.err).not.toContain("Nothing tells");
      const evaluated = await folio("eval", source, `--file=${at("poems.txt")}`, "--json", "--compile=False");
      expect(JSON.parse(evaluated.out).results[0].bytes).toBeGreaterThan(900);
    }
    expect((await folio("export", `--out_dir=${outDir}`, `--to=${at(`exported-${kind}`)}`)).code).toBe(0);
    fs.rmSync(at(`exported-${kind}`, "folio.json")); // as transformers would save it
    expect(sameTokenizer(readFolderTokenizer(at(`exported-${kind}`)).spec!, spec!)).toBe(true);
  });

  test("is not mixed with a dataset of another tokenizer, even if the number of ids fits", async () => {
    const model = writeModel("model-large", 330, "byte-level");
    await folio("prepare", "chars", dataDir, `--from=${at("poems.txt")}`, "--tokenizer=char");
    const { code, err } = await folio(
      "train",
      dataDir,
      "--dataset=chars",
      `--init_from=${model}`,
      `--out_dir=${at("out-no")}`,
      ...training,
    );
    expect(code).toBe(1);
    expect(err).toContain("the weights' tokenizer (330 ids) is not that of the dataset chars");
    expect(err).toContain(`folio prepare NAME --from=TEXT --tokenizer=${model}`);
    expect(fs.existsSync(at("out-no"))).toBe(false);
  });

  test("is refused if it has more ids than the model", async () => {
    const { code, err } = await folio("sample", `--init_from=${writeModel("model-small", 300, "byte-level")}`);
    expect([code, err]).toEqual([
      1,
      expect.stringContaining("its tokenizer has 330 ids, but its config.json says vocab_size 300"),
    ]);
  });

  test("if unknown, makes samples of ids and says so; if guessed from its size, says so, too", async () => {
    const unknown = await folio(
      "sample",
      `--init_from=${writeModel("model-unknown", 50)}`,
      "--num_samples=1",
      "--max_new_tokens=2",
      "--compile=False",
    );
    expect(unknown.out).toMatch(/^0( \d+){2}\n/);
    expect(unknown.err).toContain("the prompt and the samples are ids");
    const guessed = await folio(
      "sample",
      `--init_from=${writeModel("model-guessed", 50_257)}`,
      "--num_samples=1",
      "--max_new_tokens=1",
      "--compile=False",
      "--start=<|endoftext|>",
    );
    expect(guessed.code).toBe(0);
    expect(guessed.out).toMatch(/^<\|endoftext\|>/);
    expect(guessed.err).toContain("its 50257 ids are assumed to be GPT-2's");
  });

  test("prepare refuses a path without a tokenizer, and says what it may be", async () => {
    fs.mkdirSync(at("empty"));
    const { code, err } = await folio(
      "prepare",
      "x",
      dataDir,
      `--from=${at("poems.txt")}`,
      `--tokenizer=${at("empty")}`,
    );
    expect(code).toBe(1);
    expect(err).toContain("it has no tokenizer.json, and no vocab.json with merges.txt; wanted a run, or a folder");
    const wrong = await folio("prepare", "x", dataDir, `--from=${at("poems.txt")}`, "--tokenizer=words");
    expect(wrong.err).toContain("it must be char, gpt2 or bpe:N with N from 257 to 65536, or the path of a model");
  });
});
