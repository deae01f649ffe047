import fs from "node:fs";
import path from "node:path";
import type * as tf from "@tensorflow/tfjs-core";
import { float32, type HostTensors, int32, mapRecord } from "../../lib/engine/host-tensors.js";
import { openSession } from "../../lib/engine/session.js";
import { forward, parameterSpecs } from "../../lib/model/model.js";
import { defaultSettings, type Settings } from "../../lib/settings/settings.js";
import { biasCorrections } from "../../lib/train/optimizers/adamw.js";
import { learningRate } from "../../lib/train/optimizers/schedule.js";
import { lossAndGradients, trainingSteps } from "../../lib/train/steps.js";
import { readSafetensors } from "../../lib/weights/safetensors.js";
import { type Figures, type Proof, root } from "./proof.js";

const folder = path.join(root, "test", "golden");
const tensors = (name: string) => readSafetensors(path.join(folder, `${name}.safetensors`));

interface Index {
  versions: Record<string, string>;
  models: Record<string, { config: Partial<Settings>; ids: number[][]; targets: number[][] }>;
  adamw: {
    model: string;
    settings: Partial<Settings>;
    steps: { loss: number; micro: { x: number[][]; y: number[][] }[] }[];
  }[];
}

/** Compares with PyTorch's values from test/golden/make.py: float32 here, float64 there. */
export const golden: Proof = {
  name: "golden",
  claim:
    "fp32 logits are within 1e-4 of PyTorch's, each gradient within 1e-3 of its largest value, and 20 losses within 1e-3",
  inputs: ["lib/engine", "test/golden"],
  async run() {
    const index: Index = JSON.parse(fs.readFileSync(path.join(folder, "index.json"), "utf8"));
    const figures: Record<string, Figures> = {};
    let holds = true;
    for (const [way, compile] of [["eager", false] as const, ["compiled", true] as const]) {
      let [logits, gradients, losses] = [0, 0, 0];
      for (const [name, { config, ids, targets }] of Object.entries(index.models)) {
        const settings = { ...defaultSettings, ...config };
        const found = await differences(name, settings, rows(ids), rows(targets), compile);
        logits = Math.max(logits, found.logits);
        gradients = Math.max(gradients, found.gradients);
      }
      for (const { model, settings, steps } of index.adamw) {
        const config = { ...defaultSettings, ...index.models[model]!.config, ...settings };
        const found = await trainingLosses(model, config, steps, compile);
        losses = found.reduce((most, loss, i) => Math.max(most, Math.abs(loss - steps[i]!.loss)), losses);
      }
      figures[way] = {
        largestDifferenceOfLogits: precise(logits),
        largestRelativeDifferenceOfGradients: precise(gradients),
        largestDifferenceOf20Losses: precise(losses),
      };
      holds &&= logits <= 1e-4 && gradients <= 1e-3 && losses <= 1e-3;
    }
    return { holds, figures: { ...figures, pytorch: index.versions.torch ?? "unknown" } };
  },
};

const precise = (value: number) => Number(value.toPrecision(3));
const rows = (values: number[][]) => int32(values.flat(), [values.length, values[0]!.length]);
const largest = (values: ArrayLike<number>) => Array.from(values).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
const difference = (a: ArrayLike<number>, b: ArrayLike<number>) => largest(Array.from(a, (value, i) => value - b[i]!));

function parameters(stored: HostTensors, settings: Settings): HostTensors {
  return Object.fromEntries(parameterSpecs(settings).map(({ name }) => [name, stored[`param/${name}`]!]));
}

async function differences(
  name: string,
  settings: Settings,
  x: HostTensors[string],
  y: HostTensors[string],
  compile: boolean,
): Promise<{ logits: number; gradients: number }> {
  const stored = tensors(name);
  const session = await openSession({ params: parameters(stored, settings) }, { compile });
  try {
    const run = session.define(({ params }, inputs) => {
      const { logits } = forward(params!, inputs.x as tf.Tensor2D, settings);
      return { outputs: { ...lossAndGradients(params!, inputs, settings).gradients, logits } };
    });
    const { logits, ...gradients } = await run({ x, y });
    const relative = Object.entries(gradients).map(([key, { values }]) => {
      const wanted = stored[`grad/${key}`]!.values;
      return difference(values, wanted) / largest(wanted);
    });
    return { logits: difference(logits!.values, stored.logits!.values), gradients: largest(relative) };
  } finally {
    session.dispose();
  }
}

async function trainingLosses(
  model: string,
  config: Settings,
  steps: Index["adamw"][number]["steps"],
  compile: boolean,
): Promise<number[]> {
  const params = parameters(tensors(model), config);
  const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
  const session = await openSession({ params, m: zeros(), v: zeros(), sums: zeros() }, { compile });
  try {
    const { accumulate, update } = trainingSteps(config);
    const [runAccumulate, runUpdate] = [session.define(accumulate), session.define(update)];
    const losses: number[] = [];
    for (const [step, { micro }] of steps.entries()) {
      const [first, second] = micro.map(({ x, y }) => ({ x: rows(x), y: rows(y), dropoutKey: int32([0, step], [2]) }));
      const [biasCorrection1, biasCorrection2] = biasCorrections(step + 1, config).map((value) => float32([value], []));
      const rates = { learningRate: float32([learningRate(step, config)], []) };
      const a = await runAccumulate(first!);
      const b = await runUpdate({
        ...second!,
        ...rates,
        biasCorrection1: biasCorrection1!,
        biasCorrection2: biasCorrection2!,
      });
      losses.push((a.loss!.values[0]! + b.loss!.values[0]!) / 2);
    }
    return losses;
  } finally {
    session.dispose();
  }
}
