/** Gives damaged files to their readers and reports failures: a message not from Folio, too much time or memory. */
import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { damaged, drawsOf } from "./mutate.js";
import { type Reader, readersIn } from "./readers.js";

export interface Finding {
  readonly reader: string;
  /** The seed of the input: `damagedInput(reader, seed)` makes it again. */
  readonly seed: number;
  readonly found: string;
}

export interface Campaign {
  readonly inputs: number;
  readonly refused: number;
  readonly findings: readonly Finding[];
  /** The maximum for one input. */
  readonly longestMs: number;
  readonly largestMiB: number;
}

const [mostMs, mostMiB] = [5000, 1024];

/** Typical JavaScript errors for unchecked values. */
const raw =
  /^Cannot (?:(?:read|set) propert|convert |destructure |access '|mix BigInt|create property|redefine |use 'in')/;

/** Why a message is not one of Folio's; undefined if it is. */
export function faultOfError(error: unknown): string | undefined {
  if (!(error instanceof Error)) return `what is thrown is no error: ${String(error).slice(0, 100)}`;
  const { message, name } = error;
  if (!/^(Cannot|There is) /.test(message) || raw.test(message)) return `${name}: ${message.slice(0, 300)}`;
  return undefined;
}

export function damagedInput(valid: Buffer, { kind }: Pick<Reader, "kind">, seed: number): Buffer {
  return damaged(valid, kind, drawsOf(seed));
}

/**
 * Reads `inputs` damaged files, with all readers in turn.
 * @param folder an empty folder for the campaign; readers must not write other files to it
 */
export async function campaign(folder: string, { seed, inputs }: { seed: number; inputs: number }): Promise<Campaign> {
  const inside = path.join(folder, "inside");
  fs.mkdirSync(inside);
  const readers = readersIn(inside);
  const valid = new Map(readers.map((reader) => [reader, fs.readFileSync(reader.file)]));
  const findings: Finding[] = [];
  let [refused, longestMs, largestBytes] = [0, 0, 0];
  for (const reader of readers) await reader.read(reader.file); // each file is valid before it is damaged
  let at = { reader: "all", seed };
  const note = (found: string) => findings.push({ ...at, found });
  const unheard = (reason: unknown) => note(`a rejection that nobody awaits: ${String(reason).slice(0, 200)}`);
  process.on("unhandledRejection", unheard);
  for (let input = 0; input < inputs; input++) {
    const reader = readers[input % readers.length]!;
    const itsSeed = seed + input;
    at = { reader: reader.name, seed: itsSeed };
    fs.writeFileSync(reader.file, damagedInput(valid.get(reader)!, reader, itsSeed));
    const before = process.cpuUsage();
    try {
      await reader.read(reader.file);
    } catch (error) {
      refused++;
      const fault = faultOfError(error);
      if (fault) note(fault);
    }
    const { user, system } = process.cpuUsage(before);
    longestMs = Math.max(longestMs, (user + system) / 1000);
    if ((user + system) / 1000 > mostMs) note(`it took ${Math.round((user + system) / 1000)} ms`);
    const { heapUsed, external, arrayBuffers } = process.memoryUsage();
    largestBytes = Math.max(largestBytes, heapUsed + external + arrayBuffers);
    if (heapUsed + external + arrayBuffers > mostMiB * 2 ** 20) note("it holds more than 1 GB");
    fs.writeFileSync(reader.file, valid.get(reader)!);
  }
  await setImmediate(); // such rejections are told after all else
  process.off("unhandledRejection", unheard);
  for (const name of fs.readdirSync(folder).filter((name) => name !== "inside")) {
    findings.push({ reader: "all", seed, found: `${name} was written outside` });
  }
  return {
    inputs,
    refused,
    findings,
    longestMs: Math.round(longestMs),
    largestMiB: Math.round(largestBytes / 2 ** 20),
  };
}
