import fs from "node:fs";
import path from "node:path";
import { campaign, damagedInput, type Finding } from "../fuzz/campaign.js";
import { readersIn } from "../fuzz/readers.js";
import { campaignShare, commands, folioCommand, type Proof, root, start } from "./proof.js";

const inProcess = Math.ceil(20_000 * campaignShare);
const byCommand = Math.ceil(300 * campaignShare);
const [mostSeconds, mostMiB] = [5, 1024];

export const fuzz: Proof = {
  name: "fuzz",
  claim: `${inProcess} damaged files of all kinds, and ${byCommand} through the real command, each give one clear message: no stack trace, at most ${mostSeconds} s of CPU time and 1 GB, no files written elsewhere, no exit code 0 without output`,
  inputs: [
    ...commands("sizes", "runs", "export", "prepare", "scaling/main"),
    ...["lib/settings", "lib/runs", "lib/host", "lib/weights", "lib/data", "test/fuzz", "test/golden/gpt2"],
  ],
  async run({ folder, say }) {
    const seed = Math.floor(Math.random() * 2 ** 31);
    say(`seed ${seed}`);
    const within = path.join(folder, "in-process");
    fs.mkdirSync(within);
    // Side by side: a core each.
    const [{ findings, refused, longestMs, largestMiB }, through] = await Promise.all([
      campaign(within, { seed, inputs: inProcess }),
      throughCommand(path.join(folder, "by-command"), seed, say),
    ]);
    for (const { reader, seed, found } of findings.slice(0, 20)) say(`${reader}, seed ${seed}: ${found}`);
    say(`${inProcess} in process: ${refused} refused, ${findings.length} findings`);
    const figures = {
      ...{ seed, inProcess, refused, findings: findings.length, longestMs, largestMiB },
      ...{ byCommand, failedByCommand: through.failed, findingsByCommand: through.findings.length },
      ...{ longestSecondsByCommand: through.longestSeconds, largestMiBByCommand: through.largestMiB },
    };
    const all = findings.length + through.findings.length;
    return {
      holds: all === 0 && refused > inProcess / 3 && through.failed > byCommand / 3 && campaignShare === 1,
      figures,
    };
  },
};

async function throughCommand(folder: string, seed: number, say: (line: string) => void) {
  const inside = path.join(folder, "inside");
  fs.mkdirSync(inside, { recursive: true });
  const readers = readersIn(inside).filter((reader) => reader.command);
  const known = new Set(fs.readdirSync(inside));
  const findings: Finding[] = [];
  let [failed, longestSeconds, largestMiB] = [0, 0, 0];
  for (let input = 0; input < byCommand; input++) {
    const reader = readers[input % readers.length]!;
    const valid = fs.readFileSync(reader.file);
    fs.writeFileSync(reader.file, damagedInput(valid, reader, seed + input));
    const ended = await measured(reader.command!(reader.file), inside);
    fs.writeFileSync(reader.file, valid);
    longestSeconds = Math.max(longestSeconds, ended.seconds);
    largestMiB = Math.max(largestMiB, ended.mebibytes);
    if (ended.code !== 0) failed++;
    // What commands are told to write: without it, each begins anew.
    for (const made of ["exported", "data", "tokenized/data"]) {
      fs.rmSync(path.join(inside, made), { recursive: true, force: true });
    }
    const strange = fs.readdirSync(inside).filter((name) => !known.has(name));
    for (const found of [...faults(ended), ...strange.map((name) => `${name} was written`)]) {
      findings.push({ reader: reader.name, seed: seed + input, found });
      say(`${reader.name}, seed ${seed + input}, by command: ${found}`);
    }
  }
  const beside = fs.readdirSync(folder).filter((name) => name !== "inside");
  if (beside.length > 0) findings.push({ reader: "all", seed, found: `${beside} was written outside` });
  return { findings, failed, longestSeconds, largestMiB };
}

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
  readonly seconds: number;
  readonly mebibytes: number;
}

/** Runs the command and measures its time and memory, on Linux. */
async function measured(args: readonly string[], cwd: string): Promise<Ended> {
  const child = start(process.execPath, [path.join(root, folioCommand), ...args], cwd);
  let [out, err, seconds, mebibytes] = ["", "", 0, 0];
  child.stdout!.on("data", (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr!.on("data", (chunk: Buffer) => {
    err += chunk;
  });
  const watch = setInterval(() => {
    try {
      const stat = fs.readFileSync(`/proc/${child.pid}/stat`, "utf8");
      const [user, system] = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .slice(11, 13);
      seconds = Math.max(seconds, (Number(user) + Number(system)) / 100);
      const peak = /^VmHWM:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1];
      mebibytes = Math.max(mebibytes, Math.round(Number(peak ?? 0) / 1024));
    } catch {
      // it has ended, or this is not Linux
    }
    if (seconds > 4 * mostSeconds) child.kill("SIGKILL");
  }, 50);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on("close", (...how) => resolve(how)),
  );
  clearInterval(watch);
  return { code, signal, out, err, seconds, mebibytes };
}

function faults({ code, signal, out, err, seconds, mebibytes }: Ended): string[] {
  const found: string[] = [];
  if (signal) found.push(`it was ended by ${signal}`);
  if (/^\s+at .+:\d+:\d+\)?$/m.test(err) || /node:internal|UnhandledPromise/.test(err)) {
    found.push(`a raw stack: ${err.slice(0, 500)}`);
  }
  if (code !== 0 && !signal && !/^folio: (Cannot|There is) |WRONG\?/m.test(err + out))
    found.push(`no message: ${(err + out).slice(0, 300)}`);
  if (code === 0 && out.trim() === "") found.push("it succeeded with nothing done");
  if (seconds > mostSeconds) found.push(`it took ${seconds} s of processor time`);
  if (mebibytes > mostMiB) found.push(`it took ${mebibytes} MiB`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the proof searches for them
  if (/[\x00-\x08\x0b-\x1f\x7f-\x9f]/.test(out + err)) found.push("it wrote control characters");
  return found;
}
