import fs from "node:fs";
import path from "node:path";
import type { BenchResult, ModeResult } from "../../lib/bench/bench.js";
import { bfloat16Instructions } from "../../lib/engine/choices.js";
import { instructionFlags } from "../../lib/engine/number-format.js";
import { commands, type Figures, folio, type Proof, peerPython, rounded } from "./proof.js";

/**
 * A requirement for `folio bench --peer`: the speed relative to PyTorch (ratio of medians) and the limits of a step.
 */
interface Row {
  readonly name: string;
  readonly preset: string;
  /** A number format, or the best of each side. */
  readonly dtype: "float32" | "bfloat16" | "best of each";
  readonly needed: number;
  readonly aim: number;
  /** Share of the speed of matrix products in the same run. */
  readonly aimedShareOfPeak?: number;
}

const rows: readonly Row[] = [
  { name: "small, float32", preset: "bench_small", dtype: "float32", needed: 1.4, aim: 1.7 },
  { name: "small, best of each", preset: "bench_small", dtype: "best of each", needed: 1.7, aim: 2.2 },
  { name: "middle, float32", preset: "bench_middle", dtype: "float32", needed: 1.1, aim: 1.15, aimedShareOfPeak: 0.94 },
  { name: "middle, bfloat16", preset: "bench_middle", dtype: "bfloat16", needed: 1.2, aim: 1.3 },
  { name: "GPT-2 124M, float32", preset: "bench_gpt2", dtype: "float32", needed: 1.25, aim: 1.35 },
  { name: "GPT-2 124M, bfloat16", preset: "bench_gpt2", dtype: "bfloat16", needed: 1.3, aim: 1.5 },
];

/** Long enough for stable timings on 2 cores and for useful intervals. */
const steps: Record<string, { steps: number; rounds: number; mostCompileMs: number }> = {
  bench_small: { steps: 400, rounds: 20, mostCompileMs: 1000 },
  bench_middle: { steps: 20, rounds: 10, mostCompileMs: 1000 },
  bench_gpt2: { steps: 20, rounds: 10, mostCompileMs: 5000 },
};

export const benchmark: Proof = {
  name: "bench",
  claim:
    "Training steps of three shapes are faster than PyTorch's best by the required ratios, compile within the time limit, and need no more memory",
  inputs: [...commands("bench"), "lib/bench", "test/bench"],
  async run({ folder, say }) {
    const python = peerPython();
    const fast = bfloat16Instructions(instructionFlags()).length > 0 ? "bfloat16" : "float32";
    const reason = "the processor has no bfloat16 instructions";
    // PyTorch's emulated bfloat16 takes minutes per step, so a ratio to it would be misleading.
    const dtypes = fast === "bfloat16" ? "float32,bfloat16" : "float32";
    let holds = true;
    const figures: Record<string, Figures> = {};
    for (const [preset, { mostCompileMs, ...turns }] of Object.entries(steps)) {
      const json = path.join(folder, `${preset}.json`);
      const flags = Object.entries(turns).map(([name, value]) => `--${name}=${value}`);
      const { output } = await folio(
        ...["bench", preset, "--real_data=False", `--dtype=${dtypes}`, `--peer=${python}`, `--json=${json}`],
        ...flags,
      );
      for (const line of output.trimEnd().split("\n")) say(line);
      const result = JSON.parse(fs.readFileSync(json, "utf8")) as BenchResult;
      for (const row of rows.filter((row) => row.preset === preset)) {
        if (row.dtype !== "float32" && fast === "float32") {
          figures[row.name] = { measured: false, why: reason, needed: row.needed, aim: row.aim };
          continue;
        }
        const found = ratioFigures(row, result);
        figures[row.name] = found;
        holds &&= found.reachesNeeded === true;
      }
      const costs = costFigures(result, mostCompileMs);
      figures[`${preset}, start and memory`] = costs;
      holds &&= costs.compilesInTime === true && costs.noMoreMemory === true;
    }
    return { holds, figures };
  },
};

function ratioFigures({ dtype, needed, aim, aimedShareOfPeak }: Row, { ratios, modes }: BenchResult): Figures {
  const found = ratios.find((ratio) => ratio.dtype === dtype);
  if (!found) throw new Error(`folio bench gave no ratio for ${dtype}.`);
  const share = modeNamed(modes, found.folio)?.shareOfPeak ?? 0;
  return {
    ratio: rounded(found.ratio, 3),
    interval95: `${found.low.toFixed(3)} - ${found.high.toFixed(3)}`,
    needed,
    aim,
    reachesNeeded: found.ratio >= needed,
    reachesAim: found.ratio >= aim && share >= (aimedShareOfPeak ?? 0),
    folio: found.folio,
    pytorch: found.pytorch,
    folioMs: rounded(modeNamed(modes, found.folio)?.medianMs ?? 0, 2),
    pytorchMs: rounded(modeNamed(modes, found.pytorch)?.medianMs ?? 0, 2),
    percentOfPeak: rounded(100 * share, 1),
  };
}

/**
 * The compile time (first step minus median step) of the slowest mode, and the peak memory of Folio and PyTorch in the
 * same number format.
 */
function costFigures({ modes, peaks }: BenchResult, mostCompileMs: number): Figures & { noMoreMemory: boolean } {
  const mib = (bytes: number) => Math.round(bytes / 2 ** 20);
  const ours = modes.filter(({ engine }) => engine === "folio");
  const theirs = (dtype: string) =>
    modes.filter((mode) => mode.engine === "pytorch" && mode.dtype === dtype).map(({ peakBytes }) => peakBytes);
  const firstStepMs = Math.max(...ours.map((mode) => mode.firstStepMs));
  const compileMs = Math.max(...ours.map((mode) => mode.firstStepMs - mode.medianMs));
  return {
    firstStepMs: Math.round(firstStepMs),
    compileMs: Math.round(compileMs),
    compilesInTime: compileMs < mostCompileMs,
    memoryMiB: Object.fromEntries(
      modes.map((mode) => [
        `${mode.engine} ${mode.compiled ? "compiled" : "eager"} ${mode.dtype}`,
        mib(mode.peakBytes),
      ]),
    ),
    noMoreMemory: ours.every((mode) => mode.peakBytes <= Math.min(...theirs(mode.dtype))),
    peakGigaflops: Object.fromEntries(peaks.map(({ dtype, gigaflops }) => [dtype, Math.round(gigaflops)])),
  };
}

function modeNamed(modes: readonly ModeResult[], name: string): ModeResult | undefined {
  return modes.find(({ engine, compiled, dtype }) => {
    const words = [engine === "folio" ? "Folio" : "PyTorch", compiled ? "compiled" : "eager", dtype];
    return words.join(" ") === name;
  });
}
