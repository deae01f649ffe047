import fs from "node:fs";
import path from "node:path";
import { nativeVariants } from "../../bin/native.mjs";
import induction from "../../configs/induction.js";
import { openCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import { type Induction, measureInduction } from "../inspect/induction.js";
import {
  commands,
  type Figures,
  finish,
  folio,
  folioCommand,
  noteSitting,
  type Proof,
  root,
  rounded,
  sittingsOf,
} from "./proof.js";

const seeds = [1337, 1, 2];

/** Datasets and runs of this proof, so that it can be interrupted. */
const kept = path.join(root, ".cache", "induction");

/** Whether the heads are there, and do what is said of them. */
const shows = ({ previousToken, induction, loss, ablatedLoss }: Induction) =>
  previousToken.score > 0.7 && induction.score > 0.5 && ablatedLoss - loss >= 1;

/** The recipe of configs/induction.ts with three seeds, by each variant of Folio's operations and by TensorFlow's alone. */
export const inductionHeads: Proof = {
  name: "induction",
  claim: `after ${induction.maxIters} steps of configs/induction.ts, seeds ${seeds.join(", ")}, on each kernel variant, a previous-token head scores above .7 and an induction head above .5, and without both the second half of repeated random tokens costs at least 1 nat per token more`,
  inputs: [...commands("train", "prepare"), "data/induction", "data/typescript/prepare.ts", "lib/engine"],
  async run({ say }) {
    await folio("prepare", "induction", `--data_dir=${kept}`);
    const ways = [
      ...nativeVariants()
        .reverse()
        .map(({ name }) => ({ name, env: `FOLIO_TARGET=${name}` })),
      { name: "tensorflow", env: "FOLIO_FUSED=0" },
    ];
    const figures: Record<string, Figures | string> = {};
    let [run, missed] = [0, 0];
    for (const { name, env } of ways) {
      const found = await measuredSeeds(name, env, say);
      if (typeof found !== "string") {
        run += seeds.length;
        missed += found.filter((one) => !shows(one)).length;
      }
      figures[name] = typeof found === "string" ? `not run: ${found}` : figuresOf(found);
    }
    return { holds: run > 0 && missed === 0, figures: { ...figures, runs: run, missed, trainedAt: sittingsOf(kept) } };
  },
};

/** What each seed leads to on one variant, or why the variant cannot be used. */
async function measuredSeeds(name: string, env: string, say: (line: string) => void): Promise<Induction[] | string> {
  const found: Induction[] = [];
  for (const seed of seeds) {
    const trained = await trainedModel(env, `${name}-${seed}`, seed);
    if ("unusable" in trained) return trained.unusable;
    found.push(await measureInduction(trained.model));
    say(`${name}: ${JSON.stringify(figuresOf(found)[`seed ${seed}`])}`);
  }
  return found;
}

const figuresOf = (found: readonly Induction[]): Figures =>
  Object.fromEntries(
    found.map(({ previousToken, induction, loss, ablatedLoss }, index) => [
      `seed ${seeds[index]}`,
      {
        previousToken: rounded(previousToken.score, 3),
        induction: rounded(induction.score, 3),
        loss: rounded(loss, 3),
        ablationCostsNats: rounded(ablatedLoss - loss, 2),
      },
    ]),
  );

/** A finished run, trained now if it is not there from an earlier start of this proof. */
async function trainedModel(env: string, name: string, seed: number) {
  const outDir = path.join(kept, name);
  const flags = [
    `--seed=${seed}`,
    `--out_dir=${outDir}`,
    `--data_dir=${kept}`,
    "--device=cpu",
    "--dtype=float32",
    "--tensorboard=false",
  ];
  const isThere = fs.existsSync(path.join(outDir, "checkpoint", "last"));
  if (!isThere || readState(outDir).step < induction.maxIters) {
    const again = isThere ? ["--init_from=resume"] : ["--overwrite"];
    const { code, output } = await finish("env", [
      env,
      process.execPath,
      folioCommand,
      "train",
      "induction",
      ...flags,
      ...again,
    ]);
    const unusable = /Cannot use FOLIO_TARGET=\S+ (.*)/.exec(output)?.[1];
    if (code !== 0 && unusable) return { unusable };
    noteSitting(kept);
    if (code !== 0) throw new Error(`training ${name} ended with ${code}:\n${output.slice(-1000)}`);
  }
  return { model: openCheckpoint(outDir, "last", { optimizer: false }) };
}
