import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { hasCheckpoint, openCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import { commands, folio, folioCommand, type Proof, start } from "./proof.js";

const kills = 10;
const maxIters = 3000;

/** A small compiled model with dropout and accumulation on the embedded corpus, with a checkpoint every 20 steps. */
export const killResume: Proof = {
  name: "kill-resume",
  claim: `A run killed with -9 at ${kills} random moments and resumed each time ends with the same weights, bit for bit, as an uninterrupted run`,
  inputs: [...commands("prepare", "train"), "data"],
  async run({ folder, say }) {
    await folio("prepare", "typescript", `--data_dir=${folder}`);
    const flags = (outDir: string) => [
      ...["train", "cpu_demo", `--data_dir=${folder}`, "--dataset=typescript", `--out_dir=${outDir}`],
      ...["--compile=True", "--dropout=0.1", "--gradient_accumulation_steps=2"],
      ..."--n_layer=2 --n_head=2 --n_embd=32 --block_size=32 --batch_size=4".split(" "),
      ...[`--max_iters=${maxIters}`, "--eval_interval=20", "--eval_iters=1", "--always_save_checkpoint=True"],
    ];
    const [reference, killed] = [path.join(folder, "reference"), path.join(folder, "killed")];
    const { minutes } = await folio(...flags(reference));
    say(`the run that is not killed took ${minutes} minutes`);

    const steps: number[] = [];
    const resume = () => (hasCheckpoint(killed) ? ["--init_from=resume"] : []);
    while (steps.length < kills) {
      const child = start(process.execPath, [folioCommand, ...flags(killed), ...resume()]);
      let output = "";
      for (const stream of [child.stdout!, child.stderr!]) {
        stream.on("data", (chunk: Buffer) => {
          output += chunk;
        });
      }
      const ended = new Promise<NodeJS.Signals | null>((done) => child.on("close", (_, signal) => done(signal)));
      // Alternately at any moment after loading TensorFlow, and at any moment after the first save of this sitting, so
      // that
      // at least half of the kills happen after a new checkpoint.
      if (steps.length % 2 === 1) {
        while (!output.includes("saving checkpoint") && child.exitCode === null) await setTimeout(5);
        await setTimeout(Math.random() * 1000);
      } else await setTimeout(200 + Math.random() * 1800);
      child.kill("SIGKILL");
      if ((await ended) !== "SIGKILL") throw new Error(`the run ended before it was killed:\n${output.slice(-500)}`);
      steps.push(hasCheckpoint(killed) ? readState(killed).step : 0);
      say(`killed, ${steps.length} of ${kills}: the last checkpoint is step ${steps.at(-1)}`);
    }
    await folio(...flags(killed), ...resume());

    const [a, b] = [openCheckpoint(reference), openCheckpoint(killed)];
    const files = ["model.safetensors", "optimizer.safetensors"];
    const bitEqual = files.every((file) =>
      fs.readFileSync(path.join(a.path, file)).equals(fs.readFileSync(path.join(b.path, file))),
    );
    const [logA, logB] = [losses(reference), losses(killed)];
    const sameLog = JSON.stringify(logA) === JSON.stringify(logB);
    const distinct = new Set(steps.filter((step) => step > 0)).size;
    const figures = {
      kills: steps.length,
      stepsOfTheCheckpointsAfterEachKill: steps.join(" "),
      distinctCheckpoints: distinct,
      stepsInAll: b.step,
      lossesCompared: logB.length,
      weightsAndMomentsBitEqual: bitEqual,
      lossesEqual: sameLog,
    };
    // Kills only before the first checkpoint would prove nothing.
    const atWork = distinct >= kills / 2;
    return { holds: atWork && bitEqual && sameLog && a.step === maxIters && b.step === maxIters, figures };
  },
};

function losses(outDir: string): string[] {
  return readRunLog(outDir).flatMap((record) => {
    if (record.kind === "iter") return [`iter ${record.step} ${record.loss} ${record.gradNorm}`];
    return record.kind === "eval" ? [`eval ${record.step} ${record.trainLoss} ${record.valLoss}`] : [];
  });
}
