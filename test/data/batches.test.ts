import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs, { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  type Dataset,
  drawBatch,
  openDataset,
  openTokenFile,
  type TokenFile,
  type TokenMeta,
  wholeSplit,
  writeDataset,
} from "../../lib/data/batches.js";
import { charTokenizer, gpt2Tokenizer, type Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";

let dataDir: string;
const opened: { close(): void }[] = [];

beforeEach(() => {
  dataDir = mkdtempSync(path.join(tmpdir(), "folio-data-"));
});
afterEach(() => {
  for (const handle of opened.splice(0)) handle.close();
  rmSync(dataDir, { recursive: true });
});

function keep<T extends { close(): void }>(handle: T): T {
  opened.push(handle);
  return handle;
}

/** The alphabet, ids 0 to 25, repeated to `length`. */
function alphabet(length: number): Uint32Array {
  return Uint32Array.from({ length }, (_, index) => index % 26);
}

const letters = charTokenizer("abcdefghijklmnopqrstuvwxyz");

function writeLetters(length = 1000, valLength = 100): TokenMeta {
  return writeDataset(dataDir, {
    name: "letters",
    tokenizer: letters,
    train: alphabet(length),
    val: alphabet(valLength),
  });
}

function openLetters(): Dataset {
  return keep(openDataset(dataDir, "letters"));
}

function rawFile(bytes: Uint8Array): string {
  const filePath = path.join(dataDir, "raw.bin");
  writeFileSync(filePath, bytes);
  return filePath;
}

function sha256(filePath: string): string {
  return createHash("sha256").update(readFileSync(filePath)).digest("hex");
}

test("writeDataset() writes little-endian uint16 files and a meta.json that openDataset() reads", () => {
  const meta = writeLetters();
  const directory = path.join(dataDir, "letters");
  expect(readdirSync(directory).sort()).toEqual(["meta.json", "train.bin", "val.bin"]);
  expect([...readFileSync(path.join(directory, "train.bin")).subarray(0, 6)]).toEqual([0, 0, 1, 0, 2, 0]);
  expect(meta.splits).toEqual({
    train: { tokens: 1000, sha256: sha256(path.join(directory, "train.bin")) },
    val: { tokens: 100, sha256: sha256(path.join(directory, "val.bin")) },
  });
  const dataset = openLetters();
  expect(dataset.meta).toEqual(meta);
  expect(dataset.train.length).toBe(1000);
  expect(dataset.tokenizer.decode(dataset.val.read(24, 4))).toBe("yzab");
});

test("writeDataset() uses uint32 for more than 65,536 ids, and read() returns them", () => {
  const wide: Tokenizer = { ...letters, vocabSize: 100_000 };
  const train = Uint32Array.of(0, 65_535, 65_536, 99_999);
  const meta = writeDataset(dataDir, { name: "wide", tokenizer: wide, train, val: train });
  expect(meta.dtype).toBe("uint32");
  const dataset = keep(openDataset(dataDir, "wide"));
  expect([...dataset.train.read(1, 3)]).toEqual([65_535, 65_536, 99_999]);
  const narrow: Tokenizer = { ...letters, vocabSize: 65_536 };
  const ids = [65_535];
  expect(writeDataset(dataDir, { name: "wide", tokenizer: narrow, train: ids, val: ids }).dtype).toBe("uint16");
});

test("writeDataset() stores GPT-2's tokenizer by name", () => {
  const tokenizer = gpt2Tokenizer();
  const ids = tokenizer.encode("hello world");
  writeDataset(dataDir, { name: "bpe", tokenizer, train: ids, val: ids });
  const dataset = keep(openDataset(dataDir, "bpe"));
  expect(dataset.meta.tokenizer).toEqual({ kind: "gpt2" });
  expect(dataset.tokenizer.decode(dataset.val.read(0, 2))).toBe("hello world");
});

test("writeDataset() leaves the old dataset intact when it refuses the new one", () => {
  writeLetters();
  const directory = path.join(dataDir, "letters");
  const before = readdirSync(directory).map((file) => sha256(path.join(directory, file)));
  const write = (train: ArrayLike<number>, val: ArrayLike<number>) =>
    writeDataset(dataDir, { name: "letters", tokenizer: letters, train, val });
  expect(() => write([], [1])).toThrow(/the split "train" is empty/);
  expect(() => write([1], [])).toThrow(/the split "val" is empty/);
  expect(() => write([1], [3, 26])).toThrow(/split "val" of "letters": id 26 at position 1 is not below .* size 26/);
  expect(() => write([-1], [1])).toThrow(/id -1 at position 0/);
  expect(() => write([Number.NaN], [1])).toThrow(RangeError);
  expect(readdirSync(directory).sort()).toEqual(["meta.json", "train.bin", "val.bin"]);
  expect(readdirSync(directory).map((file) => sha256(path.join(directory, file)))).toEqual(before);
});

/** Runs `work` while every write past `limitBytes` fails as on a full disk. */
function withFullDisk(limitBytes: number, work: () => void): void {
  const original = fs.writeSync;
  let written = 0;
  const limited = (descriptor: number, buffer: Uint8Array, offset = 0): number => {
    const length = Math.min(buffer.length - offset, limitBytes - written);
    if (length <= 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    written += length;
    return original(descriptor, buffer, offset, length);
  };
  fs.writeSync = limited as typeof fs.writeSync;
  syncBuiltinESMExports();
  try {
    work();
  } finally {
    fs.writeSync = original;
    syncBuiltinESMExports();
  }
}

test("writeDataset() on a full disk says how much it needs and leaves the old dataset intact", () => {
  const meta = writeLetters();
  withFullDisk(2500, () => {
    expect(() => writeLetters(2000, 200)).toThrow(/the disk is full; it needs 4400 bytes/);
  });
  expect(readdirSync(path.join(dataDir, "letters")).sort()).toEqual(["meta.json", "train.bin", "val.bin"]);
  const dataset = openLetters();
  expect(dataset.meta).toEqual(meta);
  expect(dataset.train.read(999, 1)).toEqual(Int32Array.of(999 % 26));
});

test("writeDataset() killed between its renames leaves a dataset that openDataset() refuses", () => {
  writeLetters();
  const original = fs.renameSync;
  let renames = 0;
  fs.renameSync = (from, to) => {
    if (++renames === 2) throw new Error("killed");
    original(from, to);
  };
  try {
    expect(() => writeLetters(2000, 200)).toThrow("killed");
  } finally {
    fs.renameSync = original;
  }
  expect(() => openDataset(dataDir, "letters")).toThrow(/an interrupted preparation\); run folio prepare letters/);
  writeLetters(2000, 200);
  expect(openLetters().train.length).toBe(2000);
});

test("writeDataset() removes what a killed preparation left an hour ago, and nothing younger", () => {
  writeLetters();
  const directory = path.join(dataDir, "letters");
  const old = path.join(directory, "train.bin.01234567-89ab-cdef-0123-456789abcdef.tmp");
  const young = path.join(directory, "val.bin.01234567-89ab-cdef-0123-456789abcdef.tmp");
  writeFileSync(old, "");
  writeFileSync(young, "");
  fs.utimesSync(old, new Date(), new Date(Date.now() - 4_000_000));
  writeLetters();
  expect(fs.existsSync(old)).toBe(false);
  expect(fs.existsSync(young)).toBe(true);
});

test("an open dataset keeps its files while they are prepared again", () => {
  writeLetters();
  const dataset = openLetters();
  writeDataset(dataDir, { name: "letters", tokenizer: letters, train: [9, 9], val: [9, 9] });
  expect([...dataset.train.read(0, 3)]).toEqual([0, 1, 2]);
});

test("openTokenFile() refuses a file that is missing, empty, cut within an id, of another length, or a folder", () => {
  const open = (filePath: string, tokens?: number) =>
    keep(openTokenFile(filePath, tokens === undefined ? { dtype: "uint16" } : { dtype: "uint16", tokens }));
  expect(() => open(path.join(dataDir, "no.bin"))).toThrow(/no\.bin: it is missing; prepare the dataset again/);
  expect(() => open(rawFile(new Uint8Array(0)))).toThrow(/it is empty/);
  expect(() => open(rawFile(new Uint8Array(7)))).toThrow(/truncated: 7 bytes are not a whole number of uint16 ids/);
  expect(() => open(rawFile(new Uint8Array(8)), 5)).toThrow(/truncated: it has 4 ids, but meta.json says 5/);
  expect(() => open(rawFile(new Uint8Array(8)), 3)).toThrow(/too long: it has 4 ids, but meta.json says 3/);
  expect(() => open(dataDir)).toThrow(/it is a folder, not a file/);
  expect(open(rawFile(new Uint8Array(8)), 4).length).toBe(4);
});

test("read() gives any range of the file and refuses what lies outside, or after close()", () => {
  const file = keep(openTokenFile(rawFile(Uint8Array.of(1, 0, 2, 0, 255, 255)), { dtype: "uint16" }));
  expect([...file.read(0, 3)]).toEqual([1, 2, 65_535]);
  expect([...file.read(2, 1)]).toEqual([65_535]);
  expect(file.read(3, 0)).toHaveLength(0);
  const first = file.read(0, 1);
  file.read(1, 1);
  expect([...first]).toEqual([1]); // the result belongs to the caller
  for (const [start, count] of [[-1, 1] as const, [0, 4] as const, [3, 1] as const, [0.5, 1] as const]) {
    expect(() => file.read(start, count)).toThrow(/it has 3/);
  }
  file.close();
  file.close();
  expect(() => file.read(0, 1)).toThrow(/it has been closed/);
});

test("read() notices a file that is cut short while it is open", () => {
  const filePath = rawFile(new Uint8Array(100));
  const file = keep(openTokenFile(filePath, { dtype: "uint16" }));
  fs.truncateSync(filePath, 10);
  expect(() => file.read(0, 50)).toThrow(/has become shorter since it was opened/);
});

test("openDataset() says which command prepares what is missing", () => {
  expect(() => openDataset(dataDir, "poems")).toThrow(/has no prepared dataset; run folio prepare poems/);
  writeLetters();
  rmSync(path.join(dataDir, "letters", "val.bin"));
  expect(() => openDataset(dataDir, "letters")).toThrow(/val\.bin: it is missing/);
});

/** A pickle of protocol 2 with one dictionary in another, as nanoGPT's meta.pkl: { vocab_size, itos, stoi }. */
function metaPickle(itos: readonly [number, string][]): Uint8Array {
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.of(0x58, bytes.length, 0, 0, 0), bytes]); // BINUNICODE
  };
  const integer = (value: number) => Buffer.of(0x4b, value); // BININT1
  const table = (rows: Buffer[]) => Buffer.concat([Buffer.of(0x7d, 0x28), ...rows, Buffer.of(0x75)]); // EMPTY_DICT MARK … SETITEMS
  const characters = table(itos.map(([id, character]) => Buffer.concat([integer(id), text(character)])));
  const ids = table(itos.map(([id, character]) => Buffer.concat([text(character), integer(id)])));
  const rows = [text("vocab_size"), integer(itos.length), text("itos"), characters, text("stoi"), ids];
  return Buffer.concat([Buffer.of(0x80, 2), table([Buffer.concat(rows)]), Buffer.of(0x2e)]);
}

test("openDataset() reads a folder of nanoGPT's: characters in the order of its meta.pkl, GPT-2's ids without one", () => {
  const directory = path.join(dataDir, "nano");
  fs.mkdirSync(directory);
  const write = (ids: number[]) => {
    for (const split of ["train", "val"]) writeFileSync(path.join(directory, `${split}.bin`), Uint16Array.from(ids));
  };
  write([31373, 995]);
  const gpt2 = keep(openDataset(dataDir, "nano"));
  expect(gpt2.tokenizer.decode(gpt2.train.read(0, 2))).toBe("hello world");
  expect(gpt2.meta).toMatchObject({ vocabSize: 50_257, dtype: "uint16", splits: { val: { tokens: 2 } } });
  const before = gpt2.meta.splits.train.sha256;

  write([1, 0, 2]);
  writeFileSync(
    path.join(directory, "meta.pkl"),
    metaPickle([
      [0, "é"],
      [1, "z"],
      [2, "語"],
    ]),
  );
  const characters = keep(openDataset(dataDir, "nano"));
  expect(characters.tokenizer.decode(characters.train.read(0, 3))).toBe("zé語");
  expect(characters.meta.vocabSize).toBe(3);
  expect(characters.meta.splits.train.sha256).not.toBe(before);

  for (const [pickle, message] of [
    [metaPickle([]), /it has no table of characters/],
    [
      metaPickle([
        [0, "a"],
        [2, "b"],
      ]),
      /its itos has no character for id 1/,
    ],
    [
      metaPickle([
        [0, "a"],
        [1, "a"],
      ]),
      /"a" \(U\+0061\) is repeated/,
    ],
    [Uint8Array.of(1, 2, 3), /meta\.pkl/],
  ] as const) {
    writeFileSync(path.join(directory, "meta.pkl"), pickle);
    expect(() => openDataset(dataDir, "nano")).toThrow(message);
  }
});

test("openDataset() refuses a name that leaves the folder", () => {
  for (const name of ["../etc", "a/b", "", ".", "..", "/abs"]) {
    expect(() => openDataset(dataDir, name)).toThrow(/only letters, digits, "_", "-" and "."/);
  }
});

test("openDataset() refuses a damaged meta.json, naming the fault", () => {
  const meta = writeLetters();
  const metaPath = path.join(dataDir, "letters", "meta.json");
  const faults: [unknown, RegExp][] = [
    ["{", /is not JSON; run folio prepare letters/],
    [null, /its content is null; expected object/],
    [{ ...meta, format: "x" }, /its format is "x"/],
    [{ ...meta, version: 2 }, /its version is 2; expected 1/],
    [{ ...meta, dtype: "int8" }, /its dtype is "int8"; expected one of "uint16"\|"uint32"/],
    [{ ...meta, vocabSize: 0 }, /its vocabSize is 0/],
    [{ ...meta, splits: {} }, /its splits.train is undefined/],
    [{ ...meta, tokenizer: { kind: "x" } }, /its kind is "x"; this version knows/],
    [{ ...meta, vocabSize: 25 }, /its tokenizer has 26 ids, but meta.json says 25/],
    [{ ...meta, splits: { ...meta.splits, val: { tokens: 101 } } }, /has 100 ids, but meta.json says 101/],
  ];
  for (const [value, message] of faults) {
    writeFileSync(metaPath, typeof value === "string" ? value : JSON.stringify(value));
    expect(() => openDataset(dataDir, "letters")).toThrow(message);
  }
});

const draw = { batchSize: 4, blockSize: 8, seed: 1337, step: 0, row: 0, use: "train", vocabSize: 26 } as const;

test("drawBatch() gives rows of consecutive ids and the ids that follow them", () => {
  writeLetters();
  const batch = drawBatch(openLetters().train, draw);
  expect([batch.batchSize, batch.blockSize, batch.x.length, batch.y.length]).toEqual([4, 8, 32, 32]);
  batch.x.forEach((id, index) => {
    expect(batch.y[index]).toBe((id + 1) % 26);
    if (index % 8 > 0) expect(id).toBe((batch.x[index - 1]! + 1) % 26);
  });
});

test("drawBatch() is a function of seed, use, step and row of the global batch", () => {
  writeLetters(100_000);
  const { train } = openLetters();
  const whole = drawBatch(train, draw);
  expect(drawBatch(train, draw)).toEqual(whole);
  const halves = [0, 2].map((row) => drawBatch(train, { ...draw, batchSize: 2, row }));
  expect(halves.flatMap(({ x }) => [...x])).toEqual([...whole.x]);
  for (const other of [{ seed: 1 }, { step: 1 }, { row: 4 }, { use: "eval-train" as const }]) {
    expect(drawBatch(train, { ...draw, ...other }).x).not.toEqual(whole.x);
  }
});

test("drawBatch() reaches the first and the last offset, and no other", () => {
  const ids = Uint32Array.from({ length: 12 }, (_, index) => index);
  writeDataset(dataDir, { name: "letters", tokenizer: letters, train: ids, val: ids });
  const { train } = openLetters();
  const starts = new Set<number>();
  for (let step = 0; step < 100; step++) {
    const { x } = drawBatch(train, { ...draw, step });
    for (let row = 0; row < 4; row++) starts.add(x[row * 8]!);
  }
  expect([...starts].sort()).toEqual([0, 1, 2, 3]); // 12 ids − blockSize 8: nanoGPT's randint(4)
});

test("drawBatch() and wholeSplit() refuse a file that is too short for a block and its targets", () => {
  writeLetters(8, 9);
  const { train, val } = openLetters();
  const message = /has 8 ids, but a block of 8 and its targets need 9; lower blockSize/;
  expect(() => drawBatch(train, draw)).toThrow(message);
  expect(() => [...wholeSplit(train, draw)]).toThrow(message);
  expect(drawBatch(val, draw).x.slice(0, 8)).toEqual(Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7));
  expect(() => drawBatch(val, { ...draw, blockSize: 0 })).toThrow(/blockSize is 0; it must be a positive integer/);
  expect(() => drawBatch(val, { ...draw, batchSize: 1.5 })).toThrow(/batchSize is 1.5/);
});

test("drawBatch() and wholeSplit() refuse ids beyond the vocabulary, of any width", () => {
  writeLetters();
  const { train } = openLetters();
  const message = /id 25 at position \d+ of .*train\.bin is not below the vocabulary size 25/;
  expect(() => drawBatch(train, { ...draw, blockSize: 26, vocabSize: 25 })).toThrow(message);
  expect(() => [...wholeSplit(train, { ...draw, vocabSize: 25 })]).toThrow(message);
  const huge = keep(openTokenFile(rawFile(new Uint8Array(64).fill(255)), { dtype: "uint32" }));
  expect(() => drawBatch(huge, draw)).toThrow(/id 4294967295 at position/);
});

function collect(tokens: TokenFile, batchSize: number, blockSize: number) {
  const pairs: [number, number][] = [];
  let targets = 0;
  let batches = 0;
  for (const batch of wholeSplit(tokens, { batchSize, blockSize, vocabSize: 26 })) {
    expect(batch.x).toHaveLength(batchSize * blockSize);
    let real = 0;
    batch.y.forEach((target, index) => {
      if (target >= 0) pairs.push([batch.x[index]!, target]);
      if (target >= 0) real++;
      else expect(batch.x[index]).toBe(0);
    });
    expect(real).toBe(batch.targets);
    targets += batch.targets;
    batches++;
  }
  return { pairs, targets, batches };
}

test("wholeSplit() makes each id but the first a target exactly once, whatever the shape", () => {
  for (const length of [33, 34, 64, 65, 66, 100]) {
    writeLetters(1000, length);
    const dataset = openDataset(dataDir, "letters");
    for (const [batchSize, blockSize] of [[1, 32] as const, [2, 16] as const, [4, 8] as const, [3, 7] as const]) {
      const { pairs, targets, batches } = collect(dataset.val, batchSize, blockSize);
      expect(targets).toBe(length - 1);
      expect(batches).toBe(Math.ceil((length - 1) / (batchSize * blockSize)));
      expect(pairs).toEqual(Array.from({ length: length - 1 }, (_, index) => [index % 26, (index + 1) % 26]));
    }
    dataset.close();
  }
});

test("drawBatch() reads its rows and targets from the file, and nothing else", () => {
  writeLetters(1_000_000);
  const { train } = openLetters();
  const original = fs.readSync;
  let readBytes = 0;
  fs.readSync = ((...args: Parameters<typeof original>) => {
    const bytes = original(...args);
    readBytes += bytes;
    return bytes;
  }) as typeof fs.readSync;
  syncBuiltinESMExports();
  try {
    for (let step = 0; step < 10; step++) drawBatch(train, { ...draw, batchSize: 12, blockSize: 64, step });
  } finally {
    fs.readSync = original;
    syncBuiltinESMExports();
  }
  expect(readBytes).toBe(10 * 12 * (64 + 1) * 2); // of 2 MB
});

test("a named pipe or a device in place of a dataset's files is refused without waiting", () => {
  writeLetters();
  const at = (file: string) => path.join(dataDir, "letters", file);
  for (const file of ["train.bin", "meta.json"]) {
    const whole = readFileSync(at(file));
    rmSync(at(file));
    execFileSync("mkfifo", [at(file)]);
    expect(() => openDataset(dataDir, "letters"), file).toThrow(`${at(file)}: it is a pipe, not a file; `);
    rmSync(at(file));
    writeFileSync(at(file), whole);
  }
  expect(() => openTokenFile("/dev/zero", { dtype: "uint16" })).toThrow("it is a device, not a file");
});
