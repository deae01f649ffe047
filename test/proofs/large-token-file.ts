import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { commands, folioCommand, type Proof, rounded, start } from "./proof.js";

const bytes = { small: 2e6, large: 20e9 };
const rounds = 5;
const maxIters = 12_000;

interface Measured {
  /** From the start of the process to the log line of the first step. */
  readonly firstStepSeconds: number;
  /** Resident memory after a quarter of the steps, and its maximum. */
  readonly quarterMegabytes: number;
  readonly mostMegabytes: number;
}

/** Sparse files of zeros, which take no disk space; only the distance between the rows matters. */
export const largeTokenFile: Proof = {
  name: "large-token-file",
  claim:
    "Training on a token file of 20 GB needs no more memory than on one of 2 MB, does not grow, and starts at most 0.2 s later",
  inputs: commands("train"),
  async run({ folder, say }) {
    for (const name of ["small", "large"] as const) writeZeros(folder, name);
    // Both in each round, so that a slowdown of the machine affects both.
    const starts: Record<string, number[]> = { small: [], large: [] };
    for (let round = 0; round < rounds; round++) {
      for (const name of ["small", "large"]) {
        const { firstStepSeconds } = await measure(folder, name, 1);
        starts[name]!.push(firstStepSeconds);
      }
    }
    // The fastest of each, because disturbances only add time.
    const [small, large] = [Math.min(...starts.small!), Math.min(...starts.large!)];
    say(`first step after ${small.toFixed(2)} s and ${large.toFixed(2)} s`);
    const short = await measure(folder, "small", maxIters);
    const long = await measure(folder, "large", maxIters);
    const figures = {
      rounds,
      firstStepSecondsOf2MB: rounded(small, 2),
      firstStepSecondsOf20GB: rounded(large, 2),
      laterBySeconds: rounded(large - small, 2),
      stepsForMemory: maxIters,
      mostMegabytesOf2MB: rounded(short.mostMegabytes, 0),
      mostMegabytesOf20GB: rounded(long.mostMegabytes, 0),
      growthAfterAQuarterOfTheStepsMegabytes: rounded(long.mostMegabytes - long.quarterMegabytes, 1),
    };
    const flat = long.mostMegabytes <= 1.02 * long.quarterMegabytes && long.mostMegabytes <= 1.05 * short.mostMegabytes;
    return { holds: large - small <= 0.2 && flat, figures };
  },
};

function writeZeros(folder: string, name: "small" | "large"): void {
  const tokenizer = charTokenizer(" abcdefghijklmnopqrstuvwxyz");
  const ids = new Uint8Array(10_000);
  writeDataset(folder, { name, tokenizer, train: ids, val: ids });
  fs.truncateSync(path.join(folder, name, "train.bin"), bytes[name]);
  const file = path.join(folder, name, "meta.json");
  const meta = JSON.parse(fs.readFileSync(file, "utf8"));
  meta.splits.train.tokens = bytes[name] / 2;
  fs.writeFileSync(file, JSON.stringify(meta));
}

async function measure(folder: string, dataset: string, steps: number): Promise<Measured> {
  const shape = "--n_layer=2 --n_head=2 --n_embd=64 --block_size=64 --batch_size=12 --eval_iters=1".split(" ");
  const outDir = path.join(folder, `run-${dataset}`);
  const flags = [`--data_dir=${folder}`, `--dataset=${dataset}`, `--out_dir=${outDir}`, "--overwrite", "--device=cpu"];
  const more = [`--max_iters=${steps}`, "--eval_interval=1000000", "--log_interval=1", "--dtype=float32"];
  const begun = performance.now();
  const child = start(process.execPath, [folioCommand, "train", "cpu_demo", ...flags, ...shape, ...more]);
  let [output, step, firstStepSeconds, quarterMegabytes, mostMegabytes] = ["", -1, 0, 0, 0];
  child.stdout!.on("data", (chunk: Buffer) => {
    output = `${output}${chunk}`.slice(-4000);
    const last = [...output.matchAll(/^iter (\d+):/gm)].at(-1);
    if (last && step < 0) firstStepSeconds = (performance.now() - begun) / 1000;
    if (last) step = Number(last[1]);
  });
  child.stderr!.on("data", (chunk: Buffer) => {
    output += chunk;
  });
  const ended = new Promise<number | null>((done) => child.on("close", done));
  let running = true;
  void ended.then(() => {
    running = false;
  });
  while (running) {
    const now = residentMegabytes(child.pid!);
    if (step < steps / 4) quarterMegabytes = Math.max(quarterMegabytes, now);
    mostMegabytes = Math.max(mostMegabytes, now);
    await setTimeout(20);
  }
  if ((await ended) !== 0 || firstStepSeconds === 0) throw new Error(`the run failed:\n${output.slice(-1000)}`);
  return { firstStepSeconds, quarterMegabytes, mostMegabytes };
}

/** 0 once the process has ended. */
function residentMegabytes(pid: number): number {
  try {
    const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
