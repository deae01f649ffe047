/** Files of a corpus are recognized by their content, not their names; files that are left out are named. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { parquetWriteFile } from "hyparquet-writer";
import { beforeEach, describe, expect, test } from "vitest";
import { openDataset } from "../../../lib/data/dataset.js";
import { listSource } from "../../../lib/data/prepare/documents.js";
import { readElements, readLines } from "../../../lib/data/prepare/json-records.js";
import { readParquetRows } from "../../../lib/data/prepare/parquet-text.js";
import { prepareText, type TextOptions } from "../../../lib/data/prepare/prepare.js";
import { runsSource, temporaryFolder } from "../../tiny-run.js";

const folder = temporaryFolder();
const root = path.join(import.meta.dirname, "..", "..", "..");
const parquet = path.join(root, "test", "golden", "parquet", "train-00000-of-00003.parquet");
let lines: string[] = [];
let names = 0;
beforeEach(() => {
  lines = [];
});

function write(name: string, content: string | Uint8Array): string {
  const at = path.join(folder, String(names++));
  fs.mkdirSync(at);
  fs.writeFileSync(path.join(at, name), content);
  return path.join(at, name);
}

async function prepared(from: string, options: Partial<TextOptions> = {}): Promise<string> {
  const name = `set-${names++}`;
  await prepareText({ dataDir: folder, name, from, tokenizer: "char", log: (line) => lines.push(line), ...options });
  const { train, val, tokenizer, close } = openDataset(folder, name);
  const ids = [...train.read(0, train.length), ...val.read(0, val.length)];
  close();
  return tokenizer.decode(ids).split("\n").sort().join("\n");
}

const texts = ["one, [two] {three}", 'a "quoted" text \\ and more', "", "last ] , }"];
const wanted = texts.filter(Boolean).sort().join("\n");
const records = texts.map((text, id) => ({ id, text, meta: { tags: ["a", "b"] } }));

describe("formats are recognized by content", () => {
  test.each([
    ["an array named .json", "x.json", JSON.stringify(records)],
    ["an array over many lines", "x.json", JSON.stringify(records, null, 2)],
    ["an array of texts", "x.json", JSON.stringify(texts)],
    ["an array named .jsonl", "x.jsonl", JSON.stringify(records, null, 1)],
    ["JSON lines named .json", "x.json", records.map((record) => JSON.stringify(record)).join("\n")],
    ["JSON lines named .txt", "x.txt", records.map((record) => JSON.stringify(record)).join("\r\n")],
    ["JSON lines behind a byte-order mark", "x.jsonl", `\ufeff${records.map((r) => JSON.stringify(r)).join("\n")}`],
  ])("%s", async (_, name, content) => {
    expect((await prepared(write(name, content))).trim()).toBe(wanted);
    expect(lines[0]).toMatch(/1 file of (JSON lines|a JSON array), /);
  });

  test("Parquet named .pq or anything else", () => {
    for (const name of ["x.pq", "x.txt", "x"]) {
      expect(listSource(write(name, fs.readFileSync(parquet)))).toMatchObject({
        files: [{ kind: "parquet" }],
        single: false,
      });
    }
    expect(() => listSource(write("x.parquet", "no such thing"))).toThrow(
      "it is not a Parquet file (it does not begin with PAR1); download or write it again.",
    );
  });

  test("lyrics in brackets and a text that begins with a brace stay text", () => {
    for (const text of ["[Verse 1]\nLa la\n", "{ not json }\n", '{"other": 1}\n']) {
      expect(listSource(write("x.txt", text))).toMatchObject({ files: [{ kind: "text" }], single: true });
    }
  });

  test("for a compressed file, the message names the command that unpacks it", () => {
    const file = write("x.jsonl.gz", gzipSync("{}"));
    expect(() => listSource(file)).toThrow(
      `${file}: it is compressed with gzip; decompress it first: gunzip --keep ${file}.`,
    );
  });

  test("a single object is neither lines nor an array", () => {
    const file = write("x.json", JSON.stringify({ data: records }, null, 2));
    expect(() => listSource(file)).toThrow(
      'it is JSON, but neither an array nor one object on each line; give JSON lines, {"text": "…"}',
    );
  });

  test("files of a folder that are left out are named, with the reason", async () => {
    const file = write("a.txt", "some text\n".repeat(20));
    const at = path.dirname(file);
    fs.writeFileSync(path.join(at, "b.txt"), "more text\n".repeat(20));
    fs.writeFileSync(path.join(at, "c.gz"), gzipSync("x"));
    fs.writeFileSync(path.join(at, "d.bin"), Uint8Array.of(0, 1, 2));
    fs.symlinkSync(path.join(at, "a.txt"), path.join(at, "link.txt"));
    expect(listSource(at).files.map((found) => path.basename(found.path))).toEqual(["a.txt", "b.txt", "link.txt"]);
    await prepared(at);
    expect(lines[1]).toBe("  left out: c.gz (it is compressed with gzip), d.bin (it is not text: byte 0 is 0)");
  });
});

describe("the text of a record", () => {
  const elements = async (file: string, from = 0) => {
    const found: string[] = [];
    const ends: number[] = [];
    for await (const { bytes, end } of readElements(file, from)) {
      found.push(JSON.parse(new TextDecoder().decode(bytes)) as string);
      ends.push(end);
    }
    return { found, ends };
  };

  test("an array can be resumed after any of its elements", async () => {
    const file = write("x.json", `${JSON.stringify(texts, null, 2)}\n`);
    const { found, ends } = await elements(file);
    expect(found).toEqual(texts);
    for (const [at, end] of ends.slice(0, -1).entries()) {
      expect((await elements(file, end)).found).toEqual(texts.slice(at + 1));
    }
  });

  test("an array that is truncated, or followed by other text, is refused", async () => {
    // Nothing is an element where the array ends, but not between two commas, where JSON allows none.
    const raw = async (text: string) => {
      const found: string[] = [];
      for await (const { bytes } of readElements(write("x.json", text), 0)) found.push(String(bytes));
      return found;
    };
    expect(await raw("[]")).toEqual([]);
    expect(await raw('["a", ]')).toEqual(['"a"']);
    expect(await raw('["a",,"b"]')).toEqual(['"a"', "", '"b"']);
    await expect(elements(write("x.json", '["a", "b"'))).rejects.toThrow(
      "its array has no end: the file stops at byte 9",
    );
    await expect(elements(write("x.json", '["a"] {}'))).rejects.toThrow("something follows its array at byte 5");
  });

  test("the parts of a long line are joined only once, not with each new part", async () => {
    const line = "x".repeat(40 << 20);
    const file = write("x.jsonl", `${line}\nshort`);
    const concat = Buffer.concat;
    let copied = 0;
    Buffer.concat = ((parts: Uint8Array[]) => {
      copied += parts.reduce((sum, part) => sum + part.length, 0);
      return concat(parts);
    }) as typeof Buffer.concat;
    try {
      const found: number[] = [];
      for await (const { bytes } of readLines(file, 0)) found.push(bytes.length);
      expect(found).toEqual([line.length, 5]);
    } finally {
      Buffer.concat = concat;
    }
    expect(copied).toBeLessThan(2 * line.length);
  });

  test("a null instead of a text is an error that names its row, in Parquet and in JSON", async () => {
    const file = path.join(folder, "nulls.parquet");
    parquetWriteFile({ filename: file, columnData: [{ name: "text", data: ["a", null, "c"], type: "STRING" }] });
    await expect(prepared(file)).rejects.toThrow(`${file}, row 1: the column "text" is empty (null)`);
    const json = write("x.jsonl", '{"text": "a"}\n{"text": null}\n');
    await expect(prepared(json)).rejects.toThrow(`${json}, line 2: the field "text" is not text`);
  });

  test("an invalid UTF-8 byte is reported by its position in the file", async () => {
    const content = Buffer.concat([
      Buffer.from('{"text": "fine"}\n{"text": "caf'),
      Buffer.from([0xe9]),
      Buffer.from('"}\n'),
    ]);
    await expect(prepared(write("x.jsonl", content))).rejects.toThrow("byte 30, counted from 0, is 0xE9");
  });
});

/** Reads a Parquet file's texts. @returns whether it was refused, with our message */
async function isRefused(file: string): Promise<boolean> {
  try {
    for await (const row of readParquetRows(file, "text", 0)) void row;
    return false;
  } catch (error) {
    expect((error as Error).message).toMatch(/^Cannot /);
    return true;
  }
}

test("a Parquet file with any byte of its footer changed is refused once, or read", { timeout: 120_000 }, async () => {
  const whole = fs.readFileSync(parquet);
  const footer = whole.length - 8 - whole.readUInt32LE(whole.length - 8);
  const file = path.join(folder, "flipped.parquet");
  const unheard: unknown[] = [];
  const hear = (error: unknown) => unheard.push(error);
  process.on("unhandledRejection", hear);
  let refused = 0;
  try {
    for (let at = footer; at < whole.length; at++) {
      const bytes = Buffer.from(whole);
      bytes[at]! ^= 0xff;
      fs.writeFileSync(file, bytes);
      if (await isRefused(file)) refused++;
    }
    await setImmediate();
  } finally {
    process.off("unhandledRejection", hear);
  }
  expect(refused).toBeGreaterThan(200);
  expect(unheard).toEqual([]);
});

// Bytes that made a chunk's place no number, so that two reads failed and one of them was awaited.
test.each([2025, 2020])("the command tells of such a file in one line: byte %d", { timeout: 120_000 }, (at) => {
  const bytes = fs.readFileSync(parquet);
  bytes[at]! ^= 0xff;
  const script = `
    import { main } from "./lib/cli/main.ts";
    main(process.argv.slice(1)).then((code) => { process.exitCode = code; });`;
  const argv = ["prepare", "flipped", `--from=${write("flipped.parquet", bytes)}`, `--data_dir=${folder}`];
  const command = [...runsSource, script, "--", ...argv];
  const { status, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
  expect(stderr).toMatch(/^folio: Cannot read .*flipped\.parquet.*\n$/);
  expect({ status, left: fs.existsSync(path.join(folder, "flipped")) }).toEqual({ status: 1, left: false });
});

test("a damaged Parquet file gives only Folio's message, and no unhandled rejection", async () => {
  const file = path.join(folder, "wide.parquet");
  const data = Array.from({ length: 400 }, (_, at) => `text ${at} ${"word ".repeat(at % 7)}`);
  parquetWriteFile({ filename: file, columnData: [{ name: "text", data, type: "STRING" }], rowGroupSize: 100 });
  const whole = fs.readFileSync(file);
  const unheard: unknown[] = [];
  const hear = (error: unknown) => unheard.push(error);
  process.on("unhandledRejection", hear);
  let refused = 0;
  try {
    for (let seed = 0; seed < 60; seed++) {
      const bytes = Buffer.from(whole);
      for (let k = 0; k < 4; k++)
        bytes[8 + ((seed * 7919 + k * 104_729) % (bytes.length - 12))] = (seed * 37 + k) & 0xff;
      // A truncated file: positions in the footer lie beyond its end.
      fs.writeFileSync(file, seed % 2 === 0 ? bytes : Buffer.concat([bytes.subarray(0, 200), bytes.subarray(-1200)]));
      try {
        await prepared(file);
      } catch (error) {
        refused++;
        expect((error as Error).message).toMatch(/^Cannot /);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  } finally {
    process.off("unhandledRejection", hear);
  }
  expect(refused).toBeGreaterThan(20);
  expect(unheard).toEqual([]);
});
