import { dtypesOf, goOn, isTrial, type LongRun, wholeLosses } from "./long-run.js";
import { commands, type Proof, rounded } from "./proof.js";

const mostLoss = 1.65;
const steps = isTrial ? 40 : 2000;

/** The flags of an article on nanoGPT; its 5 heads do not divide 256 features, so there are 4. */
const run: LongRun = {
  name: "apple-demo",
  dataset: "shakespeare_char",
  flags: ["apple_demo", "--device=cpu", "--save_interval=100", "--keep_checkpoints=1", "--tensorboard=false"],
  trialFlags: [
    ..."--n_layer=1 --n_head=2 --n_embd=32 --batch_size=4 --block_size=32 --max_iters=40 --lr_decay_iters=40".split(
      " ",
    ),
    ..."--warmup_iters=5 --save_interval=10 --eval_interval=20 --eval_iters=1".split(" "),
  ],
  killAt: [],
};

/** In sittings (FOLIO_PROOF_MINUTES): until it is finished, the proof says how far it is. */
export const appleDemo: Proof = {
  name: "apple-demo",
  claim: `the Apple demo's shape (5 layers, 4 heads, 256 wide, block 128, batch 32), by its flags, ends after 2,000 steps on a processor at a loss of ${mostLoss} or less on the whole validation split (others, on Apple's GPU: about 1.60)`,
  inputs: [...commands("prepare", "train"), "data/shakespeare_char"],
  async run({ say }) {
    const { step, maxIters, hours, trainedAt } = await goOn(run, say);
    if (step < steps) {
      throw new Error(`it is at step ${step} of ${maxIters} after ${hours.toFixed(2)} hours. Run it again to go on`);
    }
    const loss = (await wholeLosses(run, steps, say))[steps]!;
    const figures = { loss: rounded(loss, 4), steps: step, hours: rounded(hours, 2), dtype: dtypesOf(run), trainedAt };
    if (isTrial) throw new Error(`a trial, which is not stored: ${JSON.stringify(figures)}`);
    return { holds: loss <= mostLoss, figures };
  },
};
