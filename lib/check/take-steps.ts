/**
 * The same few training steps computed in two ways, for `folio check`: each way in a process of its own
 * (steps-process.ts), since a process has either the processor or the GPU, and rounds in one way. `compareSteps` says
 * how far two ways are apart.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { typescriptLoader } from "../host/package.js";
import { defaultSettings, type Settings } from "../settings/settings.js";

/** A way to compute the steps. */
export type Way = Pick<Settings, "device" | "dtype" | "compile" | "tf32">;

/** TensorFlow's own operations in float32 on the processor, line by line: what every other way is compared with. */
export const plainWay: Way = { device: "cpu", dtype: "float32", compile: false, tf32: false };

/** Tensors by name. */
export type Vectors = Readonly<Record<string, Float32Array>>;

/** The values of the steps. */
export interface TakenSteps {
  /** Name and version of what computed them. */
  readonly deviceName: string;
  readonly version: string;
  /** The variant of Folio's own operations on a processor, or "none". */
  readonly operations: string;
  /** The loss of each step. */
  readonly losses: readonly number[];
  /** Of the first step, by parameter. */
  readonly gradients: Vectors;
  /** What the steps have added to the parameters. */
  readonly changes: Vectors;
}

/** The number of steps. */
export const STEPS = 10;

/** The model whose steps are compared: 0.1 million parameters without biases, whose gradients are all above rounding. */
export const comparedModel: Settings = {
  ...defaultSettings,
  nLayer: 2,
  nHead: 4,
  nEmbd: 64,
  blockSize: 32,
  vocabSize: 96,
  batchSize: 8,
  gradientAccumulationSteps: 1,
  dropout: 0,
  learningRate: 1e-3,
  warmupIters: 0,
  decayLr: false,
};

const run = promisify(execFile);

/**
 * Takes the steps in a process of its own.
 * @param plain leave out Folio's own operations
 * @throws {Error} with the process's message when it cannot compute this way
 */
export async function takeSteps(way: Way, { plain = false, signal }: TakeOptions = {}): Promise<TakenSteps> {
  const program = fileURLToPath(new URL("./steps-process.js", import.meta.url));
  const fromSources = import.meta.url.endsWith(".ts");
  const file = fromSources ? ["--import", typescriptLoader(), program.replace(/\.js$/, ".ts")] : [program];
  const env = { ...process.env, ...(plain && { FOLIO_FUSED: "0" }), TF_FORCE_GPU_ALLOW_GROWTH: "true" };
  const options = { env, maxBuffer: 2 ** 28, ...(signal && { signal }) };
  const { stdout } = await run(process.execPath, [...file, JSON.stringify(way)], options).catch((error) => {
    if (signal?.aborted) throw error;
    const { stderr = "", message } = error as { stderr?: string; message: string };
    throw new Error(/^Error: (.*)$/m.exec(stderr)?.[1] ?? message.split("\n")[0]);
  });
  const answer = JSON.parse(stdout.slice(stdout.lastIndexOf("\n{") + 1)) as Sent;
  const losses = answer.losses.map((loss) => loss ?? Number.NaN); // JSON has no NaN
  return { ...answer, losses, gradients: unpacked(answer.gradients), changes: unpacked(answer.changes) };
}

export interface TakeOptions {
  readonly plain?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What the process sends: tensors as base64. */
export type Sent = Omit<TakenSteps, "losses" | "gradients" | "changes"> & {
  readonly losses: readonly (number | null)[];
} & Record<"gradients" | "changes", Readonly<Record<string, string>>>;

const unpacked = (tensors: Readonly<Record<string, string>>): Vectors =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, text]) => {
      const bytes = Uint8Array.from(Buffer.from(text, "base64"));
      return [name, new Float32Array(bytes.buffer)];
    }),
  );

/** How far two ways are apart. */
export interface StepDifference {
  /** The largest |Δ loss| / loss of a step. */
  readonly loss: number;
  /** The largest ‖Δg‖ / ‖g‖ of a parameter's gradient g in the first step. */
  readonly gradient: number;
  /** ‖Δu‖ / ‖u‖ of the change u of all parameters by all steps. */
  readonly update: number;
}

/**
 * How far `found` is from `reference`, as fractions of the reference. NaN where either has no finite numbers.
 * @throws {RangeError} when they are not of the same model
 */
export function compareSteps(reference: TakenSteps, found: TakenSteps): StepDifference {
  const losses = reference.losses.map((loss, step) => Math.abs(found.losses[step]! - loss) / loss);
  const names = Object.keys(reference.gradients);
  const squares = (a: Vectors, b: Vectors, name: string) => {
    const [x, y] = [a[name], b[name]];
    if (!x || x.length !== y?.length) throw new RangeError(`Cannot compare steps: ${name} is not the same parameter.`);
    let [difference, size] = [0, 0];
    for (const [index, value] of x.entries()) {
      difference += (y[index]! - value) ** 2;
      size += value ** 2;
    }
    return { difference, size };
  };
  const gradients = names.map((name) => squares(reference.gradients, found.gradients, name));
  const changes = names.map((name) => squares(reference.changes, found.changes, name));
  const sum = (of: "difference" | "size") => changes.reduce((total, one) => total + one[of], 0);
  return {
    loss: Math.max(...losses),
    gradient: Math.max(...gradients.map(({ difference, size }) => Math.sqrt(difference / size))),
    update: Math.sqrt(sum("difference") / sum("size")),
  };
}

/**
 * What each format may be off, about five times what is expected. The formats keep 23, 10 and 7 bits after the first; the
 * sums of products are float32 in all three. bfloat16 on a processor (AMD EPYC, AVX2) is off by 1e-4, 1e-2 and 2.5e-2; TF32,
 * with three more bits, should be off by an eighth of that; float32 with Folio's operations by 1e-7, 4e-7 and 3e-6. TF32
 * does not pass for float32.
 */
export const tolerances = {
  float32: { loss: 1e-5, gradient: 1e-4, update: 1e-3 },
  TF32: { loss: 1e-4, gradient: 6e-3, update: 2e-2 },
  bfloat16: { loss: 1e-3, gradient: 5e-2, update: 0.1 },
} as const satisfies Record<string, StepDifference>;

/** Whether no difference is larger than it may be; NaN is. */
export const within = (found: StepDifference, most: StepDifference): boolean =>
  (Object.keys(most) as (keyof StepDifference)[]).every((of) => found[of] <= most[of]);

/** The differences of losses, gradients and updates, or with "≤ " their bounds, for a report. */
export function differences({ loss, gradient, update }: StepDifference, sign = ""): string {
  return `off by ${[loss, gradient, update].map((value) => `${sign}${value.toExponential(1)}`).join(", ")}`;
}
