import { spawnSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { parseSettings } from "../../lib/config.js";
import { float32, type HostTensors } from "../../lib/engine/session.js";
import type { TrainedModel } from "../../lib/evaluate.js";
import { generate } from "../../lib/generate.js";
import { parameterSpecs } from "../../lib/model.js";
import { type Proof, root, rounded } from "./proof.js";

const wanted = { float32: 2, bfloat16: 1.3, small: 10 };
const small = { nLayer: 4, nHead: 4, nEmbd: 128, blockSize: 64, vocabSize: 65, bias: false };
const large = { vocabSize: 50_257, bias: true, gelu: "tanh" as const };

/** Tokens a second against Hugging Face's cache and nanoGPT's way without one, in one run, each the better of two. */
export const sampling: Proof = {
  name: "sampling",
  claim: `GPT-2 124M writes ≥ ${wanted.float32} times Hugging Face's tokens a second in fp32, ≥ ${wanted.bfloat16} in bf16, the 0.8 M model ≥ ${wanted.small} times nanoGPT's`,
  inputs: ["lib", "test/bench/sample_peer.py"],
  async run({ say }) {
    const figures: Record<string, Record<string, number | boolean | string>> = {};
    let holds = true;
    const bandwidth = Math.max(peer("bandwidth", 5).gigabytesPerSecond!, peer("bandwidth", 5).gigabytesPerSecond!);
    for (const kind of ["float32", "bfloat16", "small"] as const) {
      let [own, theirs] = [{ tokensPerSecond: 0, within20: 0 }, 0];
      for (let round = 0; round < 2; round++) {
        const model = randomModel(kind === "small" ? small : large, kind === "bfloat16" ? "bfloat16" : "float32");
        const measured = await speed(model, kind === "small" ? 2000 : 100);
        if (measured.tokensPerSecond > own.tokensPerSecond) own = measured;
        const tokens = { float32: 60, bfloat16: 20, small: 600 }[kind];
        theirs = Math.max(theirs, peer(kind, tokens).tokensPerSecond!);
      }
      const ratio = own.tokensPerSecond / theirs;
      say(
        `${kind}: ${own.tokensPerSecond.toFixed(1)} tokens/s, the peer's ${theirs.toFixed(1)}: ${ratio.toFixed(2)} times`,
      );
      // All weights but the positions' are read for each token.
      const bytes = parameterBytes(kind === "small" ? small : large) / (kind === "bfloat16" ? 2 : 1);
      figures[kind] = {
        tokensPerSecond: rounded(own.tokensPerSecond, 1),
        peerTokensPerSecond: rounded(theirs, 1),
        ratio: rounded(ratio, 2),
        tokensWithin20PercentOfTheMean: rounded(own.within20, 3),
        ...(kind !== "small" && { shareOfBandwidth: rounded((bytes * own.tokensPerSecond) / 1e9 / bandwidth, 2) }),
      };
      holds &&= ratio >= wanted[kind];
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
      // As wide as the normal distribution that it starts from; which, does not matter to time.
      else
        for (let i = 0; i < values.length; i++) values[i] = (Math.random() - 0.5) * initializer.normal * Math.sqrt(12);
      return [name, float32(values, shape)];
    }),
  );
  return { params, settings };
}

/** Inside the window: the 124M shape from a prompt of five tokens, the small one in as many turns as it takes. */
async function speed(model: TrainedModel, tokens: number): Promise<{ tokensPerSecond: number; within20: number }> {
  const { vocabSize, blockSize } = model.settings;
  const how = { rows: 1, temperature: 0.8, topK: 200, topP: 1, repetitionPenalty: 1, seed: 1, alternatives: 0 };
  const times: number[] = [];
  const prompt = [1, 2, 3, 4, 5];
  const count = blockSize < tokens ? tokens : tokens + 10;
  let last = 0;
  for await (const _ of generate(model, prompt, { ...how, vocabSize, cache: true })) {
    const now = performance.now();
    times.push(now - last);
    last = now;
    if (times.length > count) break;
  }
  const counted = times.slice(11);
  const mean = counted.reduce((sum, ms) => sum + ms, 0) / counted.length;
  const near = counted.filter((ms) => Math.abs(ms - mean) <= 0.2 * mean).length;
  return { tokensPerSecond: 1000 / mean, within20: near / counted.length };
}

function peer(what: string, tokens: number): Record<string, number> {
  const python = process.env.FOLIO_PEER_PYTHON;
  if (!python) throw new Error("FOLIO_PEER_PYTHON is not set; it names a Python that has torch and transformers");
  const args = [path.join(root, "test", "bench", "sample_peer.py"), what, `${tokens}`, `${os.availableParallelism()}`];
  const { status, stdout, stderr } = spawnSync(python, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`The peer ended with ${status}:\n${stderr}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Record<string, number>;
}
