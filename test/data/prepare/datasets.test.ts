import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { prepare as prepareInduction } from "../../../data/induction/prepare.js";
import { prepare as prepareShakespeare } from "../../../data/shakespeare/prepare.js";
import { prepare as prepareShakespeareChar } from "../../../data/shakespeare_char/prepare.js";
import { prepare as prepareTypescript, splitDeclarations } from "../../../data/typescript/prepare.js";
import { openDataset } from "../../../lib/data/batches.js";
import { ngramLosses } from "../../../lib/data/ngrams.js";
import { download } from "../../../lib/data/prepare/prepare.js";
import { needs } from "../../needs.js";

const shakespeareFile = path.join(process.env.FOLIO_DATA_DIR ?? "../shared/data", "tinyshakespeare.txt");
const shakespeare = existsSync(shakespeareFile) ? undefined : `there is no ${shakespeareFile} (FOLIO_DATA_DIR)`;

let dataDir: string;
let lines: string[];
const log = (line: string) => void lines.push(line);

beforeEach(() => {
  dataDir = mkdtempSync(path.join(tmpdir(), "folio-datasets-"));
  lines = [];
  vi.stubEnv("FOLIO_DATA_DIR", undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dataDir, { recursive: true });
});

function ngrams(name: string): number[] {
  const { train, val, meta, close } = openDataset(dataDir, name);
  try {
    return ngramLosses(train.read(0, train.length), val.read(0, val.length), { vocabSize: meta.vocabSize });
  } finally {
    close();
  }
}

describe("induction", () => {
  test("prepare() makes passages of the embedded corpus in turns with random sequences that repeat themselves", async () => {
    const { vocabSize, splits } = await prepareInduction({ dataDir, log });
    const { train, tokenizer, close } = openDataset(dataDir, "induction");
    const turns = Array.from({ length: 200 }, (_, turn) => [...train.read(256 * turn, 256)]);
    close();
    expect(splits.train.tokens % 256).toBe(0);
    expect(tokenizer.decode(turns.flatMap((turn) => turn.slice(0, 128)))).toMatch(/^interface \w+ \{\n {4}\w+/);
    const periods = turns.map((turn) => {
      const sequence = turn.slice(128);
      const period = sequence.indexOf(sequence[0]!, 1);
      expect(new Set(sequence.slice(0, period)).size).toBe(period);
      expect(sequence).toEqual(sequence.map((_, at) => sequence[at % period]));
      return period;
    });
    expect([Math.min(...periods), Math.max(...periods)]).toEqual([8, 32]);
    const random = turns.flatMap((turn) => turn.slice(128));
    expect(new Set(random).size).toBe(vocabSize);
    await prepareInduction({ dataDir, log });
    expect(lines.at(-1)).toMatch(/is already prepared/);
    await expect(prepareInduction({ dataDir, url: "https://example.com/a" })).rejects.toThrow("it is embedded");
  });
});

describe("typescript", () => {
  test("prepare() makes the embedded corpus: about 90 characters, and validation is not a copy of training", async () => {
    const meta = await prepareTypescript({ dataDir, log });
    expect(meta.vocabSize).toBeGreaterThan(85);
    expect(meta.vocabSize).toBeLessThan(96); // printable ASCII and the line end
    expect(meta.splits.train.tokens).toBeGreaterThan(1_500_000);
    expect(meta.splits.val.tokens / meta.splits.train.tokens).toBeCloseTo(0.1, 1);
    expect(meta.source).toMatchObject({ licence: "Apache-2.0" });
    const shared = Number(/; ([\d.]+) % of validation lines also occur in training/.exec(lines.at(-1)!)?.[1]);
    expect(shared).toBeLessThan(5);

    const dataset = openDataset(dataDir, "typescript");
    const text = dataset.tokenizer.decode(dataset.train.read(0, 80));
    expect(text).toMatch(/^interface \w+ \{\n {4}\w+/);
    dataset.close();
    const [unigram, bigram, trigram] = ngrams("typescript") as [number, number, number];
    expect(unigram).toBeCloseTo(3.49, 1);
    expect(bigram).toBeCloseTo(2.51, 1);
    expect(trigram).toBeCloseTo(1.52, 1);
  });

  const declared = (name: string, body: string) => `/** About ${name} — é. */\ninterface ${name} {\n${body}}\n`;

  test("splitDeclarations() removes repetitions, keeps the declarations of a name together, and returns ASCII", () => {
    const names = Array.from({ length: 20 }, (_, index) => `Thing${index}`);
    const text = [
      "/*! licence; of\nsomebody */\n\n/// <reference />\n",
      ...names.map((name) => declared(name, `    /** The length. */\n    length: number;\n    own${name}: string;\n`)),
      "declare var Thing9: {\n    prototype: Thing9;\n};\n",
      "type Last = string;\ntype Last = string;\n",
    ].join("\n");
    const { train, val, sharedLines } = splitDeclarations(text);
    expect(`${train}${val}`).not.toMatch(/licence|reference|[^\n -~]/);
    expect(train).toMatch(/^\/\*\* About Thing0 - e\. \*\/\ninterface Thing0 \{\n {4}\/\*\* The length/);
    expect(train.match(/length: number;/g)).toHaveLength(1);
    expect(train.match(/type Last/g)).toHaveLength(1);
    expect(train).not.toContain("Thing9 ");
    expect(val.split("\n\n")).toEqual([
      "/** About Thing9 - e. */\ninterface Thing9 {\n    ownThing9: string;\n}",
      "declare var Thing9: {\n    prototype: Thing9;\n};",
      "/** About Thing19 - e. */\ninterface Thing19 {\n    ownThing19: string;\n}\n",
    ]);
    expect(sharedLines).toBe(0);
  });

  test("prepare() says what is wrong with a missing, empty or foreign file, and writes nothing", async () => {
    const give = (name: string, content?: string | Buffer) => {
      const source = path.join(dataDir, name);
      if (content !== undefined) writeFileSync(source, content);
      return prepareTypescript({ dataDir, source, log });
    };
    await expect(give("no.d.ts")).rejects.toThrow(/Cannot read the text .*no\.d\.ts: it is missing\./);
    await expect(give("empty.d.ts", " \n")).rejects.toThrow(/it is empty/);
    await expect(give("latin.d.ts", Buffer.of(0xe9, 0x20))).rejects.toThrow(/it is not UTF-8/);
    await expect(give("prose.d.ts", "To be, or not to be.")).rejects.toThrow(
      /it declares 0 names; at least 10 are needed/,
    );
    await expect(prepareTypescript({ dataDir, url: "http://x/", log })).rejects.toThrow(/it is embedded/);
    expect(existsSync(path.join(dataDir, "typescript"))).toBe(false);
  });
});

describe("shakespeare_char", () => {
  const sha256 = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");

  test("prepare() writes nanoGPT's files byte for byte", needs(shakespeare), async () => {
    vi.stubEnv("FOLIO_DATA_DIR", path.dirname(shakespeareFile));
    const meta = await prepareShakespeareChar({ dataDir, log });
    expect([meta.splits.train.tokens, meta.splits.val.tokens, meta.vocabSize]).toEqual([1_003_854, 111_540, 65]);
    // SHA-256 of the uint16 ids that the lines of nanoGPT's data/shakespeare_char/prepare.py give in Python
    const directory = path.join(dataDir, "shakespeare_char");
    expect(sha256(path.join(directory, "train.bin"))).toBe(
      "6ec305602a99ac2802745a134e1f5e33e2231b4855525b00b9aebb730ac2626f",
    );
    expect(sha256(path.join(directory, "val.bin"))).toBe(
      "d37d30cc0c8327c270d493299c3dca54135f6d5f1c9ef60cda78076e311204b1",
    );
    expect(lines.at(-1)).toContain("1,003,854 training and 111,540 validation ids, 65 characters");
    expect(ngrams("shakespeare_char").map((loss) => Number(loss.toFixed(3)))).toEqual([3.347, 2.484, 2.038]);
  });

  test("prepare() downloads from another URL, resumes, and keeps the text", needs(shakespeare), async () => {
    const text = readFileSync(shakespeareFile);
    const ranges: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      ranges.push(request.headers.range);
      const start = Number(/\d+/.exec(request.headers.range ?? "")?.[0] ?? 0);
      response.writeHead(start ? 206 : 200, {
        "content-length": text.length - start,
        ...(start > 0 && { "content-range": `bytes ${start}-${text.length - 1}/${text.length}` }),
      });
      if (start) response.end(text.subarray(start));
      else response.write(text.subarray(0, 300_000), () => setTimeout(() => response.destroy(), 20));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/input.txt`;
    try {
      const meta = await prepareShakespeareChar({ dataDir, url, log });
      expect(meta.splits.val.tokens).toBe(111_540);
      expect(ranges).toHaveLength(2);
      expect(lines[0]).toBe(`downloading ${url}`);
      await prepareShakespeareChar({ dataDir, log }); // from input.txt, without a request to the public URL
      expect(ranges).toHaveLength(2);
    } finally {
      server.close();
    }
  });

  test("prepare() refuses another text, a missing one, and a URL that cannot be reached", async () => {
    const source = path.join(dataDir, "other.txt");
    writeFileSync(source, "To be, or not to be.");
    await expect(prepareShakespeareChar({ dataDir, source, log })).rejects.toThrow(/so it is another text/);
    await expect(prepareShakespeareChar({ dataDir, source: `${source}x`, log })).rejects.toThrow(/it is missing/);
    await expect(prepareShakespeareChar({ dataDir, url: "http://127.0.0.1:9/x", log })).rejects.toThrow(
      /Cannot download http:\/\/127\.0\.0\.1:9\/x: .*give a local file as source/,
    );
    const own = path.join(dataDir, "shakespeare_char", "input.txt");
    writeFileSync(own, "my own text");
    await expect(prepareShakespeareChar({ dataDir, log })).rejects.toThrow(/move that file away/);
    expect(readFileSync(own, "utf8")).toBe("my own text");
    expect(() => openDataset(dataDir, "shakespeare_char")).toThrow(/run folio prepare shakespeare_char/);
  });
});

test("shakespeare: prepare() gives nanoGPT's 301,966 and 36,059 GPT-2 ids", needs(shakespeare), async () => {
  const meta = await prepareShakespeare({ dataDir, source: shakespeareFile, log });
  expect([meta.splits.train.tokens, meta.splits.val.tokens, meta.vocabSize]).toEqual([301_966, 36_059, 50_257]);
  const dataset = openDataset(dataDir, "shakespeare");
  expect(dataset.tokenizer.decode(dataset.train.read(0, 4))).toBe("First Citizen:\n");
  dataset.close();
});

describe("a copied data folder", () => {
  const root = path.resolve(import.meta.dirname, "..", "..", "..");
  const modules = ["openwebtext", "shakespeare", "shakespeare_char", "typescript"];

  test("prepares a dataset with the name of the copy, and leaves the original unchanged", async () => {
    const copy = path.join(dataDir, "sources", "my_data");
    mkdirSync(copy, { recursive: true });
    const source = readFileSync(path.join(root, "data", "typescript", "prepare.ts"), "utf8");
    writeFileSync(path.join(copy, "prepare.ts"), source.replaceAll("../../lib/", `${root}/lib/`));
    const { prepare } = await import(/* @vite-ignore */ path.join(copy, "prepare.ts"));
    const declarations = Array.from(
      { length: 40 },
      (_, i) => `interface Word${i} {\n    readonly place${i}: number;\n}\n`,
    );
    const text = path.join(dataDir, "own.d.ts");
    writeFileSync(text, declarations.join("\n"));
    const meta = await prepare({ dataDir, source: text, log });
    expect(meta.dataset).toBe("my_data");
    expect(readdirSync(dataDir).sort()).toEqual(["my_data", "own.d.ts", "sources"]);
    openDataset(dataDir, "my_data").close();
  });

  test.each(modules)("data/%s/prepare.ts takes its name from its folder", (name) => {
    const source = readFileSync(path.join(root, "data", name, "prepare.ts"), "utf8");
    expect(source).toContain("const name = folderName(import.meta.url);");
    expect(source).not.toMatch(new RegExp(`(name|dataset)(:| =) ["'\`]${name}["'\`]`));
  });
});

test("download() tells when a quarter more has come, and the whole", async () => {
  const bytes = Buffer.alloc(1000, "x");
  const told = (count: number) => lines.includes(`  ${count.toLocaleString("en")} of 1,000 bytes`);
  const server = createServer(async (_, response) => {
    response.writeHead(200, { "content-length": bytes.length });
    // Each part once the one before has been told, or is not told at all.
    for (const [from, to, tells] of [
      [0, 240, false],
      [240, 260, true],
      [260, 490, false],
      [490, 760, true],
      [760, 1000, true],
    ] as const) {
      response.write(bytes.subarray(from, to));
      for (let waited = 0; waited < (tells ? 60_000 : 20) && !told(to); waited += 10) await sleep(10);
    }
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/text`;
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  await download({ url, sha256, filePath: path.join(dataDir, "text") }, { log });
  server.close();
  expect(lines).toEqual([`downloading ${url}`, ...["260", "760", "1,000"].map((count) => `  ${count} of 1,000 bytes`)]);
});
