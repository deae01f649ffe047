/**
 * The embedded corpus: the declarations of browser interfaces in the installed dependency `typescript`
 * (lib/lib.dom.d.ts), by characters. Nothing is downloaded. Repeated declarations are removed, and all declarations of
 * one name go to the same split, so that validation is not a copy of training. Source and licence: README.md.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { type TokenMeta, type TokenSource, writeDataset } from "../../lib/data/batches.js";
import { folderName, type PrepareOptions, preparedAlready, readText } from "../../lib/data/prepare/prepare.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";

/** One name in ten is for validation. The file is sorted, so these names are spread over the alphabet. */
const validationEvery = 10;

const asciiOf: Record<string, string> = { "–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "⋅": "*", "²": "^2" };

/** Only printable ASCII and "\n": the other characters (0.004 %) would be ids that training hardly ever sees. */
function toAscii(text: string): string {
  return text
    .replace(/[–—−…×⋅²]/g, (character) => asciiOf[character]!)
    .normalize("NFKD")
    .replace(/[^\n -~]/g, "");
}

/** The declarations at the top level, each with its comment; the licence and `///` lines are left out. */
function topLevelDeclarations(text: string): string[] {
  const declarations: string[] = [];
  let lines: string[] = [];
  let inComment = false;
  for (const line of text.replace(/^\/\*![\s\S]*?\*\//, "").split("\n")) {
    if (line === "" || line.startsWith("///")) continue;
    lines.push(line);
    if (line.startsWith("/*")) inComment = true;
    if (inComment) {
      inComment = !line.includes("*/");
    } else if (/^\}|^\S.*[;}]$/.test(line)) {
      declarations.push(lines.join("\n"));
      lines = [];
    }
  }
  return declarations;
}

/** The declaration without the members (and their comments) in `seen`; adds the other members to `seen`. */
function withoutRepeatedMembers(declaration: string, seen: Set<string>): string {
  const kept: string[] = [];
  let comment: string[] = [];
  for (const line of declaration.split("\n")) {
    const content = line.trim();
    if (/^(\/\*|\*)/.test(content)) {
      comment.push(line);
      continue;
    }
    const isMember = line.startsWith(" ") && content.endsWith(";") && !content.startsWith("}");
    if (!isMember || !seen.has(content)) kept.push(...comment, line);
    if (isMember) seen.add(content);
    comment = [];
  }
  return kept.join("\n");
}

function nameOf(declaration: string): string {
  return /^(?:declare )?(?:interface|var|const|function|type|namespace) (\w+)/m.exec(declaration)?.[1] ?? "";
}

/** The two splits of a declaration file. */
export interface CorpusSplits {
  train: string;
  val: string;
  /** The share, 0 to 1, of the validation lines containing a word that also occur in training. */
  sharedLines: number;
}

/**
 * A declaration file → train and validation text.
 * @throws {RangeError} if it holds too few declarations
 */
export function splitDeclarations(text: string): CorpusSplits {
  const seen = new Set<string>();
  const byName = new Map<string, string[]>();
  for (const declaration of new Set(topLevelDeclarations(toAscii(text)))) {
    const name = nameOf(declaration);
    byName.set(name, [...(byName.get(name) ?? []), withoutRepeatedMembers(declaration, seen)]);
  }
  if (byName.size < validationEvery) {
    throw new RangeError(
      `Cannot prepare the TypeScript corpus: it declares ${byName.size} names; at least ${validationEvery} are needed. Give a declaration file such as TypeScript's lib/lib.dom.d.ts.`,
    );
  }
  const splits = { train: [] as string[], val: [] as string[] };
  [...byName.values()].forEach((declarations, index) => {
    splits[(index + 1) % validationEvery === 0 ? "val" : "train"].push(...declarations);
  });
  const [train, val] = [splits.train, splits.val].map((declarations) => `${declarations.join("\n\n")}\n`) as [
    string,
    string,
  ];
  return { train, val, sharedLines: shareOfLines(train, val) };
}

function shareOfLines(train: string, val: string): number {
  const inTraining = new Set(train.split("\n").map((line) => line.trim()));
  const lines = val.split("\n").flatMap((line) => (/\w/.test(line) ? [line.trim()] : []));
  return lines.filter((line) => inTraining.has(line)).length / lines.length;
}

/** The path of lib.dom.d.ts in the installed `typescript`, and the package's version. */
function installedDeclarations(): { filePath: string; version: string } {
  let manifestPath: string;
  try {
    manifestPath = createRequire(import.meta.url).resolve("typescript/package.json");
  } catch (error) {
    throw new Error(
      'Cannot prepare the TypeScript corpus: the package "typescript" is not installed; run npm install, or give a declaration file as source.',
      { cause: error },
    );
  }
  const { version } = JSON.parse(fs.readFileSync(manifestPath, "utf8")) as { version: string };
  return { filePath: path.join(path.dirname(manifestPath), "lib", "lib.dom.d.ts"), version };
}

/**
 * The text of the declaration file: the installed one, or `source`.
 * @throws {TypeError} if a URL is given
 */
export function readDeclarations({ source, url, log = () => {} }: PrepareOptions): {
  text: string;
  source: TokenSource;
} {
  if (url !== undefined) {
    throw new TypeError(
      "Cannot prepare the TypeScript corpus from a URL: it is embedded; give a local file as source.",
    );
  }
  const installed = source === undefined ? installedDeclarations() : undefined;
  const name = installed ? `lib.dom.d.ts of typescript ${installed.version}` : path.basename(source!);
  log(`reading ${installed ? name : source}`);
  const text = readText(installed?.filePath ?? source!);
  const licence = installed ? "Apache-2.0" : "unknown";
  return { text, source: { name, licence, sha256: createHash("sha256").update(text).digest("hex") } };
}

/** Writes `<dataDir>/typescript`. */
export async function prepare(options: PrepareOptions): Promise<TokenMeta> {
  const { log = () => {} } = options;
  const name = folderName(import.meta.url);
  const ready = options.source === undefined && options.url === undefined ? preparedAlready(name, options) : undefined;
  if (ready) return ready;
  const directory = path.join(options.dataDir, name);
  const { text, source } = readDeclarations(options);
  const { train, val, sharedLines } = splitDeclarations(text);
  const tokenizer = charTokenizer(train + val);
  const ids = { train: tokenizer.encode(train), val: tokenizer.encode(val) };
  const meta = writeDataset(options.dataDir, {
    name,
    tokenizer,
    ...ids,
    source,
  });
  log(
    `${directory}: ${ids.train.length.toLocaleString("en")} training and ${ids.val.length.toLocaleString("en")} validation ids, ${meta.vocabSize} characters; ${(100 * sharedLines).toFixed(1)} % of validation lines also occur in training`,
  );
  return meta;
}
