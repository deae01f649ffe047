/** A worker thread that encodes; encode-threads.ts starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { tokenizerFromSpec } from "../tokenizers/tokenizer.js";
import { type EncodeJob, encodeJob, type WorkerAnswer, type WorkerSettings } from "./encode-threads.js";

const { tokenizer: spec, dtype } = workerData as WorkerSettings;
const tokenizer = tokenizerFromSpec(spec);

parentPort?.on("message", ({ id, job }: { id: number; job: EncodeJob }) => {
  let answer: WorkerAnswer;
  let memory: ArrayBuffer[] = [];
  try {
    const encoded = encodeJob(tokenizer, dtype, job);
    memory = [encoded.train.buffer as ArrayBuffer, encoded.val.buffer as ArrayBuffer];
    answer = { id, encoded };
  } catch (error) {
    answer = { id, error: (error as Error).message };
  }
  parentPort!.postMessage(answer, memory);
});
