import fs from "node:fs";
import path from "node:path";
import type { IterRecord } from "../../lib/runs/records.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { commands, finish, folioCommand, type Proof, rounded } from "./proof.js";

const steps = 20;
const tolerance = 1e-4;
const model = "--n_layer=2 --n_head=2 --n_embd=32 --block_size=32 --batch_size=4 --gradient_accumulation_steps=2";
const training = "--dropout=0.1 --learning_rate=1e-2 --warmup_iters=2 --lr_decay_iters=20 --min_lr=1e-3";
const rest = "--dtype=float32 --eval_interval=1000 --eval_iters=1 --log_interval=1 --tensorboard=False";

/** The environment for SwiftShader, if Debian's chromium is installed and no other driver is named. */
function environment(): string[] {
  const driver = "/usr/lib/chromium/vk_swiftshader_icd.json";
  if (process.env.VK_ICD_FILENAMES !== undefined || !fs.existsSync(driver)) return [];
  return [`LD_LIBRARY_PATH=${path.dirname(driver)}`, `VK_ICD_FILENAMES=${driver}`];
}

/** Runs the real command with a driver for WebGPU. @returns its output */
async function folio(...args: string[]): Promise<string> {
  const { code, output } = await finish("env", [...environment(), process.execPath, folioCommand, ...args]);
  if (code !== 0) throw new Error(`folio ${args.join(" ")} ended with ${code}:\n${output}`);
  return output;
}

/** A small model with dropout and accumulation on WebGPU (a GPU or SwiftShader) and, compiled, on the CPU. */
export const webGpu: Proof = {
  name: "webgpu",
  claim: `${steps} steps on WebGPU and on the CPU, with dropout, have losses within a relative ${tolerance}; a checkpoint of one can be resumed on the other, and both generate the same text`,
  inputs: [...commands("prepare", "train"), "data"],
  async run({ folder, say }) {
    await folio("prepare", "typescript", `--data_dir=${folder}`);
    const train = async (name: string, device: "cpu" | "webgpu", until = steps) => {
      const outDir = path.join(folder, name);
      const resume = readRunLog(outDir).length > 0 ? ["--init_from=resume"] : [];
      const where = [`--data_dir=${folder}`, "--dataset=typescript", `--out_dir=${outDir}`, `--device=${device}`];
      const flags = [model, training, rest].flatMap((line) => line.split(" "));
      await folio("train", ...where, ...flags, `--max_iters=${until}`, ...resume);
      const found = iterations(outDir);
      say(`${name}: ${until} steps, loss ${found.at(-1)?.loss}`);
      return found;
    };
    const sample = (device: "cpu" | "webgpu") =>
      folio(
        ...["sample", `--out_dir=${path.join(folder, "cpu")}`, `--device=${device}`, "--dtype=float32"],
        ...["--num_samples=1", "--max_new_tokens=48", "--top_k=1", "--start=interface "],
      );
    const cpu = await train("cpu", "cpu");
    const gpu = await train("webgpu", "webgpu");
    await train("webgpu-then-cpu", "webgpu", steps / 2);
    const thenCpu = await train("webgpu-then-cpu", "cpu");
    await train("cpu-then-webgpu", "cpu", steps / 2);
    const thenGpu = await train("cpu-then-webgpu", "webgpu");
    const [onCpu, onGpu] = [textOf(await sample("cpu")), textOf(await sample("webgpu"))];
    const differences = [gpu, thenCpu, thenGpu].map((other) => largestDifference(cpu, other));
    const start = readRunLog(path.join(folder, "webgpu")).find((record) => record.kind === "start");
    const figures = {
      steps,
      adapter: start?.deviceName ?? "unknown",
      lossFell: `${cpu[0]?.loss.toFixed(3)} to ${cpu.at(-1)?.loss.toFixed(3)}`,
      largestDifference: differences[0]!,
      largestDifferenceGoingOnOnCpu: differences[1]!,
      largestDifferenceGoingOnOnWebGpu: differences[2]!,
      sameText: onCpu === onGpu,
      characters: onCpu.length,
      webGpuMsPerStep: rounded(median(gpu), 0),
      cpuMsPerStep: rounded(median(cpu), 2),
    };
    const all = [cpu, gpu, thenCpu, thenGpu].every(({ length }) => length === steps);
    return { holds: all && onCpu === onGpu && differences.every((difference) => difference <= tolerance), figures };
  },
};

const iterations = (outDir: string): IterRecord[] =>
  readRunLog(outDir).filter((record): record is IterRecord => record.kind === "iter");

/** The text above the line of dashes, without the lines about model and device. */
const textOf = (output: string): string => /interface [\s\S]*?(?=\n-{5})/.exec(output)?.[0] ?? "";

function largestDifference(a: readonly IterRecord[], b: readonly IterRecord[]): number {
  const differences = a.map(({ loss }, step) => Math.abs((b[step]?.loss ?? Number.NaN) / loss - 1));
  return Number(Math.max(...differences).toPrecision(2));
}

function median(records: readonly IterRecord[]): number {
  const sorted = records.map(({ elapsedMs }) => elapsedMs).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
