/**
 * Checks GPT-2's published weights, for whoever has a network: their number, the text that the likeliest tokens make, the
 * loss on a slice of OpenWebText, and that finetuning lowers the loss of another text. published.ts has what is wanted;
 * `folio check gpt2` shows it.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { isPrepared, openDataset, type TokenFile } from "../data/batches.js";
import { gpt2Tokenizer } from "../data/tokenizers/tokenizer.js";
import { engineVersions, resolveDevice } from "../engine/device.js";
import { machineBytes } from "../host/memory.js";
import { memoryBytes } from "../model/memory.js";
import { sample } from "../sample/sample.js";
import { type CheckGpt2Settings, defaultSettings, parseSettings, type Settings } from "../settings/settings.js";
import { evaluateSplit } from "../train/evaluate.js";
import { train } from "../train/train.js";
import { openCheckpoint } from "../weights/checkpoint.js";
import { type Gpt2Name, gpt2Names } from "../weights/gpt2-folder.js";
import { loadPretrained } from "../weights/open-weights.js";
import { cropBlockSize, type Pretrained, type TrainedModel } from "../weights/pretrained.js";
import { type Expected, expectedOf } from "./published.js";
import { type CheckRecord, checked, doing, fact, notChecked } from "./report.js";

interface Options {
  /** OpenWebText's documents as UTF-8 bytes, read if its dataset is not prepared. */
  readonly documents: () => AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
}

/** The sizes that a list names, the smallest first. */
export function sizesOf({ sizes }: Pick<CheckGpt2Settings, "sizes">): Gpt2Name[] {
  const named = sizes.trim() === "all" ? gpt2Names : sizes.split(",").map((name) => name.trim());
  return gpt2Names.filter((name) => named.includes(name));
}

/** Products are not rounded to TF32: the likeliest of two tokens that are nearly equal would change. */
const exactly = { dtype: "float32", tf32: false, compile: true } as const;

/**
 * Yields the rows of the check (checkReport makes the report of them). The dataset for the finetuning must be prepared.
 * @throws {Error} when the weights or the text cannot be had
 */
export async function* checkGpt2(settings: CheckGpt2Settings, options: Options): AsyncGenerator<CheckRecord> {
  const names = sizesOf(settings);
  const expected = expectedOf(settings.expect, names);
  if (settings.expect !== "") yield fact(`compared with ${settings.expect}, not with what is published`);
  const machine = await resolveDevice({ ...exactly, device: settings.device });
  const engine = Object.entries(engineVersions(machine)).map((entry) => entry.join(" "));
  yield fact(`${engine.join(", ")} on ${machine.deviceName ?? machine.device}`);
  yield doing("a slice of OpenWebText");
  const slice = await openSlice(settings, options);
  const { signal } = options;
  for (const [index, name] of names.entries()) {
    yield doing(`${name}: reading its weights`);
    const pretrained = await loadPretrained(name);
    const model = modelOf(pretrained, settings);
    signal?.throwIfAborted();
    yield* checkWeights(name, pretrained, expected[name]!);
    yield* checkTexts(name, model, expected[name]!, options);
    yield* checkLoss(name, model, expected[name]!, slice);
    signal?.throwIfAborted();
    if (index === 0) yield* checkFinetuning(name, pretrained, settings, options);
    signal?.throwIfAborted();
  }
}

function modelOf({ params, model }: Pretrained, { device }: CheckGpt2Settings): TrainedModel {
  return { params, settings: { ...defaultSettings, ...model, ...exactly, device, dropout: 0 } };
}

function* checkWeights(name: Gpt2Name, { params, tokenizer }: Pretrained, expected: Expected): Generator<CheckRecord> {
  const parameters = Object.values(params).reduce((sum, { values }) => sum + values.length, 0);
  const shown = (count: number) => count.toLocaleString("en-US");
  const right = parameters === expected.parameters && tokenizer?.kind === "gpt2";
  yield checked(`${name}: parameters`, shown(expected.parameters), shown(parameters), right);
}

async function* checkTexts(
  name: Gpt2Name,
  model: TrainedModel,
  { texts }: Expected,
  { signal }: Options,
): AsyncGenerator<CheckRecord> {
  const tokenizer = gpt2Tokenizer();
  if (texts.length === 0) yield notChecked(`${name}: greedy text`, "–", "none is published");
  for (const { prompt, continuation } of texts) {
    yield doing(`${name}: the likeliest tokens after ${JSON.stringify(prompt)}`);
    const { device, dtype } = model.settings;
    // A token is a byte or more.
    const maxNewTokens = Buffer.byteLength(continuation);
    let text = "";
    for await (const drawn of sample(model, tokenizer, {
      ...{ prompt, device, dtype, temperature: 1, topK: 1, maxNewTokens },
      ...(signal && { signal }),
    })) {
      text += drawn.text;
      if (text.length >= continuation.length) break;
    }
    signal?.throwIfAborted(); // its text would be too short
    text = text.slice(0, continuation.length); // the last token may be longer
    yield checked(`${name}: greedy text after ${JSON.stringify(prompt)}`, continuation, text, text === continuation);
  }
}

async function* checkLoss(
  name: Gpt2Name,
  model: TrainedModel,
  { loss: wanted, tolerance, source }: Expected,
  slice: Slice,
): AsyncGenerator<CheckRecord> {
  yield doing(`${name}: loss on ${slice.name}`);
  const { loss, targets } = await evaluateSplit(model, slice.tokens, batchOf(model.settings));
  yield checked(
    `${name}: loss on ${targets.toLocaleString("en-US")} tokens of ${slice.name}`,
    `${wanted} ± ${tolerance} (${source})`,
    loss.toFixed(4),
    Math.abs(loss - wanted) <= tolerance,
  );
}

/** About 4,096 tokens per batch: the logits of one are 0.8 GB. */
const batchOf = ({ blockSize }: Pick<Settings, "blockSize">) => ({
  batchSize: Math.max(1, Math.floor(4096 / blockSize)),
});

// --------------------------------------------------------------------------------------------------------- the slice

interface Slice {
  readonly name: string;
  readonly tokens: TokenFile;
}

/** The first tokens of OpenWebText's validation split, if it is prepared, else of its first documents. */
async function openSlice({ dataDir, slice: wanted }: CheckGpt2Settings, { documents }: Options): Promise<Slice> {
  const ids = isPrepared(dataDir, "openwebtext") ? preparedIds(dataDir, wanted) : await encodedIds(documents(), wanted);
  const whose = isPrepared(dataDir, "openwebtext") ? "OpenWebText's validation split" : "OpenWebText's first documents";
  const read = (start: number, count: number) => ids.subarray(start, start + count);
  return { name: whose, tokens: { path: "openwebtext", length: ids.length, read, close: () => {} } };
}

function preparedIds(dataDir: string, wanted: number): Int32Array {
  const dataset = openDataset(dataDir, "openwebtext");
  try {
    return Int32Array.from(dataset.val.read(0, Math.min(wanted, dataset.val.length)));
  } finally {
    dataset.close();
  }
}

/** Each document ends with the end-of-text token, as in nanoGPT. */
async function encodedIds(documents: AsyncIterable<Uint8Array>, wanted: number): Promise<Int32Array> {
  const tokenizer = gpt2Tokenizer();
  const ids: number[] = [];
  for await (const bytes of documents) {
    for (const id of tokenizer.encode(new TextDecoder().decode(bytes))) ids.push(id);
    ids.push(tokenizer.endOfText!);
    if (ids.length >= wanted) break;
  }
  if (ids.length < wanted) {
    throw new RangeError(
      `Cannot check the loss: OpenWebText's first file has ${ids.length.toLocaleString("en-US")} tokens; wanted ${wanted.toLocaleString("en-US")} (slice).`,
    );
  }
  return Int32Array.from(ids.slice(0, wanted));
}

// --------------------------------------------------------------------------------------------------------- finetuning

/** As configs/finetune_gpt2_small.ts, for a few updates. */
function finetuning(name: Gpt2Name, { model }: Pretrained, settings: CheckGpt2Settings, outDir: string): Settings {
  const { dataDir, dataset, device, finetuneSteps } = settings;
  const iterations = { maxIters: finetuneSteps, evalInterval: Math.max(1, finetuneSteps), evalIters: 1 };
  return parseSettings({
    ...{ initFrom: name, outDir, dataDir, dataset, device, ...exactly, ...iterations },
    ...{ blockSize: Math.min(256, model.blockSize), batchSize: 4, gradientAccumulationSteps: 1 },
    ...{ learningRate: 1e-4, decayLr: false, tensorboard: false },
  });
}

/** The loss on a whole validation split before and after a few updates. */
async function* checkFinetuning(
  name: Gpt2Name,
  pretrained: Pretrained,
  settings: CheckGpt2Settings,
  { signal }: Options,
): AsyncGenerator<CheckRecord> {
  const { dataset, dataDir, finetuneSteps: steps } = settings;
  if (steps === 0) return;
  const what = `${name}: loss on ${dataset}'s validation split after ${steps} updates on its training split`;
  const opened = openDataset(dataDir, dataset);
  const outDir = fs.mkdtempSync(path.join(os.tmpdir(), "folio-check-"));
  try {
    const chosen = finetuning(name, pretrained, settings, outDir);
    const needed = memoryBytes({ ...chosen, ...pretrained.model, blockSize: chosen.blockSize });
    if (needed > machineBytes()) {
      const has = `needs ${(needed / 1e9).toFixed(0)} GB of memory; there are ${(machineBytes() / 1e9).toFixed(0)} GB`;
      yield notChecked(what, "lower than before", has);
      return;
    }
    yield doing(`${name}: loss on ${dataset} before finetuning`);
    const cropped = modelOf(cropBlockSize(pretrained, chosen.blockSize), settings);
    const before = await evaluateSplit(cropped, opened.val, batchOf(chosen));
    for await (const record of train(chosen, { ...(signal && { signal }) })) {
      if (record.kind === "iter") yield doing(`${name}: finetuning, update ${record.step + 1} of ${steps}`);
    }
    signal?.throwIfAborted();
    const after = await evaluateSplit(openCheckpoint(outDir), opened.val, batchOf(chosen));
    const wanted = `lower than before, which is ${before.loss.toFixed(4)}`;
    yield checked(what, wanted, after.loss.toFixed(4), after.loss < before.loss);
  } finally {
    opened.close();
    fs.rmSync(outDir, { recursive: true, force: true });
  }
}
