import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type * as tf from "@tensorflow/tfjs-core";
import { describe, expect, test } from "vitest";
import { float32, type HostTensors, int32, mapRecord } from "../../lib/engine/host-tensors.js";
import { openSession } from "../../lib/engine/session.js";
import { forward } from "../../lib/model/model.js";
import { defaultSettings, type Settings } from "../../lib/settings/settings.js";
import { biasCorrections } from "../../lib/train/optimizers/adamw.js";
import { trainingSteps } from "../../lib/train/steps.js";
import { readNanoGptCheckpoint } from "../../lib/weights/nanogpt-checkpoint.js";

// Written by PyTorch; test/golden/make-gpt2.py has the model and its settings.
const golden = fileURLToPath(new URL("../golden/gpt2/", import.meta.url));
interface Golden {
  parameters: number;
  ids: number[][];
  logits: number[][][];
  next: { x: number[][]; y: number[][]; loss: number }[];
}
const index: Record<"ckpt" | "compiled", Golden> = JSON.parse(fs.readFileSync(path.join(golden, "index.json"), "utf8"));
const rows = (values: number[][]) => int32(values.flat(), [values.length, values[0]!.length]);

async function logitsOf(params: HostTensors, config: Settings, ids: number[][]): Promise<number[]> {
  const session = await openSession({ params }, { compile: false });
  try {
    const run = session.define(({ params }, { ids }) => ({
      outputs: { logits: forward(params!, ids as tf.Tensor2D, config).logits },
    }));
    return [...(await run({ ids: rows(ids) })).logits!.values];
  } finally {
    session.dispose();
  }
}

for (const [name, bias] of [["ckpt", false] as const, ["compiled", true] as const]) {
  describe(`readNanoGptCheckpoint() of ${name}.pt`, () => {
    const checkpoint = readNanoGptCheckpoint(path.join(golden, `${name}.pt`), { optimizer: true });
    const wanted = index[name];
    const settings: Settings = {
      ...defaultSettings,
      ...checkpoint.model,
      // as SETTINGS of make-gpt2.py
      ...{ learningRate: 1e-2, decayLr: false, weightDecay: 0.1, beta1: 0.9, beta2: 0.95, gradClip: 0 },
      gradientAccumulationSteps: 1,
    };

    test("finds the model's shape, its progress and nanoGPT's settings", () => {
      expect(checkpoint.model).toEqual({
        ...{ nLayer: 2, nHead: 2, nEmbd: 8, blockSize: 6, vocabSize: 11, bias, tieHead: true, gelu: "erf" },
      });
      expect(checkpoint.iterNum).toBe(3);
      expect(checkpoint.bestValLoss).toBe(name === "compiled" ? null : 2.5);
      expect(checkpoint.config).toMatchObject({ dataset: "shakespeare_char", learning_rate: 1e-2, max_iters: 5 });
      const values = Object.values(checkpoint.params).reduce((total, { values }) => total + values.length, 0);
      expect(values).toBe(wanted.parameters);
    });

    test("gives PyTorch's logits to 1e-5", async () => {
      const logits = await logitsOf(checkpoint.params, settings, wanted.ids);
      const flat = wanted.logits.flat(2);
      expect(Math.max(...logits.map((value, i) => Math.abs(value - flat[i]!)))).toBeLessThan(1e-5);
    });

    test("continues training with its moments: the next losses equal PyTorch's to 1e-5", async () => {
      const { params } = checkpoint;
      const { exp_avg: m, exp_avg_sq: v } = checkpoint.optimizer!;
      expect(checkpoint.iterNum).toBe(3);
      const step = checkpoint.iterNum;
      const sums = mapRecord(params, ({ values, shape }) => float32(new Float32Array(values.length), shape));
      const session = await openSession({ params, m: m!, v: v!, sums }, { compile: false });
      try {
        const update = session.define(trainingSteps(settings).update);
        for (const [i, { x, y, loss }] of wanted.next.entries()) {
          const [first, second] = biasCorrections(step + i + 1, settings).map((value) => float32([value], []));
          const rates = { learningRate: float32([1e-2], []), biasCorrection1: first!, biasCorrection2: second! };
          const found = await update({ x: rows(x), y: rows(y), dropoutKey: int32([0, 0], [2]), ...rates });
          expect(Math.abs(found.loss!.values[0]! - loss)).toBeLessThan(1e-5);
        }
      } finally {
        session.dispose();
      }
    });
  });
}

describe("readNanoGptCheckpoint()", () => {
  test("reads the moments only on request, and accepts another activation's name", () => {
    const { optimizer, model } = readNanoGptCheckpoint(path.join(golden, "ckpt.pt"), { gelu: "tanh" });
    expect(optimizer).toBe(undefined);
    expect(model.gelu).toBe("tanh");
  });

  test("reports what is missing in a file of torch.save", () => {
    expect(() => readNanoGptCheckpoint(path.join(golden, "layouts.pt"))).toThrow(
      "layouts.pt: model is not a dictionary; wanted a checkpoint that nanoGPT's train.py saved.",
    );
  });
});
