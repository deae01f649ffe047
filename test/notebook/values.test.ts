/** What a notebook shows of a run, a checkpoint, a dataset, settings and tensors: each number under its name, in its unit. */
import { expect, test } from "vitest";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { describeValue } from "../../lib/notebook/values.js";
import { defaultSettings } from "../../lib/settings/settings.js";

const settings = { ...defaultSettings, nLayer: 3, nHead: 2, nEmbd: 10, blockSize: 7, vocabSize: 13, outDir: "out-a" };
const shown = (value: unknown) => describeValue(value)?.["text/plain"]?.split("\n");

test("a run's size, steps, both losses of its last evaluation, and the seconds of its steps", () => {
  const evaluation = { kind: "eval", best: true, learningRate: 1 };
  const records = [
    { kind: "start", parameters: 12_345 },
    { ...evaluation, step: 0, trainLoss: 4, valLoss: 5 },
    { kind: "iter", step: 0, loss: 4.5 },
    { ...evaluation, step: 1500, trainLoss: 1.23456, valLoss: 2.34567 },
    { kind: "end", step: 1500, reason: "finished", bestValLoss: 2, trainedMs: 65_432 },
  ];
  const rows = [
    "  parameters       12,345",
    "  steps            1,500",
    "  validation loss  2.3457 (training 1.2346)",
    "  time in steps    65.4 s",
  ];
  expect(shown({ settings, records })).toEqual(["Run in out-a", ...rows]);
  const html = describeValue({ settings, records })!["text/html"]!;
  expect(html).toContain('<td style="text-align:left">2.3457 (training 1.2346)</td>');
  expect(html).toContain("loss (nats per token)");
  const stopped = [...records.slice(0, -1), { ...records.at(-1), step: 900, reason: "aborted" }];
  expect(shown({ settings, records: stopped })).toContain("  steps            900, stopped");
  expect(shown(records)).toEqual(["Figure: Loss while training"]);
});

test("a checkpoint's step, size and best loss, and how its settings differ from the defaults", () => {
  const checkpoint = {
    params: {},
    settings,
    runId: "abc",
    step: 2000,
    bestValLoss: 1.5,
    path: "out-a/checkpoint/step-2000",
  };
  // 13 ids and 7 positions of 10, three blocks of 12·10² weights and two gains of 10, and the last gain.
  const size = 13 * 10 + 7 * 10 + 3 * (1200 + 20) + 10;
  expect(shown(checkpoint)!.slice(0, 4)).toEqual([
    "Checkpoint out-a/checkpoint/step-2000",
    "  step                  2,000",
    `  parameters            ${size.toLocaleString("en")}`,
    "  best validation loss  1.5000",
  ]);
  expect(shown({ ...checkpoint, bestValLoss: null })![3]).toBe("  best validation loss  none yet");
  const changed = ['outDir "out-a"', "blockSize 7", "vocabSize 13", "nLayer 3", "nHead 2", "nEmbd 10"];
  const plain = (lines: string[]) => lines.map((line) => line.trim().replace(/ +/, " ")).sort();
  expect(plain(shown(checkpoint)!.slice(4))).toEqual([...changed].sort());
  expect(plain(shown(settings)!.slice(1))).toEqual([...changed].sort());
});

test("a dataset's two splits, its vocabulary and how it begins", () => {
  const tokenizer = charTokenizer("abc");
  const meta = {
    ...{ format: "folio-tokens", dataset: "letters", vocabSize: 3, source: { name: "a book" } },
    splits: { train: { tokens: 1200 }, val: { tokens: 300 } },
  };
  const rows = [
    "ids to train on     1,200",
    "ids to validate on  300",
    "vocabulary          3 ids",
    "source              a book",
  ].map((row) => `  ${row}`);
  expect(shown(meta)).toEqual(["Dataset letters", ...rows]);
  const train = {
    length: 4,
    read: (start: number, count: number) => Int32Array.of(0, 1, 2, 0).subarray(start, start + count),
  };
  const begins = '  begins              "abca"';
  expect(shown({ meta, train, val: train, tokenizer })).toEqual(["Dataset letters", ...rows, begins]);
});

test("a tensor's shape and its first six values", () => {
  const values = Float32Array.of(1, 2.34567, -3, 4, 5, 6, 7);
  expect(shown({ dtype: "float32", shape: [7], values })).toEqual(["Float32Array of [7]: 1, 2.346, -3, 4, 5, 6, …"]);
  expect(shown({ dtype: "int32", shape: [], values: Int32Array.of(8) })).toEqual(["Int32Array of a single number: 8"]);
  expect(shown({ dataId: {}, dtype: "float32", shape: [2, 3] })).toEqual(["Tensor of float32, [2, 3]"]);
  expect(describeValue({ some: "thing" })).toBeUndefined();
  expect(describeValue(3)).toBeUndefined();
});
