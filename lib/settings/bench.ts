/** The settings of a benchmark: those of training, and how to measure. Names and defaults are nanoGPT's where it has them. */
import { type Dtype, device, deviceDoc } from "./common.js";
import { count, flag, type Kind, row, type SettingRow, text } from "./rows.js";
import { type Settings, trainRows } from "./train.js";

/** All settings of a benchmark. */
export interface BenchSettings extends Omit<Settings, "compile" | "dtype"> {
  /** Batches of the dataset, as training draws them; false: random ids. */
  realData: boolean;
  /** Steps of each mode that are not counted, the first of which traces. */
  burnIn: number;
  /** Steps of each mode that are timed. */
  steps: number;
  /** Turns in which the modes take their steps, one mode after the other. */
  rounds: number;
  /** Time by operation of one more step, and a trace that Perfetto opens. */
  profile: boolean;
  /** A Python that has PyTorch: times the same training step there too. */
  peer: string;
  /** File for every number, as JSON. */
  json: string;
  /** File for a chart, .svg or .html. */
  chart: string;
  /** Compiled, eager, or both. */
  compile: boolean | "both";
  /** Number formats to measure, with commas between. */
  dtype: string;
}

const bench = row("Benchmark");

const dtypes: readonly string[] = ["auto", "float32", "bfloat16", "float16"] satisfies Dtype[];
const dtypeList: Kind = {
  type: "text",
  wanted: `some of ${dtypes.join(", ")}, with commas between`,
  accepts: (value) => typeof value === "string" && value.split(",").every((dtype) => dtypes.includes(dtype.trim())),
};
const sometimes: Kind = {
  type: "boolean",
  wanted: "true, false or both",
  accepts: (value) => typeof value === "boolean" || value === "both",
};

// biome-ignore format: a table reads best as a table
export const benchRows: { readonly [K in keyof BenchSettings]: SettingRow & { readonly default: BenchSettings[K] } } = {
  burnIn: bench(count(1, 1e6), 10, "steps", "Steps of each mode that are not counted, the first of which traces."),
  steps: bench(count(1, 1e6), 20, "steps", "Steps of each mode that are timed."),
  rounds: bench(count(1, 1e6), 10, "turns", "Turns in which the modes take their steps, one mode after the other."),
  compile: bench(sometimes, true as boolean | "both", "", "Compiled (true), eager (false), or both."),
  dtype: bench(dtypeList, "auto", "", "Number formats to measure, with commas between: float32,bfloat16."),
  device: bench(device, "auto", "", deviceDoc),
  realData: bench(flag, true, "", "Batches of the dataset, as training draws them; false: random ids."),
  peer: bench(text, "", "", "A Python that has PyTorch: times the same training step there too, eager and compiled."),
  profile: bench(flag, false, "", "Time by operation of one more step, and a trace that Perfetto opens."),
  json: bench(text, "", "", "File for every number, as JSON."),
  chart: bench(text, "", "", "File for a chart, .svg or .html."),
  ...withoutMachine(trainRows),
  gradientAccumulationSteps: { ...trainRows.gradientAccumulationSteps, default: 1 },
  outDir: { ...trainRows.outDir, default: "", accepts: (value) => typeof value === "string", doc: "Folder for bench.json, bench.svg, bench.html and, with --profile, traces; none: nothing is written." },
};

function withoutMachine(rows: typeof trainRows): Omit<typeof trainRows, "compile" | "dtype" | "device"> {
  const { compile: _, dtype: __, device: ___, ...others } = rows;
  return others;
}
