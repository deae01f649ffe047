/** Several devices that share a step's micro-batches train the model that one device trains. */
import { beforeAll, describe, expect, test } from "vitest";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { listeningAddresses } from "../../lib/launch/address.js";
import type { IterRecord } from "../../lib/runs/records.js";
import { parseSettings, type Settings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { checkpointFile, collect, relativeDifference, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
let runs = 0;
beforeAll(() => {
  loadTensorFlow();
  writeFox(folder);
});

const newRun = (more: Partial<Settings>) =>
  tinySettings(folder, `run-${runs++}`, {
    // In bfloat16, which another processor may choose, sums in another order differ more.
    ...{ compile: true, dtype: "float32", nLayer: 2, nEmbd: 16, gradientAccumulationSteps: 4, evalIters: 3 },
    ...{ maxIters: 20, evalInterval: 10, lrDecayIters: 20 },
    ...more,
  });

async function trained(settings: Settings) {
  const records = await collect(train(settings));
  const { params } = openCheckpoint(settings.outDir, "last");
  return {
    start: records.find((record) => record.kind === "start")!,
    iters: records.filter((record): record is IterRecord => record.kind === "iter"),
    evaluations: records.flatMap((record) => (record.kind === "eval" ? [record.trainLoss, record.valLoss] : [])),
    params,
    weights: checkpointFile(settings.outDir, "model.safetensors", "last"),
  };
}

type Trained = Awaited<ReturnType<typeof trained>>;

const relative = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!) / Math.abs(value)));

const weightsDiffer = (a: Trained, b: Trained) => relativeDifference(a.params, b.params);

describe("train() on several devices", () => {
  for (const more of [{}, { dropout: 0.2 }, { batchSampling: "epochs" as const, gradClip: 0.1 }]) {
    test(`gives the losses, norms and weights of one device: ${JSON.stringify(more)}`, async () => {
      const one = await trained(newRun(more));
      expect(one.start).not.toHaveProperty("devices");
      for (const devices of [2, 4]) {
        const many = await trained(newRun({ ...more, devices }));
        expect(many.start).toMatchObject({ devices });
        expect(many.iters).toHaveLength(20);
        for (const value of ["loss", "gradNorm"] as const) {
          const list = ({ iters }: Trained) => iters.map((record) => record[value]);
          expect(relative(list(one), list(many)), value).toBeLessThan(1e-5);
        }
        expect(relative(one.evaluations, many.evaluations)).toBeLessThan(1e-5);
        expect(weightsDiffer(one, many)).toBeLessThan(1e-5);
        expect(many.iters.map(({ tokens }) => tokens)).toEqual(one.iters.map(({ tokens }) => tokens));
      }
    });
  }

  test("is the same bit for bit when it is repeated, and stops, and resumes with another number", async () => {
    const settings = newRun({ devices: 2, dropout: 0.1 });
    const reference = await trained(settings);
    expect((await trained({ ...settings, overwrite: true })).weights.equals(reference.weights)).toBe(true);
    const halves = newRun({ devices: 2, dropout: 0.1 });
    const half = async (maxIters: number, more: Partial<Settings>) => trained({ ...halves, maxIters, ...more });
    await half(10, {});
    const same = await half(20, { initFrom: "resume" });
    expect(same.weights.equals(reference.weights)).toBe(true);
    const others = newRun({ devices: 2, dropout: 0.1 });
    await trained({ ...others, maxIters: 10 });
    const four = await trained({ ...others, initFrom: "resume", devices: 4 });
    expect(weightsDiffer(four, reference)).toBeLessThan(1e-5);
  });

  test("takes the mean over its micro-batches: a batch of all rows trains the same", async () => {
    const whole = await trained(newRun({ batchSize: 8, gradientAccumulationSteps: 1, evalIters: 1 }));
    const shared = await trained(newRun({ batchSize: 4, gradientAccumulationSteps: 2, devices: 2, evalIters: 1 }));
    expect(
      relative(
        whole.iters.map(({ loss }) => loss),
        shared.iters.map(({ loss }) => loss),
      ),
    ).toBeLessThan(1e-5);
    expect(weightsDiffer(whole, shared)).toBeLessThan(1e-5);
  });

  test.runIf(process.platform === "linux")("opens no port", async () => {
    const listening = () => listeningAddresses().length;
    const before = listening();
    let most = 0;
    for await (const _ of train(newRun({ devices: 2 }))) most = Math.max(most, listening());
    expect(most).toBe(before);
  });
});

describe("parseSettings() refuses devices", () => {
  const refused = (more: Partial<Settings>, message: RegExp) =>
    expect(() => parseSettings({ devices: 2, gradientAccumulationSteps: 4, ...more })).toThrow(message);

  test("that cannot share the micro-batches", () => {
    refused({ gradientAccumulationSteps: 1 }, /cannot share 1 micro-batch equally.*gradientAccumulationSteps: 2\.$/);
    refused(
      { devices: 3 },
      /on 3 devices: they cannot share 4 micro-batches equally.*such as gradientAccumulationSteps: 6/,
    );
    expect(parseSettings({ devices: 4, gradientAccumulationSteps: 4 }).devices).toBe(4);
    expect(parseSettings({ devices: 2, gradientAccumulationSteps: 1, evalOnly: true }).devices).toBe(2);
  });

  test("where there is one", () => {
    refused({ compile: false }, /on 2 devices: steps that are not compiled run on one/);
    refused({ device: "webgpu" }, /WebGPU has one/);
    refused({ device: "mps" }, /WebGPU has one/);
    refused({ xla: true }, /xla has not been tried/);
    expect(() => parseSettings({ devices: 0 })).toThrow(/devices is 0; wanted a whole number of at least 1/);
  });
});
