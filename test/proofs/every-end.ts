import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { hasCheckpoint, openCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import { mountDisk } from "../tiny-run.js";
import { campaignShare, commands, finish, folio, folioCommand, type Proof, root, start } from "./proof.js";
import { writeSaltedText } from "./salted-text.js";
import { rowsOf, writeKilledPlan } from "./sweep-kill.js";

/** A way to end a command. */
const causes = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "pipe", "stopped", "terminal", "disk"] as const;
type Cause = (typeof causes)[number];

/** The exit code if the command can still act; for KILL, also after STOP and CONT, that of the signal. */
const exitCodes: Readonly<Partial<Record<Cause, number>>> = {
  ...{ SIGTERM: 143, SIGINT: 130, SIGHUP: 129, pipe: 141, stopped: 143, terminal: 129, disk: 1 },
};

/** A command that is ended repeatedly and finally completes. */
interface Work {
  readonly name: string;
  /** How often the command is ended in each way. */
  readonly times: Readonly<Partial<Record<Cause, number>>>;
  readonly args: () => string[];
  /** The hash of what it writes as it goes on; undefined if there is nothing, or a fault is its own in any case. */
  readonly written: () => string | undefined;
  /** A fault in the files that an end left, if there is one. */
  readonly faultOf: (cause: Cause) => string | undefined;
  /** The hash of its result once it is complete; undefined before. */
  readonly digest: () => string | undefined;
  /** Removes the result, if the command completed between two ends. */
  readonly begin: () => void;
}

export const everyEnd: Proof = {
  name: "every-end",
  claim:
    "train, prepare, a sweep and export, ended 100 times in total at random moments by KILL, TERM, INT, HUP, a closed pipe, STOP and CONT, a closed terminal and a full disk, continue and end with the same bytes; if they could still act, they saved every step",
  inputs: [
    ...commands("prepare", "train", "export", "scaling/run"),
    "lib/cli/shared",
    "test/proofs/closed-terminal.py",
  ],
  async run({ folder, say }) {
    const disk = mountDisk(path.join(folder, "disk"), "size=96m");
    if ("reason" in disk) say(`without full disks: ${disk.reason}`);
    const figures: Record<string, number | string | boolean> = {};
    const faults: string[] = [];
    try {
      await folio("prepare", "typescript", `--data_dir=${folder}`);
      for (const work of [trainWork(folder), prepareWork(folder), sweepWork(folder), exportWork(folder)]) {
        const { done, wrong } = await endAgainAndAgain(work, { disk: !("reason" in disk), folder, say });
        figures[work.name] = done;
        faults.push(...wrong);
      }
    } finally {
      if (!("reason" in disk)) disk.unmount();
    }
    const all = Object.values(figures).reduce<number>((sum, count) => sum + Number(count), 0);
    for (const fault of faults) say(fault);
    return {
      holds: faults.length === 0 && all >= 90 && campaignShare === 1,
      figures: { ends: all, ...figures, faults: faults.length, ...(faults[0] && { first: faults[0].slice(0, 300) }) },
    };
  },
};

interface Campaign {
  readonly disk: boolean;
  readonly folder: string;
  readonly say: (line: string) => void;
}

async function endAgainAndAgain(work: Work, { disk, folder, say }: Campaign) {
  work.begin();
  const begun = performance.now();
  const reference = await wholeOf(work);
  // The command is ended at a random moment within this time, from loading its modules to its last step.
  const withinMs = 0.8 * (performance.now() - begun);
  say(`${work.name}: it takes ${Math.round(withinMs / 800)} s`);
  work.begin();
  const wrong: string[] = [];
  let done = 0;
  // Mixed, so that each command finds the remains of another way to end.
  const keyed = causes.flatMap((cause) =>
    Array.from({ length: Math.ceil((work.times[cause] ?? 0) * campaignShare) }, (_, k) => ({
      ...{ cause, key: digestOf(`${cause} ${k}`) },
    })),
  );
  const plan = keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ cause }) => cause);
  const again = (when: string) => {
    if (work.digest() !== reference) wrong.push(`${work.name}: it ended with other bytes ${when}`);
    work.begin();
  };
  for (const [index, cause] of plan.entries()) {
    if (cause === "disk" && !disk) continue;
    if (work.digest() !== undefined) again(`before ${cause}`);
    let before = work.written();
    let how = await endOnce(work, cause, { folder, withinMs });
    // A command that completes before it is ended starts over, so that there is more time to end it.
    for (let tries = 0; how === "finished" && tries < 5; tries++) {
      again(`at ${cause}`);
      before = work.written();
      how = await endOnce(work, cause, { folder, withinMs });
    }
    if (how === "finished") continue;
    done++;
    // A process that is ended before it has written anything has lost nothing: what is lost, an earlier kill has lost.
    const idle = before !== undefined && work.written() === before;
    const fault = how !== "ended" ? how : idle ? undefined : work.faultOf(cause);
    if (fault) wrong.push(`${work.name}, ${cause}: ${fault}`);
    say(`${work.name}, ${index + 1} of ${plan.length}, ${cause}${fault ? `: ${fault}` : ""}`);
  }
  if (work.digest() === undefined) await wholeOf(work);
  if (work.digest() !== reference) wrong.push(`${work.name}: it ended with other bytes`);
  return { done, wrong };
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

async function wholeOf(work: Work): Promise<string> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const { code, output } = await finish(process.execPath, [folioCommand, ...work.args()]);
    const digest = work.digest();
    if (code === 0 && digest !== undefined) return digest;
    if (attempt === 4) throw new Error(`${work.name} ends with ${code}:\n${output.slice(-1000)}`);
  }
  throw new Error("unreachable");
}

/** @returns "ended", "finished" if it completed before, or a fault in the way it ended */
async function endOnce(
  work: Work,
  cause: Cause,
  { folder, withinMs }: { folder: string; withinMs: number },
): Promise<string> {
  const args = [path.join(root, folioCommand), ...work.args()];
  const onTerminal = cause === "terminal";
  const child = onTerminal
    ? spawn("python3", [path.join(root, "test/proofs/closed-terminal.py"), process.execPath, ...args], { cwd: root })
    : start(process.execPath, args);
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const ended = new Promise<number | string>((resolve) =>
    child.on("close", (code, signal) => resolve(signal ?? code ?? -1)),
  );
  await Promise.race([setTimeout(Math.random() * withinMs), ended]);
  if (!isAlive(child)) return (await ended) === 0 && !onTerminal ? "finished" : howTerminalEnded(output, await ended);
  const filled = await apply(cause, child, folder);
  let how = await ended;
  if (filled) fs.rmSync(filled, { force: true });
  if (onTerminal) how = /ended (\w+)\s*$/.exec(output)?.[1] ?? how;
  return judged(cause, how, output);
}

function howTerminalEnded(output: string, how: number | string): string {
  return /\nended 0\s*$/.test(output) ? "finished" : `it ended by itself with ${how}: ${output.slice(-500)}`;
}

const isAlive = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode === null && signalCode === null;

async function apply(cause: Cause, child: ChildProcess, folder: string): Promise<string | undefined> {
  switch (cause) {
    case "pipe":
      child.stdout!.destroy();
      return undefined;
    case "terminal":
      child.stdin!.end();
      return undefined;
    case "stopped":
      child.kill("SIGSTOP");
      await setTimeout(200 + Math.random() * 800);
      child.kill("SIGCONT");
      await setTimeout(200);
      child.kill("SIGTERM");
      return undefined;
    case "disk":
      return fillDisk(path.join(folder, "disk", "filler"));
    default:
      child.kill(cause);
      return undefined;
  }
}

/** Fills the disk. @returns the file that fills it */
function fillDisk(file: string): string {
  const descriptor = fs.openSync(file, "w");
  const block = Buffer.alloc(1 << 16);
  try {
    for (;;) fs.writeSync(descriptor, block);
  } catch {
    return file; // the disk is full
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Before a command handles signals, a signal ends it like any program; nothing is lost yet. */
function judged(cause: Cause, how: number | string, output: string): string {
  const signal = { stopped: "SIGTERM", terminal: "SIGHUP" }[cause as string] ?? cause;
  if (String(how) === "0") return "finished";
  if (how === signal || String(how) === String(exitCodes[cause])) {
    const told = cause !== "disk" || /disk is full|ENOSPC|no space/i.test(output);
    if (!told) return `the full disk is not named: ${output.slice(-300)}`;
    return /^\s+at .+:\d+:\d+\)?$/m.test(output) ? `a raw stack: ${output.slice(-500)}` : "ended";
  }
  return `it ended with ${how}: ${output.slice(-500)}`;
}

const saves = (cause: Cause): boolean => cause !== "SIGKILL" && cause !== "disk";

/** Checks that all updates in a run's log are saved. */
function unsaved(outDir: string): string | undefined {
  const trained = readRunLog(outDir).reduce(
    (most, { kind, step }) => (kind === "iter" ? Math.max(most, step + 1) : most),
    0,
  );
  const saved = hasCheckpoint(outDir) ? readState(outDir).step : 0;
  return trained > saved ? `${trained} steps were trained and ${saved} saved` : undefined;
}

function fileDigest(...files: string[]): string | undefined {
  const hash = createHash("sha256");
  for (const file of files) {
    if (!fs.existsSync(file)) return undefined;
    hash.update(fs.readFileSync(file));
  }
  return hash.digest("hex");
}

const emptied = (folder: string) => () => fs.rmSync(folder, { recursive: true, force: true });
const model = "--n_layer=2 --n_head=2 --n_embd=32 --block_size=32 --batch_size=4 --device=cpu --dtype=float32".split(
  " ",
);

function trainWork(folder: string): Work {
  const outDir = path.join(folder, "disk", "trained");
  const maxIters = 600;
  return {
    name: "train",
    times: { SIGKILL: 7, SIGTERM: 7, SIGINT: 7, SIGHUP: 7, pipe: 7, stopped: 7, terminal: 7, disk: 7 },
    args: () => [
      ...["train", "cpu_demo", `--data_dir=${folder}`, "--dataset=typescript", `--out_dir=${outDir}`, ...model],
      ...[`--max_iters=${maxIters}`, "--eval_interval=100", "--eval_iters=1", "--log_interval=1"],
      ...(hasCheckpoint(outDir) ? ["--init_from=resume"] : []),
    ],
    written: () => fileDigest(path.join(outDir, "log.jsonl")),
    faultOf: (cause) => (saves(cause) ? unsaved(outDir) : undefined),
    digest: () => {
      if (!hasCheckpoint(outDir) || readState(outDir).step < maxIters) return undefined;
      const { path: at } = openCheckpoint(outDir);
      return fileDigest(path.join(at, "model.safetensors"), path.join(at, "optimizer.safetensors"));
    },
    begin: emptied(outDir),
  };
}

function prepareWork(folder: string): Work {
  const text = path.join(folder, "text.txt");
  const dataDir = path.join(folder, "prepared");
  const at = (file: string) => path.join(dataDir, "text", file);
  return {
    name: "prepare",
    times: { SIGKILL: 3, SIGTERM: 3, SIGINT: 3, SIGHUP: 3, pipe: 2, stopped: 2, terminal: 2 },
    args: () => ["prepare", "text", `--from=${text}`, `--data_dir=${dataDir}`],
    written: () => fileDigest(at("preparing.json"), at("train.bin.part")),
    faultOf: (cause) => {
      // After a stop that saved, the token files have nothing beyond the last commit.
      if (!saves(cause) || !fs.existsSync(at("preparing.json"))) return undefined;
      const { tokens } = JSON.parse(fs.readFileSync(at("preparing.json"), "utf8")) as { tokens: { train: number } };
      const size = fs.existsSync(at("train.bin.part")) ? fs.statSync(at("train.bin.part")).size : 0;
      return size > 2 * tokens.train && cause !== "pipe"
        ? `${size / 2 - tokens.train} ids were written and not kept`
        : undefined;
    },
    digest: () => (fs.existsSync(at("meta.json")) ? fileDigest(at("train.bin"), at("val.bin")) : undefined),
    begin: () => {
      if (!fs.existsSync(text)) writeSaltedText(text, 80_000_000);
      emptied(dataDir)();
    },
  };
}

/** The logs of a sweep's runs. */
function logsIn(out: string): string[] {
  const files = fs.existsSync(out) ? fs.readdirSync(out, { recursive: true, encoding: "utf8" }) : [];
  return files.filter((file) => path.basename(file) === "log.jsonl").map((file) => path.join(out, file));
}

function sweepWork(folder: string): Work {
  const out = path.join(folder, "disk", "swept");
  const plan = writeKilledPlan(folder);
  let runs = 0;
  return {
    name: "sweep",
    times: { SIGKILL: 2, SIGTERM: 2, SIGINT: 2, SIGHUP: 2, pipe: 2, stopped: 2, terminal: 2 },
    args: () => ["scaling", "run", plan, `--out=${out}`],
    written: () => fileDigest(...logsIn(out)),
    faultOf: (cause) => {
      if (!saves(cause)) return undefined;
      return logsIn(out)
        .map((file) => unsaved(path.dirname(file)))
        .find((fault) => fault !== undefined);
    },
    digest: () => {
      const rows = fs.existsSync(path.join(out, "results.csv")) ? rowsOf(out) : [];
      // The first sweep is not ended, so it has all rows.
      if (runs === 0) runs = rows.length;
      return runs > 0 && rows.length === runs ? digestOf(rows.join("\n")) : undefined;
    },
    begin: emptied(out),
  };
}

function exportWork(folder: string): Work {
  const to = path.join(folder, "disk", "exported");
  const source = path.join(folder, "disk", "trained");
  return {
    name: "export",
    times: { SIGKILL: 3, SIGTERM: 2, SIGINT: 2, SIGHUP: 2, stopped: 2, disk: 1 },
    args: () => ["export", `--out_dir=${source}`, `--to=${to}`],
    written: () => undefined, // what it leaves is always its own
    faultOf: (cause) => {
      const left = fs.readdirSync(path.dirname(to)).filter((name) => name.includes(".partial"));
      if (fs.existsSync(to) && !fs.existsSync(path.join(to, "model.safetensors")))
        return "half a folder bears its name";
      return cause !== "SIGKILL" && left.length > 0 ? `${left} is left` : undefined;
    },
    digest: () => fileDigest(path.join(to, "config.json"), path.join(to, "model.safetensors")),
    begin: emptied(to),
  };
}
