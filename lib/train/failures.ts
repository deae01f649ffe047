/**
 * Failures while a model is trained or used, with advice: a diverging loss, too little memory, a GPU that fails, a step
 * that cannot be compiled. A loss that does not fall is not an error; lib/cli/train.ts gives a hint.
 */
import type { HostTensors } from "../engine/host-tensors.js";
import { machineBytes } from "../host/memory.js";
import { countParameters } from "../model/sizing.js";
import type { Settings } from "../settings/settings.js";
import {
  type ChosenCheckpoint,
  hasCheckpoint,
  numberedCheckpoints,
  openCheckpoint,
  readState,
} from "../weights/checkpoint.js";
import { LEAST_SCALE } from "./optimizers/loss-scale.js";
import { optimizerOf } from "./optimizers/optimizers.js";
import { learningRate } from "./optimizers/schedule.js";

// An untrained model has a loss of ln(vocabSize) nats, at most 12. Training does not recover from a loss of 1,000.
const isSaneLoss = (loss: number): boolean => Math.abs(loss) < 1000;
// Squares of larger weights overflow 32-bit floats: layer norms then give 0, and the loss looks sane.
const LARGEST_WEIGHT = 1e18;

/** The error of a diverged run. @param found what was found */
export function exploded({ settings, step }: { settings: Settings; step: number }, found: string): Error {
  const { outDir, gradClip } = settings;
  const good = lastGood(outDir);
  const rate = learningRate(step, settings).toPrecision(3);
  const clipping = gradClip === 0 ? "no clipping (gradClip 0)" : `too little clipping (gradClip ${gradClip})`;
  return new Error(
    `Cannot continue: ${found} at step ${step}. ${good} Likely causes: a learning rate that is too high (${rate} now; lower learningRate or raise warmupIters), ${clipping}, or bfloat16 where float32 is needed.`,
  );
}

/** The checkpoint to go back to; a checkpoint is good if it opens and its values are finite. */
function lastGood(outDir: string): string {
  if (!hasCheckpoint(outDir)) return "No checkpoint has been saved yet.";
  const fault = faultOfCheckpoint({ outDir, name: "last" });
  if (!fault) return `The last good checkpoint is step ${readState(outDir).step} in ${outDir}.`;
  const others: ChosenCheckpoint[] = [
    { outDir, name: "best" }, // if there is none, it does not open
    ...numberedCheckpoints(outDir)
      .reverse()
      .map((name) => ({ outDir, name })),
  ];
  const good = others.find((other) => !faultOfCheckpoint(other));
  if (!good) return `No checkpoint in ${outDir} is good: ${fault}.`;
  return `The last checkpoint in ${outDir} is not good either (${fault}), but that of step ${readState(outDir, good.name).step} is: start from its weights (initFrom: "${outDir}", checkpoint: "${good.name}", another outDir).`;
}

function faultOfCheckpoint({ outDir, name }: ChosenCheckpoint): string | undefined {
  try {
    const { params, optimizer } = openCheckpoint(outDir, name);
    return [params, ...Object.values(optimizer)].map(brokenWeights).find((fault) => fault !== undefined);
  } catch (error) {
    return (error as Error).message;
  }
}

/** @throws {Error} for a loss that is NaN, or too large for training to recover */
export function checkLoss(run: Parameters<typeof exploded>[0], loss: number, what: string): void {
  if (!isSaneLoss(loss)) throw exploded(run, `${what} is ${loss}`);
}

/**
 * Whether an update was skipped: in float16, one whose gradients overflowed.
 * @throws {Error} when the loss or the gradient is not finite
 */
export function checkUpdate(
  run: Parameters<typeof exploded>[0],
  { loss, gradNorm, lossScale }: { loss: number; gradNorm: number; lossScale?: number },
): boolean {
  const finite = Number.isFinite(gradNorm);
  const skipped = lossScale !== undefined && !finite;
  if (skipped && lossScale < LEAST_SCALE) throw exploded(run, "the gradient overflows even at the smallest loss scale");
  if (skipped) return true;
  checkLoss(run, loss, "the loss");
  if (!finite) throw exploded(run, `the gradient's norm is ${gradNorm}`);
  return false;
}

/** What is wrong with weights that are about to be saved; undefined if nothing. */
export function brokenWeights(params: HostTensors): string | undefined {
  for (const [name, { values }] of Object.entries(params)) {
    const largest = (values as Float32Array).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (!(largest < LARGEST_WEIGHT)) return `${name} has values as large as ${largest.toPrecision(3)}`;
  }
  return undefined;
}

/**
 * Bytes of the weights and, when training, of gradients, the optimizer's groups and the sums of micro-batches, of all
 * devices together.
 */
export function stateBytes(settings: Settings): number {
  const groups = Object.keys(optimizerOf(settings).groups({})).length;
  const copies = settings.evalOnly ? 1 : 2 + groups + (settings.gradientAccumulationSteps > settings.devices ? 1 : 0);
  return 4 * copies * settings.devices * countParameters(settings);
}

/**
 * @throws {RangeError} when the tensors that are always in memory exceed this machine's memory, before any is allocated
 */
export function checkMemory(settings: Settings, availableBytes = machineBytes()): void {
  const bytes = stateBytes(settings);
  const { batchSize, blockSize, nEmbd } = settings;
  // The least that a step keeps: its ids, its targets, and the vectors that enter the first block.
  const batchBytes = batchSize * blockSize * (8 + 4 * nEmbd);
  if (batchBytes > availableBytes) {
    throw new RangeError(
      `Cannot train: a batch of ${batchSize.toLocaleString("en-US")} × ${blockSize.toLocaleString("en-US")} tokens needs more than ${gigabytes(batchBytes)}, but there are only ${gigabytes(availableBytes)}; lower batchSize (and raise gradientAccumulationSteps) or blockSize.`,
    );
  }
  if (bytes <= availableBytes) return;
  const held = settings.evalOnly ? "weights" : "weights, gradients and AdamW's moments";
  throw new RangeError(
    `Cannot build the model: its ${countParameters(settings).toLocaleString("en-US")} parameters need ${gigabytes(bytes)} (${held}), but there are only ${gigabytes(availableBytes)}; lower nEmbd, nLayer${settings.tieHead ? "" : ", vocabSize"} or blockSize.`,
  );
}

/** Errors of TensorFlow, Dawn or JavaScript that mean that memory ran out. */
const OUT_OF_MEMORY =
  /OOM when allocating|RESOURCE_EXHAUSTED|failed to allocate|CUDA_ERROR_OUT_OF_MEMORY|Array buffer allocation failed|Invalid typed array length|exceeds the max buffer size|larger than the maximum \w+ buffer binding size/i;

/** The settings on which a failure depends. */
type Doing = Partial<Pick<Settings, "xla" | "compile" | "dtype" | "device">>;

/**
 * TensorFlow errors whose messages do not help: what they mean, and what to do. The first match counts, since XLA
 * compiles with the GPU's tools, and its failures mention the GPU too.
 */
const KNOWN: readonly { readonly means: RegExp; readonly when?: (doing: Doing) => boolean; readonly advice: string }[] =
  [
    {
      means: /\bXLA\b|\bJIT\b|libdevice|ptxas|nvlink|uncompilable|LLVM|MLIR/i,
      when: ({ xla }) => xla === true,
      advice: "Cannot compile the step with XLA: FOUND. The step runs without it, too: xla: false.",
    },
    {
      means: /No OpKernel was registered|Could not find (?:valid )?device for node|no kernel.* registered/i,
      advice:
        'Cannot compile the step: TensorFlow has no such operation for this device and number format (FOUND). Try dtype: "float32", compile: false (eager: it names the line of the operation), or device: "cpu".',
    },
    {
      means: /Op type not registered/i,
      advice:
        "Cannot compile the step: TensorFlow does not know an operation (FOUND). If its name begins with Folio, run `npm run setup`, which compiles it; otherwise run eagerly: compile: false.",
    },
    {
      means:
        /driver version is insufficient|INSUFFICIENT_DRIVER|no kernel image|NO_BINARY_FOR_GPU|UNSUPPORTED_PTX|NO_DEVICE|cuInit/i,
      advice:
        'Cannot use the GPU: its driver does not fit this TensorFlow (FOUND). `folio doctor` shows the versions; update the driver (nvidia-smi shows its version), or use device: "cpu".',
    },
    {
      means: /CUDA_ERROR_(?!OUT_OF_MEMORY)\w+|cudnn|cublas|cusolver|GPU sync failed|device kernel image/i,
      advice:
        'Cannot continue: the GPU failed (FOUND). Run `folio doctor`, check whether another program uses the GPU (nvidia-smi), start again, or use device: "cpu".',
    },
  ];

/** The error itself, or, if its message does not help, one that says what to do. */
export function explained(error: unknown, settings: Settings): unknown {
  if (!(error instanceof Error)) return error;
  return OUT_OF_MEMORY.test(error.message) ? outOfMemory(error, settings) : knownFailure(error, settings);
}

/**
 * As {@link explained}, for the use of a trained model.
 * @param lower the settings that determine the memory, such as `batchSize or the length of the text`
 */
export function explainedUse(error: unknown, { lower, ...doing }: Doing & { readonly lower: string }): unknown {
  if (!(error instanceof Error)) return error;
  if (!OUT_OF_MEMORY.test(error.message)) return knownFailure(error, doing);
  return new Error(`Cannot continue: memory ran out (${firstLine(error)}). To use less, lower ${lower}.`, {
    cause: error,
  });
}

const firstLine = ({ message }: Error): string => message.split("\n")[0]!.slice(0, 200);

function knownFailure(error: Error, doing: Doing): Error {
  const known = KNOWN.find(({ means, when }) => means.test(error.message) && (when?.(doing) ?? true));
  // Folio's own errors already say what to do.
  if (!known || !/^Cannot run a step: |^(?!Cannot )/.test(error.message)) return error;
  const found = firstLine(error)
    .replace(/^Cannot run a step: /, "")
    .replace(/\.$/, "");
  return new Error(
    known.advice.replace("FOUND", () => found),
    { cause: error },
  );
}

function outOfMemory(error: Error, settings: Settings): Error {
  const { batchSize, blockSize, gradientAccumulationSteps } = settings;
  const fewer = Math.max(1, Math.floor(batchSize / 2));
  const more = Math.ceil((gradientAccumulationSteps * batchSize) / fewer);
  const advice =
    fewer < batchSize
      ? `lower batchSize (batchSize: ${fewer} with gradientAccumulationSteps: ${more} trains on as many tokens per step), blockSize (${blockSize})`
      : `lower blockSize (${blockSize})`;
  // Without a vocabulary the model's size is unknown.
  const held =
    settings.vocabSize > 0
      ? ` ${gigabytes(stateBytes(settings))} are always in use, the rest grows with the batch:`
      : "";
  return new Error(
    `Cannot continue: memory ran out (${firstLine(error)}).${held || " To use less,"} ${advice}, or the model.`,
    { cause: error },
  );
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(bytes < 1e9 ? 3 : 1)} GB`;
