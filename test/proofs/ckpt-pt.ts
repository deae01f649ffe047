import fs from "node:fs";
import path from "node:path";
import { drawBatch, openDataset, writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { uniform } from "../../lib/host/random.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { readNanoGptCheckpoint } from "../../lib/weights/nanogpt-checkpoint.js";
import { askPeer, folioValues, largestDifference, measureLoading, peerLogits } from "./peer-weights.js";
import { commands, finish, folio, folioCommand, type Proof, root, rounded } from "./proof.js";

interface Made {
  readonly ids: number[][];
  readonly greedy: number[];
  readonly torch: string;
  readonly next: number[];
}

/** nanoGPT's checkpoints, with a model of train_shakespeare_char's shape that PyTorch saves as nanoGPT does. */
export const ckptPt: Proof = {
  name: "ckpt-pt",
  claim:
    "A nanoGPT ckpt.pt of train_shakespeare_char's shape gives fp32 logits within 1e-4 of PyTorch's and the same greedy text. Resumed with init_from=resume, including the moments, the next losses are within 1e-4 (relative) of PyTorch's. Exported, transformers loads it with equal logits. Hostile pickles are refused and nothing in them is executed",
  inputs: [...commands("export", "train"), "test/golden", "test/proofs/gpt2-weights.py", "test/proofs/peer-weights.ts"],
  async run({ folder, say }) {
    loadTensorFlow();
    const file = path.join(folder, "ckpt.pt");
    const dataDir = path.join(folder, "data");
    const made = askPeer<Made>("ckpt", file, { batches: writeText(dataDir) });
    const wanted = peerLogits(folder);
    const code = (options: string) =>
      `const { readNanoGptCheckpoint } = await load("lib/weights/nanogpt-checkpoint.ts"); return () => readNanoGptCheckpoint(target, ${options});`;
    const weights = await measureLoading(code("{}"), file);
    const all = await measureLoading(code("{ optimizer: true }"), file);
    const megabytes = fs.statSync(file).size / 2 ** 20;
    say(`loaded in ${weights.seconds.toFixed(2)} s, with moments in ${all.seconds.toFixed(2)} s`);
    const checkpoint = readNanoGptCheckpoint(file, { optimizer: true });
    const own = await folioValues(checkpoint, made.ids, { given: 16, count: 24 });
    const difference = largestDifference(own.logits, wanted);
    const greedyEqual = own.greedy.join() === made.greedy.join();
    const before = fs.readFileSync(file);
    const losses = await resumedLosses(folder, dataDir);
    const kept = fs.readFileSync(file).equals(before);
    const relative = losses.map((loss, i) => Math.abs(loss / made.next[i]! - 1));
    const lossDifference = losses.length === continued && kept ? Math.max(...relative) : Number.POSITIVE_INFINITY;
    say(`${losses.length} steps continued by init_from=resume: ${losses.map((loss) => loss.toFixed(6)).join(" ")}`);
    const exported = path.join(folder, "exported");
    await folio("export", `--init_from=${file}`, `--to=${exported}`);
    askPeer("check", exported, { ids: made.ids });
    const exportDifference = largestDifference(peerLogits(exported), wanted);
    const refused = await hostileRefused(folder);
    fs.rmSync(file);
    const figures = {
      largestDifferenceOfLogits: Number(difference.toPrecision(3)),
      greedyTokensEqual: greedyEqual ? made.greedy.length - 16 : 0,
      stepsContinued: losses.length,
      largestRelativeDifferenceOfTheirLosses: Number(lossDifference.toPrecision(3)),
      largestDifferenceOfLogitsInTransformersAfterExport: Number(exportDifference.toPrecision(3)),
      fileMegabytes: rounded(megabytes, 0),
      loadSeconds: rounded(weights.seconds, 2),
      loadPeakMegabytes: rounded(weights.megabytes, 0),
      loadWithMomentsSeconds: rounded(all.seconds, 2),
      loadWithMomentsPeakMegabytes: rounded(all.megabytes, 0),
      hostilePicklesRefused: refused,
      pytorch: made.torch,
    };
    const holds =
      difference <= 1e-4 &&
      greedyEqual &&
      lossDifference <= 1e-4 &&
      exportDifference <= 1e-4 &&
      refused === 3 &&
      all.megabytes <= 1.2 * megabytes &&
      weights.megabytes <= 0.6 * megabytes;
    return { holds, figures };
  },
};

const shape = { batchSize: 2, blockSize: 256, vocabSize: 65, seed: 1337 };
const continued = 5;

/** A text of 65 characters, and the batches that a run draws from it after step 2. */
function writeText(dataDir: string): { x: number[][]; y: number[][] }[] {
  const characters = Array.from({ length: shape.vocabSize }, (_, i) => String.fromCharCode(48 + i));
  const tokenizer = charTokenizer(characters.join(""));
  const ids = Uint16Array.from({ length: 20_000 }, (_, i) => Math.floor(uniform(7, "init", 0, i) * shape.vocabSize));
  writeDataset(dataDir, {
    name: "shakespeare_char",
    tokenizer,
    train: ids.subarray(0, 18_000),
    val: ids.subarray(18_000),
  });
  const dataset = openDataset(dataDir, "shakespeare_char");
  const rows = (values: Int32Array) =>
    Array.from({ length: shape.batchSize }, (_, row) => [
      ...values.subarray(row * shape.blockSize, (row + 1) * shape.blockSize),
    ]);
  try {
    return Array.from({ length: continued }, (_, i) => {
      const { x, y } = drawBatch(dataset.train, { ...shape, step: 2 + i, row: 0, use: "train" });
      return { x: rows(x), y: rows(y) };
    });
  } finally {
    dataset.close();
  }
}

/** The losses of `folio train --init_from=resume` in the folder of nanoGPT's checkpoint. */
async function resumedLosses(outDir: string, dataDir: string): Promise<number[]> {
  const given = ["--init_from=resume", `--out_dir=${outDir}`, `--data_dir=${dataDir}`, `--max_iters=${2 + continued}`];
  const short = ["--batch_size=2", "--gradient_accumulation_steps=1", "--eval_iters=1", "--decay_lr=False"];
  await folio("train", ...given, ...short, "--device=cpu", "--dtype=float32");
  return readRunLog(outDir).flatMap((record) => (record.kind === "iter" ? [record.loss] : []));
}

/** Files in the format of torch.save, made by Python, whose pickles call os.system. @returns how many were refused */
async function hostileRefused(folder: string): Promise<number> {
  const python = process.env.FOLIO_PEER_PYTHON!;
  const sign = path.join(folder, "pwned");
  const script = `
import os, sys, torch
class Evil:
    def __reduce__(self):
        return os.system, ("touch " + sys.argv[2],)
for name, value in {"plain": Evil(), "deep": {"model": {"a": [Evil()]}}, "long": {"model": list(range(10**6)) + [Evil()]}}.items():
    torch.save(value, os.path.join(sys.argv[1], name + ".pt"))`;
  const { code, output } = await finish(python, ["-c", script, folder, sign]);
  if (code !== 0) throw new Error(`the peer failed:\n${output}`);
  let refused = 0;
  for (const name of ["plain", "deep", "long"]) {
    const args = ["export", `--init_from=${path.join(folder, `${name}.pt`)}`, `--to=${path.join(folder, "never")}`];
    const { code, output } = await finish(process.execPath, [path.join(root, folioCommand), ...args]);
    if (code === 1 && /it wants to call (posix|nt|os)\.system;/.test(output)) refused++;
  }
  return fs.existsSync(sign) ? 0 : refused;
}
