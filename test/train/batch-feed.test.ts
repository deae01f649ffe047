import { beforeAll, describe, expect, test } from "vitest";
import { type Dataset, openDataset } from "../../lib/data/batches.js";
import type { HostTensors } from "../../lib/engine/host-tensors.js";
import { key } from "../../lib/host/random.js";
import type { Settings } from "../../lib/settings/settings.js";
import { batchFeed } from "../../lib/train/batch-feed.js";
import { temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
let dataset: Dataset;
beforeAll(() => {
  writeFox(folder);
  dataset = openDataset(folder, "fox");
  return () => dataset.close();
});
const settingsOf = (more: Partial<Settings> = {}) =>
  tinySettings(folder, "run", { vocabSize: 28, gradientAccumulationSteps: 3, ...more });
const rows = ({ x, y }: HostTensors) => [...x!.values, ...y!.values].join();

describe("batchFeed()", () => {
  for (const batchSampling of ["uniform", "epochs"] as const) {
    test(`gives the same rows whether drawn ahead or not, resumed or not: ${batchSampling}`, () => {
      const settings = settingsOf({ batchSampling });
      const whole = batchFeed(settings, dataset, { step: 0, tokens: 0 });
      const ahead = batchFeed(settings, dataset, { step: 0, tokens: 0 });
      const resumed = batchFeed(settings, dataset, { step: 2, tokens: 2 * 3 * 2 * 8 });
      const seen = new Set<string>();
      for (let step = 0; step < 4; step++) {
        for (let micro = 0; micro < 3; micro++) {
          const [batch] = whole.take(step, micro) as [HostTensors];
          seen.add(rows(batch));
          ahead.prepare(step, micro);
          expect(ahead.take(step, micro)).toEqual([batch]);
          if (step >= 2) expect(resumed.take(step, micro)).toEqual([batch]);
        }
      }
      expect(seen.size).toBeGreaterThan(8); // the text repeats
      // A prepared batch that is not the one taken does no harm.
      ahead.prepare(0, 0);
      expect(ahead.take(3, 2)).toEqual(whole.take(3, 2));
    });
  }

  for (const batchSampling of ["uniform", "epochs"] as const) {
    test(`another seed draws other rows, all else equal: ${batchSampling}`, () => {
      const of = (seed: number) => {
        const feed = batchFeed(settingsOf({ batchSampling, seed, blockSize: 31 }), dataset, { step: 0, tokens: 0 });
        return [0, 1, 2, 3].map((step) => rows(feed.take(step, 0)[0]!)).join("|");
      };
      expect(of(1)).toBe(of(1));
      expect(new Set([1, 2, 1337].map(of)).size).toBe(3);
    });
  }

  test("dropout's key is of the seed and the step, and counts the rows before the micro-batch", () => {
    const keyOf = (seed: number, step: number, micro: number) => {
      const feed = batchFeed(settingsOf({ seed }), dataset, { step: 0, tokens: 0 });
      return [...(feed.take(step, micro)[0]!.dropoutKey!.values as Int32Array)];
    };
    for (const [seed, step] of [
      [1, 0],
      [1, 1],
      [2, 1],
    ] as const) {
      const [first, second] = key(seed, "dropout", step) as unknown as [number, number];
      // Two rows per micro-batch.
      for (const micro of [0, 1, 2]) expect(keyOf(seed, step, micro)).toEqual([first, (second + 2 * micro) | 0]);
    }
    expect(new Set([keyOf(1, 0, 0), keyOf(1, 1, 0), keyOf(2, 0, 0), keyOf(2, 1, 0)].map(String)).size).toBe(4);
  });

  test("in epochs, a run sees each row once, for any batch size", () => {
    const starts = (batchSize: number, steps: number, tokens = 0) => {
      const feed = batchFeed(settingsOf({ batchSampling: "epochs", batchSize }), dataset, { step: 0, tokens });
      return Array.from({ length: steps * 3 }, (_, i) => feed.take(Math.floor(i / 3), i % 3)).flatMap(([inputs]) => [
        ...(inputs!.x!.values as Int32Array),
      ]);
    };
    expect(starts(4, 5)).toEqual(starts(2, 10));
    // Another batch size from step 5 on continues at the same place.
    expect([...starts(2, 5), ...starts(5, 2, 5 * 3 * 2 * 8)]).toEqual(starts(1, 20));
  });

  test("in epochs, no row crosses the end of a document", () => {
    const space = dataset.tokenizer.encode(" ")[0]!;
    const words = { ...dataset, tokenizer: { ...dataset.tokenizer, endOfText: space } };
    const feed = batchFeed(settingsOf({ batchSampling: "epochs", batchSize: 50 }), words, { step: 0, tokens: 0 });
    const { x, y } = feed.take(0, 0)[0]!;
    for (let row = 0; row < 50; row++) {
      const ids = y!.values.subarray(8 * row, 8 * row + 8);
      const end = ids.indexOf(space);
      if (end >= 0) expect([...ids.subarray(end + 1)].every((id) => id === -1)).toBe(true);
      expect(x!.values.subarray(8 * row + 1, 8 * row + 8).indexOf(space)).toBe(-1);
    }
  });

  test("a batch that was drawn ahead is not drawn again", () => {
    let reads = 0;
    const counting = {
      ...dataset.train,
      length: dataset.train.length,
      read(start: number, count: number) {
        reads++;
        return dataset.train.read(start, count);
      },
    };
    const feed = batchFeed(settingsOf(), { ...dataset, train: counting }, { step: 0, tokens: 0 });
    feed.prepare(1, 2);
    expect(reads).toBeGreaterThan(0);
    const before = reads;
    feed.take(1, 2);
    expect(reads).toBe(before);
    feed.take(1, 2);
    expect(reads).toBe(2 * before);
  });

  test("an error in the data appears when the batch is taken, not when it is drawn ahead", () => {
    const feed = batchFeed(settingsOf({ vocabSize: 3 }), dataset, { step: 0, tokens: 0 });
    feed.prepare(0, 0);
    expect(() => feed.take(0, 0)).toThrow(/^Cannot make a batch: id \d+ at position/);
  });
});
