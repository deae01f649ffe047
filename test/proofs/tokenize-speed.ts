import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type EncodeJob, openEncodePool } from "../../lib/data/prepare/encode-threads.js";
import { lastCut } from "../../lib/data/tokenizers/gpt2-split.js";
import { gpt2Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { type Proof, root, rounded } from "./proof.js";

/** novels.txt, or repeated Shakespeare if there is no other text. */
function readText(): { name: string; bytes: Buffer } {
  const folder = process.env.FOLIO_DATA_DIR ?? path.join(root, "..", "shared", "data");
  const novels = path.join(folder, "novels.txt");
  if (fs.existsSync(novels)) return { name: "novels.txt", bytes: fs.readFileSync(novels) };
  const once = fs.readFileSync(path.join(folder, "tinyshakespeare.txt"));
  return { name: "tinyshakespeare.txt × 30", bytes: Buffer.concat(Array.from({ length: 30 }, () => once)) };
}

/** The text, repeated `times`, as jobs of a megabyte; each has its own memory, which is transferred to a worker. */
function* jobsOf(bytes: Buffer, times: number): Generator<EncodeJob> {
  for (let round = 0; round < times; round++) {
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(at + (1 << 20), bytes.length);
      const piece = bytes.subarray(at, end);
      const own = new Uint8Array(piece.subarray(0, end === bytes.length ? piece.length : lastCut(piece, piece.length)));
      at += own.length;
      yield { bytes: own, texts: Int32Array.of(own.length, 0) };
    }
  }
}

async function megabytesPerSecond(bytes: Buffer, workers: number): Promise<{ rate: number; ids: number }> {
  const pool = openEncodePool({ tokenizer: { kind: "gpt2" }, dtype: "uint16" }, workers);
  const encodeAll = async (times: number): Promise<number> => {
    let ids = 0;
    const pending: Promise<void>[] = [];
    for (const job of jobsOf(bytes, times)) {
      pending.push(
        pool.encode(job).then(({ train }) => {
          ids += train.length;
        }),
      );
      if (pending.length > 2 * workers) await pending.shift();
    }
    await Promise.all(pending);
    return ids;
  };
  try {
    const ids = await encodeAll(1); // starts the workers and warms up their code
    const times = 5;
    const begun = performance.now();
    await encodeAll(times);
    return { rate: (times * bytes.length) / 1000 / (performance.now() - begun), ids };
  } finally {
    await pool.close();
  }
}

/**
 * Restricts this process with all current and future threads to some cores while `action` runs. With one worker alone,
 * the main thread, which distributes text and collects ids, would use part of another core.
 */
async function onCores<T>(cores: string, action: () => Promise<T>): Promise<T> {
  const confine = (list: string) => execFileSync("taskset", ["-a", "-c", "-p", list, String(process.pid)]);
  const before = execFileSync("taskset", ["-c", "-p", String(process.pid)], { encoding: "utf8" })
    .split(": ")[1]!
    .trim();
  confine(cores);
  try {
    return await action();
  } finally {
    confine(before);
  }
}

export const tokenizeSpeed: Proof = {
  name: "tokenize-speed",
  claim:
    "Encoding to GPT-2's ids runs at 15 MB/s or more on one core and 1.7 times as fast on two, with the same ids as js-tiktoken",
  inputs: ["lib/data/prepare/encode-worker.ts"],
  async run({ say }) {
    const { name, bytes } = readText();
    const one = await onCores("0", () => megabytesPerSecond(bytes, 1));
    say(`one core: ${one.rate.toFixed(1)} MB/s`);
    const two = await onCores("0,1", () => megabytesPerSecond(bytes, 2));
    say(`two cores: ${two.rate.toFixed(1)} MB/s`);
    const [{ Tiktoken }, { default: ranks }] = await Promise.all([
      import("js-tiktoken/lite"),
      import("js-tiktoken/ranks/gpt2"),
    ]);
    const sample = bytes.subarray(0, lastCut(bytes, 4_000_000)).toString();
    // White space as in Unicode and tiktoken; JavaScript's \s also matches the byte-order mark in novels.txt.
    const pattern = ranks.pat_str.replaceAll("\\s", "\\p{White_Space}").replaceAll("\\S", "\\P{White_Space}");
    const reference = new Tiktoken({ ...ranks, pat_str: pattern });
    const begun = performance.now();
    const expected = reference.encode(sample, [], []);
    const referenceRate = Buffer.byteLength(sample) / 1000 / (performance.now() - begun);
    const ids = gpt2Tokenizer().encode(sample);
    const equal = ids.length === expected.length && expected.every((id, index) => ids[index] === id);
    const figures = {
      text: name,
      ids: one.ids,
      oneCoreMegabytesPerSecond: rounded(one.rate, 1),
      twoCoresMegabytesPerSecond: rounded(two.rate, 1),
      ratio: rounded(two.rate / one.rate, 2),
      jsTiktokenMegabytesPerSecond: rounded(referenceRate, 1),
      equalIds: equal,
    };
    return { holds: one.rate >= 15 && two.rate >= 1.7 * one.rate && one.ids === two.ids && equal, figures };
  },
};
