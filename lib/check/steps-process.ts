/** The process that takes the steps of take-steps.ts in one way, its argument, and prints their values as JSON. */
import os from "node:os";
import { engineVersions, resolveDevice } from "../engine/device.js";
import { type HostTensors, int32, mapRecord } from "../engine/host-tensors.js";
import { openSession } from "../engine/session.js";
import { nvidiaGpus } from "../host/hardware.js";
import { uniform } from "../host/random.js";
import { newWeights } from "../train/start.js";
import { lossAndGradients, trainingSteps, updateInputs } from "../train/steps.js";
import { trainingState } from "../train/training-state.js";
import { comparedModel, type Sent, STEPS, type Way } from "./take-steps.js";

async function take(way: Way): Promise<Sent> {
  const settings = { ...comparedModel, ...way };
  const machine = await resolveDevice(settings);
  const params = await newWeights(settings);
  const session = await openSession(trainingState(settings, params), machine);
  const gradients = session.define((state, inputs) => ({
    outputs: lossAndGradients(state.params!, inputs, settings).gradients,
  }));
  const update = session.define(trainingSteps(settings).update);
  const first = await gradients(batch(0));
  const losses: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const { loss } = await update({ ...batch(step), ...updateInputs(step, settings) });
    losses.push(loss!.values[0]!);
  }
  const after = await session.read("params");
  const changes = mapRecord(after, (tensor, name) => {
    const before = params[name]!.values;
    return { ...tensor, values: Float32Array.from(tensor.values, (value, index) => value - before[index]!) };
  });
  return {
    deviceName: machine.deviceName ?? nameOf(machine.device),
    version: Object.entries(engineVersions(machine))
      .map((entry) => entry.join(" "))
      .join(", "),
    operations: machine.operations ?? "none",
    losses,
    gradients: packed(first),
    changes: packed(changes),
  };
}

const nameOf = (device: string) =>
  device === "cuda" ? (nvidiaGpus()[0]?.name ?? "an NVIDIA GPU") : os.cpus()[0]?.model.trim() || "unknown";

/** Ids that repeat in part, so that there is something to learn: the batch of a step. */
function batch(step: number): HostTensors {
  const { batchSize, blockSize, vocabSize } = comparedModel;
  const id = (row: number, place: number) =>
    Math.floor(vocabSize * uniform(1, "check", step * batchSize + row, place % 8) ** 2);
  const ids = (shift: number) =>
    int32(
      Int32Array.from({ length: batchSize * blockSize }, (_, index) =>
        id(Math.floor(index / blockSize), (index % blockSize) + shift),
      ),
      [batchSize, blockSize],
    );
  return { x: ids(0), y: ids(1), dropoutKey: int32([0, step], [2]) };
}

const packed = (tensors: HostTensors) =>
  mapRecord(tensors, ({ values }) => {
    const { buffer, byteOffset, byteLength } = Float32Array.from(values);
    return Buffer.from(buffer, byteOffset, byteLength).toString("base64");
  });

void take(JSON.parse(process.argv[2]!) as Way).then(
  (sent) => process.stdout.write(`\n${JSON.stringify(sent)}\n`, () => process.exit(0)),
  (error: Error) => {
    process.stderr.write(`\nError: ${error.message.replaceAll("\n", " ")}\n`);
    process.exit(1);
  },
);
