/** Training steps give the same results with accumulation, in eager and compiled mode, and with a cache. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, test } from "vitest";
import { float32, type HostTensors, int32, mapRecord, toHost } from "../../lib/engine/host-tensors.js";
import { openSession } from "../../lib/engine/session.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { key } from "../../lib/host/random.js";
import { cacheGroup, cacheOf, cacheState } from "../../lib/model/kv-cache.js";
import { forward, initialParameters } from "../../lib/model/model.js";
import { parseSettings, type Settings } from "../../lib/settings/settings.js";
import { biasCorrections } from "../../lib/train/optimizers/adamw.js";
import { trainingSteps, updateInputs } from "../../lib/train/steps.js";

loadTensorFlow();
// Without biases: the gradient of the keys' bias is 0, and AdamW would amplify its rounding errors.
const shape = { nLayer: 2, nHead: 2, nEmbd: 16, blockSize: 8, vocabSize: 11, bias: false };
const T = shape.blockSize;

const settingsOf = (more: Partial<Settings> = {}) => parseSettings({ ...shape, gradientAccumulationSteps: 1, ...more });

async function parametersOf(settings: Settings): Promise<HostTensors> {
  const made = Object.entries(initialParameters(settings, 5));
  const entries = made.map(async ([name, tensor]) => [name, await toHost(tensor)] as const);
  const params = Object.fromEntries(await Promise.all(entries));
  for (const [, tensor] of made) tensor.dispose();
  return params;
}

const zerosOf = (params: HostTensors): HostTensors =>
  mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));

/** Rows `from` to `to` of a step's batch: x, y and the dropout key of the first of these rows. */
function rows(step: number, from: number, to: number): HostTensors {
  const ids = (shift: number) =>
    int32(
      Array.from({ length: (to - from) * T }, (_, i) => ((i + from * T) ** 2 + 3 * step + 5 * shift) % shape.vocabSize),
      [to - from, T],
    );
  const [k0, k1] = key(1, "dropout", step) as unknown as [number, number];
  return { x: ids(0), y: ids(1), dropoutKey: int32([k0, k1 + from], [2]) };
}

interface Run {
  params: HostTensors;
  losses: number[];
  gradNorms: number[];
}

/** `steps` updates with batches of 6 rows, in the number of micro-batches in the settings. */
async function run(settings: Settings, steps: number, { compile = true } = {}): Promise<Run> {
  const params = await parametersOf(settings);
  const parts = settings.gradientAccumulationSteps;
  const sums = parts > 1 ? { sums: zerosOf(params) } : {};
  const session = await openSession({ params, m: zerosOf(params), v: zerosOf(params), ...sums }, { compile });
  try {
    const defined = trainingSteps(settings);
    const [accumulate, update] = [session.define(defined.accumulate), session.define(defined.update)];
    const result: Run = { params, losses: [], gradNorms: [] };
    for (let step = 0; step < steps; step++) {
      let loss = 0;
      const micro = (part: number) => rows(step, (part * 6) / parts, ((part + 1) * 6) / parts);
      for (let part = 0; part < parts - 1; part++) loss += (await accumulate(micro(part))).loss!.values[0]! / parts;
      const [c1, c2] = biasCorrections(step + 1, settings);
      // AdamW scales the rounding errors of tiny gradients up to the learning rate.
      const last = await update({
        ...micro(parts - 1),
        learningRate: float32([3e-3], []),
        biasCorrection1: float32([c1], []),
        biasCorrection2: float32([c2], []),
      });
      result.losses.push(loss + last.loss!.values[0]! / parts);
      result.gradNorms.push(last.gradNorm!.values[0]!);
    }
    if (parts > 1) {
      for (const { values } of Object.values(await session.read("sums")))
        expect(values.every((sum) => sum === 0)).toBe(true);
    }
    result.params = await session.read("params");
    return result;
  } finally {
    session.dispose();
  }
}

/** max |found − wanted| / max(floor, max |wanted|) over one tensor's values. */
function relative(found: ArrayLike<number>, wanted: ArrayLike<number>, floor = 1e-12): number {
  expect(found.length).toBe(wanted.length);
  const most = (value: (i: number) => number) =>
    Array.from(wanted, (_, i) => Math.abs(value(i))).reduce((a, b) => Math.max(a, b), 0);
  return (
    most((i) => found[i]! - wanted[i]!) /
    Math.max(
      floor,
      most((i) => wanted[i]!),
    )
  );
}

describe("a scaled loss", () => {
  test("gives the same loss, norm, weights and moments", async () => {
    const settings = settingsOf({ warmupIters: 0, learningRate: 1e-2 });
    const params = await parametersOf(settings);
    const trained = async (scaler?: HostTensors) => {
      const state = { params, m: zerosOf(params), v: zerosOf(params), ...(scaler && { scaler }) };
      const session = await openSession(state, { compile: false });
      const { loss, gradNorm } = await session.define(trainingSteps(settings).update)({
        ...rows(0, 0, 6),
        ...updateInputs(0, settings),
      });
      const [weights, m, v] = [await session.read("params"), await session.read("m"), await session.read("v")];
      session.dispose();
      return { weights, m, v, outputs: { loss: loss!, gradNorm: gradNorm! } };
    };
    const scalar = (value: number) => float32([value], []);
    const scaled = await trained({ scale: scalar(1024), goodSteps: scalar(0), updates: scalar(0) });
    for (const [group, tensors] of Object.entries(await trained())) {
      for (const [name, { values }] of Object.entries(tensors)) {
        const found = scaled[group as keyof typeof scaled] as HostTensors;
        expect(relative(found[name]!.values, values), `${group} ${name}`).toBeLessThan(1e-4);
      }
    }
  });
});

describe("updateRatios", () => {
  test("are ‖Δp‖ / ‖p‖ over the parameters of a kind, in the order of their names", async () => {
    const settings = settingsOf({ tieHead: false, warmupIters: 0, learningRate: 1e-2 });
    const before = await parametersOf(settings);
    const moments = { m: zerosOf(before), v: zerosOf(before) };
    const session = await openSession({ params: before, ...moments }, { compile: false });
    const steps = trainingSteps(settings);
    const rates = updateInputs(4, settings);
    await session.define(steps.update)({ ...rows(0, 0, 6), ...rates });
    const found = await session.define(steps.updateRatios)(rates);
    const after = await session.read("params");
    session.dispose();
    const inLayers = (...names: string[]) =>
      [0, 1].flatMap((layer) => names.map((name) => `h.${layer}.${name}.weight`));
    const kinds = {
      attention: inLayers("attn.c_attn", "attn.c_proj"),
      embedding: ["wte.weight", "wpe.weight"],
      head: ["lm_head.weight"],
      mlp: inLayers("mlp.c_fc", "mlp.c_proj"),
      norm: [...inLayers("ln_1", "ln_2"), "ln_f.weight"],
    };
    expect(Object.keys(found)).toEqual(Object.keys(kinds));
    for (const [kind, names] of Object.entries(kinds)) {
      const norm = (value: (name: string, i: number) => number) =>
        Math.hypot(...names.flatMap((name) => Array.from(after[name]!.values, (_, i) => value(name, i))));
      const change = norm((name, i) => after[name]!.values[i]! - before[name]!.values[i]!);
      const wanted = change / norm((name, i) => after[name]!.values[i]!);
      expect(found[kind]!.values[0]! / wanted, kind).toBeCloseTo(1, 3);
    }
  });
});

describe("trainingSteps()", () => {
  for (const dropout of [0, 0.2]) {
    for (const compile of [false, true]) {
      const micros = dropout === 0 ? 2 : 3;
      test(`${micros} micro-batches equal one batch of ${micros} times the size: dropout ${dropout}, ${compile ? "compiled" : "eager"}`, async () => {
        const whole = await run(settingsOf({ dropout }), 3, { compile });
        const parts = await run(settingsOf({ dropout, gradientAccumulationSteps: micros }), 3, { compile });
        expect(relative(parts.losses, whole.losses)).toBeLessThan(1e-5);
        expect(relative(parts.gradNorms, whole.gradNorms)).toBeLessThan(1e-5);
        for (const [name, { values }] of Object.entries(parts.params)) {
          expect(relative(values, whole.params[name]!.values, 1), name).toBeLessThan(1e-5);
        }
      });
    }

    test(`eager and compiled agree over 20 steps, dropout ${dropout}`, async () => {
      const settings = settingsOf({ dropout });
      const [eager, compiled] = [await run(settings, 20, { compile: false }), await run(settings, 20)];
      expect(eager.losses[19]).toBeLessThan(eager.losses[0]! - 0.05);
      expect(relative(compiled.losses, eager.losses)).toBeLessThan(1e-5);
      const worst = Object.entries(compiled.params).map(([name, { values }]): [number, string] => [
        relative(values, eager.params[name]!.values, 1e-2),
        name,
      ]);
      expect(Math.max(...worst.map(([error]) => error)), `${worst}`).toBeLessThan(1e-5);
    });
  }

  test("dropout changes the training, and evaluate() does not use it", async () => {
    const [without, dropping] = [await run(settingsOf(), 2), await run(settingsOf({ dropout: 0.2 }), 2)];
    expect(relative(dropping.losses, without.losses)).toBeGreaterThan(1e-4);
    const losses = [];
    for (const dropout of [0, 0.2]) {
      const settings = settingsOf({ dropout });
      const session = await openSession({ params: await parametersOf(settings) });
      losses.push((await session.define(trainingSteps(settings).evaluate)(rows(0, 0, 6))).loss!.values[0]!);
      session.dispose();
    }
    expect(losses[1]).toBe(losses[0]);
    expect(losses[0]).toBeCloseTo(without.losses[0]!, 5);
  });

  for (const compile of [false, true]) {
    test(`train and evaluate a changed forward pass: ${compile ? "compiled" : "eager"}`, async () => {
      const settings = settingsOf({ gradientAccumulationSteps: 2 });
      // What the pass gets in place of the position table is zero: its own values have no effect, and no gradient.
      const { evaluate, accumulate } = trainingSteps(settings, {
        wants: (name) => name === "wpe",
        at: (_name, value) => tf.zerosLike(value),
      });
      const params = await parametersOf(settings);
      const table = params["wpe.weight"]!;
      const other = { ...params, "wpe.weight": float32(new Float32Array(table.values.length), table.shape) };
      const losses = [];
      for (const weights of [params, other]) {
        const session = await openSession({ params: weights, sums: zerosOf(params) }, { compile });
        const inputs = rows(0, 0, 6);
        losses.push((await session.define(evaluate)(inputs)).loss!.values[0]!);
        losses.push((await session.define(accumulate)(inputs)).loss!.values[0]!);
        const sums = await session.read("sums");
        expect(sums["wpe.weight"]!.values.every((sum) => sum === 0)).toBe(true);
        expect(sums["wte.weight"]!.values.every((sum) => sum === 0)).toBe(false);
        session.dispose();
      }
      for (const loss of losses) expect(loss).toBeCloseTo(losses[0]!, 5);
      const session = await openSession({ params }, { compile });
      const unchanged = (await session.define(trainingSteps(settings).evaluate)(rows(0, 0, 6))).loss!.values[0]!;
      expect(Math.abs(unchanged - losses[0]!)).toBeGreaterThan(1e-5);
      session.dispose();
    });
  }
});

for (const compile of [false, true]) {
  test(`forward() token by token, with cached keys and values, equals one call: ${compile ? "compiled" : "eager"}`, async () => {
    const settings = settingsOf();
    const session = await openSession(
      { params: await parametersOf(settings), cache: cacheState(settings, 3) },
      { compile },
    );
    const { x } = rows(0, 0, 3) as { x: { values: Int32Array } & HostTensors[string] };
    const { logits } = await session.define(({ params }, { x }) => ({
      outputs: { logits: forward(params!, x as tf.Tensor2D, settings).logits },
    }))({ x });
    const step = session.define(({ params, cache }, { id, position }) => {
      const after = forward(params!, id as tf.Tensor2D, settings, { cache: cacheOf(cache!, position) });
      return { state: { cache: cacheGroup(after.cache!) }, outputs: { logits: after.logits } };
    });
    for (let t = 0; t < T; t++) {
      const id = int32(
        [0, 1, 2].map((row) => x.values[row * T + t]!),
        [3, 1],
      );
      const { logits: last } = await step({ id, position: int32([t], []) });
      const wanted = [0, 1, 2].flatMap((row) => {
        const start = (row * T + t) * shape.vocabSize;
        return [...logits!.values.slice(start, start + shape.vocabSize)];
      });
      expect(relative(last!.values, wanted, 1), `position ${t}`).toBeLessThan(1e-5);
    }
    session.dispose();
  });
}
