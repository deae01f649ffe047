import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { syncBuiltinESMExports } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { prepare as prepareOpenWebText } from "../../../data/openwebtext/prepare.js";
import { openDataset } from "../../../lib/data/dataset.js";
import { prepareText, type TextOptions } from "../../../lib/data/prepare/prepare.js";
import { charTokenizer, gpt2Tokenizer } from "../../../lib/data/tokenizers/tokenizer.js";
import { type FolderLock, lockFolder } from "../../../lib/host/folder-lock.js";
import { typescriptLoader } from "../../../lib/host/package.js";

const parquetFolder = path.join(import.meta.dirname, "..", "..", "golden", "parquet");

let folder: string;
let lines: string[];
const log = (line: string) => void lines.push(line);

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(tmpdir(), "folio-corpus-"));
  lines = [];
  vi.stubEnv("FOLIO_DATA_DIR", undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  fs.rmSync(folder, { recursive: true });
});

function write(name: string, content: string | Uint8Array): string {
  const filePath = path.join(folder, name);
  fs.mkdirSync(path.dirname(filePath), { recursive: true });
  fs.writeFileSync(filePath, content);
  return filePath;
}

const prepare = (name: string, from: string, options: Partial<TextOptions> = {}) =>
  prepareText({ dataDir: folder, name, from, log, ...options });

/** All ids of both splits. */
function read(name: string): { train: number[]; val: number[]; decode: (ids: number[]) => string } {
  const { train, val, tokenizer, close } = openDataset(folder, name);
  const ids = { train: [...train.read(0, train.length)], val: [...val.read(0, val.length)] };
  close();
  return { ...ids, decode: (some) => tokenizer.decode(some) };
}

function digest(name: string): string[] {
  return ["train.bin", "val.bin"].map((file) =>
    createHash("sha256")
      .update(fs.readFileSync(path.join(folder, name, file)))
      .digest("hex"),
  );
}

/** Some megabytes of words, line ends of both kinds, wide characters, and a long run without spaces. */
function longText(repeats: number): string {
  const paragraph =
    "Call me Ishmael. Some years ago\u2014never mind how long\r\nprecisely\u2014 it's 1851 \ud83d\udc0b 鯨 \n\n";
  return `${paragraph.repeat(repeats)}${"x".repeat(300_000)}${paragraph.repeat(repeats)}`;
}

describe("a text file", () => {
  test.each([
    ["characters that take four bytes", "😀 naïve 語".repeat(50)],
    ["line ends of Windows and of old", "one\r\ntwo\rthree\n".repeat(60)],
    ["no line end", "abc def ".repeat(40)],
  ])("is split and encoded as nanoGPT's scripts do it in Python: %s", async (_, text) => {
    const from = write("text.txt", text);
    const characters = [...text.replace(/\r\n?/g, "\n")]; // as Python reads text and counts code points
    const at = Math.floor(characters.length * 0.9);
    const [train, val] = [characters.slice(0, at).join(""), characters.slice(at).join("")];
    await prepare("gpt2", from);
    await prepare("char", from, { tokenizer: "char" });
    for (const [name, tokenizer] of [
      ["gpt2", gpt2Tokenizer()],
      ["char", charTokenizer(train + val)],
    ] as const) {
      const { train: trainIds, val: valIds } = read(name);
      expect(trainIds).toEqual([...tokenizer.encode(train)]);
      expect(valIds).toEqual([...tokenizer.encode(val)]);
    }
  });

  test("splits at the same character wherever read blocks end, also within a character and between \\r and \\n", async () => {
    const block = 1 << 20;
    for (const [name, text] of [
      ["a", `${"a".repeat(block - 1)}\r\n${"b".repeat(200)}`],
      ["b", `${"a".repeat(block - 2)}語${"b".repeat(200)}`],
    ] as const) {
      const from = write(`${name}.txt`, text);
      for (const beyond of [1, 2, 3]) {
        // Validation begins `beyond` characters before the last block's end of text.
        const characters = [...text.replace(/\r\n?/g, "\n")];
        const valFraction = (198 + beyond) / characters.length;
        await prepare(name, from, { tokenizer: "char", valFraction, overwrite: true });
        const at = Math.floor(characters.length * (1 - valFraction));
        const { val, decode } = read(name);
        expect(decode(val)).toBe(characters.slice(at).join(""));
      }
    }
  });

  test("gives the same bytes in one thread, in two, and when encoded as a whole", async () => {
    const text = longText(8_000);
    const from = write("text.txt", text);
    await prepare("one", from, { workers: 0, commitBytes: 500_000 });
    await prepare("two", from, { workers: 2 });
    expect(digest("two")).toEqual(digest("one"));
    const characters = [...text.replace(/\r\n?/g, "\n")];
    const val = gpt2Tokenizer().encode(characters.slice(Math.floor(characters.length * 0.9)).join(""));
    expect(Buffer.from(Uint16Array.from(val).buffer).equals(fs.readFileSync(path.join(folder, "two", "val.bin")))).toBe(
      true,
    );
    expect(fs.readdirSync(path.join(folder, "two")).sort()).toEqual(["meta.json", "train.bin", "val.bin"]);
  });

  test("learns byte pairs from the training part, and keeps them with the dataset", async () => {
    const from = write("text.txt", `${"the cat sat on the mat. ".repeat(200)}${"zzzz ".repeat(90)}`);
    const meta = await prepare("own", from, { tokenizer: "bpe:265" });
    expect(meta).toMatchObject({ vocabSize: 265, dtype: "uint16", tokenizer: { kind: "bpe" } });
    const { train, val, decode } = read("own");
    expect(decode(train)).toMatch(/^the cat sat/);
    expect(decode([...train, ...val])).toBe(fs.readFileSync(from, "utf8"));
    expect(lines.join("\n")).toMatch(/learning 265 byte pairs from [\d,]+ bytes of training text/);
  });
});

/** As test/golden/make_parquet.py makes them. */
const documents = Array.from({ length: 23 }, (_, index) =>
  index === 13 ? "" : `Document ${index}, né 文書 😀\r\n${"so it goes on. ".repeat(index % 5)}`,
);
/** The first ⌈23 · 0.1⌉ of numpy.random.default_rng(2357).permutation(23). */
const validation = [20, 18, 1];

function expected(encode: (document: string) => number[]): { train: number[]; val: number[] } {
  return {
    train: documents.flatMap((document, index) => (validation.includes(index) ? [] : encode(document))),
    val: documents.flatMap((document, index) => (validation.includes(index) ? encode(document) : [])),
  };
}

const withEnd = expected((document) => [...gpt2Tokenizer().encode(document), 50_256]);

describe("documents", () => {
  const jsonl = (key: string) => documents.map((document) => JSON.stringify({ id: 1, [key]: document })).join("\n\n");

  test("of JSON lines go to one split each, drawn as NumPy draws, and end with the end of text", async () => {
    await prepare("lines", write("lines.jsonl", jsonl("body")), { textKey: "body" });
    expect(read("lines")).toMatchObject(withEnd);
    expect(lines).toContain("23 documents, 3 of them for validation");
  });

  test("of Parquet files likewise, whatever they are compressed by", async () => {
    await prepare("parquet", parquetFolder);
    expect(read("parquet")).toMatchObject(withEnd);
  });

  test("of a folder likewise: one per file, with \\n as line ends, without hidden and non-text files", async () => {
    documents.forEach((document, index) => {
      write(`texts/${String(index).padStart(2, "0")}.${index % 2 ? "txt" : "md"}`, document);
    });
    write("texts/.hidden/a.txt", "no");
    write("texts/zz.bin", Uint8Array.of(0, 255, 1));
    await prepare("folder", path.join(folder, "texts"));
    const { train, val } = expected((document) => [...gpt2Tokenizer().encode(document.replace(/\r\n/g, "\n")), 50_256]);
    expect(read("folder")).toMatchObject({ train, val });
    expect(lines[0]).toMatch(/23 files of text, /);
    expect(lines[1]).toBe("  left out: zz.bin (it is not UTF-8: byte 1, counted from 0, is 0xFF)");
  });

  test("by characters end with a line", async () => {
    await prepare("char", parquetFolder, { tokenizer: "char" });
    const { train, decode } = read("char");
    const kept = documents.filter((document, index) => document !== "" && !validation.includes(index));
    expect(decode(train)).toBe(kept.map((document) => document.replace(/\n?$/, "\n")).join(""));
  });
});

describe("what cannot be read", () => {
  test("is named, with advice, and leaves nothing behind", async () => {
    const cases: [string, Partial<TextOptions>, RegExp][] = [
      [path.join(folder, "none.txt"), {}, /none\.txt: it is missing; give a text, JSONL or Parquet file/],
      [write("empty.txt", ""), {}, /it is empty/],
      [write("short.txt", "a"), {}, /its 1 characters are too few to split/],
      [
        write("latin.txt", Buffer.from("caf\xe9 ".repeat(50), "latin1")),
        {},
        /it is not UTF-8: byte 3, counted from 0, is 0xE9/,
      ],
      [write("a.jsonl", '{"text":"x"}\n{"text":'), {}, /a\.jsonl, line 2: it is not JSON/],
      [
        write("b.jsonl", '{"text":"x"}\n{"body":"y"}'),
        {},
        /line 2: the field "text" is not text; name the field .*its fields: body/,
      ],
      [write("c.jsonl", '{"text":"x"}'), {}, /Cannot split 1 document: all of them would be for validation/],
      [write("d.parquet", "PAR1 no"), {}, /d\.parquet: it is not a Parquet file/],
      [
        parquetFolder,
        { textKey: "body" },
        /it has no column "body"; name the column with --text_key \(its columns: id, text\)/,
      ],
      [parquetFolder, { textKey: "id" }, /the column "id" has a value that is not UTF-8 text/],
      [parquetFolder, { tokenizer: "words" }, /the tokenizer is "words"; it must be char, gpt2 or bpe:N/],
      [parquetFolder, { tokenizer: "bpe:100" }, /N from 257 to 65536/],
      [parquetFolder, { valFraction: 1 }, /val_fraction is 1; it must be between 0 and 1/],
    ];
    for (const [from, options, message] of cases) {
      await expect(prepare("bad", from, options), String(message)).rejects.toThrow(message);
      expect(fs.existsSync(path.join(folder, "bad"))).toBe(false);
    }
  });

  test("such as a damaged Parquet file without a known checksum, is refused", async () => {
    const bytes = fs.readFileSync(path.join(parquetFolder, "train-00000-of-00003.parquet"));
    bytes.fill(0x5a, 100, 300);
    await expect(prepare("bad", write("bad.parquet", bytes))).rejects.toThrow(/bad\.parquet.*(damaged|not UTF-8)/);
  });
});

describe("again", () => {
  test("does nothing if the dataset is prepared, prepares it again with overwrite, and refuses other options", async () => {
    const from = write("text.txt", "some text of ours\n".repeat(50));
    const meta = await prepare("mine", from);
    const before = fs.statSync(path.join(folder, "mine", "train.bin")).ino;
    expect(await prepare("mine", from)).toEqual(meta);
    expect(fs.statSync(path.join(folder, "mine", "train.bin")).ino).toBe(before);
    expect(lines.at(-1)).toMatch(/mine is already prepared: .* training .*; --overwrite prepares it again/);
    await expect(prepare("mine", from, { tokenizer: "char" })).rejects.toThrow(
      /already prepared with tokenizer gpt2, but char is requested; choose another name, or add --overwrite/,
    );
    expect(await prepare("mine", from, { tokenizer: "char", overwrite: true })).toMatchObject({ dtype: "uint16" });
    expect(read("mine").decode(read("mine").val)).toMatch(/^(.*\n)+$/);
  });

  test("continues after an interruption, overwriting everything after the last commit, to the same bytes", async () => {
    // Three stops after three commits each, and the pieces in progress, cover about half of the text.
    const from = write("text.txt", longText(16_000));
    await prepare("whole", from, { workers: 0 });
    // Stopped three times after its third commit; then to the end.
    for (const round of [1, 2, 3, 4]) {
      const stop = new AbortController();
      const progress = path.join(folder, "cut", "preparing.json");
      let commits = 0;
      const watched = fs.renameSync;
      fs.renameSync = (source, target) => {
        watched(source, target);
        if (target === progress && ++commits === 3 && round < 4) stop.abort(new Error("stopped"));
      };
      syncBuiltinESMExports();
      const running = prepare("cut", from, { workers: 0, commitBytes: 100_000, signal: stop.signal });
      try {
        if (round === 4) await running;
        else await expect(running).rejects.toThrow("stopped");
      } finally {
        fs.renameSync = watched;
        syncBuiltinESMExports();
      }
      if (round < 4) fs.appendFileSync(path.join(folder, "cut", "train.bin.part"), "what a kill left half written");
    }
    expect(lines.filter((line) => line.startsWith("continuing after"))).toHaveLength(3);
    expect(digest("cut")).toEqual(digest("whole"));
  });

  test("starts over if the text has changed meanwhile", async () => {
    const from = write("text.txt", longText(8_000));
    const stop = new AbortController();
    const begun = prepare("mine", from, { workers: 0, commitBytes: 1000, signal: stop.signal });
    stop.abort(new Error("stopped"));
    await expect(begun).rejects.toThrow("stopped");
    write("text.txt", "another text ".repeat(100));
    await prepare("mine", from);
    expect(lines.join("\n")).not.toContain("going on");
    expect(read("mine").decode(read("mine").train)).toMatch(/^another text/);
  });

  test("refuses to run in parallel with another preparation, but not after one that has ended", async () => {
    const from = write("text.txt", "some text of ours\n".repeat(50));
    const other = lockFolder(path.join(folder, "mine")) as FolderLock;
    await expect(prepare("mine", from)).rejects.toThrow(
      /^Cannot prepare mine: another process is preparing it \(process \d+ on .*\); wait until it has finished\.$/,
    );
    other.release();
    write("mine/.lock", "process 1, killed\n");
    await prepare("mine", from);
  });
});

describe("openwebtext", () => {
  /** Serves the folder of Parquet files with Range requests; `cut` may answer instead. */
  async function serve(cut: (file: string, response: ServerResponse, attempt: number) => boolean) {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      const file = path.basename(request.url!);
      const bytes = fs.readFileSync(path.join(parquetFolder, file));
      const range = /bytes=(\d*)-(\d*)/.exec(request.headers.range ?? "");
      const etag = { etag: `"${createHash("sha256").update(bytes).digest("hex")}"`, "accept-ranges": "bytes" };
      if (request.method === "HEAD") {
        response.writeHead(200, { ...etag, "content-length": bytes.length }).end();
        return;
      }
      if (!range || range[2] === "") {
        asked.push(`${file} ${range?.[1] ?? 0}`);
        if (cut(file, response, asked.filter((one) => one.startsWith(file)).length)) return;
      }
      const start = range ? (range[1] === "" ? bytes.length - Number(range[2]) : Number(range[1])) : 0;
      const end = range?.[1] && range[2] ? Number(range[2]) + 1 : bytes.length;
      response.writeHead(range ? 206 : 200, {
        ...etag,
        "content-length": end - start,
        ...(range && { "content-range": `bytes ${start}-${end - 1}/${bytes.length}` }),
      });
      response.end(bytes.subarray(start, end));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const close = () => {
      server.closeAllConnections();
      server.close();
    };
    const { port } = server.address() as AddressInfo;
    return { asked, close, url: `http://127.0.0.1:${port}/train-{index}-of-00003.parquet` };
  }

  /** The dataset made from the files in the folder, without the network. */
  async function reference(): Promise<string[]> {
    await prepareOpenWebText({ dataDir: path.join(folder, "local"), source: parquetFolder, log });
    return digest("local/openwebtext");
  }

  test("streams the files, resumes one whose connection breaks, and leaves only the dataset", async () => {
    const server = await serve((_, response, attempt) => {
      if (attempt > 1) return false;
      response.writeHead(200, { "content-length": 2556 });
      response.write(Buffer.alloc(0), () => setTimeout(() => response.destroy(), 5));
      return true;
    });
    try {
      const meta = await prepareOpenWebText({ dataDir: folder, url: server.url, log });
      expect(digest("openwebtext")).toEqual(await reference());
      expect(server.asked.length).toBe(6);
      expect(fs.readdirSync(path.join(folder, "openwebtext")).sort()).toEqual(["meta.json", "train.bin", "val.bin"]);
      // ⌈23 · 0.0005⌉ = 1 document, the first of NumPy's permutation.
      expect(meta.splits.val.tokens).toBe(gpt2Tokenizer().encode(documents[20]!).length + 1);
      expect(await prepareOpenWebText({ dataDir: folder, url: server.url, log })).toEqual(meta);
      expect(server.asked.length).toBe(6);
    } finally {
      server.close();
    }
  });

  test("continues after kill -9 without the finished files", { timeout: 200_000 }, async () => {
    let stuck = true;
    const server = await serve((file) => stuck && file.includes("00002")); // never answered
    try {
      const args = ["prepare", "openwebtext", `--url=${server.url}`, `--data_dir=${folder}`];
      const script = write(
        "child.mts",
        `import { main } from ${JSON.stringify(path.resolve("lib/cli/main.ts"))}; await main(${JSON.stringify(args)});`,
      );
      const child = spawn(process.execPath, ["--import", typescriptLoader(), script], { stdio: "ignore" });
      const progress = path.join(folder, "openwebtext", "preparing.json");
      const doneFiles = () => {
        try {
          return JSON.parse(fs.readFileSync(progress, "utf8")).next.file;
        } catch {
          return 0; // it does not exist yet
        }
      };
      // Close both, so that no request of the killed child arrives later.
      const isStuck = () => doneFiles() === 2 && server.asked.some((file) => file.includes("00002"));
      await expect.poll(isStuck, { timeout: 300_000, interval: 20 }).toBe(true);
      child.kill("SIGKILL");
      await new Promise((resolve) => child.on("close", resolve));
      stuck = false;
      server.asked.length = 0;
      await prepareOpenWebText({ dataDir: folder, url: server.url, log });
      expect(server.asked).toEqual(["train-00002-of-00003.parquet 0"]);
      expect(lines[0]).toMatch(/continuing after \d+ ids/);
      expect(digest("openwebtext")).toEqual(await reference());
    } finally {
      server.close();
    }
  });

  test("refuses a template without {index}, and a server without the files", async () => {
    const give = (url: string) => prepareOpenWebText({ dataDir: folder, url, log });
    await expect(give("http://127.0.0.1:9/x.parquet")).rejects.toThrow(
      /must contain \{index\} and the number of files/,
    );
    const closed = "http://127.0.0.1:9/{index}-of-01.parquet";
    // Offline, the message must name the network, not the file.
    await expect(give(closed)).rejects.toThrow(
      /^Cannot reach 127\.0\.0\.1:9 for http:.*00-of-01|0-of-01\.parquet: .*\. Check the network, or give a mirror \(HF_ENDPOINT or --url\) or a folder/,
    );
    await expect(give(closed)).rejects.not.toThrow(/Parquet file \(/);
    expect(fs.existsSync(path.join(folder, "openwebtext"))).toBe(false);
  });
});
