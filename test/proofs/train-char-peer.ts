import fs from "node:fs";
import path from "node:path";
import { openDataset } from "../../lib/data/batches.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { loadSettings } from "../../lib/settings/config-files.js";
import type { Settings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { hasCheckpoint } from "../../lib/weights/checkpoint.js";
import { finish, folio, type Proof, root } from "./proof.js";
import { writeReplay } from "./replay.js";

const steps = 40;

/** Intermediate results of this proof of ten minutes, so that it can be interrupted. */
const kept = path.join(root, ".cache", "train-char-peer");

/** nanoGPT's character preset without dropout, because masks differ between frameworks. */
export const trainCharPeer: Proof = {
  name: "train-char-peer",
  claim: `${steps} steps of train_shakespeare_char without dropout, from the same weights on the same batches, have losses within 1e-3 of PyTorch's`,
  inputs: ["lib/engine", "data/shakespeare_char", "test/proofs/train-char-peer.py", "test/bench/peer.py"],
  async run({ say }) {
    const python = process.env.FOLIO_PEER_PYTHON;
    if (!python) throw new Error("FOLIO_PEER_PYTHON is not set; it names a Python that has torch and safetensors");
    fs.mkdirSync(kept, { recursive: true });
    const settings = await prepared();
    const own = await ownLosses(settings, say);
    say(`Folio: ${own.length} steps`);
    const { torch, losses } = await peerLosses(python, say);
    const differences = losses.map((loss, step) => Math.abs(own[step]! - loss) / loss);
    const largest = Math.max(...differences);
    const holds = own.length === steps && losses.length === steps && largest <= 1e-3;
    if (holds) fs.rmSync(kept, { recursive: true });
    const figures = {
      steps: losses.length,
      firstLoss: own[0]!,
      lastLoss: own.at(-1)!,
      lastLossOfPyTorch: losses.at(-1)!,
      largestRelativeDifference: Number(largest.toPrecision(3)),
      pytorch: torch,
    };
    return { holds, figures };
  },
};

/** Writes the dataset and, for the peer, settings, weights and batches. */
async function prepared(): Promise<Settings> {
  if (!fs.existsSync(path.join(kept, "shakespeare_char", "meta.json"))) {
    await folio("prepare", "shakespeare_char", `--data_dir=${kept}`);
  }
  const flags = ["--dropout=0", `--max_iters=${steps}`, "--eval_interval=1000", "--eval_iters=1", "--save_interval=5"];
  const machine = ["--keep_checkpoints=1", "--log_interval=1", "--device=cpu", "--dtype=float32"];
  const given = await loadSettings(["train_shakespeare_char", ...flags, ...machine]);
  const dataset = openDataset(kept, "shakespeare_char");
  const settings = { ...given, dataDir: kept, outDir: path.join(kept, "run"), vocabSize: dataset.meta.vocabSize };
  if (!fs.existsSync(path.join(kept, "settings.json"))) await writeReplay(kept, settings, dataset.train);
  dataset.close();
  return settings;
}

async function ownLosses(settings: Settings, say: (line: string) => void): Promise<number[]> {
  const initFrom = hasCheckpoint(settings.outDir) ? "resume" : "scratch";
  for await (const record of train({ ...settings, initFrom })) {
    if (record.kind === "iter" && record.step % 5 === 0)
      say(`Folio, step ${record.step}: loss ${record.loss.toFixed(6)}`);
  }
  return readRunLog(settings.outDir).flatMap((record) => (record.kind === "iter" ? [record.loss] : []));
}

async function peerLosses(python: string, say: (line: string) => void): Promise<{ torch: string; losses: number[] }> {
  say("PyTorch");
  const { code, output } = await finish(python, [path.join(root, "test", "proofs", "train-char-peer.py"), kept]);
  if (code !== 0) throw new Error(`the peer ended with ${code}:\n${output.slice(-1000)}`);
  return JSON.parse(fs.readFileSync(path.join(kept, "losses.json"), "utf8"));
}
