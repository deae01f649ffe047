/**
 * `folio check gpu | gpt2 | mac`: for whoever has what Folio's own tests lack. One command checks all that can be checked
 * there, prints a table to paste, and its exit code says whether everything holds. lib/check/ does the checking.
 */
import { closest } from "fastest-levenshtein";
import type { CheckRecord } from "../check/report.js";
import { isPrepared } from "../data/batches.js";
import { helpText, readFlags } from "../settings/flags.js";
import { type CheckSettings, parseCheckSettings } from "../settings/settings.js";
import { fetchWeights } from "./shared/download-weights.js";
import { stopOnSignals } from "./shared/stop-signals.js";
import { type Io, openProgress, styled } from "./shared/terminal.js";

type Name = "gpu" | "gpt2" | "mac";

/** How a check is described, made ready, and run. */
interface Check<Kind extends keyof CheckSettings> {
  readonly about: string;
  /** Prepares what it needs, and starts it. */
  start(settings: Readonly<CheckSettings[Kind]>, tools: Tools): Promise<AsyncGenerator<CheckRecord>>;
}

interface Tools {
  readonly io: Io;
  readonly signal: AbortSignal;
}

const gpu: Check<"check gpu"> = {
  about: `Checks whether NVIDIA's GPU computes what the processor computes, and measures how fast. Losses, gradients and updates
of a small model in float32, TF32 and bfloat16 are compared with those of TensorFlow's own operations on the processor.
Then GPT-2 124M trains for some steps in each format: time per step, tokens per second, MFU (share of the data sheet's
peak), memory.

  folio check gpu
  folio check gpu --peer=python3          with PyTorch's steps beside it, eager and with torch.compile
  folio check gpu --batch_size=4          if the GPU has too little memory for 12 sequences of 1,024 tokens
  folio check gpu --device=cpu            tries the check itself, with the processor in place of the GPU`,
  async start(settings, { signal }) {
    const { checkGpu } = await import("../check/check-gpu.js");
    return checkGpu(settings, { signal });
  },
};

const gpt2: Check<"check gpt2"> = {
  about: `Checks whether GPT-2's published weights give what is published. Downloads them by name (gpt2: 0.5 GB, gpt2-medium:
1.5, gpt2-large: 3.2, gpt2-xl: 6.4; once) and checks the number of parameters, the text that the likeliest tokens make,
and the loss on a slice of OpenWebText against nanoGPT's table. Then it finetunes the first size on Shakespeare for
some updates. A slice of 131,072 tokens takes gpt2 minutes on two cores, and gpt2-xl hours; a GPU seconds and a minute
or two.

  folio check gpt2
  folio check gpt2 --sizes=all --device=cuda
  folio check gpt2 --slice=16384 --finetune_steps=5      faster; the loss of a smaller slice is less certain`,
  async start(settings, { io, signal }) {
    const { checkGpt2, sizesOf } = await import("../check/check-gpt2.js");
    const { expectedOf } = await import("../check/published.js");
    const names = sizesOf(settings);
    expectedOf(settings.expect, names); // refuses a bad file before anything is downloaded
    for (const name of names) {
      signal.throwIfAborted();
      await fetchWeights(name, io);
    }
    if (settings.finetuneSteps > 0) await prepareMissing(settings, { io, signal });
    const { firstDocuments } = await import("../../data/openwebtext/prepare.js");
    return checkGpt2(settings, { documents: firstDocuments, signal });
  },
};

const mac: Check<"check mac"> = {
  about: `Checks whether a Mac with Apple silicon computes what it should, and measures how fast. Folio's operations for its
processor and WebGPU on its GPU are compared with TensorFlow's own operations; two models are timed on both; and
configs/apple_demo.ts trains on the GPU to the end, where its loss on the whole validation split should be about 1.60.

  folio check mac
  folio check mac --max_iters=100         without the demo's end`,
  async start(settings, { io, signal }) {
    const { checkMac } = await import("../check/check-mac.js");
    const { default: demo } = await import("../../configs/apple_demo.js");
    const { platform, arch } = process;
    // On another machine the check refuses; nothing is downloaded for it.
    if (platform === "darwin" && arch === "arm64")
      await prepareMissing({ ...settings, dataset: demo.dataset }, { io, signal });
    return checkMac(settings, { demo, signal });
  },
};

const checks = { gpu, gpt2, mac } as const;
const names = Object.keys(checks) as Name[];

export function help(args: readonly string[] = []): string {
  const name = args.find((arg): arg is Name => names.includes(arg as Name));
  if (name) {
    return `folio check ${name}: ${checks[name].about}

Prints a table in Markdown to paste; the exit code is 0 if every row that could be checked holds, else 1.

${helpText(`check ${name}`)}`;
  }
  return `folio check: checks what Folio's own tests lack the hardware or the network for.

Usage: folio check gpu | gpt2 | mac [--setting=value …]

  gpu    an NVIDIA GPU: equality with the processor, time per step of GPT-2 124M, memory; beside PyTorch with --peer
  gpt2   GPT-2's published weights: greedy text, loss on OpenWebText, finetuning
  mac    Apple silicon: Folio's operations, WebGPU, time per step, the demo

Each is one command that needs nothing prepared, prints a table to paste, and ends with 0 if everything holds, else 1.
\`folio check NAME --help\` says more.`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || !names.includes(name as Name)) {
    if (name === undefined) throw new RangeError(`Cannot check: name one of the checks: ${names.join(", ")}.`);
    const hint = `did you mean ${closest(name, names)}?`;
    throw new RangeError(`Cannot check ${name}: the checks are ${names.join(", ")}; ${hint}`);
  }
  if (name === "gpu") return await runCheck("gpu", gpu, rest, io);
  if (name === "gpt2") return await runCheck("gpt2", gpt2, rest, io);
  return await runCheck("mac", mac, rest, io);
}

async function runCheck<Of extends Name>(
  name: Of,
  check: Check<`check ${Of}`>,
  args: readonly string[],
  io: Io,
): Promise<number> {
  const { words, flags, notes } = readFlags(`check ${name}`, args);
  if (words.length > 0)
    throw new RangeError(`Cannot check ${name} with ${words[0]}: it takes flags only (--setting=value).`);
  for (const note of notes) io.stderr.write(`${note}\n`);
  const settings = parseCheckSettings(`check ${name}`, flags);
  const { checkReport, reportMarkdown } = await import("../check/report.js");
  const stop = stopOnSignals(io, (reason) => {
    const text = `${reason}: stopping after what is being done (Ctrl-C again: at once)`;
    io.stderr.write(`${styled(io.stderr, "yellow", text)}\n`);
  });
  try {
    const records = await collect(await check.start(settings, { io, signal: stop.signal }), io);
    const report = checkReport(name, records);
    io.stdout.write(`${settings.json ? JSON.stringify(report, null, 2) : reportMarkdown(report)}\n`);
    return report.holds ? 0 : 1;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    io.stderr.write(`${styled(io.stderr, "yellow", "stopped: nothing was reported.")}\n`);
    return stop.exitCode() ?? 1;
  } finally {
    stop.close();
  }
}

/** All records; on a terminal, what is being done is shown meanwhile. */
async function collect(records: AsyncIterable<CheckRecord>, io: Io): Promise<CheckRecord[]> {
  const all: CheckRecord[] = [];
  const progress = openProgress(io.stderr);
  try {
    for await (const record of records) {
      if (record.kind === "doing") {
        progress.update(all.length, Number.POSITIVE_INFINITY, record.doing);
        progress.stillAt(record.doing);
        continue;
      }
      all.push(record);
      if (record.kind !== "row") continue;
      const { what, found, holds } = record.row;
      progress.line(`${holds === null ? "–" : holds ? "yes" : "NO"}  ${what}: ${found}`);
    }
  } finally {
    progress.close();
  }
  return all;
}

/** Prepares one of Folio's datasets, unless it is there. */
async function prepareMissing(
  { dataDir, dataset }: { dataDir: string; dataset: string },
  { io, signal }: Tools,
): Promise<void> {
  if (isPrepared(dataDir, dataset)) return;
  const { prepareDataset } = await import("./prepare.js");
  await prepareDataset(dataset, { dataDir, signal, log: (line) => io.stderr.write(`${line}\n`) });
}
