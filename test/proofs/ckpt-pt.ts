import fs from "node:fs";
import path from "node:path";
import type { Settings } from "../../lib/config.js";
import { defaultSettings } from "../../lib/config.js";
import { float32, int32, mapRecord, openSession } from "../../lib/engine/session.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow.js";
import { biasCorrections } from "../../lib/optimizer.js";
import { trainingSteps } from "../../lib/steps.js";
import { type NanoGptCheckpoint, readNanoGptCheckpoint } from "../../lib/torch-checkpoint.js";
import { askPeer, folioValues, largestDifference, measureLoading, peerLogits } from "./peer-weights.js";
import { finish, folio, folioCommand, type Proof, root, rounded } from "./proof.js";

interface Made {
  readonly ids: number[][];
  readonly greedy: number[];
  readonly torch: string;
  readonly settings: { readonly learning_rate: number; readonly weight_decay: number; readonly beta2: number };
  readonly next: { readonly x: number[][]; readonly y: number[][]; readonly loss: number }[];
}

/** nanoGPT's checkpoints, by a model of train_shakespeare_char's shape, which PyTorch saves as nanoGPT does. */
export const ckptPt: Proof = {
  name: "ckpt-pt",
  claim:
    "a nanoGPT ckpt.pt of train_shakespeare_char's shape: fp32 logits within 1e-4, greedy text equal, the next losses equal with its moments, exported and loaded by transformers with equal logits; hostile pickles refused with nothing executed",
  inputs: ["lib", "test/golden", "test/proofs/gpt2-weights.py", "test/proofs/peer-weights.ts"],
  async run({ folder, say }) {
    loadTensorFlow();
    const file = path.join(folder, "ckpt.pt");
    const made = askPeer<Made>("ckpt", file);
    const wanted = peerLogits(folder);
    const code = (options: string) =>
      `const { readNanoGptCheckpoint } = await load("lib/torch-checkpoint.ts"); return () => readNanoGptCheckpoint(target, ${options});`;
    const weights = await measureLoading(code("{}"), file);
    const all = await measureLoading(code("{ optimizer: true }"), file);
    const megabytes = fs.statSync(file).size / 2 ** 20;
    say(`loaded in ${weights.seconds.toFixed(2)} s, with moments in ${all.seconds.toFixed(2)} s`);
    const checkpoint = readNanoGptCheckpoint(file, { optimizer: true });
    const own = await folioValues(checkpoint, made.ids, { given: 16, count: 24 });
    const difference = largestDifference(own.logits, wanted);
    const greedyEqual = own.greedy.join() === made.greedy.join();
    const losses = await nextLosses(checkpoint, made);
    const lossDifference = largestDifference(
      losses,
      made.next.map(({ loss }) => loss),
    );
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
      largestDifferenceOfTheirLosses: Number(lossDifference.toPrecision(3)),
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

/** The losses of the batches that PyTorch went on with. */
async function nextLosses(
  { model, params, optimizer }: NanoGptCheckpoint,
  { next, settings }: Made,
): Promise<number[]> {
  const { m, v, step } = optimizer!;
  const config: Settings = {
    ...defaultSettings,
    ...model,
    ...{ weightDecay: settings.weight_decay, beta2: settings.beta2, gradClip: 0, gradientAccumulationSteps: 1 },
  };
  const sums = mapRecord(params, ({ values, shape }) => float32(new Float32Array(values.length), shape));
  const session = await openSession({ params, m, v, sums }, { compile: true });
  try {
    const update = session.define(trainingSteps(config).update);
    const rows = (values: number[][]) => int32(values.flat(), [values.length, values[0]!.length]);
    const losses: number[] = [];
    for (const [i, { x, y }] of next.entries()) {
      const [first, second] = biasCorrections(step + i + 1, config).map((value) => float32([value], []));
      const rates = { learningRate: float32([settings.learning_rate], []) };
      const corrections = { biasCorrection1: first!, biasCorrection2: second! };
      const { loss } = await update({
        x: rows(x),
        y: rows(y),
        dropoutKey: int32([0, 0], [2]),
        ...rates,
        ...corrections,
      });
      losses.push(loss!.values[0]!);
    }
    return losses;
  } finally {
    session.dispose();
  }
}

/** Files of torch.save's form, made by Python, whose pickles call os.system. @returns how many the command refused */
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
