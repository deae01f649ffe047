/**
 * The settings of a benchmark: those of training, and how to measure. Names and defaults are nanoGPT's where it has
 * them.
 */
import { type Dtype, device, deviceDoc } from "./common.js";
import { count, flag, type Kind, row, type SettingRow, text } from "./rows.js";
import { type Settings, trainRows } from "./train.js";

/** All settings of a benchmark. */
export interface BenchSettings extends Omit<Settings, "compile" | "dtype" | "devices"> {
  /** Use batches of the dataset, drawn as in training; false: random ids. */
  realData: boolean;
  /** Untimed steps of each mode before the timed ones; the first of them traces. */
  burnIn: number;
  /** Steps of each mode that are timed. */
  steps: number;
  /** Rounds over which each mode's timed steps are spread; in a round the modes run in turn. */
  rounds: number;
  /** Profile one more step: time per operation, and a trace that Perfetto opens. */
  profile: boolean;
  /** A Python with PyTorch, in which the same training step is timed too. */
  peer: string;
  /** JSON file for all measurements. */
  json: string;
  /** File for a chart, .svg or .html. */
  chart: string;
  /** Compiled, eager, or both. */
  compile: boolean | "both";
  /** Number formats to measure, separated by commas. */
  dtype: string;
  /** Numbers of devices to measure, separated by commas. */
  devices: string;
}

const bench = row("Benchmark");

const dtypes: readonly string[] = ["auto", "float32", "bfloat16", "float16"] satisfies Dtype[];
const dtypeList: Kind = {
  type: "text",
  wanted: `one or more of ${dtypes.join(", ")}, separated by commas`,
  accepts: (value) => typeof value === "string" && value.split(",").every((dtype) => dtypes.includes(dtype.trim())),
};
const deviceCounts: Kind = {
  type: "text",
  wanted: "numbers from 1 to 1,024, separated by commas",
  accepts: (value) =>
    typeof value === "string" && value.split(",").every((n) => /^ *[1-9]\d{0,3} *$/.test(n) && +n <= 1024),
};
const sometimes: Kind = {
  type: "boolean",
  wanted: "true, false or both",
  accepts: (value) => typeof value === "boolean" || value === "both",
};

// biome-ignore format: a table reads best as a table
export const benchRows: { readonly [K in keyof BenchSettings]: SettingRow & { readonly default: BenchSettings[K] } } = {
  burnIn: bench(count(1, 1e6), 10, "steps", "Untimed steps of each mode before the timed ones; the first of them traces."),
  steps: bench(count(1, 1e6), 20, "steps", "Steps of each mode that are timed."),
  rounds: bench(count(1, 1e6), 10, "rounds", "Rounds over which each mode's timed steps are spread; in a round the modes run in turn."),
  compile: bench(sometimes, true as boolean | "both", "", "Compiled (true), eager (false), or both."),
  dtype: bench(dtypeList, "auto", "", "Number formats to measure, separated by commas: float32,bfloat16."),
  device: bench(device, "auto", "", deviceDoc),
  devices: bench(deviceCounts, "1", "", "Numbers of devices to measure, separated by commas: 1,2. Each takes the same global batch."),
  realData: bench(flag, true, "", "Use batches of the dataset, drawn as in training; false: random ids."),
  peer: bench(text, "", "", "A Python with PyTorch, in which the same training step is timed too, eager and compiled."),
  profile: bench(flag, false, "", "Profile one more step: time per operation, and a trace that Perfetto opens."),
  json: bench(text, "", "", "JSON file for all measurements."),
  chart: bench(text, "", "", "File for a chart, .svg or .html."),
  ...withoutMachine(trainRows),
  gradientAccumulationSteps: { ...trainRows.gradientAccumulationSteps, default: 1 },
  outDir: { ...trainRows.outDir, default: "", accepts: (value) => typeof value === "string", doc: "Folder for bench.json, bench.svg, bench.html and, with --profile, traces; empty: nothing is written." },
};

function withoutMachine(rows: typeof trainRows): Omit<typeof trainRows, "compile" | "dtype" | "device" | "devices"> {
  const { compile: _, dtype: __, device: ___, devices: ____, ...others } = rows;
  return others;
}
