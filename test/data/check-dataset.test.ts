import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkDataset } from "../../lib/data/check-dataset.js";
import { writeDataset, writeProblem } from "../../lib/data/token-writer.js";
import { charTokenizer, gpt2Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";

let dataDir: string;

beforeEach(() => {
  dataDir = fs.mkdtempSync(path.join(tmpdir(), "folio-check-"));
});
afterEach(() => fs.rmSync(dataDir, { recursive: true }));

/** Distinct lines. */
const linesFrom = (first: number, count: number) =>
  Array.from({ length: count }, (_, index) => `line number ${first + index} of a text that is ours\n`).join("");

function write(train: string, val: string): void {
  const tokenizer = charTokenizer(train + val);
  const recipe = { tokenizer: "char" };
  writeDataset(dataDir, { name: "x", tokenizer, train: tokenizer.encode(train), val: tokenizer.encode(val), recipe });
}

const file = (name: string) => path.join(dataDir, "x", name);

test("checkDataset() finds nothing wrong with a good dataset, and decodes samples", async () => {
  write(linesFrom(0, 400), linesFrom(400, 50));
  const { problems, samples, facts } = await checkDataset(dataDir, "x");
  expect(problems).toEqual([]);
  expect(samples.map(({ where }) => where)).toEqual(["train at 0", "train at 7,745", "val at 0"]);
  expect(samples[0]!.text).toMatch(/^line number 0 of a text/);
  expect(facts.join("\n")).toMatch(/val: 0\.0 % of its distinct lines/);
});

test("checkDataset() finds validation text that also occurs in training", async () => {
  write(linesFrom(0, 400), linesFrom(100, 50));
  expect((await checkDataset(dataDir, "x")).problems).toEqual([
    expect.stringMatching(/100\.0 % of its lines also occur/),
  ]);
});

test("checkDataset() finds a dominant id, and validation text of another kind", async () => {
  write(linesFrom(0, 400), "zzzzzzzzzzQQ".repeat(40));
  const { problems } = await checkDataset(dataDir, "x");
  expect(problems).toEqual([
    expect.stringMatching(/val: the id \d+, "z", makes up 83\.3 % of all ids/),
    expect.stringMatching(/val: 100\.0 % of its ids never occur in train/),
  ]);
});

test("checkDataset() finds more than half of one id, and more than 1 % of ids that are not in training", async () => {
  const problemsOf = async (train: string, val: string) => {
    write(train, val);
    const { problems } = await checkDataset(dataDir, "x");
    return problems.filter((problem) => /makes up|never occur/.test(problem));
  };
  // 1,000 ids to train on and 1,000 to validate on, each on a line of its own.
  const letters = (share: number) => `${"a".repeat(share)}${"bcdefghi".repeat(200).slice(0, 1000 - share)}`;
  expect(await problemsOf(letters(500), letters(400))).toEqual([]);
  expect(await problemsOf(letters(501), letters(400))).toEqual([
    expect.stringMatching(/^train: the id \d+, "a", makes up 50\.1 % of all ids$/),
  ]);
  const unseen = (count: number) => `${"z".repeat(count)}${letters(400).slice(count)}`;
  expect(await problemsOf(letters(400), unseen(10))).toEqual([]);
  expect(await problemsOf(letters(400), unseen(11))).toEqual([
    expect.stringMatching(/^val: 1\.1 % of its ids never occur in train: the two splits are different kinds of text$/),
  ]);
});

test("checkDataset() finds ids beyond the vocabulary, odd byte counts, other lengths, other files", async () => {
  write(linesFrom(0, 400), linesFrom(400, 50));
  const val = fs.readFileSync(file("val.bin"));
  val.writeUInt16LE(999, 10);
  fs.writeFileSync(file("val.bin"), val);
  expect((await checkDataset(dataDir, "x")).problems).toEqual([
    expect.stringMatching(/val: the file is not the one that meta\.json describes/),
    expect.stringMatching(/1 of [\d,]+ ids are beyond the vocabulary of \d+ \(999 at position 5\)/),
  ]);
  fs.appendFileSync(file("val.bin"), "a");
  expect((await checkDataset(dataDir, "x")).problems.join()).toMatch(/not a whole number of uint16 ids/);
  fs.writeFileSync(file("val.bin"), val.subarray(0, 2000));
  expect((await checkDataset(dataDir, "x")).problems.join()).toMatch(/1,000 ids, but meta\.json says/);
});

test("checkDataset() finds ids of another width, and the wrong tokenizer", async () => {
  const directory = path.join(dataDir, "nano");
  fs.mkdirSync(directory);
  const ids = gpt2Tokenizer().encode(linesFrom(0, 200));
  for (const split of ["train", "val"]) fs.writeFileSync(path.join(directory, `${split}.bin`), Uint32Array.from(ids));
  expect((await checkDataset(dataDir, "nano")).problems.join("\n")).toMatch(
    /train: every second id is 0: these look like 4-byte ids read as 2-byte ones/,
  );
  // Bytes as GPT-2's ids: most decode to parts of characters.
  const noise = Uint16Array.from({ length: 20_000 }, (_, index) => 128 + ((index * 37) % 60));
  for (const split of ["train", "val"]) fs.writeFileSync(path.join(directory, `${split}.bin`), noise);
  expect((await checkDataset(dataDir, "nano")).problems.join("\n")).toMatch(/of the decoded characters are U\+FFFD/);
});

test("writeProblem() says what to do about a full disk or quota, and leaves other errors as they are", () => {
  const what = { name: "x", directory: "data/x", found: "it needs 12 bytes" };
  for (const code of ["ENOSPC", "EDQUOT"]) {
    const error = Object.assign(new Error("write"), { code });
    expect(writeProblem(error, what)).toEqual(
      new Error(
        'Cannot write the dataset "x" to data/x: the disk is full; it needs 12 bytes. Free some space, or choose another dataDir.',
      ),
    );
  }
  for (const other of [Object.assign(new Error("write"), { code: "EACCES" }), new Error("other"), "text"])
    expect(writeProblem(other, what)).toBe(other);
});
