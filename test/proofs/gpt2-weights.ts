import fs from "node:fs";
import path from "node:path";
import { countPieces, type PieceCounts, trainBytePairs } from "../../lib/data/tokenizers/learn-byte-pairs.js";
import { bpeTokenizer, charTokenizer, gpt2Tokenizer, type Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { mapRecord, toHost } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { initialParameters } from "../../lib/model/model.js";
import { parseSettings } from "../../lib/settings/settings.js";
import { readGpt2Folder, writeGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { askPeer, folioValues, largestDifference, measureLoading, peerLogits } from "./peer-weights.js";
import { type Figures, type Proof, rounded } from "./proof.js";

interface Made {
  readonly ids: number[][];
  readonly greedy: number[];
  readonly parameters: number;
  readonly torch: string;
  readonly transformers: string;
}
interface Checked {
  readonly parameters: number;
  readonly encoded: number[][];
  readonly decoded: string[];
  readonly end: number | null;
}

const texts = [
  "Hello world!  It's   3,141 o'clock\n\n\t…isn't it?",
  "Ünïcödé, 漢字かな交じり文, русский, 🙂🏳️‍🌈 \u00a0\u2028",
  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa antidisestablishmentarianism 00000000000",
  "  leading and trailing   ",
];

/**
 * Import and export of transformers' GPT-2, in the 124M shape with random weights, because the hub may be unreachable.
 */
export const gpt2Weights: Proof = {
  name: "gpt2-weights",
  claim:
    "A Hugging Face GPT-2 with 124M random weights gives fp32 logits within 1e-4 and the same greedy text. Exported again, transformers loads it with equal logits. Reading the file needs only the memory of its weights",
  inputs: ["lib/engine", "test/proofs/gpt2-weights.py", "test/proofs/peer-weights.ts"],
  async run({ folder, say }) {
    loadTensorFlow();
    const source = path.join(folder, "hf");
    const made = askPeer<Made>("hf", source);
    const wanted = peerLogits(source);
    const megabytes = fs.statSync(path.join(source, "model.safetensors")).size / 2 ** 20;
    const code = `const { readGpt2Folder } = await load("lib/weights/gpt2-folder.ts"); return () => readGpt2Folder(target);`;
    const loading = await measureLoading(code, source);
    say(`loaded in ${loading.seconds.toFixed(2)} s, ${loading.megabytes.toFixed(0)} MB for ${megabytes.toFixed(0)}`);
    const read = readGpt2Folder(source);
    const own = await folioValues(read, made.ids, { given: 16, count: 24 });
    const difference = largestDifference(own.logits, wanted);
    say(`logits differ by ${difference.toPrecision(2)} at most`);
    const exported = path.join(folder, "exported");
    writeGpt2Folder(exported, { ...read, tokenizer: { kind: "gpt2" } });
    const again = askPeer<Checked>("check", exported, { ids: made.ids, texts });
    const againDifference = largestDifference(peerLogits(exported), wanted);
    const half = path.join(folder, "half");
    writeGpt2Folder(half, { ...read, tokenizer: undefined }, { floats: "bfloat16" });
    askPeer<Checked>("check", half, { ids: made.ids });
    const halfDifference = largestDifference(peerLogits(half), wanted);
    const tokenizers = await tokenizersEqual(folder, again);
    const greedyEqual = own.greedy.join() === made.greedy.join();
    const figures: Figures = {
      parameters: made.parameters,
      largestDifferenceOfLogits: Number(difference.toPrecision(3)),
      greedyTokensEqual: greedyEqual ? made.greedy.length - 16 : 0,
      largestDifferenceOfLogitsInTransformersAfterExport: againDifference,
      inBfloat16: Number(halfDifference.toPrecision(3)),
      loadSeconds: rounded(loading.seconds, 2),
      fileMegabytes: rounded(megabytes, 0),
      loadPeakMegabytes: rounded(loading.megabytes, 0),
      ...tokenizers,
      pytorch: made.torch,
      transformers: made.transformers,
    };
    for (const name of ["hf", "exported", "half"]) fs.rmSync(path.join(folder, name), { recursive: true });
    const holds =
      difference <= 1e-4 &&
      greedyEqual &&
      againDifference === 0 &&
      Object.values(tokenizers).every(Boolean) &&
      loading.megabytes <= 1.1 * megabytes;
    return { holds, figures };
  },
};

/** Whether `AutoTokenizer` gives the same ids and texts as Folio, for each kind of tokenizer. */
async function tokenizersEqual(folder: string, ofGpt2: Checked): Promise<Record<string, boolean>> {
  const counts: PieceCounts = new Map();
  countPieces(counts, new TextEncoder().encode(texts.join(" ").repeat(3)));
  const merges = [...trainBytePairs(counts, { vocabSize: 500 })].flatMap(({ left, right }) => [left, right]);
  const own: Record<string, Tokenizer> = {
    bytePairs: bpeTokenizer(merges),
    characters: charTokenizer(texts.join("")),
  };
  const found: Record<string, boolean> = { gpt2TokenizerEqual: same(gpt2Tokenizer(), ofGpt2) };
  for (const [name, tokenizer] of Object.entries(own)) {
    const shape = { nLayer: 1, nHead: 1, nEmbd: 8, blockSize: 8, vocabSize: tokenizer.vocabSize };
    const model = parseSettings(shape);
    const tensors = initialParameters(model, 1);
    const entries = Object.entries(tensors).map(async ([key, tensor]) => [key, await toHost(tensor)] as const);
    const params = Object.fromEntries(await Promise.all(entries));
    mapRecord(tensors, (tensor) => tensor.dispose());
    const target = path.join(folder, name);
    writeGpt2Folder(target, { params, model, tokenizer: tokenizer.toJSON() });
    found[`${name}TokenizerEqual`] = same(tokenizer, askPeer<Checked>("check", target, { ids: [[1, 2, 3]], texts }));
  }
  return found;
}

function same(tokenizer: Tokenizer, { encoded, decoded, end }: Checked): boolean {
  return (
    texts.every((text, i) => tokenizer.encode(text).join() === encoded[i]!.join() && decoded[i] === text) &&
    end === (tokenizer.endOfText ?? null)
  );
}
