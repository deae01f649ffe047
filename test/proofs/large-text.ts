import fs from "node:fs";
import path from "node:path";
import { openDataset } from "../../lib/data/dataset.js";
import { commands, folioCommand, type Proof, rounded, start } from "./proof.js";
import { writeSaltedText } from "./salted-text.js";

/** VmRSS of a process, including its threads. */
function residentMegabytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1000;
  } catch {
    return 0; // it has ended
  }
}

export const largeText: Proof = {
  name: "large-text",
  claim: "Preparing a text of 2 GB with GPT-2's byte pairs needs less than 1 GB of memory, including worker threads",
  inputs: commands("prepare"),
  async run({ folder, say }) {
    const text = path.join(folder, "large.txt");
    const bytes = writeSaltedText(text, 2_000_000_000);
    say(`${bytes} bytes written`);
    const begun = performance.now();
    const child = start(process.execPath, [folioCommand, "prepare", "large", `--from=${text}`, `--data_dir=${folder}`]);
    child.stdout!.on("data", (chunk: Buffer) => say(chunk.toString().trimEnd()));
    let peakMegabytes = 0;
    const watch = setInterval(() => {
      peakMegabytes = Math.max(peakMegabytes, residentMegabytes(child.pid!));
    }, 100);
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    clearInterval(watch);
    const seconds = (performance.now() - begun) / 1000;
    let ids = 0;
    if (code === 0) {
      const dataset = openDataset(folder, "large");
      ids = dataset.train.length + dataset.val.length;
      dataset.close();
    }
    fs.rmSync(folder, { recursive: true });
    const figures = {
      bytes,
      ids,
      seconds: rounded(seconds, 1),
      megabytesPerSecond: rounded(bytes / 1e6 / seconds, 1),
      peakMemoryMegabytes: rounded(peakMegabytes, 0),
    };
    return { holds: code === 0 && peakMegabytes > 0 && peakMegabytes < 1000, figures };
  },
};
