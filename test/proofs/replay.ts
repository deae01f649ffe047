import fs from "node:fs";
import path from "node:path";
import { drawBatch, type TokenFile } from "../../lib/data/batches.js";
import { toHost } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { initialParameters } from "../../lib/model/model.js";
import type { Settings } from "../../lib/settings/settings.js";
import { writeSafetensors } from "../../lib/weights/safetensors.js";

/**
 * Writes what another program needs to repeat a training of Folio's: weights.safetensors with the initial weights,
 * batches.bin with the ids of all steps [steps × batchSize × (blockSize + 1)], int32, and settings.json, written last.
 */
export async function writeReplay(folder: string, settings: Settings, tokens: TokenFile): Promise<void> {
  const { batchSize, blockSize, maxIters } = settings;
  const rows = new Int32Array(maxIters * batchSize * (blockSize + 1));
  for (let step = 0; step < maxIters; step++) {
    const { x, y } = drawBatch(tokens, { ...settings, step, row: 0, use: "train" });
    for (let row = 0; row < batchSize; row++) {
      const at = (step * batchSize + row) * (blockSize + 1);
      rows.set(x.subarray(row * blockSize, (row + 1) * blockSize), at);
      rows[at + blockSize] = y[(row + 1) * blockSize - 1]!;
    }
  }
  fs.writeFileSync(path.join(folder, "batches.bin"), rows);
  loadTensorFlow();
  const file = path.join(folder, "weights.safetensors");
  fs.rmSync(file, { force: true });
  const tensors = Object.entries(initialParameters(settings, settings.seed));
  const host = await Promise.all(tensors.map(async ([name, tensor]) => [name, await toHost(tensor)] as const));
  for (const [, tensor] of tensors) tensor.dispose();
  writeSafetensors(file, Object.fromEntries(host));
  fs.writeFileSync(path.join(folder, "settings.json"), JSON.stringify(settings));
}
