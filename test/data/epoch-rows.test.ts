import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { epochBatch } from "../../lib/data/batches.js";
import { epochRows } from "../../lib/data/epoch-rows.js";
import { openTokenFile, type TokenFile } from "../../lib/data/token-file.js";
import { uniform } from "../../lib/host/random.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
let files = 0;

function tokenFile(ids: readonly number[]): TokenFile {
  const file = path.join(folder, `${files++}.bin`);
  fs.writeFileSync(file, Uint16Array.from(ids));
  return openTokenFile(file, { dtype: "uint16" });
}

const EOT = 0;
/** The id at position p is p, so that a target shows its position; documents end at `ends`. */
const documents = (length: number, ends: readonly number[]) =>
  tokenFile(Array.from({ length }, (_, p) => (ends.includes(p) ? EOT : (p % 60_000) + 1)));

describe("epochRows()", () => {
  test.each([
    ["one document, no id that ends it", 100, undefined, 7],
    ["documents of all lengths, empty ones too", 100, [3, 4, 5, 20, 21, 60], 7],
    ["one that ends with the file, one at its first id", 41, [0, 8, 40], 8],
    ["rows longer than any document", 50, [9, 19, 29, 39, 49], 64],
    ["several segments of 32,768", 100_000, [5, 32_767, 32_768, 65_000, 98_303, 98_304], 1000],
    ["no end in a whole segment", 120_000, [100, 110_000], 999],
    ["two ids", 2, [], 4],
  ])(
    "gives each id but the first as a target once an epoch, in an order of its own: %s",
    (_, length, ends, blockSize) => {
      const tokens = documents(length, ends ?? []);
      const rows = epochRows(tokens, { blockSize, endOfText: ends && EOT, seed: 1 });
      const orders = [0, 1].map((epoch) => {
        const seen = new Uint8Array(length);
        const starts: number[] = [];
        for (let row = 0; row < rows.count; row++) {
          const { start, targets } = rows.place(epoch * rows.count + row);
          starts.push(start);
          expect(targets >= 1 && targets <= blockSize).toBe(true);
          for (let p = start + 1; p <= start + targets; p++) seen[p]!++;
          // Only the first id of a row may end a document (the previous one) before the end of the row.
          for (const end of ends ?? []) expect(end > start && end < start + targets).toBe(false);
        }
        expect(seen[0]).toBe(0);
        expect(seen.subarray(1).every((count) => count === 1)).toBe(true);
        return starts.join();
      });
      if (rows.count > 4) expect(orders[0]).not.toBe(orders[1]);
      tokens.close();
    },
  );

  test("splits random documents as a simple reference does", () => {
    for (let seed = 0; seed < 30; seed++) {
      const ids = Array.from({ length: 200 }, (_, i) => (uniform(seed, "id", i) < 0.15 ? EOT : 1));
      const tokens = tokenFile(ids);
      const blockSize = 1 + Math.floor(uniform(seed, "block") * 9);
      const wanted: string[] = [];
      for (let start = 0; start < 199; ) {
        const ending = ids.indexOf(EOT, start + 1);
        const targets = Math.min(blockSize, 199 - start, ending < 0 ? 200 : ending - start);
        wanted.push(`${start} ${targets}`);
        start += targets;
      }
      const rows = epochRows(tokens, { blockSize, endOfText: EOT, seed });
      const found = Array.from({ length: rows.count }, (_, row) => rows.place(row));
      expect(found.sort((a, b) => a.start - b.start).map((row) => `${row.start} ${row.targets}`)).toEqual(wanted);
      tokens.close();
    }
  });

  test("another seed gives another order, all else equal, and so does another epoch", () => {
    const tokens = documents(400, []);
    const orderOf = (seed: number, epoch: number) => {
      const rows = epochRows(tokens, { blockSize: 7, seed });
      return Array.from({ length: rows.count }, (_, row) => rows.place(epoch * rows.count + row).start).join();
    };
    const orders = [1, 2, 1337].flatMap((seed) => [0, 1, 2].map((epoch) => orderOf(seed, epoch)));
    expect(new Set(orders).size).toBe(9);
    expect(orderOf(2, 1)).toBe(orders[4]);
    tokens.close();
  });

  test("a file of one id has no rows", () => {
    expect(() => epochRows(tokenFile([1]), { blockSize: 4, seed: 1 })).toThrow(/^Cannot make rows of .*it has 1 ids/);
  });
});

describe("epochBatch()", () => {
  test("fills x and y, with nothing to predict past a document's end", () => {
    const tokens = tokenFile([5, 6, EOT, 7, 8, 9, EOT]);
    const rows = epochRows(tokens, { blockSize: 4, endOfText: EOT, seed: 3 });
    expect(rows.count).toBe(2);
    const { x, y } = epochBatch(tokens, rows, { batchSize: 2, blockSize: 4, row: 0, vocabSize: 10 });
    const all = [[...x.slice(0, 4), ...y.slice(0, 4)].join(), [...x.slice(4), ...y.slice(4)].join()];
    expect(all.sort()).toEqual(["0,7,8,9,7,8,9,0", "5,6,0,0,6,0,-1,-1"]);
  });
});
