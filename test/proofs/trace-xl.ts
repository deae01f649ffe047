import { float32, type HostTensors, int32, type StateSpecs, type TensorSpecs } from "../../lib/engine/host-tensors.js";
import { openSession } from "../../lib/engine/session.js";
import { parameterSpecs } from "../../lib/model/model.js";
import { countParameters } from "../../lib/model/sizing.js";
import { defaultSettings, type Settings } from "../../lib/settings/settings.js";
import { trainingSteps } from "../../lib/train/steps.js";
import { type Figures, type Proof, rounded } from "./proof.js";

const xl = shape({ nLayer: 48, nHead: 25, nEmbd: 1600, blockSize: 1024, bias: true, gradientAccumulationSteps: 2 });
const timed = [
  {
    name: "4L 4H 128, 12×64",
    limitMs: 1000,
    settings: shape({ nLayer: 4, nHead: 4, nEmbd: 128, blockSize: 64, vocabSize: 65 }, 12),
  },
  { name: "GPT-2 124M, 1×256", limitMs: 5000, settings: shape({ nLayer: 12, nHead: 12, nEmbd: 768, blockSize: 256 }) },
];

/** Tracing GPT-2 XL without its 6 GB of weights, and how long the first call of a step takes beyond the others. */
export const traceXl: Proof = {
  name: "trace-xl",
  claim:
    "tracing GPT-2 XL's training step takes no weight-sized memory, and compiling takes under 1 s for the small model and 5 s for GPT-2 124M",
  inputs: ["lib/engine"],
  async run({ say }) {
    const traced = await traceWithoutWeights(xl);
    say(`GPT-2 XL: ${traced.operations} operations in ${traced.elapsedMs} ms, ${traced.grownMiB} MiB`);
    const compile: Record<string, Figures> = {};
    let fast = true;
    for (const { name, limitMs, settings } of timed) {
      const figures = await compileTime(settings);
      compile[name] = figures;
      fast &&= figures.compileMs < limitMs;
      say(`${name}: ${figures.compileMs} ms to compile`);
    }
    const weightsMiB = rounded((4 * countParameters(xl)) / 2 ** 20, 0);
    return { holds: traced.grownMiB < 1024 && fast, figures: { gpt2Xl: { weightsMiB, ...traced }, ...compile } };
  },
};

function shape(settings: Partial<Settings>, batchSize = 1): Settings {
  return { ...defaultSettings, vocabSize: 50304, gradientAccumulationSteps: 1, ...settings, batchSize };
}

function stateSpecs(settings: Settings): StateSpecs {
  const specs: TensorSpecs = Object.fromEntries(
    parameterSpecs(settings).map(({ name, shape }) => [name, { dtype: "float32", shape }]),
  );
  return { params: specs, m: specs, v: specs, ...(settings.gradientAccumulationSteps > 1 && { sums: specs }) };
}

function inputs({ batchSize, blockSize, vocabSize }: Settings): HostTensors {
  const ids = Int32Array.from({ length: batchSize * blockSize }, (_, i) => (i * 7919) % vocabSize);
  const scalars = { learningRate: 1e-4, biasCorrection1: 0.1, biasCorrection2: 0.05 };
  return {
    x: int32(ids, [batchSize, blockSize]),
    y: int32(ids, [batchSize, blockSize]),
    dropoutKey: int32([1, 2], [2]),
    ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, float32([value], [])])),
  };
}

async function traceWithoutWeights(settings: Settings) {
  const before = process.memoryUsage().rss;
  const session = await openSession(stateSpecs(settings));
  try {
    const { accumulate, update } = trainingSteps(settings);
    const reports = [await session.trace(accumulate, inputs(settings)), await session.trace(update, inputs(settings))];
    return {
      operations: reports.reduce((sum, { operations }) => sum + operations, 0),
      elapsedMs: rounded(
        reports.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0),
        0,
      ),
      grownMiB: rounded((process.memoryUsage().rss - before) / 2 ** 20, 0),
    };
  } finally {
    session.dispose();
  }
}

/** What the first call takes beyond the fastest of the next three: tracing, and TensorFlow's own work on the graph. */
async function compileTime(settings: Settings) {
  const filled = (value: number): HostTensors =>
    Object.fromEntries(
      parameterSpecs(settings).map(({ name, shape }) => {
        const size = shape.reduce((product, axis) => product * axis, 1);
        return [name, float32(new Float32Array(size).fill(value), shape)];
      }),
    );
  const session = await openSession({ params: filled(0.01), m: filled(0), v: filled(0) });
  try {
    const { update } = trainingSteps(settings);
    const { elapsedMs: traceMs, operations } = await session.trace(update, inputs(settings));
    const run = session.define(update);
    const calls: number[] = [];
    for (let call = 0; call < 4; call++) {
      const started = performance.now();
      await run(inputs(settings));
      calls.push(performance.now() - started);
    }
    const stepMs = Math.min(...calls.slice(1));
    return {
      operations,
      traceMs: rounded(traceMs, 0),
      compileMs: rounded(traceMs + calls[0]! - stepMs, 0),
      stepMs: rounded(stepMs, 1),
    };
  } finally {
    session.dispose();
  }
}
