import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { type HostTensor, type HostTensors, int32, toTensor } from "../../lib/engine/host-tensors.js";
import { fusedEnabled } from "../../lib/engine/operations/fused.js";
import { openSession } from "../../lib/engine/session.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { valueSpecs } from "../../lib/model/activations.js";
import { type Cache, emptyCache } from "../../lib/model/kv-cache.js";
import { forward, initialParameters, loss, type Parameters, parameterSpecs } from "../../lib/model/model.js";
import { countParameters } from "../../lib/model/sizing.js";
import { defaultSettings, type ModelSettings, type Settings } from "../../lib/settings/settings.js";
import { lossAndGradients } from "../../lib/train/steps.js";
import { readSafetensors } from "../../lib/weights/safetensors.js";
import { expectNoLeak } from "../leaks.js";

// PyTorch's values: test/golden/make.py made them.
const folder = new URL("../golden/", import.meta.url);
const index: GoldenIndex = JSON.parse(readFileSync(new URL("index.json", folder), "utf8"));

interface GoldenIndex {
  models: Record<string, { config: ModelSettings; ids: number[][]; targets: number[][]; loss: number }>;
}

interface Golden {
  settings: Settings;
  ids: HostTensor;
  targets: HostTensor;
  loss: number;
  stored: HostTensors;
  params: HostTensors;
}

function golden(name: string): Golden {
  const { config, ids, targets, loss } = index.models[name]!;
  const rows = (values: number[][]) => int32(values.flat(), [values.length, values[0]!.length]);
  const settings = { ...defaultSettings, ...config };
  const stored = readSafetensors(new URL(`${name}.safetensors`, folder).pathname);
  const params = Object.fromEntries(parameterSpecs(settings).map((spec) => [spec.name, stored[`param/${spec.name}`]!]));
  return { settings, ids: rows(ids), targets: rows(targets), loss, stored, params };
}

const onDevice = (tensors: HostTensors): Parameters =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, toTensor(tensor)]));

/** max |found − wanted| */
const difference = (found: ArrayLike<number>, wanted: ArrayLike<number>): number =>
  Array.from(found).reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)), 0);
/** max |found − wanted| / max |wanted| */
const relative = (found: ArrayLike<number>, wanted: ArrayLike<number>): number =>
  difference(found, wanted) / difference(wanted, new Float32Array(wanted.length));

beforeAll(() => {
  loadTensorFlow();
});

const tiny: ModelSettings = { ...defaultSettings, nLayer: 2, nHead: 2, nEmbd: 8, blockSize: 6, vocabSize: 7 };

describe("parameterSpecs()", () => {
  for (const name of Object.keys(index.models)) {
    test(`has the names and shapes of the published weights: ${name}`, () => {
      const { settings, stored } = golden(name);
      const wanted = Object.entries(stored)
        .filter(([key]) => key.startsWith("param/"))
        .map(([key, { shape }]) => [key.slice("param/".length), shape] as const);
      const found = parameterSpecs(settings).map(({ name, shape }) => [name, shape] as const);
      expect(Object.fromEntries(found)).toEqual(Object.fromEntries(wanted));
    });
  }

  test("counts nanoGPT's printed sizes", () => {
    const size = (settings: Partial<ModelSettings>) =>
      countParameters({ ...defaultSettings, ...settings }, { positions: false });
    expect(size({ vocabSize: 50_257, bias: true })).toBe(123_653_376); // gpt2
    expect(size({ vocabSize: 50_304 }) / 1e6).toBeCloseTo(123.59, 2);
    expect(size({ vocabSize: 65, nLayer: 6, nHead: 6, nEmbd: 384, blockSize: 256 }) / 1e6).toBeCloseTo(10.65, 2);
    expect(size({ vocabSize: 65, nLayer: 4, nHead: 4, nEmbd: 128, blockSize: 64 }) / 1e6).toBeCloseTo(0.8, 2);
    const whole = { vocabSize: 50_257, bias: true, nLayer: 24, nHead: 16, nEmbd: 1024 }; // gpt2-medium
    expect(countParameters({ ...defaultSettings, ...whole })).toBe(354_823_168);
  });

  test("initializes residual projections smaller, by √(2 × layers)", () => {
    const spec = (name: string) => parameterSpecs({ ...tiny, bias: true }).find((each) => each.name === name)!;
    expect(spec("h.1.attn.c_proj.weight").initializer).toEqual({ normal: 0.01 }); // .02 / √(2 · 2)
    expect(spec("h.1.mlp.c_proj.weight").initializer).toEqual({ normal: 0.01 });
    expect(spec("wpe.weight").initializer).toEqual({ normal: 0.02 });
    expect(spec("h.0.ln_1.weight").initializer).toEqual({ constant: 1 });
    expect(spec("h.0.mlp.c_fc.bias").initializer).toEqual({ constant: 0 });
  });
});

describe("initStd", () => {
  test("is the standard deviation of new weights: 0.02 by default, 1/√C for 0", () => {
    const deviation = (initStd?: number) => {
      const specs = parameterSpecs({ ...tiny, nEmbd: 16, initStd: initStd as number });
      return ["wte.weight", "h.0.mlp.c_proj.weight"].map(
        (name) => specs.find((spec) => spec.name === name)!.initializer,
      );
    };
    expect(deviation()).toEqual([{ normal: 0.02 }, { normal: 0.01 }]);
    expect(deviation(0.3)).toEqual([{ normal: 0.3 }, { normal: 0.15 }]);
    expect(deviation(0)).toEqual([{ normal: 0.25 }, { normal: 0.125 }]);
  });
});

describe("initialParameters()", () => {
  test("has the given standard deviation, depends on the seed and does not leak", () => {
    const wide = { ...tiny, nEmbd: 64 };
    const [a, b, c] = [initialParameters(wide, 1), initialParameters(wide, 1), initialParameters(wide, 2)];
    const values = (params: Record<string, tf.Tensor>) => params["h.0.mlp.c_fc.weight"]!.dataSync<"float32">();
    const deviation = Math.sqrt(values(a).reduce((sum, w) => sum + w * w, 0) / values(a).length);
    expect(deviation).toBeGreaterThan(0.0195); // 16,384 values: a standard error of 0.00011
    expect(deviation).toBeLessThan(0.0205);
    expect(difference(values(a), values(b))).toBe(0);
    expect(difference(values(a), values(c))).toBeGreaterThan(0.01);
    // Parameters of one shape have values of their own.
    const untied = initialParameters({ ...tiny, tieHead: false }, 1);
    const drawn = parameterSpecs({ ...tiny, tieHead: false }).filter(({ initializer }) => "normal" in initializer);
    const first = drawn.map(({ name, initializer }) => {
      const { normal } = initializer as { normal: number };
      const [one, two, three] = untied[name]!.dataSync<"float32">().map((value) => value / normal);
      return [one, two, three].map((value) => value!.toFixed(4)).join();
    });
    expect(first.length).toBe(3 + 4 * tiny.nLayer);
    expect(new Set(first).size).toBe(first.length);
    tf.dispose([a, b, c, untied]);
    expectNoLeak(() => tf.dispose(initialParameters(tiny, 1)));
  });
});

for (const name of Object.keys(index.models)) {
  describe(`the model "${name}" of PyTorch`, () => {
    test("has the same logits, loss and activations, eagerly", () => {
      const { settings, ids, targets, loss: wantedLoss, stored, params } = golden(name);
      tf.tidy(() => {
        const seen: Record<string, tf.Tensor> = {};
        const at = (key: string, value: tf.Tensor) => {
          seen[key] = value;
          return value;
        };
        const { logits } = forward(onDevice(params), toTensor(ids) as tf.Tensor2D, settings, { at });
        expect(logits.shape).toEqual(stored.logits!.shape);
        expect(difference(logits.dataSync(), stored.logits!.values)).toBeLessThan(1e-4);
        expect(Math.abs(loss(logits, toTensor(targets) as tf.Tensor2D).dataSync()[0]! - wantedLoss)).toBeLessThan(1e-5);
        expect(difference(seen["h.0.attn.weights"]!.dataSync(), stored["h.0.attn"]!.values)).toBeLessThan(1e-5);
        for (const layer of [0, 1]) {
          const out = seen[`h.${layer}.resid_out`]!.dataSync();
          expect(difference(out, stored[`h.${layer}.out`]!.values)).toBeLessThan(1e-4);
        }
      });
    });

    for (const compile of [false, true]) {
      test(`has the same logits, loss and gradients, ${compile ? "compiled" : "eagerly in a session"}`, async () => {
        const { settings, ids, targets, loss: wantedLoss, stored, params } = golden(name);
        const session = await openSession({ params }, { compile });
        try {
          const run = session.define(({ params }, inputs) => {
            const { logits } = forward(params!, inputs.x as tf.Tensor2D, settings);
            const { value, gradients } = lossAndGradients(params!, inputs, settings);
            return { outputs: { ...gradients, logits, loss: value } };
          });
          const { logits, loss, ...gradients } = await run({ x: ids, y: targets });
          expect(difference(logits!.values, stored.logits!.values)).toBeLessThan(1e-4);
          expect(Math.abs(loss!.values[0]! - wantedLoss)).toBeLessThan(1e-5);
          expect(Object.keys(gradients).sort()).toEqual(Object.keys(params).sort());
          for (const [key, { values }] of Object.entries(gradients)) {
            expect(relative(values, stored[`grad/${key}`]!.values), key).toBeLessThan(1e-3);
          }
        } finally {
          session.dispose();
        }
      });
    }
  });
}

describe("forward()", () => {
  const settings = { ...tiny, bias: true };
  const withModel = (body: (params: Parameters) => void) => {
    const params = initialParameters(settings, 3);
    try {
      body(params);
    } finally {
      tf.dispose(params);
    }
  };
  const row = (...ids: number[]) => tf.tensor2d([ids], [1, ids.length], "int32");

  test("does not let a position depend on later ones", () => {
    withModel((params) =>
      tf.tidy(() => {
        const logits = (ids: tf.Tensor2D) => tf.slice(forward(params, ids, settings).logits, [0, 0, 0], [1, 3, 7]);
        expect(difference(logits(row(1, 2, 3, 4)).dataSync(), logits(row(1, 2, 3, 6)).dataSync())).toBe(0);
      }),
    );
  });

  test("gives the same logits token by token with a cache as in one call", () => {
    withModel((params) =>
      tf.tidy(() => {
        const ids = [1, 5, 2, 6];
        const whole = forward(params, row(...ids), settings).logits.dataSync();
        let cache: Cache | undefined = emptyCache(settings, 1);
        const single = ids.flatMap((id) => {
          const step = forward(params, row(id), settings, { cache });
          cache = step.cache;
          return [...step.logits.dataSync()];
        });
        expect(difference(single, whole)).toBeLessThan(1e-5);
      }),
    );
  });

  test("reads one sequence into a cache of several, and continues from a part of it", () => {
    withModel((params) =>
      tf.tidy(() => {
        const { cache } = forward(params, row(1, 5, 2, 0), settings, { cache: emptyCache(settings, 2) });
        // The fourth id is only padding; its position is overwritten.
        const position = tf.scalar(3, "int32");
        const ids = tf.tensor2d([[6], [4]], undefined, "int32");
        const { logits } = forward(params, ids, settings, { cache: { ...cache!, position } });
        const [six, four] = [6, 4].map((id) => forward(params, row(1, 5, 2, id), settings, { lastOnly: true }).logits);
        expect(difference(logits.dataSync(), tf.concat([six!, four!]).dataSync())).toBeLessThan(1e-5);
      }),
    );
  });

  test("lastOnly gives the logits of the given position", () => {
    withModel((params) =>
      tf.tidy(() => {
        const ids = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3], "int32");
        const whole = forward(params, ids, settings).logits;
        const second = forward(params, ids, settings, { lastOnly: tf.scalar(1, "int32") }).logits;
        expect(second.shape).toEqual([2, 1, 7]);
        expect(difference(second.dataSync(), tf.slice(whole, [0, 1, 0], [2, 1, 7]).dataSync())).toBeLessThan(1e-6);
      }),
    );
  });

  test("lastOnly gives the last position's logits", () => {
    withModel((params) =>
      tf.tidy(() => {
        const whole = forward(params, row(1, 2, 3), settings).logits;
        const last = forward(params, row(1, 2, 3), settings, { lastOnly: true }).logits;
        expect(last.shape).toEqual([1, 1, 7]);
        expect(difference(last.dataSync(), tf.slice(whole, [0, 2, 0], [1, 1, 7]).dataSync())).toBeLessThan(1e-6);
      }),
    );
  });

  test("tells the tap the positions of each value, with lastOnly the one that is left", () => {
    withModel((params) =>
      tf.tidy(() => {
        const seen = (lastOnly: boolean | tf.Tensor, ...ids: number[]) => {
          const found: Record<string, string> = {};
          const at = (name: string, value: tf.Tensor, positions: tf.Tensor) => {
            found[name] = `${positions.dtype} ${positions.dataSync()}`;
            return value;
          };
          forward(params, row(...ids), settings, { at, lastOnly });
          return [found.embed, found["h.1.resid_out"], found.ln_f, found.logits];
        };
        const all = "int32 0,1,2";
        expect(seen(false, 1, 2, 3)).toEqual([all, all, all, all]);
        expect(seen(true, 1, 2, 3)).toEqual([all, all, "int32 2", "int32 2"]);
        expect(seen(tf.scalar(1, "int32"), 1, 2, 3)).toEqual([all, all, "int32 1", "int32 1"]);
        expect(seen(true, 1)).toEqual(Array(4).fill("int32 0"));
      }),
    );
  });

  test("uses the value that the tap returns", () => {
    withModel((params) =>
      tf.tidy(() => {
        const at = (name: string, value: tf.Tensor) => (name === "ln_f" ? tf.zerosLike(value) : value);
        expect(forward(params, row(1, 2), settings, { at }).logits.dataSync()).toEqual(new Float32Array(14));
      }),
    );
  });

  test("names every value with its axes: B 2, T 3, C 8, H 2, D 4, V 7", () => {
    withModel((params) =>
      tf.tidy(() => {
        const seen: string[] = [];
        const at = (name: string, value: tf.Tensor) => {
          if (!name.startsWith("h.1")) seen.push(`${name} ${value.shape}`);
          return value;
        };
        forward(params, tf.zeros([2, 3], "int32"), settings, { at });
        const attention = ["q", "k", "v"].map((part) => `h.0.attn.${part} 2,2,3,4`);
        expect(seen).toEqual([
          ...["wte 2,3,8", "wpe 3,8", "embed 2,3,8", "h.0.ln_1.scale 2,3,1", "h.0.ln_1 2,3,8", ...attention],
          ...["h.0.attn.scores 2,2,3,3", "h.0.attn.weights 2,2,3,3", "h.0.attn.heads 2,2,3,4"],
          ...["h.0.attn.head_out 2,2,3,8", "h.0.attn.out 2,3,8", "h.0.resid_mid 2,3,8", "h.0.ln_2.scale 2,3,1"],
          ...["h.0.ln_2 2,3,8", "h.0.mlp.pre 2,3,32", "h.0.mlp.act 2,3,32", "h.0.mlp.out 2,3,8"],
          ...["h.0.resid_out 2,3,8", "ln_f.scale 2,3,1", "ln_f 2,3,8", "logits 2,3,7"],
        ]);
        const listed = valueSpecs(settings).filter(({ name }) => !name.startsWith("h.1"));
        expect(seen.map((line) => line.split(" ")[0])).toEqual(listed.map(({ name }) => name));
      }),
    );
  });

  test("passes only the requested values to the tap", () => {
    withModel((params) =>
      tf.tidy(() => {
        const seen: string[] = [];
        const at = (name: string, value: tf.Tensor) => {
          seen.push(name);
          return tf.zerosLike(value);
        };
        const wants = (name: string) => name === "ln_f";
        expect(forward(params, row(1, 2), settings, { at, wants }).logits.dataSync()).toEqual(new Float32Array(14));
        expect(seen).toEqual(["ln_f"]);
      }),
    );
  });

  test("in compiled mode, composes attention only in layers whose inner values are requested", async () => {
    const operations = async (wanted: readonly string[]) => {
      const specs = Object.fromEntries(
        parameterSpecs(settings).map(({ name, shape }) => [name, { dtype: "float32" as const, shape }]),
      );
      const session = await openSession({ params: specs });
      const at = (_: string, value: tf.Tensor) => value;
      const wants = (name: string) => wanted.includes(name);
      const traced = await session.trace(
        ({ params }, { ids }) => ({
          outputs: { logits: forward(params!, ids as tf.Tensor2D, settings, { at, wants }).logits },
        }),
        { ids: { dtype: "int32", shape: [2, 3] } },
      );
      session.dispose();
      return traced.operations;
    };
    const none = await operations(["h.0.resid_out", "h.1.attn.out"]);
    const one = await operations(["h.1.attn.weights"]);
    const both = await operations(["h.0.attn.q", "h.1.attn.heads"]);
    const perLayer = one - none;
    expect(both - one).toBe(perLayer);
    // What each head adds is computed only where it is looked at.
    expect(await operations(["h.1.attn.head_out"])).toBeGreaterThan(none);
    // Without Folio's operations, attention is always composed.
    if (fusedEnabled()) expect(perLayer).toBeGreaterThan(0);
    else expect(perLayer).toBe(0);
  });

  test("has dropout masks that depend only on the key", () => {
    withModel((params) =>
      tf.tidy(() => {
        const config = { ...settings, dropout: 0.5 };
        const logits = (key: [number, number]) =>
          forward(params, row(1, 2, 3), config, { dropoutKey: tf.tensor1d(key, "int32") }).logits.dataSync();
        expect(difference(logits([1, 1]), logits([1, 1]))).toBe(0);
        expect(difference(logits([1, 1]), logits([1, 2]))).toBeGreaterThan(1e-3);
        const off = forward(params, row(1, 2, 3), config).logits.dataSync();
        expect(difference(off, forward(params, row(1, 2, 3), settings).logits.dataSync())).toBe(0);
      }),
    );
  });

  test("drops by a mask of its own at each place, of the same key", () => {
    withModel((params) =>
      tf.tidy(() => {
        const values: Record<string, Float32Array> = {};
        const at = (name: string, value: tf.Tensor) => {
          values[name] = value.dataSync<"float32">();
          return value;
        };
        const dropoutKey = tf.tensor1d([5, 6], "int32");
        forward(params, row(1, 2, 3), { ...settings, dropout: 0.5 }, { at, dropoutKey });
        const T = 3;
        const added = (sum: string, before: string) => values[sum]!.map((value, i) => value - values[before]![i]!);
        const embedded = values.wte!.map((value, i) => value + values.wpe![i % (T * settings.nEmbd)]!);
        const layers = Array.from({ length: settings.nLayer }, (_, layer) => layer);
        // [what was added to the stream, what it was before the mask]
        const places = [
          [values.embed!, embedded],
          ...layers.flatMap((layer) => {
            const before = layer === 0 ? "embed" : `h.${layer - 1}.resid_out`;
            return [
              [added(`h.${layer}.resid_mid`, before), values[`h.${layer}.attn.out`]!],
              [added(`h.${layer}.resid_out`, `h.${layer}.resid_mid`), values[`h.${layer}.mlp.out`]!],
            ];
          }),
        ] as [Float32Array, Float32Array][];
        const masks = places.map(([after, before]) => {
          const kept = after.map((value, i) => Math.abs(value - 2 * before[i]!));
          const dropped = after.map((value) => Math.abs(value));
          // Each value is dropped, or doubled.
          for (let i = 0; i < after.length; i++) expect(Math.min(kept[i]!, dropped[i]!)).toBeLessThan(1e-5);
          return [...before.keys()].map((i) => (kept[i]! < dropped[i]! ? 1 : 0)).join("");
        });
        expect(masks).toHaveLength(1 + 2 * settings.nLayer);
        expect(new Set(masks).size).toBe(masks.length);
      }),
    );
  });

  test("reports ids of a wrong shape or type", () => {
    withModel((params) =>
      tf.tidy(() => {
        expect(() => forward(params, row(1, 2, 3, 4, 5, 6, 0), settings)).toThrow(/T = 7; wanted 1 to blockSize = 6/);
        expect(() => forward(params, tf.zeros([1, 2]), settings)).toThrow(TypeError);
        expect(() => forward({}, row(1), settings)).toThrow(/no parameter wte.weight/);
      }),
    );
  });

  test("and lossAndGradients() leave no tensors inside tidy", () => {
    withModel((params) => {
      const x = row(1, 2, 3);
      const y = row(2, 3, 4);
      expectNoLeak(() => tf.tidy(() => void loss(forward(params, x, settings).logits, y)));
      const full = { ...defaultSettings, ...settings };
      expectNoLeak(() => tf.tidy(() => void lossAndGradients(params, { x, y }, full)));
      tf.dispose([x, y]);
    });
  });

  for (const compile of [false, true]) {
    test(`in a ${compile ? "compiled" : "eager"} session leaves no tensor once disposed of`, async () => {
      const { settings, params, ids, targets } = golden("untied");
      const once = async () => {
        const session = await openSession({ params }, { compile });
        const run = session.define(({ params }, inputs) => ({
          outputs: { loss: lossAndGradients(params!, inputs, settings).value },
        }));
        await run({ x: ids, y: targets });
        const { numTensors } = tf.memory();
        await run({ x: ids, y: targets });
        expect(tf.memory().numTensors).toBe(numTensors);
        session.dispose();
      };
      const { numTensors } = tf.memory();
      await once();
      expect(tf.memory().numTensors).toBe(numTensors);
    });
  }
});

describe("loss()", () => {
  test("of equal logits is ln V, and targets of −1 are ignored", () => {
    tf.tidy(() => {
      const even = tf.zeros([1, 2, 7]) as tf.Tensor3D;
      const targets = (...ids: number[]) => tf.tensor2d([ids], [1, 2], "int32");
      expect(loss(even, targets(3, 4)).dataSync()[0]).toBeCloseTo(Math.log(7), 6);
      const logits = tf.tensor3d([
        [
          [9, 0, 0, 0, 0, 0, 0],
          [0, 0, 0, 0, 0, 0, 0],
        ],
      ]);
      expect(loss(logits, targets(-1, 4)).dataSync()[0]).toBeCloseTo(Math.log(7), 6);
      expect(loss(logits, targets(-1, -1)).dataSync()[0]).toBe(0);
    });
  });
});

describe("what does not fit", () => {
  test("a vocabulary of 0 is refused, with advice", () => {
    expect(() => parameterSpecs({ ...defaultSettings, vocabSize: 0 })).toThrow(/set it to the tokenizer's vocabSize/);
  });

  test("a cache of another model or batch and positions past blockSize are refused", () => {
    const config = { ...defaultSettings, nLayer: 1, nHead: 1, nEmbd: 4, blockSize: 4, vocabSize: 3 };
    tf.tidy(() => {
      const params = initialParameters(config, 1);
      const ids = tf.tensor2d([[1, 2, 0]], undefined, "int32");
      const { cache } = forward(params, ids, config, { cache: emptyCache(config, 1) });
      expect(() => forward(params, ids, config, { cache: cache! })).toThrow(/not in \[0, 4\)/);
      const other = emptyCache({ ...config, blockSize: 8 }, 1);
      expect(() => forward(params, ids, config, { cache: other })).toThrow(
        /keys of \[1,1,8,4\]; wanted .* blockSize = 4/,
      );
      const two = tf.concat([ids, ids]);
      expect(() => forward(params, two as tf.Tensor2D, config, { cache: cache! })).toThrow(/and 2 sequences/);
      expect(() => forward(params, ids, config, { cache: { keys: [], values: [] } })).toThrow(/no layer/);
    });
  });
});
