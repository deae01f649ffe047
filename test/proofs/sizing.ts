import fs from "node:fs";
import path from "node:path";
import { memoryBytes } from "../../lib/model/memory.js";
import {
  chinchillaFlops,
  chinchillaParameters,
  countParameters,
  flopsPerToken,
  flopsTable,
  gpt2Shapes,
  modelFlopsUtilization,
  type SizeRow,
  trainingSeconds,
} from "../../lib/model/sizing.js";
import { parseSettings } from "../../lib/settings/settings.js";
import { commands, type Figures, folio, folioCommand, type Proof, rounded, start } from "./proof.js";

interface Printed {
  readonly parameters: readonly SizeRow[];
  readonly flops: readonly SizeRow[];
}

// nanoGPT's transformer_sizing and scaling_laws notebooks; Hoffmann 2022, table A4.
const gpt2Parameters: Readonly<Record<string, number>> = {
  "embedding/positions": 786_432,
  "embedding/tokens": 38_597_376,
  "attention/norm": 768,
  "attention/qkv": 1_769_472,
  "attention/projection": 589_824,
  attention: 2_360_064,
  "mlp/expand": 2_359_296,
  mlp: 4_719_360,
  block: 7_079_424,
  blocks: 84_953_088,
  total: 124_337_664,
};
const gpt2Flops: Readonly<Record<string, number>> = {
  "attention/qkv": 3_623_878_656,
  "attention/scores": 1_610_612_736,
  "attention/reduce": 1_610_612_736,
  "attention/projection": 1_207_959_552,
  "mlp/expand": 4_831_838_208,
  block: 17_716_740_096,
  blocks: 212_600_881_152,
  head: 79_047_426_048,
  forward: 291_648_307_200,
  total: 874_944_921_600,
};
const published: readonly [keyof typeof gpt2Shapes, number, number][] = [
  ["gpt2", 123_653_376, 124_439_808],
  ["gpt2-medium", 353_774_592, 354_823_168],
  ["gpt2-large", 772_719_360, 774_030_080],
  ["gpt2-xl", 1_555_972_800, 1_557_611_200],
];
const chinchilla: readonly [number, number, number, number, number][] = [
  [10, 640, 10, 73_825_280, 929_877_196_800],
  [20, 1024, 16, 305_707_008, 4_135_248_199_680],
  [24, 1280, 10, 552_604_160, 7_353_453_772_800],
  [26, 1792, 14, 1_143_453_696, 14_670_316_437_504],
  [28, 2048, 16, 1_593_126_912, 20_220_437_594_112],
  [40, 3584, 28, 6_796_274_688, 83_021_046_743_040],
];

/** The numbers that are wrong. */
function differences(printed: Printed): string[] {
  const found: string[] = [];
  const check = (what: string, value: number | string | undefined, wanted: number | string) => {
    if (value !== wanted) found.push(`${what} is ${value}, not ${wanted}`);
  };
  const count = (rows: readonly SizeRow[], part: string) => rows.find((row) => row.part === part)?.count;
  for (const [part, wanted] of Object.entries(gpt2Parameters)) check(part, count(printed.parameters, part), wanted);
  for (const [part, wanted] of Object.entries(gpt2Flops)) check(`FLOPs, ${part}`, count(printed.flops, part), wanted);
  for (const [name, without, all] of published) {
    check(`${name} without positions`, countParameters(gpt2Shapes[name], { positions: false }), without);
    check(name, countParameters(gpt2Shapes[name]), all);
  }
  for (const [layers, width, heads, parameters, flops] of chinchilla) {
    check(`parameters of ${layers}/${width}`, chinchillaParameters({ layers, width, heads }), parameters);
    check(`FLOPs of ${layers}/${width}`, chinchillaFlops({ layers, width, heads }), flops);
  }
  const gpt2 = { ...gpt2Shapes.gpt2, bias: false };
  check("PaLM's formula", 1024 * flopsPerToken(gpt2), 875_062_886_400);
  const perToken = flopsTable(gpt2).at(-1)!.count / 1024;
  const mfu = modelFlopsUtilization({
    flopsPerToken: perToken,
    tokensPerSecond: 102_400 / 0.755,
    peakFlops: 312e12,
  });
  check("MFU in %", (100 * mfu).toFixed(2), "37.14");
  const flops = 6 * countParameters(gpt2) * 300e9;
  const days = trainingSeconds({ flops, peakFlops: 8 * 312e12, utilization: 0.3 }) / 86_400;
  check("days on eight A100", days.toFixed(2), "3.46");
  return found;
}

/** Peak resident memory of a command; undefined if the system does not report it. */
async function peakBytes(args: readonly string[]): Promise<number | undefined> {
  const child = start(process.execPath, [folioCommand, ...args]);
  for (const stream of [child.stdout!, child.stderr!]) stream.resume();
  let peak: number | undefined;
  const timer = setInterval(() => {
    try {
      const status = fs.readFileSync(`/proc/${child.pid}/status`, "utf8");
      peak = Number(/VmHWM:\s+(\d+)/.exec(status)![1]) * 1024;
    } catch {
      // it has ended, or this is not Linux
    }
  }, 50);
  const code = await new Promise((resolve) => child.on("close", resolve));
  clearInterval(timer);
  if (code !== 0) throw new Error(`folio ${args.join(" ")} ended with ${code}`);
  return peak;
}

export const sizing: Proof = {
  name: "sizing",
  claim:
    "Parameters, FLOPs, MFU and days equal nanoGPT's to the last digit, and Chinchilla's table A4; the memory predicted by `folio sizes` is within a third of the measured memory",
  inputs: commands("prepare", "train", "sizes"),
  async run({ folder, say }) {
    const { output } = await folio("sizes", "--vocab_size=50257", "--json");
    const wrong = differences(JSON.parse(output) as Printed);
    for (const line of wrong) say(line);
    await folio("prepare", "typescript", `--data_dir=${folder}`);
    const ratios: Record<string, Figures> = {};
    for (const [name, flags] of [
      ["compiled", "--n_layer=6 --n_head=6 --n_embd=384 --block_size=256 --batch_size=16"],
      ["dropout", "--n_layer=6 --n_head=6 --n_embd=384 --block_size=256 --batch_size=8 --dropout=0.2"],
      ["eager", "--n_layer=6 --n_head=6 --n_embd=384 --block_size=64 --batch_size=16 --compile=False"],
    ] as const) {
      const shape = [...flags.split(" "), "--gradient_accumulation_steps=1", "--dtype=float32", "--device=cpu"];
      const where = [`--data_dir=${folder}`, `--out_dir=${path.join(folder, name)}`, "--dataset=typescript"];
      const measured = await peakBytes(["train", ...shape, ...where, "--max_iters=3", "--eval_iters=1"]);
      const overrides = Object.fromEntries(shape.map((flag) => flag.slice(2).split("=") as [string, string]));
      const values = Object.entries(overrides).map(([key, value]) => [key, JSON.parse(literal(value))]);
      const foretold = memoryBytes({ ...parseSettings(Object.fromEntries(values)), vocabSize: 93 });
      if (measured === undefined) continue;
      const ratio = rounded(foretold / measured, 2);
      say(`${name}: foretold ${Math.round(foretold / 1e6)} MB, measured ${Math.round(measured / 1e6)} MB`);
      ratios[name] = { foretoldMB: Math.round(foretold / 1e6), measuredMB: Math.round(measured / 1e6), ratio };
    }
    const within = Object.values(ratios).every(({ ratio }) => (ratio as number) > 0.75 && (ratio as number) < 1.34);
    const numbers = Object.keys(gpt2Parameters).length + Object.keys(gpt2Flops).length + 2 * published.length;
    const figures = { numbersChecked: numbers + 2 * chinchilla.length + 3, wrong: wrong.length, memory: ratios };
    return { holds: wrong.length === 0 && within, figures };
  },
};

/** The value of a flag as JSON. */
function literal(value: string): string {
  return /^[\d.]+$/.test(value)
    ? value
    : value === "True" || value === "False"
      ? value.toLowerCase()
      : JSON.stringify(value);
}
