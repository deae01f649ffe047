import { readRunLog } from "../../lib/runs/run-folder.js";
import { dtypesOf, goOn, isTrial, type LongRun, runFolder, type Standing, wholeLosses, written } from "./long-run.js";
import { commands, type Figures, type Proof, rounded } from "./proof.js";

const mostLoss = 1.5;
const leastKills = 3;
const every = isTrial ? 10 : 250;
const sampledAt = isTrial ? [10, 20] : [250, 500, 1000, 2000];
/** The loss must have been measured so many steps beyond the best, where the model overfits. */
const beyond = isTrial ? 0 : 2 * every;

/** nanoGPT's preset as it is, in the number format that is fastest here; the evaluations of the log take 20 batches, and every 50th checkpoint is kept. */
const run: LongRun = {
  name: "char-whole",
  dataset: "shakespeare_char",
  flags: [
    ...["train_shakespeare_char", "--device=cpu", "--eval_iters=20"],
    ...["--save_interval=50", "--keep_checkpoints=100", "--tensorboard=false"],
  ],
  trialFlags: [
    ..."--n_layer=1 --n_head=2 --n_embd=32 --batch_size=8 --block_size=32 --max_iters=60 --lr_decay_iters=60".split(
      " ",
    ),
    ..."--warmup_iters=5 --learning_rate=0.02 --save_interval=5 --eval_interval=10 --eval_iters=1".split(" "),
  ],
  killAt: isTrial ? [5, 20, 35] : [50, 400, 1100],
  ...(process.env.FOLIO_PROOF_STEPS && { stopAt: Number(process.env.FOLIO_PROOF_STEPS) }),
};

/**
 * In sittings (FOLIO_PROOF_MINUTES, FOLIO_PROOF_STEPS): the result is stored once the best loss lies behind. Until then the
 * proof says how far it is.
 */
export const charWhole: Proof = {
  name: "char-whole",
  claim: `train_shakespeare_char as it is, on a processor, in pieces, killed ${leastKills} times or more on the way, reaches a loss of ${mostLoss} or less on the whole validation split (nanoGPT, on a GPU: 1.4697), and overfits afterwards`,
  inputs: [...commands("prepare", "train"), "data/shakespeare_char"],
  async run({ say }) {
    const standing = await goOn(run, say);
    const losses = await wholeLosses(run, every, say);
    const steps = Object.keys(losses).map(Number);
    const best = steps.reduce((a, b) => (losses[b]! < losses[a]! ? b : a), steps[0] ?? 0);
    const isBehind = Math.max(0, ...steps) >= best + beyond;
    if (!isBehind || standing.kills.length < leastKills) throw new Error(soFar(standing, losses, best));
    const figures = await figuresOf(standing, losses, best);
    if (isTrial) throw new Error(`a trial, which is not stored: ${JSON.stringify(figures)}`);
    return { holds: losses[best]! <= mostLoss, figures };
  },
};

function soFar({ step, maxIters, hours, kills }: Standing, losses: Record<number, number>, best: number): string {
  const found =
    losses[best] === undefined ? "no loss yet" : `best loss so far ${losses[best].toFixed(4)} at step ${best}`;
  return `it is at step ${step} of ${maxIters} after ${hours.toFixed(2)} hours and ${kills.length} kills, ${found}; wanted are ${leastKills} kills and losses up to ${beyond} steps beyond the best. Run it again to go on`;
}

async function figuresOf(standing: Standing, losses: Record<number, number>, best: number): Promise<Figures> {
  const steps = Object.keys(losses)
    .map(Number)
    .sort((a, b) => a - b);
  const last = steps.at(-1)!;
  const texts = await Promise.all(
    sampledAt.map(async (step) => [`step ${step}`, await written(run, step, 200)] as const),
  );
  const ofTraining = readRunLog(runFolder(run)).flatMap((record) => (record.kind === "eval" ? [record] : []));
  const byStep = (lossAt: (step: number) => number): Figures =>
    Object.fromEntries(steps.map((step) => [`step ${step}`, rounded(lossAt(step), 4)]));
  const trainLosses = new Map(ofTraining.map(({ step, trainLoss }) => [step, trainLoss])); // of a resumed run, the later
  return {
    bestLoss: rounded(losses[best]!, 4),
    bestStep: best,
    hours: rounded(standing.hours, 2),
    kills: standing.kills.length,
    lastSaveBeforeEachKill: standing.kills.join(", "),
    steps: standing.step,
    dtype: dtypesOf(run),
    trainedAt: standing.trainedAt,
    lastLoss: rounded(losses[last]!, 4),
    lastLossAtStep: last,
    riseAfterTheBest: rounded(losses[last]! - losses[best]!, 4),
    losses: byStep((step) => losses[step]!),
    trainLossesOf20Batches: byStep((step) => trainLosses.get(step)!),
    samples: Object.fromEntries(texts.flatMap(([name, text]) => (text === undefined ? [] : [[name, text]]))),
  };
}
