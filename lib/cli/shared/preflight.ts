/**
 * Checks of the command line before training: whether the dataset is prepared, whether memory suffices, the GPU's peak
 * speed. train() refuses what cannot work; these checks add advice and warnings.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { DeviceSettings } from "../../engine/device.js";
import { knownPeakFlops, nvidiaGpus } from "../../host/hardware.js";
import type { StartRecord } from "../../runs/records.js";
import type { Settings } from "../../settings/settings.js";
import { datasetNames } from "./datasets.js";
import { type Io, styled, withFlags } from "./terminal.js";

const isPrepared = (folder: string) =>
  ["meta.json", "train.bin"].some((file) => fs.existsSync(path.join(folder, file)));

/**
 * @throws {RangeError} when the dataset is not prepared, with the command that prepares it and the prepared datasets
 */
export async function checkDataset({ dataDir, dataset }: Settings): Promise<void> {
  const folder = path.join(dataDir, dataset);
  if (isPrepared(folder)) return;
  const known = datasetNames();
  const prepare = known.includes(dataset)
    ? `run \`folio prepare ${dataset}\` first`
    : `\`folio prepare\` makes ${known.join(", ")}, or a dataset from your own text`;
  const there = fs.existsSync(dataDir)
    ? fs.readdirSync(dataDir).filter((name) => isPrepared(path.join(dataDir, name)))
    : [];
  const prepared =
    there.length > 0 ? `, or choose one that is prepared (--dataset=${there.slice(0, 8).join(" or ")})` : "";
  throw new RangeError(`Cannot train on ${dataset}: ${folder} has no prepared dataset; ${prepare}${prepared}.`);
}

/** Warns of likely problems: a GPU that is not used, or less memory than the run needs. */
export async function warnings(settings: Settings, say: (text: string) => void): Promise<void> {
  const { resolveDevice } = await import("../../engine/device.js");
  if ((await resolveDevice(settings)).device !== "cpu") return;
  const gpu = settings.device === "auto" ? nvidiaGpus()[0]?.name : undefined;
  if (gpu) {
    say(
      `TensorFlow does not see this machine's ${gpu}, so this runs on the CPU; \`folio doctor\` says what is missing`,
    );
  }
  // Other weights determine the model's shape.
  if (settings.evalOnly || !["scratch", "resume"].includes(settings.initFrom)) return;
  const { openDataset } = await import("../../data/batches.js");
  const { memoryWarning } = await import("../../model/memory.js");
  const dataset = openDataset(settings.dataDir, settings.dataset, settings);
  dataset.close();
  const vocabSize = settings.vocabSize || dataset.meta.vocabSize;
  const warning = memoryWarning({ ...settings, vocabSize }, os.totalmem());
  if (warning) say(await withFlags(warning));
}

/**
 * Device, number format and mode of execution, each with the reason if Folio chose it: `cpu (…), float32 (…),
 * compiled`.
 */
export function describeDevice(
  run: Pick<StartRecord, "device" | "devices" | "deviceReason" | "deviceName" | "dtype" | "dtypeReason" | "compiled"> &
    Pick<StartRecord, "numerics">,
): string {
  const why = (reason: string | undefined) => (reason === "asked for" ? undefined : reason);
  const about = (name: string, ...details: (string | undefined)[]) => {
    const said = details.filter((detail) => detail !== undefined);
    return said.length > 0 ? `${name} (${said.join("; ")})` : name;
  };
  const how = run.device === "webgpu" ? "eager (WebGPU steps are not compiled)" : "eager";
  return [
    about(run.devices ? `${run.devices} × ${run.device}` : run.device, run.deviceName, why(run.deviceReason)),
    about(run.dtype, why(run.dtypeReason)),
    run.compiled ? "compiled" : how,
    ...(run.numerics?.operations === "none" ? ["without Folio's own operations"] : []),
  ].join(", ");
}

/** A note on eager steps on a CPU or an NVIDIA GPU: how much faster compiled ones are, if it was measured. */
export async function eagerNote({ device, compiled }: Pick<StartRecord, "device" | "compiled">): Promise<string[]> {
  if (compiled || device === "webgpu") return [];
  const { eagerRatio } = await import("../../engine/choices.js");
  const { measuredHere } = await import("../../engine/measurement.js");
  const { instructionFlags } = await import("../../engine/number-format.js");
  const { operationsVariant } = await import("../../engine/tensorflow/own-operations.js");
  const operations = operationsVariant();
  const measured = device === "cpu" ? await measuredHere(operations) : undefined;
  return [eagerLine(eagerRatio({ operations, flags: instructionFlags() }, measured))];
}

/** @param ratio time of an eager step divided by that of a compiled one; undefined if unknown */
export function eagerLine(ratio: number | undefined): string {
  const faster =
    ratio === undefined || ratio < 1.1
      ? "compiled steps (--compile=True) are usually faster"
      : `compiled steps (--compile=True) of a small model were ${ratio.toFixed(1)} times as fast when measured here`;
  return `Steps run eagerly, line by line, for debugging; ${faster}.`;
}

/** Prints to stderr the device that a trained model runs on, with the choice of `auto` and its reason. */
export async function announceDevice(
  { device, dtype, compile }: DeviceSettings,
  trained: Settings["dtype"],
  io: Io,
): Promise<void> {
  const { dtypeFor, resolveDevice } = await import("../../engine/device.js");
  const wanted = { device, compile, dtype: dtypeFor(trained, { device, dtype, compile }) };
  const { numericsOf } = await import("../../engine/numerics.js");
  const machine = await resolveDevice(wanted);
  const record = { ...machine, compiled: machine.compile, numerics: numericsOf(machine) };
  io.stderr.write(styled(io.stderr, "dim", `running on ${describeDevice(record)}\n`));
  for (const note of await eagerNote(record)) io.stderr.write(styled(io.stderr, "yellow", `${note}\n`));
}

/** The peak FLOP/s of the run's GPU by its data sheet; undefined on a CPU and for an unknown card. */
export function peakFlops({ device, dtype }: StartRecord): number | undefined {
  return device === "cuda" ? knownPeakFlops(nvidiaGpus()[0]?.name ?? "", dtype as "float32") : undefined;
}
