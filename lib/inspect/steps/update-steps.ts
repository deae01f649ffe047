/** One update of the weights by hand: loss, gradients, clipping, then AdamW parameter by parameter, in plain numbers. */
import { closest } from "fastest-levenshtein";
import type { Batch } from "../../data/batches.js";
import { float32, type HostTensor, type HostTensors, mapRecord } from "../../engine/host-tensors.js";
import { parameterSpecs } from "../../model/model.js";
import type { Settings } from "../../settings/settings.js";
import { batchInputs } from "../../train/batch-feed.js";
import { learningRate } from "../../train/optimizers/schedule.js";
import { lossAndGradients } from "../../train/steps.js";
import { inSession } from "../look.js";
import { type ComputationStep, sourceOf } from "./computation-step.js";

/** Weights and the optimizer's moments, on the host. */
export interface TrainingState {
  readonly params: HostTensors;
  readonly m: HostTensors;
  readonly v: HostTensors;
}

export interface UpdateOptions {
  readonly settings: Settings;
  /** The number of the update, from 0. */
  readonly step: number;
  readonly batch: Batch;
}

/** A state before the first update: moments of zeros. */
export function newTrainingState(params: HostTensors): TrainingState {
  const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
  return { params, m: zeros(), v: zeros() };
}

/**
 * The steps of one update (Loshchilov 2019, algorithm 2, with clipping of the global norm), without dropout and with one
 * micro-batch; the generator returns the state after it.
 *
 *   g = g min(1, gradClip / (‖g‖ + 1e-6));  m = β₁ m + (1 − β₁) g;  v = β₂ v + (1 − β₂) g²
 *   Δ = −η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + 1e-8) − η λ p;  p = p + Δ      (λ = 0 for vectors)
 *
 * @example
 * for await (const step of updateSteps(state, { settings, step: 0, batch })) console.log(step.name, step.output.values[0]);
 */
export async function* updateSteps(
  state: TrainingState,
  { settings, step, batch }: UpdateOptions,
): AsyncGenerator<ComputationStep, TrainingState> {
  const { value, gradients } = await gradientsOf(state.params, settings, batch);
  const names = Object.keys(state.params);
  yield scalar("loss", "mean of −ln p(next token)", value, {
    inputs: ["x", "y", "parameters"],
    at: ["model/model.ts", "crossEntropy(tf", "loss"],
  });
  for (const name of names) {
    const about = { inputs: ["loss", name], at: ["train/steps.ts", "valueAndGrads", "lossAndGradients"] } as const;
    yield tensor(`gradient of ${name}`, "∂ loss / ∂ p", gradients[name]!, about);
  }
  const norm = Math.sqrt(names.reduce((sum, name) => sum + squares(gradients[name]!), 0));
  const clipping = ["train/optimizers/clipping.ts", "tf.sqrt", "globalNorm"] as const;
  yield scalar("gradient norm", "‖g‖ = √(Σ g²) over all parameters", norm, { inputs: ["gradients"], at: clipping });
  const scale = settings.gradClip === 0 ? 1 : Math.min(1, settings.gradClip / (norm + 1e-6));
  const clip = ["train/optimizers/clipping.ts", "tf.minimum", "clipScale"] as const;
  yield scalar("clip scale", "min(1, gradClip / (‖g‖ + 1e-6))", scale, { inputs: ["gradient norm"], at: clip });
  const rate = learningRate(step, settings);
  const schedule = ["train/optimizers/schedule.ts", "export function learningRate", ""] as const;
  yield scalar("learning rate", `η at step ${step}`, rate, { inputs: ["step"], at: schedule });

  const after = { params: { ...state.params }, m: { ...state.m }, v: { ...state.v } };
  for (const name of names) {
    const old = { param: state.params[name]!, m: state.m[name]!, v: state.v[name]!, gradient: gradients[name]! };
    const updated = adamWByHand(old, { settings, rate, scale, count: step + 1 });
    const source = ["train/optimizers/adamw.ts", "adamUpdate({", "adamW"] as const;
    const [m, v] = [`m of ${name}`, `v of ${name}`];
    yield tensor(m, "β₁ m + (1 − β₁) g", updated.m, { inputs: [`gradient of ${name}`, "clip scale"], at: source });
    yield tensor(v, "β₂ v + (1 − β₂) g²", updated.v, { inputs: [`gradient of ${name}`, "clip scale"], at: source });
    const formula = "−η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + 1e-8) − η λ p";
    yield tensor(`update of ${name}`, formula, updated.change, { inputs: [m, v, name, "learning rate"], at: source });
    yield tensor(name, "p + Δ", updated.param, { inputs: [name, `update of ${name}`], at: source });
    Object.assign(after.params, { [name]: updated.param });
    Object.assign(after.m, { [name]: updated.m });
    Object.assign(after.v, { [name]: updated.v });
  }
  return after;
}

/** What updateOnce() gives. */
export interface UpdatedOnce {
  readonly steps: readonly ComputationStep[];
  readonly after: TrainingState;
  /** The numbers of one step's output. @throws {RangeError} if there is no such step */
  numbersOf(name: string): number[];
}

/**
 * All steps of updateSteps(), and the state after them.
 * @example
 * const { after, numbersOf } = await updateOnce(newTrainingState(weights), { settings, step: 0, batch });
 * console.log(numbersOf("loss"), numbersOf("update of wte.weight"));
 */
export async function updateOnce(state: TrainingState, options: UpdateOptions): Promise<UpdatedOnce> {
  const found = new Map<string, ComputationStep>();
  const steps = updateSteps(state, options);
  let next = await steps.next();
  for (; !next.done; next = await steps.next()) found.set(next.value.name, next.value);
  return {
    steps: [...found.values()],
    after: next.value,
    numbersOf(name) {
      const step = found.get(name);
      if (step) return Array.from(step.output.values);
      throw new RangeError(
        `Cannot read ${name}: an update has no such step; did you mean ${closest(name, [...found.keys()])}?`,
      );
    },
  };
}

async function gradientsOf(params: HostTensors, settings: Settings, batch: Batch) {
  return await inSession({ params, settings }, {}, async (session) => {
    const step = session.define(({ params: weights }, inputs) => {
      const { value, gradients } = lossAndGradients(weights!, inputs, settings);
      return { outputs: { loss: value, ...gradients } };
    });
    const { loss, ...gradients } = await step(batchInputs(batch)); // no key of dropout, so none is applied
    const order = parameterSpecs(settings).map(({ name }) => [name, gradients[name]!] as const);
    return { value: loss!.values[0]!, gradients: Object.fromEntries(order) };
  });
}

interface Moments {
  readonly param: HostTensor;
  readonly m: HostTensor;
  readonly v: HostTensor;
  readonly gradient: HostTensor;
}

/** AdamW of one parameter in double precision, rounded to float32 at the end. */
function adamWByHand(
  { param, m, v, gradient }: Moments,
  { settings, rate, scale, count }: { settings: Settings; rate: number; scale: number; count: number },
) {
  const { beta1, beta2, weightDecay } = settings;
  const decay = param.shape.length >= 2 ? weightDecay : 0;
  const next = { param: empty(param), m: empty(param), v: empty(param), change: empty(param) };
  for (let i = 0; i < param.values.length; i++) {
    const g = gradient.values[i]! * scale;
    const first = beta1 * m.values[i]! + (1 - beta1) * g;
    const second = beta2 * v.values[i]! + (1 - beta2) * g * g;
    const direction = first / (1 - beta1 ** count) / (Math.sqrt(second / (1 - beta2 ** count)) + 1e-8);
    const change = -rate * direction - rate * decay * param.values[i]!;
    next.m.values[i] = first;
    next.v.values[i] = second;
    next.change.values[i] = change;
    next.param.values[i] = param.values[i]! + change;
  }
  return next;
}

const empty = ({ shape, values }: HostTensor) => float32(new Float32Array(values.length), shape);

const squares = ({ values }: HostTensor) => {
  let sum = 0;
  for (const x of values) sum += x * x;
  return sum;
};

interface About {
  readonly inputs: readonly string[];
  readonly at: readonly [file: string, code: string, within: string];
}

function tensor(name: string, formula: string, output: HostTensor, { inputs, at }: About): ComputationStep {
  const [file, code, within] = at;
  const axes = output.shape.map((_, axis) => `axis ${axis}`);
  return { name, formula, source: sourceOf(`lib/${file}`, code, within), inputs, flops: 0, axes, output };
}

const scalar = (name: string, formula: string, value: number, about: About) =>
  tensor(name, formula, float32([value], []), about);
