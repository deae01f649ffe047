/** Helpers for the proofs of weights: the peer's answers, logits, greedy text, time and memory of loading. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { int32 } from "../../lib/engine/host-tensors.js";
import { openSession } from "../../lib/engine/session.js";
import { forward } from "../../lib/model/model.js";
import type { ModelSettings } from "../../lib/settings/settings.js";
import type { Pretrained } from "../../lib/weights/pretrained.js";
import { finish, root } from "./proof.js";

/** Runs gpt2-weights.py in the Python that FOLIO_PEER_PYTHON names. @returns what it prints, JSON */
export function askPeer<T>(command: "hf" | "ckpt" | "check", target: string, question: unknown = {}): T {
  const python = process.env.FOLIO_PEER_PYTHON;
  if (!python) throw new Error("FOLIO_PEER_PYTHON is not set; it names a Python that has torch and transformers");
  const script = path.join(root, "test", "proofs", "gpt2-weights.py");
  const env = { ...process.env, HF_HUB_OFFLINE: "1" };
  const { status, stdout, stderr } = spawnSync(python, [script, command, target], {
    input: JSON.stringify(question),
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    env,
  });
  if (status !== 0) throw new Error(`the peer failed:\n${stderr.slice(-2000)}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
}

/** The logits that the peer wrote to a folder. */
export function peerLogits(folder: string): Float32Array {
  const bytes = fs.readFileSync(path.join(folder, "logits.bin"));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]! - b[i]!));
  return most;
}

/** Logits [B, T, V] of the ids, and `count` ids that follow the first `given` of the first row greedily. */
export async function folioValues(
  { params, model }: Pick<Pretrained, "params" | "model">,
  ids: number[][],
  { given, count }: { given: number; count: number },
): Promise<{ logits: Float32Array; greedy: number[] }> {
  const settings: ModelSettings = { ...model, dropout: 0 };
  const session = await openSession({ params }, { compile: true });
  try {
    const all = session.define(({ params }, { ids }) => ({
      outputs: { logits: forward(params!, ids as tf.Tensor2D, settings).logits },
    }));
    const likeliest = session.define(({ params }, { ids }) => ({
      outputs: { ids: tf.argMax(forward(params!, ids as tf.Tensor2D, settings).logits, 2) },
    }));
    const [B, T] = [ids.length, ids[0]!.length];
    const { logits } = await all({ ids: int32(ids.flat(), [B, T]) });
    const text = ids[0]!.slice(0, given);
    while (text.length < given + count) {
      // Always the same length, for a single trace; later positions have no effect.
      const padded = [...text, ...Array<number>(T).fill(0)].slice(0, T);
      text.push((await likeliest({ ids: int32(padded, [1, T]) })).ids!.values[text.length - 1]!);
    }
    return { logits: logits!.values as Float32Array, greedy: text };
  } finally {
    session.dispose();
  }
}

/** Time and memory of loading in a separate process; the code can use `load` for a source file, and `target`. */
export async function measureLoading(code: string, target: string) {
  const script = `
    import fs from "node:fs";
    import { createJiti } from "jiti";
    const jiti = createJiti(process.cwd() + "/test/");
    const load = (file) => jiti.import(process.cwd() + "/" + file);
    const target = process.argv[1];
    const memory = (row) => Number(new RegExp(row + ":\\\\s+(\\\\d+)").exec(fs.readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
    const run = await (async () => { ${code} })();
    const before = memory("VmRSS");
    const begun = performance.now();
    const loaded = run();
    const seconds = (performance.now() - begun) / 1000;
    globalThis.kept = loaded;
    console.log(JSON.stringify({ seconds, megabytes: memory("VmHWM") - before }));`;
  const { code: status, output } = await finish(process.execPath, ["--input-type=module", "-e", script, "--", target]);
  if (status !== 0) throw new Error(`loading failed:\n${output.slice(-2000)}`);
  return JSON.parse(output.trim().split("\n").at(-1)!) as { seconds: number; megabytes: number };
}
