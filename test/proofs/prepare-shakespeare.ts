import fs from "node:fs";
import path from "node:path";
import { openDataset } from "../../lib/data.js";
import { folio, type Proof } from "./proof.js";

/** nanoGPT's data/shakespeare_char/readme: 1,003,854 and 111,540 ids, 65 characters. */
export const prepareShakespeare: Proof = {
  name: "prepare-shakespeare",
  claim: "folio prepare shakespeare_char gives nanoGPT's 1,003,854 and 111,540 ids of 65 characters",
  inputs: ["lib/tokenizer.ts", "lib/tokens.ts", "lib/prepare.ts", "lib/download.ts", "data/shakespeare_char"],
  async run({ folder }) {
    await folio("prepare", "shakespeare_char", `--data_dir=${folder}`);
    const dataset = openDataset(folder, "shakespeare_char");
    const text = dataset.tokenizer.decode(dataset.train.read(0, 14));
    const figures = {
      trainIds: dataset.train.length,
      valIds: dataset.val.length,
      characters: dataset.tokenizer.vocabSize,
      trainBytes: fs.statSync(path.join(folder, "shakespeare_char", "train.bin")).size,
      begins: text,
      trainSha256: dataset.meta.splits.train.sha256,
      valSha256: dataset.meta.splits.val.sha256,
    };
    dataset.close();
    const holds = figures.trainIds === 1_003_854 && figures.valIds === 111_540 && figures.characters === 65;
    return { holds, figures };
  },
};
