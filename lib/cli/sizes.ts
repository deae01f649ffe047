/**
 * `folio sizes`: prints parameters, FLOPs, memory and time of a configuration without training, as tables or as JSON.
 * lib/model/sizing.ts and lib/model/memory.ts compute them.
 */
import { existsSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { findHardware, knownHardware, knownPeakFlops } from "../host/hardware.js";
import { dataParallelStep } from "../model/data-parallel.js";
import { gigabytes, type MemoryRow, memoryTable, memoryWarning } from "../model/memory.js";
import {
  flopsPerToken,
  flopsTable,
  gpt2Shapes,
  parameterTable,
  type SizeRow,
  tokensPerStep,
  trainingSeconds,
} from "../model/sizing.js";
import { readOverrides } from "../settings/config-files.js";
import { helpText } from "../settings/flags.js";
import { defaultSettings, parseSizesSettings, type Settings, type SizesSettings } from "../settings/settings.js";
import { duration, grouped, type Io, styled, table, wrapped } from "./shared/terminal.js";

export function help(): string {
  return `folio sizes: parameters, FLOPs, memory and time of a configuration.

Usage: folio sizes [config file …] [--setting=value …]

Takes every setting of \`folio train\`. To estimate time, name a card or give the FLOP/s that \`folio bench\` measures.
Memory is an estimate; there is a warning if it exceeds the available memory. With several devices, so is the time of
the mean of their gradients, from --bandwidth and --latency.

  folio sizes train_gpt2 --hardware="A100" --devices=8 --bandwidth=300 --tokens=300e9
  folio sizes --init_from=gpt2-xl --hardware="RTX 4090" --batch_size=1
  folio sizes cpu_demo --vocab_size=65 --flops=200e9 --json

${wrapped(`Cards: ${knownHardware.join(", ")}.`)}

${helpText("sizes")}`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, notes } = await readOverrides("sizes", args);
  for (const note of notes) io.stderr.write(`${note}\n`);
  const given = parseSizesSettings(values, await baseSettings(values));
  const settings = { ...given, vocabSize: await vocabularySize(given) };
  const device = resolveHardware(settings);
  const parameters = parameterTable(settings);
  const flops = flopsTable(settings);
  const memory = memoryTable(settings, { gpu: device.gpu });
  const time = timeOf(settings, device);
  const warning = memoryWarning(settings, device.memoryBytes, { gpu: device.gpu });
  if (settings.json) {
    const result = { settings, parameters, flops, memory, ...device, ...time, warning: warning ?? null };
    io.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    return 0;
  }
  const print = (lines: readonly string[]) => io.stdout.write(`${lines.join("\n")}\n`);
  print([title(settings), ""]);
  print([...sizeTable("parameters", parameters), ""]);
  print([...sizeTable(`FLOPs per sequence of ${grouped(settings.blockSize)}`, flops), ""]);
  print([...bytesTable(memory, settings), ""]);
  print(timeTable(settings, device, time));
  if (warning) io.stderr.write(`${styled(io.stderr, "yellow", warning)}\n`);
  return 0;
}

/** The base of the given settings: the shape of the weights that they start from. */
async function baseSettings({
  initFrom,
  outDir = defaultSettings.outDir,
  checkpoint,
}: Partial<Settings>): Promise<Partial<Settings>> {
  if (initFrom === undefined || initFrom === "scratch") return {};
  if (Object.hasOwn(gpt2Shapes, initFrom)) return { ...gpt2Shapes[initFrom as keyof typeof gpt2Shapes] };
  const { chooseCheckpoint, readState } = await import("../weights/checkpoint.js");
  const source = initFrom === "resume" ? outDir : initFrom;
  const chosen = chooseCheckpoint(source, checkpoint);
  return readState(chosen?.outDir ?? source, chosen?.name).settings;
}

// Datasets whose vocabulary is known before they are prepared.
const vocabularies: Readonly<Record<string, number>> = {
  shakespeare_char: 65,
  shakespeare: 50_257,
  openwebtext: 50_257,
};

async function vocabularySize({ vocabSize, dataDir, dataset }: Settings): Promise<number> {
  if (vocabSize > 0) return vocabSize;
  if (existsSync(path.join(dataDir, dataset, "train.bin"))) {
    const { openDataset } = await import("../data/batches.js");
    const opened = openDataset(dataDir, dataset);
    opened.close();
    return opened.meta.vocabSize;
  }
  const known = Object.hasOwn(vocabularies, dataset) ? vocabularies[dataset] : undefined;
  if (known !== undefined) return known;
  throw new RangeError(
    `Cannot size the model: the vocabulary of ${dataset} is unknown before \`folio prepare ${dataset}\`; give --vocab_size.`,
  );
}

interface DeviceFigures {
  readonly device: string;
  readonly gpu: boolean;
  /** FLOP/s of one device; undefined if unknown. */
  readonly peakFlops: number | undefined;
  readonly memoryBytes: number;
}

function resolveHardware({ hardware, flops, memory, dtype }: SizesSettings): DeviceFigures {
  const card = hardware === "" ? undefined : findHardware(hardware);
  if (hardware !== "" && !card && !(flops > 0 && memory > 0)) {
    throw new RangeError(
      `Cannot plan for ${hardware}: it is not in the table (${knownHardware.join(", ")}); give --flops (of one device, such as 312e12) and --memory (in GB).`,
    );
  }
  // auto: a 16-bit format on a card.
  const wanted = dtype === "auto" ? (card?.bfloat16 ? "bfloat16" : "float16") : dtype;
  const promised = card && knownPeakFlops(card.name, wanted);
  if (card && promised === undefined) {
    throw new RangeError(`Cannot plan for ${card.name} in ${dtype}: it has no ${dtype}; use float16 or float32.`);
  }
  return {
    device: card?.name ?? (hardware || "this machine"),
    gpu: hardware !== "",
    peakFlops: flops || promised,
    memoryBytes: memory * 1e9 || card?.memoryBytes || os.totalmem(),
  };
}

function timeOf(settings: SizesSettings, { peakFlops }: DeviceFigures) {
  const perStep = tokensPerStep(settings);
  const tokens = settings.tokens || perStep * settings.maxIters;
  const perToken = flopsPerToken(settings);
  const figures = { tokens, tokensPerStep: perStep, flopsPerToken: perToken, trainingFlops: perToken * tokens };
  if (!peakFlops) return { ...figures, seconds: undefined, dataParallel: undefined };
  const { devices, utilization, bandwidth, latency, gradientAccumulationSteps } = settings;
  const computeSeconds = trainingSeconds({ flops: perToken * perStep, peakFlops: devices * peakFlops, utilization });
  const dataParallel = dataParallelStep(settings, {
    ...{ computeSeconds, devices, bandwidth: 1e9 * bandwidth, latency: 1e-6 * latency },
    micros: Math.max(1, gradientAccumulationSteps / devices),
  });
  return { ...figures, seconds: (dataParallel.stepSeconds * tokens) / perStep, dataParallel };
}

function title(settings: Settings): string {
  const { nLayer, nHead, nEmbd, blockSize, vocabSize } = settings;
  return `${nLayer} layers, ${nHead} heads, ${grouped(nEmbd)} features, context ${grouped(blockSize)}, ${grouped(vocabSize)} ids`;
}

function sizeTable(what: string, rows: readonly SizeRow[]): string[] {
  return table(
    [what, "", "%"],
    rows.map(({ part, count, share }) => [part, grouped(count), (100 * share).toFixed(2)]),
  );
}

function bytesTable(rows: readonly MemoryRow[], { batchSize }: Settings): string[] {
  return table(
    [`memory, batch of ${batchSize}`, "", "about"],
    rows.filter(({ bytes }) => bytes > 0).map(({ part, bytes, formula }) => [part, gigabytes(bytes), formula]),
  );
}

function timeTable(settings: SizesSettings, device: DeviceFigures, time: ReturnType<typeof timeOf>): string[] {
  const { devices, utilization } = settings;
  const { peakFlops, device: name } = device;
  const steps = time.tokens / time.tokensPerStep;
  const rows = [
    ["tokens per step", grouped(time.tokensPerStep)],
    ["tokens", `${grouped(time.tokens)} (${grouped(steps)} steps)`],
    ["FLOPs per token", `${grouped(time.flopsPerToken)} (6 N + 12 L C T)`],
    ["FLOPs", time.trainingFlops.toExponential(3)],
  ];
  if (time.seconds === undefined || time.seconds === 0 || !peakFlops) {
    return [
      ...table(["time", ""], rows),
      "",
      'For the training time, give --hardware="A100" or --flops (FLOP/s of one device).',
    ];
  }
  const many = devices > 1 ? `${devices} × ` : "";
  const shared = time.dataParallel;
  if (devices > 1 && shared) {
    rows.push(
      ["each device sends", `${grouped(shared.bytesSent / 1e6)} MB per step, the gradients' mean in a ring`],
      [
        "that takes",
        `${milliseconds(shared.meanSeconds)}, of which ${milliseconds(shared.exposedSeconds)} after the backward pass`,
      ],
      ["efficiency", `${(100 * shared.efficiency).toFixed(1)} % (by a model that was not compared with measurements)`],
    );
  }
  rows.push(
    ["on", `${many}${name}, ${(peakFlops / 1e12).toPrecision(4)} TFLOP/s each, ${100 * utilization} % reached`],
    ["time per step", milliseconds(time.seconds / steps)],
    ["tokens per second", grouped(time.tokens / time.seconds)],
    ["total time", span(time.seconds)],
  );
  return table(["time", ""], rows);
}

const milliseconds = (seconds: number) => `${(1000 * seconds).toPrecision(4)} ms`;

function span(seconds: number): string {
  return seconds < 2 * 86_400 ? duration(1000 * seconds) : `${(seconds / 86_400).toFixed(2)} days`;
}
