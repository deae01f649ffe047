import fs from "node:fs";
import path from "node:path";
import { bfloat16Instructions } from "../../lib/engine/choices.js";
import { instructionFlags, type ResolvedDtype } from "../../lib/engine/number-format.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { loadSettings } from "../../lib/settings/config-files.js";
import { commands, type Figures, finish, folio, type Proof, peerPython, rounded } from "./proof.js";

const most = 0.7;
const flags = ["cpu_demo", "--compile=True", "--always_save_checkpoint=False"];

/**
 * The whole time that a user waits, from the command to its end. The peer's process runs nanoGPT's loop: the same
 * evaluations (20 batches of each split every 250 steps), one log line per step, and a checkpoint at the best
 * validation loss so far.
 */
export const cpuDemoPeer: Proof = {
  name: "cpu-demo-peer",
  claim: `nanoGPT's CPU demo, compiled, 2,000 steps with evaluations, takes at most ${most} times as long as the same loop in PyTorch, from start to finish`,
  inputs: [...commands("prepare", "train"), "test/bench", "data/shakespeare_char"],
  async run({ folder, say }) {
    const python = peerPython();
    const short = bfloat16Instructions(instructionFlags()).length > 0;
    const dtypes = ["float32", ...(short ? (["bfloat16"] as const) : [])] as const;
    await folio("prepare", "shakespeare_char", `--data_dir=${folder}`);
    const times: Record<string, number[]> = {};
    const losses: Record<string, number> = {};
    const took = async (name: string, action: () => Promise<{ seconds: number; loss: number }>) => {
      const { seconds, loss } = await action();
      say(`${name}: ${seconds.toFixed(1)} s, loss ${loss.toFixed(4)}`);
      times[name] = [...(times[name] ?? []), seconds];
      losses[name] = rounded(loss, 4);
    };
    // Each twice, in turns, so that a short slowdown of the machine does not decide.
    for (const round of [1, 2]) {
      for (const dtype of dtypes) {
        await took(`Folio ${dtype}`, () => trainFolio(folder, `folio-${dtype}-${round}`, dtype));
        for (const compile of [false, true]) {
          const mode = `${compile ? "compiled" : "eager"} ${dtype}`;
          await took(`PyTorch ${mode}`, () => trainPeer(python, folder, { name: `${mode}-${round}`, compile, dtype }));
        }
      }
    }
    const best = (engine: string, dtype = "") =>
      Math.min(
        ...Object.entries(times).flatMap(([name, all]) => (name.startsWith(engine) && name.endsWith(dtype) ? all : [])),
      );
    const ratio = best("Folio") / best("PyTorch");
    const figures: Figures = {
      ratioOfTheBest: rounded(ratio, 3),
      most,
      ratios: Object.fromEntries(
        dtypes.map((dtype) => [dtype, rounded(best("Folio", dtype) / best("PyTorch", dtype), 3)]),
      ),
      seconds: Object.fromEntries(
        Object.entries(times).map(([name, all]) => [name, all.map((seconds) => seconds.toFixed(1)).join(", ")]),
      ),
      lastValidationLossOf20Batches: losses,
    };
    return { holds: ratio <= most, figures };
  },
};

async function trainFolio(
  folder: string,
  name: string,
  dtype: ResolvedDtype,
): Promise<{ seconds: number; loss: number }> {
  const outDir = path.join(folder, name);
  const begun = performance.now();
  await folio("train", ...flags, `--data_dir=${folder}`, `--out_dir=${outDir}`, `--dtype=${dtype}`);
  const seconds = (performance.now() - begun) / 1000;
  const loss = readRunLog(outDir)
    .flatMap((record) => (record.kind === "eval" ? [record.valLoss] : []))
    .at(-1)!;
  return { seconds, loss };
}

async function trainPeer(
  python: string,
  folder: string,
  { name, compile, dtype }: { name: string; compile: boolean; dtype: ResolvedDtype },
): Promise<{ seconds: number; loss: number }> {
  const outDir = path.join(folder, name);
  const where = [`--data_dir=${folder}`, `--out_dir=${outDir}`];
  const settings = { ...(await loadSettings([...flags, ...where])), compile, dtype, vocabSize: 65 };
  const file = path.join(folder, `${name}.json`);
  fs.writeFileSync(file, JSON.stringify(settings));
  const begun = performance.now();
  const { code, output } = await finish(python, [path.join("test", "bench", "peer.py"), "train", file]);
  const seconds = (performance.now() - begun) / 1000;
  if (code !== 0) throw new Error(`PyTorch's loop ended with ${code}:\n${output.slice(-2000)}`);
  return { seconds, loss: Number(/val loss ([\d.]+)\s*$/m.exec(output.slice(output.lastIndexOf("step ")))?.[1]) };
}
