import fs from "node:fs";
import path from "node:path";
import { Tiktoken } from "js-tiktoken/lite";
import ranks from "js-tiktoken/ranks/gpt2";
import { openDataset } from "../../lib/data/batches.js";
import { folio, type Proof } from "./proof.js";

/** The bytes that nanoGPT's data/shakespeare/prepare.py writes for a part of the text, by js-tiktoken. */
function referenceBytes(encoder: Tiktoken, text: string): Buffer {
  return Buffer.from(Uint16Array.from(encoder.encode(text, [], [])).buffer);
}

/** nanoGPT's readmes: 1,003,854 and 111,540 ids, 65 characters; 301,966 and 36,059 ids of GPT-2's. */
export const prepareShakespeare: Proof = {
  name: "prepare-shakespeare",
  claim:
    "folio prepare gives nanoGPT's 1,003,854 and 111,540 ids of 65 characters, and its 301,966 and 36,059 of GPT-2's",
  inputs: [
    ...[
      "lib/data/tokenizers/tokenizer.ts",
      "lib/data/tokenizers/byte-pairs.ts",
      "lib/data/tokenizers/gpt2-split.ts",
      "lib/data/token-file.ts",
      "lib/data/token-writer.ts",
      "lib/data/prepare/prepare.ts",
    ],
    ...["lib/host/download.ts", "data/shakespeare_char", "data/shakespeare"],
  ],
  async run({ folder }) {
    await folio("prepare", "shakespeare_char", "shakespeare", `--data_dir=${folder}`);
    const dataset = openDataset(folder, "shakespeare_char");
    const text = dataset.tokenizer.decode(dataset.train.read(0, dataset.train.length));
    const rest = dataset.tokenizer.decode(dataset.val.read(0, dataset.val.length));
    dataset.close();
    const gpt2 = openDataset(folder, "shakespeare");
    const encoder = new Tiktoken(ranks);
    const file = (split: string) => fs.readFileSync(path.join(folder, "shakespeare", `${split}.bin`));
    const figures = {
      trainIds: dataset.train.length,
      valIds: dataset.val.length,
      characters: dataset.tokenizer.vocabSize,
      trainBytes: fs.statSync(path.join(folder, "shakespeare_char", "train.bin")).size,
      begins: text.slice(0, 14),
      trainSha256: dataset.meta.splits.train.sha256,
      valSha256: dataset.meta.splits.val.sha256,
      gpt2TrainIds: gpt2.train.length,
      gpt2ValIds: gpt2.val.length,
      gpt2AsJsTiktoken:
        file("train").equals(referenceBytes(encoder, text)) && file("val").equals(referenceBytes(encoder, rest)),
    };
    gpt2.close();
    const byCharacters = figures.trainIds === 1_003_854 && figures.valIds === 111_540 && figures.characters === 65;
    const byPairs = figures.gpt2TrainIds === 301_966 && figures.gpt2ValIds === 36_059 && figures.gpt2AsJsTiktoken;
    return { holds: byCharacters && byPairs, figures };
  },
};
