/**
 * Checks an NVIDIA GPU, for whoever has one: whether a small model's losses, gradients and updates are those of the
 * processor, and how fast GPT-2 124M trains. `device: "cpu"` is a stand-in that tries the check itself: compiled steps with
 * Folio's own operations take the GPU's place. `folio check gpu` shows it.
 */
import { bench, type ModeResult, type PeerRatio } from "../bench/bench.js";
import { startWorker } from "../bench/protocol.js";
import { nvidiaGpus } from "../host/hardware.js";
import { countParameters } from "../model/sizing.js";
import { type CheckGpuSettings, parseBenchSettings, type Settings } from "../settings/settings.js";
import { type CheckRecord, checked, doing, fact, notChecked } from "./report.js";
import { compareSteps, differences, plainWay, STEPS, takeSteps, tolerances, type Way, within } from "./take-steps.js";

type Format = keyof typeof tolerances;
const formats = Object.keys(tolerances) as Format[];

interface Options {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Yields the rows and tables of the check (checkReport makes the report of them).
 * @throws {Error} when there is no such GPU
 */
export async function* checkGpu(settings: CheckGpuSettings, options: Options = {}): AsyncGenerator<CheckRecord> {
  const standIn = settings.device === "cpu";
  if (standIn) yield fact("STAND-IN: the processor in place of a GPU; the figures say nothing about a GPU");
  const gpu = nvidiaGpus()[0];
  if (gpu && !standIn) yield fact(`${gpu.name}, driver ${gpu.driver}, ${gigabytes(gpu.totalBytes)} GB`);
  yield* equality(settings, options);
  yield* speed(settings, options);
}

/** How a format is computed. On a processor there is no TF32. */
function wayOf(format: Format, device: CheckGpuSettings["device"]): Way | undefined {
  if (format === "TF32" && device === "cpu") return undefined;
  return { device, dtype: format === "bfloat16" ? "bfloat16" : "float32", compile: true, tf32: format === "TF32" };
}

// ---------------------------------------------------------------------------------------------------------- equality

async function* equality({ device }: CheckGpuSettings, { signal }: Options): AsyncGenerator<CheckRecord> {
  const where = device === "cpu" ? "compiled, with Folio's operations" : "the GPU";
  const first = wayOf("float32", device)!;
  yield doing(`${STEPS} steps of a small model, ${where}, float32`);
  const float32 = await takeSteps(first, { signal }); // refuses where there is no GPU, before anything else is done
  yield fact(float32.version);
  yield fact(`${float32.deviceName}${device === "cpu" ? `, operations: ${float32.operations}` : ""}`);
  yield doing("the same steps by TensorFlow's own operations on the processor");
  const reference = await takeSteps(plainWay, { plain: true, signal });
  for (const format of formats) {
    const way = wayOf(format, device);
    const tolerance = tolerances[format];
    if (!way) {
      yield notChecked(`${format}: ${quantities(where)}`, differences(tolerance, "≤ "), "a processor has no TF32");
      continue;
    }
    yield doing(`${STEPS} steps, ${where}, ${format}`);
    const found = format === "float32" ? float32 : await takeSteps(way, { signal });
    const difference = compareSteps(reference, found);
    yield checked(
      `${format}: ${quantities(where)}`,
      differences(tolerance, "≤ "),
      differences(difference),
      within(difference, tolerance),
    );
  }
}

const quantities = (where: string) =>
  `a small model's losses, gradients and updates in ${STEPS} steps, ${where}, against TensorFlow's on the processor in float32`;

// ------------------------------------------------------------------------------------------------------------- speed

interface Timed {
  readonly format: Format;
  readonly mode: ModeResult;
  readonly peer: ModeResult | undefined;
  readonly ratio: PeerRatio | undefined;
  /** On a GPU: what the training holds there. */
  readonly gpuBytes: number | undefined;
}

async function* speed(settings: CheckGpuSettings, options: Options): AsyncGenerator<CheckRecord> {
  const standIn = settings.device === "cpu";
  const { nLayer, nHead, nEmbd, steps, device, peer } = settings;
  const batchSize = settings.batchSize || (standIn ? 1 : 12);
  const blockSize = settings.blockSize || (standIn ? 256 : 1024);
  const model = { nLayer, nHead, nEmbd, batchSize, blockSize, vocabSize: 50_304 };
  const timed: Timed[] = [];
  for (const format of formats) {
    const way = wayOf(format, device);
    if (!way) continue;
    const { dtype, tf32 } = way;
    const parsed = parseBenchSettings({ ...model, device, dtype, tf32, peer, steps, realData: false, burnIn: 5 });
    for await (const record of bench(parsed, options)) {
      if (record.kind === "progress") yield doing(`${format}: ${record.doing}`);
      else {
        const { modes, ratios, notes } = record.result;
        for (const note of notes) yield fact(note);
        const [mode, ...peers] = [...modes].sort((a, b) => a.engine.localeCompare(b.engine) || a.medianMs - b.medianMs);
        const gpuBytes = standIn ? undefined : await memoryOnGpu(parsed as unknown as Settings);
        timed.push({ format, mode: mode!, peer: peers[0], ratio: ratios[0], gpuBytes });
      }
    }
    options.signal?.throwIfAborted();
  }
  yield* finite(timed);
  const millions = Math.round(countParameters({ ...model, bias: false, tieHead: true }) / 1e6);
  const title = `A training step of ${millions} million parameters, batch ${batchSize} × ${blockSize}, ${steps} steps, ${standIn ? "on the processor as a stand-in" : timed[0]!.mode.version}:`;
  yield { kind: "table", table: { title, ...speedTable(timed, peer !== "") } };
}

/** A speed counts only if the steps compute something. */
async function* finite(timed: readonly Timed[]): AsyncGenerator<CheckRecord> {
  for (const { format, mode, peer } of timed) {
    const losses = [mode, ...(peer ? [peer] : [])].map(({ burnInLoss }) => burnInLoss ?? Number.NaN); // from a process, whose JSON has no NaN
    const atMost = Math.log(50_304) + 0.5;
    yield checked(
      `${format}: the timed model's loss after its burn-in steps${peer ? ", Folio's and PyTorch's" : ""}`,
      `finite, ≤ ln V + 0.5 = ${atMost.toFixed(2)}`,
      losses.map((loss) => loss.toFixed(3)).join(", "),
      losses.every((loss) => Number.isFinite(loss) && loss <= atMost),
    );
  }
}

function speedTable(timed: readonly Timed[], withPeer: boolean) {
  const head = ["Format", "ms per step (quartiles)", "tokens/s", "TFLOP/s", "MFU", "memory"];
  const rows = timed.map(({ format, mode, peer, ratio, gpuBytes }) => [
    format,
    `${mode.medianMs.toFixed(1)} (${mode.quartilesMs.map((ms) => ms.toFixed(1)).join(" to ")})`,
    Math.round(mode.tokensPerSecond).toLocaleString("en-US"),
    (mode.gigaflops / 1000).toPrecision(3),
    // A data sheet's float32 is TF32: without it there is no figure to divide by.
    mode.mfu === undefined || format === "float32" ? "–" : `${(100 * mode.mfu).toFixed(1)} %`,
    gpuBytes === undefined ? `${gigabytes(mode.peakBytes)} GB of the process` : `${gigabytes(gpuBytes)} GB of the GPU`,
    ...(withPeer
      ? [
          peer ? `${peer.medianMs.toFixed(1)} (${peer.version}, ${peer.compiled ? "compiled" : "eager"})` : "–",
          ratio ? `${ratio.ratio.toFixed(2)} × (${ratio.low.toFixed(2)} to ${ratio.high.toFixed(2)})` : "–",
        ]
      : []),
  ]);
  return {
    head: [...head, ...(withPeer ? ["PyTorch's best, ms per step", "its time over Folio's (95 %)"] : [])],
    rows,
  };
}

const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1);

/** What a training holds on the GPUs: their free memory before it and after a few steps of it, alone. */
async function memoryOnGpu(settings: Settings): Promise<number | undefined> {
  const free = () => nvidiaGpus().reduce((sum, { freeBytes }) => sum + freeBytes, 0);
  const before = free();
  const worker = startWorker();
  try {
    const [threads, realData, profiled] = [16, false, false];
    const one = { ...settings, compile: true, devices: 1 } as Settings;
    await worker.ask({ op: "open", task: "train", settings: one, realData, threads, profiled });
    await worker.ask({ op: "run", count: 3 });
    return before === 0 ? undefined : before - free();
  } finally {
    worker.kill();
  }
}
