import { spawnSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { float32, type HostTensors } from "../../lib/engine/host-tensors.js";
import { median, medianRatio } from "../../lib/host/statistics.js";
import { parameterSpecs } from "../../lib/model/model.js";
import { generate } from "../../lib/sample/generate.js";
import { parseSettings } from "../../lib/settings/settings.js";
import type { TrainedModel } from "../../lib/weights/pretrained.js";
import { type Proof, root, rounded } from "./proof.js";

const wanted = { float32: 2, bfloat16: 1.3, small: 10 };
const small = { nLayer: 4, nHead: 4, nEmbd: 128, blockSize: 64, vocabSize: 65, bias: false };
const large = { vocabSize: 50_257, bias: true, gelu: "tanh" as const };

/** Repetitions of each side, in turns. */
const ROUNDS = 5;

/**
 * Tokens per second beside Hugging Face's cache and nanoGPT's way without one, measured in turns; and how even tokens'
 * times are.
 */
export const sampling: Proof = {
  name: "sampling",
  claim: `GPT-2 124M writes ≥ ${wanted.float32} times Hugging Face's tokens per second in float32, ≥ ${wanted.bfloat16} in bfloat16, the 0.8 M model ≥ ${wanted.small} times nanoGPT's, each token's time within 20 % of the mean`,
  inputs: ["lib/engine", "test/bench/sample_peer.py"],
  async run({ say }) {
    const figures: Record<string, Record<string, number | boolean | string>> = {};
    let holds = true;
    const bandwidth = Math.max(peer("bandwidth", 5).gigabytesPerSecond!, peer("bandwidth", 5).gigabytesPerSecond!);
    for (const kind of ["float32", "bfloat16", "small"] as const) {
      const [own, theirs]: [number[], number[]] = [[], []];
      const model = randomModel(kind === "small" ? small : large, kind === "bfloat16" ? "bfloat16" : "float32");
      for (let round = 0; round < ROUNDS; round++) {
        own.push(await tokensPerSecond(model, kind === "small" ? 2000 : 100));
        const tokens = { float32: 60, bfloat16: 20, small: 600 }[kind];
        theirs.push(peer(kind, tokens).tokensPerSecond!);
      }
      const uneven = await unevenness(model, kind === "small" ? 100 : 5);
      const { ratio, low, high } = medianRatio(
        own.map((speed) => [speed]),
        theirs.map((speed) => [speed]),
      );
      const interval95 = `${low.toFixed(2)} - ${high.toFixed(2)}`;
      const speeds = `${median(own).toFixed(1)} tokens/s, the peer's ${median(theirs).toFixed(1)}`;
      say(`${kind}: ${speeds}: ${ratio.toFixed(2)} times (${interval95})`);
      // Each token reads all weights except the positions.
      const bytes = parameterBytes(kind === "small" ? small : large) / (kind === "bfloat16" ? 2 : 1);
      figures[kind] = {
        tokensPerSecond: rounded(median(own), 1),
        peerTokensPerSecond: rounded(median(theirs), 1),
        ratio: rounded(ratio, 2),
        interval95,
        farthestFromMeanPercent: rounded(uneven, 1),
        ...(kind !== "small" && { shareOfBandwidth: rounded((bytes * median(own)) / 1e9 / bandwidth, 2) }),
      };
      holds &&= ratio >= wanted[kind] && uneven <= 20;
    }
    return { holds, figures: { ...figures, readingGigabytesPerSecond: rounded(bandwidth, 1) } };
  },
};

function settingsOf(shape: typeof small | typeof large): TrainedModel["settings"] {
  return parseSettings(shape);
}

function parameterBytes(shape: typeof small | typeof large): number {
  return parameterSpecs(settingsOf(shape))
    .filter(({ name }) => name !== "wpe.weight")
    .reduce((sum, { shape }) => sum + 4 * shape.reduce((product, axis) => product * axis, 1), 0);
}

function randomModel(shape: typeof small | typeof large, dtype: "float32" | "bfloat16"): TrainedModel {
  const settings = { ...settingsOf(shape), dtype };
  const params: HostTensors = Object.fromEntries(
    parameterSpecs(settings).map(({ name, shape, initializer }) => {
      const values = new Float32Array(shape.reduce((product, axis) => product * axis, 1));
      if ("constant" in initializer) values.fill(initializer.constant);
      // As large as initial weights; their values do not affect the time.
      else
        for (let i = 0; i < values.length; i++) values[i] = (Math.random() - 0.5) * initializer.normal * Math.sqrt(12);
      return [name, float32(values, shape)];
    }),
  );
  return { params, settings };
}

/** The time of each token of a text, in ms. */
async function timesOf(model: TrainedModel, tokens: number): Promise<number[]> {
  const { vocabSize } = model.settings;
  const how = { rows: 1, temperature: 0.8, topK: 200, topP: 1, repetitionPenalty: 1, seed: 1, alternatives: 0 };
  const times: number[] = [];
  let last = performance.now();
  for await (const _ of generate(model, [1, 2, 3, 4, 5], { ...how, vocabSize, cache: true })) {
    const now = performance.now();
    times.push(now - last);
    last = now;
    if (times.length === tokens) break;
  }
  return times;
}

const warmUp = 10;

/** The 124M shape inside its window, the small one in as many turns as it takes. */
async function tokensPerSecond(model: TrainedModel, tokens: number): Promise<number> {
  const counted = (await timesOf(model, warmUp + tokens)).slice(warmUp);
  return (1000 * counted.length) / counted.reduce((sum, ms) => sum + ms, 0);
}

/**
 * The largest deviation of a token's time from the mean, in %: do tokens take longer with more context? Within the
 * window, each position has its median over several texts, so that disturbances do not count.
 */
async function unevenness(model: TrainedModel, texts: number): Promise<number> {
  const places = Math.min(100, model.settings.blockSize - 5);
  const all: number[][] = [];
  for (let text = 0; text < texts; text++) all.push((await timesOf(model, places)).slice(warmUp));
  const medians = all[0]!.map((_, place) => median(all.map((times) => times[place]!)));
  const mean = medians.reduce((sum, ms) => sum + ms, 0) / medians.length;
  return 100 * Math.max(...medians.map((ms) => Math.abs(ms / mean - 1)));
}

function peer(what: string, tokens: number): Record<string, number> {
  const python = process.env.FOLIO_PEER_PYTHON;
  if (!python) throw new Error("FOLIO_PEER_PYTHON is not set; it names a Python that has torch and transformers");
  const args = [path.join(root, "test", "bench", "sample_peer.py"), what, `${tokens}`, `${os.availableParallelism()}`];
  const { status, stdout, stderr } = spawnSync(python, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`The peer ended with ${status}:\n${stderr}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Record<string, number>;
}
