/** The README's table has one column per processor, and the claim of speed names the processors where it holds. */
import { expect, test } from "vitest";
import { processorName } from "./proof.js";
import { measuredBlock, type Results, withMeasured } from "./readme.js";
import { reproduced, reproducedTable } from "./reproduce.js";

const result = (figures: object, { holds = true, date = "2026-11-27T08:00:00.000Z" } = {}) => ({
  claim: "it is so",
  ...{ holds, date, figures: figures as never, commit: "0123456789", minutes: 1, versions: {}, machine: { cores: 2 } },
});
const steps = (ratio: number) => ({
  "small, float32": { ratio, interval95: "1.1 - 1.9" },
  "small, best of each": { ratio, interval95: "1.1 - 1.9" },
  "middle, float32": { ratio, interval95: "1.1 - 1.9" },
  "middle, bfloat16": { measured: false },
});
const [amd, intel] = ["AMD EPYC (AVX2)", "Intel Xeon (AVX-512 BF16)"];
const results: Results = {
  "large-text": { [amd]: result({ seconds: 35, peakMemoryMegabytes: 285 }) },
  bench: {
    [amd]: result(steps(1.5)),
    [intel]: result(steps(0.8), { holds: false, date: "2026-12-01T08:00:00.000Z" }),
  },
};

test("results of two processors are shown side by side, also one that misses its bound", () => {
  const lines = measuredBlock(results).split("\n");
  expect(lines[0]).toBe(`| What | ${amd} | ${intel} |`);
  expect(lines[1]).toBe("| --- | --- | --- |");
  expect(lines).toContain("| … the same, each in its best number format | 1.5 × (1.1 to 1.9) | 0.8 × (1.1 to 1.9) |");
  expect(lines).toContain(
    "| … 10.6 M parameters | 1.5 × (1.1 to 1.9); bfloat16 not measured | 0.8 × (1.1 to 1.9); bfloat16 not measured |",
  );
  expect(lines).toContain("| `folio prepare` of 2 GB of text | 35 s, at most 285 MB of memory | – |");
  expect(lines.at(-1)).toMatch(/: AMD EPYC \(AVX2\), 2 cores, 2026-11-27; Intel Xeon .*, 2 cores, 2026-12-01\.$/);
});

test("a prediction that misses stands there with its interval, or with the note that none was recorded", () => {
  const held = { runs: 63, decades: 1.5, heldOutOverLargest: 3.1, predictionErrorPercent: 1.4 };
  const of = (more: object) => measuredBlock({ "sweep-ours": { [amd]: result({ ...held, ...more }) } });
  const interval = { predictionInterval95: "1.545 to 1.576" };
  expect(of({ ...interval, heldOutLoss: 1.5371 })).toContain(
    "; the loss, 1.5371, is below the 95 % interval of its prediction, 1.545 to 1.576 |",
  );
  expect(of({ ...interval, heldOutLoss: 1.56 })).toContain("the loss, 1.56, is inside the 95 % interval");
  expect(of({ ...interval, heldOutLoss: 1.6 })).toContain("the loss, 1.6, is above the 95 % interval");
  expect(of({})).toContain("; the interval of the prediction was not recorded |");
});

test("shares of covered truths are those of the constants, without the fits that warn", () => {
  const [now, before] = [
    { a: "80 (74 to 85)", E: "76.5 (70 to 82)", "run at 1 C": "95 (91 to 97)", notConverged: 10 },
    { a: 80.3, b: 82 },
  ];
  const warned = { a: "20 (14 to 26), warned of in 100 %" };
  const figures = { refits: 200, "parametric, a": now, "parametric, b": now, "broken, a": warned, "broken, b": warned };
  const of = (figures: object) => measuredBlock({ "scaling-coverage": { [amd]: result(figures) } });
  expect(of(figures)).toContain(
    "| 76.5 to 80 % (each known to ± 6 or better), by constant, in 2 fits; 2 others, some of whose intervals hold it less often, give a warning |",
  );
  expect(of({ sweeps: 300, one: before, two: before, "one, 95 %": { a: "76 to 84" } })).toContain(
    "| 80.3 to 82 %, by constant, in 2 fits |",
  );
});

test("the claim of speed names the processors where it holds", () => {
  const readme =
    "a <!-- faster -->x<!-- /faster -->\n<!-- proofs -->y<!-- /proofs -->\n<!-- reproduce -->z<!-- /reproduce -->\n";
  expect(withMeasured(readme, results)).toMatch(
    /^a <!-- faster -->on AMD EPYC \(AVX2\)<!-- \/faster -->\n<!-- proofs -->\n\|/,
  );
  const both = { bench: { [amd]: result(steps(1.5)), [intel]: result(steps(1.2)) } };
  expect(withMeasured(readme, both)).toContain(`on ${amd} and ${intel}<`);
  expect(withMeasured(readme, {})).toContain("on no processor yet");
  expect(() => withMeasured("nothing", results)).toThrow("it lacks the marks <!-- proofs -->");
});

test("the table of nanoGPT's numbers says what was measured, by which processor, and what was not run", () => {
  const [demo, char, apple, ...others] = reproduced({});
  expect(demo).toMatchObject({ hardware: "–", time: "–", loss: "not measured" });
  expect([char!.loss, apple!.loss]).toEqual([
    "not run to its best loss yet",
    "not run; `folio check mac` runs it on a Mac",
  ]);
  expect(others.every(({ loss }) => loss.startsWith("not run: "))).toBe(true);
  const one = { "cpu-demo": { [amd]: result({ compiled: { loss: 1.9, minutes: 0.8 } }) } };
  expect(reproduced(one)[0]).toMatchObject({
    command: "folio train cpu_demo",
    hardware: `${amd}, 2 cores, 2026-11-27`,
    time: "0.8 minutes",
    loss: "1.9, one seed; nanoGPT's own checkpoint: 1.898",
  });
});

test("seeds take the place of one seed, with their intervals; other processors keep theirs; what misses says so", () => {
  const mean = (mean: number, interval95: string) => ({ mean, interval95 });
  const seeds = result(
    {
      folio: { ...mean(1.91, "1.90 to 1.92"), minutesOfSteps: 0.7 },
      nanogpt: mean(1.9, "1.89 to 1.91"),
      seeds: "1337, 1, 2",
    },
    { holds: false },
  );
  const single = result({ compiled: { loss: 1.9, minutes: 0.8 } });
  const lines = reproduced({ "cpu-demo": { [amd]: single, [intel]: single }, "cpu-demo-seeds": { [amd]: seeds } });
  expect(lines.filter(({ what }) => what === "The CPU demo").map(({ hardware, loss }) => [hardware, loss])).toEqual([
    [
      `${amd}, 2 cores, 2026-11-27`,
      "1.91 (95 %: 1.90 to 1.92), mean of 3 seeds; nanoGPT's own code here: 1.9 (1.89 to 1.91) (misses what was asked)",
    ],
    [`${intel}, 2 cores, 2026-11-27`, "1.9, one seed; nanoGPT's own checkpoint: 1.898"],
  ]);
  const whole = { bestLoss: 1.47, bestStep: 2000, hours: 2.5, kills: 3, steps: 2600, dtype: "bfloat16" };
  expect(reproducedTable({ "char-whole": { [amd]: result(whole) } })).toContain(
    "| 2.5 hours for 2600 steps, bfloat16 | 1.47, the best, at step 2000; killed and resumed 3 times | 1.4697, the best;",
  );
});

test("the name of a processor includes its widest vectors, since different models share names", () => {
  expect(processorName("AMD EPYC ", ["avx2", "fma"])).toBe("AMD EPYC (AVX2)");
  expect(processorName("AMD EPYC", ["avx2", "avx512f", "avx512_bf16"])).toBe("AMD EPYC (AVX-512 BF16)");
  expect(processorName("Intel Xeon", ["avx512f", "avx512_bf16", "amx_bf16"])).toBe("Intel Xeon (AMX)");
  expect(processorName("Neoverse", ["asimd", "bf16"])).toBe("Neoverse (NEON BF16)");
  expect(processorName("An old one", [])).toBe("An old one");
});
