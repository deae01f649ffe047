/** Values of a forward pass and their gradients against PyTorch's, edits against a pass made by hand, and what is refused. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { int32, toTensor } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { type LookedAt, look, type Target } from "../../lib/inspect/look.js";
import { type ValueName, valueSpecs } from "../../lib/model/activations.js";
import type { Edits } from "../../lib/model/edits.js";
import { forward } from "../../lib/model/model.js";
import { sample } from "../../lib/sample/sample.js";
import { expectNoLeakAwaited } from "../leaks.js";
import { goldenModel, goldenModels, goldenValues, relative } from "./golden-models.js";

beforeAll(() => {
  loadTensorFlow();
});

describe("look()", () => {
  for (const model of goldenModels) {
    for (const compile of [false, true]) {
      test(`every value and its gradient are PyTorch's: ${model}, ${compile ? "compiled" : "eager"}`, async () => {
        const { ids, held } = goldenModel(model);
        const names = valueSpecs(held.settings).map(({ name }) => name);
        const { values } = await look(held, ids, names, { gradientOf: "loss", compile });
        for (const name of names) {
          const wanted = goldenValues[`${model}/${name}`]!;
          const { shape, values: found, gradient, axes } = values[name]!;
          expect([name, shape]).toEqual([name, wanted.shape]);
          expect(axes).toHaveLength(shape.length);
          expect([name, relative(found, wanted.values) < 1e-4]).toEqual([name, true]);
          const slope = goldenValues[`${model}/gradient/${name}`]!.values;
          expect([name, relative(gradient!, slope) < 1e-4]).toEqual([name, true]);
        }
      });
    }
  }

  test("gives the gradient of one logit, and of a function of the logits", async () => {
    const { ids, held } = goldenModel("tanh");
    const of = async (gradientOf: Target) =>
      (await look(held, ids, ["logits"], { gradientOf })).values.logits.gradient!;
    const one = await of({ position: 2, token: 5 });
    expect(one.reduce((sum, x) => sum + x, 0)).toBe(1);
    expect(one[2 * held.settings.vocabSize + 5]).toBe(1);
    const doubled = await of((logits) => tf.mul(tf.sum(logits), 2) as tf.Scalar);
    expect(new Set(doubled)).toEqual(new Set([2]));
  });

  test("leaves no tensor behind, also after an error inside an edit", async () => {
    const { ids, held } = goldenModel("erf");
    await expectNoLeakAwaited(async () => {
      await look(held, ids, ["h.0.attn.weights"]);
    });
    await expectNoLeakAwaited(async () => {
      const fails = () => {
        throw new Error("no");
      };
      await expect(look(held, ids, ["logits"], { edits: { "h.1.mlp.out": { to: fails } } })).rejects.toThrow("no");
    });
  });

  test("1,000 times, every tenth failing inside an edit, leaves tensors and bytes as before", async () => {
    const { ids, held } = goldenModel("erf");
    const short = ids.slice(0, 4);
    let failed = 0;
    const fails = () => {
      throw new Error("no");
    };
    await expectNoLeakAwaited(async () => {
      for (let i = 0; i < 500; i++) {
        const to = i % 10 === 9 ? fails : ("zero" as const);
        const seen = look(held, short, ["h.0.attn.out", "logits"], { edits: { "h.1.attn.heads": { to, heads: [1] } } });
        if (i % 10 !== 9) await seen;
        else await seen.catch(() => failed++);
      }
    });
    expect(failed).toBe(100);
  });

  test("names the nearest value, the layers, heads and positions there are, and the axes", async () => {
    const { ids, held } = goldenModel("erf");
    const seen = (name: string, edits?: object) =>
      look(held, ids, [name as ValueName], edits && { edits: edits as Edits });
    await expect(seen("h.0.attn.wieghts")).rejects.toThrow("no such value; did you mean h.0.attn.weights?");
    await expect(seen("h.2.mlp.out")).rejects.toThrow("the model has 2 layers, 0 to 1");
    const edit = (name: string, change: object) => seen("logits", { [name]: change });
    await expect(edit("h.0.atn.q", { to: "zero" })).rejects.toThrow("did you mean h.0.attn.q?");
    await expect(edit("h.0.attn.q", { to: "zero", heads: [2] })).rejects.toThrow("there is no head 2; wanted 0 to 1");
    await expect(edit("h.0.mlp.out", { to: "zero", heads: [0] })).rejects.toThrow("[B, T, C]: it has no heads");
    await expect(edit("h.0.mlp.out", { to: "zero", positions: [-1] })).rejects.toThrow("there is no position -1");
    const small = { dtype: "float32", shape: [1, 2, 3], values: new Float32Array(6) };
    await expect(edit("h.0.mlp.out", { to: small })).rejects.toThrow(/the replacement has \[1,2,3\]/);
    await expect(edit("h.0.mlp.out", { to: () => tf.scalar(1) })).rejects.toThrow("the function gives []");
    await expect(look(held, "text", ["logits"])).rejects.toThrow("the model does not bring its tokenizer");
    await expect(look(held, [99], ["logits"])).rejects.toThrow("Cannot look at the id 99: the model knows 0 to 64");
  });

  test("a misspelt name does not compile", () => {
    const name: ValueName = "h.3.attn.weights";
    // @ts-expect-error: no such value
    const wrong: ValueName = "h.3.attn.wieghts";
    // @ts-expect-error: no such value
    const edits: Edits = { "h.0.mlp.outt": { to: "zero" } };
    expect([name, wrong, edits]).toHaveLength(3);
  });
});

/** A small deterministic generator for the choice of edits. */
function draws(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describe("edits", () => {
  test("200 random ones equal a pass whose values are changed by hand, eager and compiled", async () => {
    const { ids, held } = goldenModel("untied");
    const { settings } = held;
    const specs = valueSpecs(settings);
    const plain = (
      await look(
        held,
        ids,
        specs.map(({ name }) => name),
      )
    ).values;
    const draw = draws(7);
    for (let round = 0; round < 200; round++) {
      const { name, axes } = specs[draw(specs.length)]!;
      const shape = plain[name]!.shape;
      const heads = axes.includes("H") && draw(2) ? [draw(settings.nHead)] : undefined;
      const positions = draw(2) ? [draw(ids.length), draw(ids.length)] : undefined;
      const other = Float32Array.from(plain[name]!.values, (x, i) => x * 0.5 + Math.sin(i));
      const kind = name.endsWith(".scale") ? 2 : draw(3); // by a scale of zero nothing can be divided
      const to =
        kind === 0
          ? "zero"
          : kind === 1
            ? { dtype: "float32" as const, shape: [...shape], values: other }
            : (x: tf.Tensor) => tf.mul(x, -2);
      const edits = { [name]: { to, ...(heads && { heads }), ...(positions && { positions }) } } as Edits;
      const found = (await look(held, ids, ["logits"], { edits, compile: round % 20 === 0 })).values.logits.values;
      const wanted = byHand(held, ids, name, (values) =>
        values.map((x, i) => {
          const place = coordinates(i, shape);
          const chosen =
            (!heads || heads.includes(place[axes.indexOf("H")]!)) &&
            (!positions || positions.includes(place[axes.indexOf("T")]!));
          return !chosen ? x : kind === 0 ? 0 : kind === 1 ? other[i]! : -2 * x;
        }),
      );
      expect([round, name, relative(found, wanted) < 1e-5]).toEqual([round, name, true]);
    }
  });

  test("while sampling give the same text with a cache and without", async () => {
    const { held } = goldenModel("untied");
    const tokenizer = charTokenizer("abcdefghijk");
    const text = async (edits: Edits | undefined, cache: boolean) => {
      let all = "";
      const options = { prompt: "abc", maxNewTokens: 10, topK: 1, cache, ...(edits && { edits }) };
      for await (const { text } of sample(held, tokenizer, options)) all += text;
      return all;
    };
    const edits: Edits = {
      "h.0.attn.weights": { to: "zero", heads: [1], positions: [2, 4, 5] },
      "h.1.mlp.out": { to: (x) => tf.mul(x, 30) },
      logits: { to: (x) => tf.neg(x), positions: [3, 6] },
    };
    const edited = await text(edits, true);
    expect(edited).toBe(await text(edits, false));
    expect(edited).not.toBe(await text(undefined, true));
  });
});

function coordinates(flat: number, shape: readonly number[]): number[] {
  const place: number[] = [];
  let rest = flat;
  for (const size of [...shape].reverse()) {
    place.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return place;
}

/** Logits of a pass in which one value is read back, changed as numbers, and put in again. */
function byHand(
  { params, settings }: LookedAt,
  ids: readonly number[],
  name: ValueName,
  change: (values: Float32Array) => Float32Array,
): Float32Array {
  return tf.tidy(() => {
    const tensors = Object.fromEntries(Object.entries(params).map(([key, tensor]) => [key, toTensor(tensor)]));
    const { logits } = forward(tensors, toTensor(int32([...ids], [1, ids.length])) as tf.Tensor2D, settings, {
      wants: (one) => one === name,
      at: (_, value) => tf.tensor(change(value.dataSync() as Float32Array), value.shape),
    });
    return logits.dataSync() as Float32Array;
  });
}
