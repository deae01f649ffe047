/** Every table that a command prints against the JSON that it prints of the same: label by label, cell by cell. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { duration, grouped, millions } from "../../lib/cli/shared/terminal.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import type { MemoryRow } from "../../lib/model/memory.js";
import type { SizeRow } from "../../lib/model/sizing.js";
import { defaultSettings } from "../../lib/settings/settings.js";
import { saveCheckpoint } from "../../lib/weights/checkpoint.js";
import { readSafetensors } from "../../lib/weights/safetensors.js";
import type { Fit, Interval } from "../../scaling/points.js";
import { relativeErrors } from "../../scaling/questions/predict.js";
import { isoflopSweep, strewnSweep } from "../scaling/simulate.js";
import { temporaryFolder, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
writeFox(folder);

async function printed(...argv: string[]): Promise<string> {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(argv, { stdout, stderr: { write: (more: string) => (err += more) } });
  expect(code, err).toBe(0);
  return out;
}

/** A table's rows from the line that begins with `head` to the next empty one, their cells by two spaces or more. */
function rowsBelow(out: string, head: RegExp): { head: string[]; rows: string[][] } {
  const lines = out.split("\n");
  const at = lines.findIndex((line) => head.test(line));
  expect(at, `${head} in\n${out}`).toBeGreaterThanOrEqual(0);
  const cells = (line: string) => line.trim().split(/ {2,}/);
  const end = lines.findIndex((line, index) => index > at && line.trim() === "");
  return { head: cells(lines[at]!), rows: lines.slice(at + 1, end < 0 ? undefined : end).map(cells) };
}

/** A law of N ≠ law of D, with noise: every number differs from every other. */
const law = { E: 1.75, A: 350, B: 1700, alpha: 0.32, beta: 0.37 };
const csv = (name: string, points: readonly { n: number; d: number; c?: number; loss: number }[]) => {
  const file = path.join(folder, name);
  const rows = points.map(({ n, d, c = 6 * n * d, loss }) => [n, d, c, loss].join());
  fs.writeFileSync(file, `n,d,c,loss\n${rows.join("\n")}\n`);
  return file;
};
const short = (value: number, digits = 5) => String(Number(value.toPrecision(digits)));
const span = ([low, high]: Interval) => `${short(low)} … ${short(high)}`;

describe("folio scaling fit", () => {
  test.each(["projection", "isoflop"])("by %s", async (method) => {
    const file = csv(`${method}.csv`, isoflopSweep({ law, noise: 0.003, sizes: 7, width: 4 }));
    const json = path.join(folder, `${method}.json`);
    const out = await printed(
      "scaling",
      "fit",
      file,
      `--method=${method}`,
      "--bootstrap=200",
      "--threads=1",
      `--json=${json}`,
    );
    const fit = JSON.parse(fs.readFileSync(json, "utf8")) as Fit;
    const { head, rows } = rowsBelow(out, /^ +estimate +error/);
    expect(head).toEqual(["estimate", "error", "80 %", "95 %"]);
    expect(rows).toEqual(
      Object.entries({ ...fit.params, ...fit.exponents }).map(([name, value]) => [
        ...[name, short(value), short(fit.se[name]!, 2)],
        ...[span(fit.ci80[name]!), span(fit.ci95[name]!)],
      ]),
    );
    // The wider one is labelled 95 %.
    expect(fit.ci95.a![1] - fit.ci95.a![0]).toBeGreaterThan(fit.ci80.a![1] - fit.ci80.a![0]);
    expect(out).toContain(`${file}: ${method}, 42 points; intervals from 200 refits`);
    expect(out).toContain(`objective ${short(fit.huberSum, 6)}, converged`);
    if (fit.holdout) {
      const { points, factor } = fit.holdout;
      const { rms, bias } = relativeErrors(fit.holdout);
      const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
      expect(percent(rms)).not.toBe(percent(bias));
      expect(out.replace(/\n(?=\S)/g, " ")).toMatch(
        // How many, by how much compute, the root mean square and the mean.
        new RegExp(
          `^ ?check: .* ${points} .* ${factor.toPrecision(2)} .* ${percent(rms)} \\(rms\\).* ${percent(bias)}`,
          "m",
        ),
      );
    } else expect(out).not.toContain("check: ");
    if (!fit.optima) return;
    const optima = rowsBelow(out, /^budget \(FLOPs\)/);
    expect(optima.head).toEqual(["budget (FLOPs)", "N*", "N*, 80 %", "D*", "D*/N*", "loss"]);
    const off = (share: number) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)} %`;
    expect(optima.rows).toEqual(
      fit.optima.map(({ c, n, d, loss, ci80 }) => [
        ...[c.toExponential(2), grouped(n)],
        ci80 ? ci80.n.map((end) => off(end / n - 1)).join(" … ") : "-",
        grouped(d),
        ...[(d / n).toFixed(1), loss.toFixed(4)],
      ]),
    );
  });
});

describe("folio scaling optimum", () => {
  const file = path.join(folder, "law.json");

  async function both(...flags: string[]) {
    const points = csv("law.csv", strewnSweep({ law, noise: 0.01, points: 40 }));
    if (!fs.existsSync(file)) {
      await printed("scaling", "fit", points, "--method=projection", "--bootstrap=60", "--threads=1", `--json=${file}`);
    }
    const args = ["scaling", "optimum", ...flags];
    return { out: await printed(...args), json: JSON.parse(await printed(...args, "--json")) };
  }
  const size = (value: number) => {
    for (const [unit, letter] of [
      [1e12, "T"],
      [1e9, "B"],
      [1e6, "M"],
    ] as const) {
      if (value >= unit) return `${(value / unit).toPrecision(4)}${letter}`;
    }
    return grouped(value);
  };
  const shown = {
    n: size,
    d: size,
    c: (value: number) => value.toExponential(3),
    loss: (value: number) => value.toFixed(4),
  };
  const labels = {
    n: expect.stringMatching(/parameters.*N/),
    d: expect.stringMatching(/tokens.*D/),
    c: expect.stringMatching(/FLOPs.*C/),
    loss: expect.stringMatching(/loss.*nats/),
  };
  const ratio = expect.stringMatching(/D \/ N/);
  type Quantity = keyof typeof labels;
  const quantities = Object.keys(labels) as Quantity[];

  test("of a fit with refits, its intervals under their levels", async () => {
    const { out, json } = await both(`--law=${file}`, "--budget=3e20");
    const { head, rows } = rowsBelow(out, /^3\.000e\+20 FLOPs/);
    expect(head).toEqual(["3.000e+20 FLOPs", "80 %", "95 %"]);
    const ends = (level: "ci80" | "ci95", name: Quantity) =>
      json.intervals[level][name]?.map(shown[name]).join(" … ") ?? "-";
    expect(rows).toEqual([
      ...quantities.map((name) => [labels[name], shown[name](json[name]), ends("ci80", name), ends("ci95", name)]),
      [ratio, (json.d / json.n).toPrecision(4), "-", "-"],
    ]);
    expect(json.intervals.ci95.n[0]).toBeLessThan(json.intervals.ci80.n[0]);
    expect(out).toContain(`N* ∝ C^${json.exponents.a.toFixed(3)}, D* ∝ C^${json.exponents.b.toFixed(3)}`);
    expect(out).toContain(`intervals: quantiles of ${json.intervalsFrom}`);
  });

  test("of a published law: a training beside the best, inference, repetitions, warnings", async () => {
    const training = await both("--law=epoch", "--parameters=7e9", "--tokens=2e12");
    const { rows } = rowsBelow(training.out, /^7\.000e\+9 parameters and/);
    expect(rows).toEqual([
      ...quantities.map((name) => [
        labels[name],
        shown[name](training.json[name]),
        shown[name](training.json.best[name]),
      ]),
      [
        ratio,
        ...[training.json, training.json.best].map(({ n, d }: { n: number; d: number }) => (d / n).toPrecision(4)),
      ],
    ]);
    const served = await both("--law=epoch", "--budget=1e21", "--inference_tokens=1e11");
    expect(served.out).toMatch(/^FLOPs with inference +1\.000e\+21$/m);
    expect(served.json.totalFlops).toBeGreaterThan(served.json.c);
    const repeated = await both("--law=muennighoff", "--budget=1e21", "--unique_tokens=5e9");
    expect(rowsBelow(repeated.out, /FLOPs and 5\.000e\+9 .*tokens$/).rows.at(-1)).toEqual([
      expect.stringMatching(/passes|epochs/),
      repeated.json.epochs.toPrecision(4),
    ]);
    for (const { kind } of served.json.warnings) expect(served.out).toContain(`warning (${kind}): `);
  });
});

describe("from smaller trainings to larger ones", () => {
  const share = (value: number) => `${(100 * value).toFixed(2)} %`;
  const signed = (value: number) => (value > 0 ? "+" : "") + share(value);
  const points = csv("compared.csv", isoflopSweep({ law, noise: 0.004, sizes: 6, width: 4 }));

  test("folio scaling compare", async () => {
    const flags = ["scaling", "compare", points, "--forms=chinchilla,kaplan"];
    const out = await printed(...flags);
    const { forms, verdict } = JSON.parse(await printed(...flags, "--json"));
    const fitted = rowsBelow(out, /^form +constants/);
    expect(fitted.head).toEqual(
      ["form", "constants", "scatter", "ΔAICc", "ΔBIC", /rollout .*rms/, /average/].map((name) =>
        typeof name === "string" ? name : expect.stringMatching(name),
      ),
    );
    expect(fitted.rows).toEqual(
      forms.map((form: Record<string, number> & { name: string; rollout: { rms: number; mean: number } }) => [
        ...[form.name, String(form.parameters), share(form.scatter!), form.aicc!.toFixed(1), form.bic!.toFixed(1)],
        ...[share(form.rollout.rms), signed(form.rollout.mean)],
      ]),
    );
    const [chinchilla, kaplan] = forms;
    expect(kaplan.rollout.rms).toBeGreaterThan(chinchilla.rollout.rms); // the points are Chinchilla's
    const steps = rowsBelow(out, /^predicted from C =/);
    expect(steps.head.slice(-2)).toEqual(["chinchilla", "kaplan"]);
    expect(steps.rows).toEqual(
      chinchilla.steps.map(({ c, fitted: of, predicted, rms }: Record<string, number>, k: number) => [
        ...[c!.toExponential(2), String(of), String(predicted), share(rms!), share(kaplan.steps[k].rms)],
      ]),
    );
    expect(steps.rows.length).toBeGreaterThan(2);
    expect(out.replace(/\s+/g, " ")).toContain(verdict);
  });

  test("folio scaling predict", async () => {
    const fit = path.join(folder, "smaller.json");
    const flags = ["--method=projection", "--bootstrap=60", "--threads=1", `--json=${fit}`];
    await printed("scaling", "fit", points, "--where=d.c < 1e21", ...flags);
    const args = ["scaling", "predict", fit, points, "--where=d.c >= 1e21"];
    const out = await printed(...args);
    const { rows: predictions } = JSON.parse(await printed(...args, "--json"));
    const { head, rows } = rowsBelow(out, /^ *N +D +C/);
    expect(head).toEqual(["N", "D", "C (FLOPs)", "loss", "law, 80 %", "run, 80 %", "measured", "error"]);
    const ends = ({ ci80 }: { ci80: Interval }) => ci80.map((end) => end.toFixed(4)).join(" … ");
    expect(rows.map((row) => row.slice(2))).toEqual(
      predictions.map((one: { c: number; loss: number; law: never; run: never; measured: number; error: number }) => [
        ...[one.c.toExponential(2), one.loss.toFixed(4), ends(one.law), ends(one.run)],
        ...[one.measured.toFixed(4), signed(one.error)],
      ]),
    );
    for (const { loss, measured, error, law: of, run } of predictions) {
      expect(loss / measured - 1).toBeCloseTo(error, 12);
      expect(run.ci80[0]).toBeLessThan(of.ci80[0]); // a run scatters, the law does not
    }
    expect(out).toMatch(new RegExp(`^${predictions.length} measured: `, "m"));
  });
});

test("folio scaling tune", async () => {
  const file = path.join(folder, "tuning.csv");
  const cells = [
    [1e4, 2e6, 0.02],
    [4e4, 9e6, 0.009],
    [2e5, 1e7, 0.0062],
    [1e6, 5e7, 0.0051],
  ] as const;
  const lines = cells.flatMap(([n, d, best], cell) =>
    [0.4, 0.9, 1.7, 3].map(
      (times) => `tuning,${n},${d},${best * times},${3 - 0.3 * cell + 0.1 * Math.log(times) ** 2}`,
    ),
  );
  fs.writeFileSync(file, `role,n,d,learning_rate,loss\n${lines.join("\n")}\n`);
  const out = await printed("scaling", "tune", file);
  const { best, rule, runs, largestDifference } = JSON.parse(await printed("scaling", "tune", file, "--json"));
  expect(runs).toBe(16);
  const { head, rows } = rowsBelow(out, /^ *N +D +best rate/);
  expect(head).toEqual(["N", "D", ...[/best/, /rule/, /loss/].map((name) => expect.stringMatching(name))]);
  const { factor, parameters = 0, tokens = 0 } = rule;
  const ruled = best.map(
    (one: Record<string, number>) => factor * one.parameters! ** parameters * one.tokens! ** tokens,
  );
  expect(rows).toEqual(
    best.map((one: Record<string, number>, k: number) => [
      ...[grouped(one.parameters!), grouped(one.tokens!), one.learningRate!.toPrecision(3)],
      ...[ruled[k].toPrecision(3), one.loss!.toFixed(4)],
    ]),
  );
  const off = Math.max(
    ...best.map((one: Record<string, number>, k: number) => Math.abs(ruled[k] / one.learningRate! - 1)),
  );
  expect(largestDifference).toBeCloseTo(off, 12);
  expect(off).toBeGreaterThan(0.05); // a rule and a best rate that differ in their digits
  expect(out).toContain(` ${Math.ceil(100 * off)} % `);
  const literal = Object.entries(rule).map(([name, value]) => `${name}: ${value}`);
  expect(out).toContain(`  learningRate: { ${literal.join(", ")} },`);
});

describe("a sweep", () => {
  const options = {
    ...{ name: "fox", dataset: "fox", dataDir: folder, batchTokens: 24, learningRate: 0.0125, workers: 1, threads: 1 },
    settings: { blockSize: 8, device: "cpu", dtype: "float32" },
    grid: { kind: "tokens-per-parameter", sizes: [1900, 6000], ratios: [0.9, 3] },
    limits: { epochs: 100, fewestSteps: 20 },
    validationTokens: 128,
  };
  const planFile = path.join(folder, "plan.mjs");
  fs.writeFileSync(planFile, `export default ${JSON.stringify(options)};\n`);

  test("folio scaling plan", async () => {
    const out = await printed("scaling", "plan", planFile, "--no-benchmark");
    const plan = JSON.parse(await printed("scaling", "plan", planFile, "--no-benchmark", "--json"));
    const { head, rows } = rowsBelow(out, /^run +N /);
    expect(head).toEqual(["run", "N", "tokens", "epochs", "batch", "rate", "steps", "FLOPs", "memory", "time"]);
    expect(rows).toEqual(
      plan.runs.map((run: Record<string, number> & { name: string; settings: Record<string, number> }) => [
        ...[run.name, grouped(run.parameters!), grouped(run.tokens!), (run.tokens! / 1500).toFixed(2)],
        ...["24", "0.0125", grouped(run.settings.maxIters!), run.flops!.toExponential(2)],
        ...[`${(run.memoryBytes! / 1e9).toFixed(2)} GB`, "-"],
      ]),
    );
    expect(plan.runs.length).toBeGreaterThan(2);
    const { runs, flops, tokens } = plan.totals;
    expect(out).toContain(`${runs} runs, ${flops.toExponential(3)} FLOPs, ${grouped(tokens)} tokens`);
  });

  test("folio scaling status", async () => {
    const sweep = path.join(folder, "sweep");
    fs.mkdirSync(sweep);
    await printed("scaling", "plan", planFile, "--no-benchmark", `--out=${path.join(sweep, "plan.json")}`);
    const out = await printed("scaling", "status", sweep);
    const { runs, counts } = JSON.parse(await printed("scaling", "status", sweep, "--json"));
    const { head, rows } = rowsBelow(out, /^run +identity/);
    expect(head).toEqual(["run", "identity", "state", "step", "of", "loss"]);
    expect(rows).toEqual(
      runs.map((run: { name: string; id: string; steps: number }) => [
        ...[run.name, run.id.slice(0, 16), "pending", "0", grouped(run.steps), "-"],
      ]),
    );
    expect(counts.pending).toBe(rows.length);
    expect(out).toContain(`${rows.length} pending`);
  });
});

test("folio sizes", async () => {
  const flags = ["sizes", "train_gpt2", "--hardware=A100", "--devices=8", "--tokens=1e9", "--vocab_size=50304"];
  const out = await printed(...flags);
  const json = JSON.parse(await printed(...flags, "--json"));
  const sizes = (rows: readonly SizeRow[]) =>
    rows.map(({ part, count, share }) => [part, grouped(count), (100 * share).toFixed(2)]);
  expect(rowsBelow(out, /^parameters +%$/).rows).toEqual(sizes(json.parameters));
  expect(rowsBelow(out, /^FLOPs .*sequence.* 1,024.* +%$/).rows).toEqual(sizes(json.flops));
  const gigabytes = (bytes: number) =>
    bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 1)} GB`;
  expect(rowsBelow(out, /^memory, batch of 12 +about$/).rows).toEqual(
    json.memory
      .filter(({ bytes }: MemoryRow) => bytes > 0)
      .map(({ part, bytes, formula }: MemoryRow) => [part, gigabytes(bytes), formula]),
  );
  const { tokensPerStep, tokens, flopsPerToken, trainingFlops, seconds, peakFlops } = json;
  const { bytesSent, meanSeconds, exposedSeconds, efficiency } = json.dataParallel;
  const steps = tokens / tokensPerStep;
  expect(seconds).toBeCloseTo((flopsPerToken * 1e9) / (8 * 312e12 * 0.3) + steps * exposedSeconds, 6);
  const ms = (value: number) => `${(1000 * value).toPrecision(4)} ms`;
  expect(rowsBelow(out, /^time$/).rows).toEqual([
    [expect.stringMatching(/^tokens .* step$/), grouped(tokensPerStep)],
    ["tokens", `${grouped(tokens)} (${grouped(tokens / tokensPerStep)} steps)`],
    [expect.stringMatching(/^FLOPs .* token$/), `${grouped(flopsPerToken)} (6 N + 12 L C T)`],
    ["FLOPs", trainingFlops.toExponential(3)],
    ["each device sends", expect.stringContaining(`${grouped(bytesSent / 1e6)} MB per step`)],
    ["that takes", `${ms(meanSeconds)}, of which ${ms(exposedSeconds)} after the backward pass`],
    ["efficiency", expect.stringContaining(`${(100 * efficiency).toFixed(1)} %`)],
    [expect.anything(), expect.stringContaining(`8 × A100, ${(peakFlops / 1e12).toPrecision(4)} TFLOP/s`)],
    [expect.stringMatching(/step$/), `${((1000 * seconds) / (tokens / tokensPerStep)).toPrecision(4)} ms`],
    [expect.stringMatching(/^tokens .* second$/), grouped(tokens / seconds)],
    [expect.anything(), duration(1000 * seconds)],
  ]);
});

test("folio runs", async () => {
  const own = path.join(folder, "runs-of-mine");
  const iter = (step: number, tokensPerSecond: number) => ({
    ...{ kind: "iter", step, loss: 3, learningRate: 0.01, gradNorm: 1, elapsedMs: 10, tokens: 16, tokensPerSecond },
  });
  for (const [name, step] of [
    ["one", 40],
    ["two", 60],
  ] as const) {
    const run = path.join(own, name);
    fs.mkdirSync(run, { recursive: true });
    const settings = { ...defaultSettings, outDir: run, maxIters: 90 };
    fs.writeFileSync(path.join(run, "config.json"), JSON.stringify(settings));
    const evaluation = (at: number, trainLoss: number, valLoss: number, best: boolean) => ({
      ...{ kind: "eval", step: at, trainLoss, valLoss, learningRate: 0.01, best },
    });
    const records = [
      evaluation(0, 4.1 + step / 1000, 4.2, true),
      ...[iter(0, 1500), iter(1, 1800), iter(2, 2600)],
      evaluation(20, 3.1, 2.9 + step / 1000, true),
      evaluation(step, 2.7 + step / 1000, 3.3, false),
      { kind: "end", step, reason: "aborted", bestValLoss: 2.9, trainedMs: 100 },
    ];
    fs.writeFileSync(path.join(run, "log.jsonl"), `${records.map((record) => JSON.stringify(record)).join("\n")}\n`);
  }
  const out = await printed("runs", own);
  const json = JSON.parse(await printed("runs", own, "--json"));
  const { head, rows } = rowsBelow(out, /^run +state/);
  expect(head).toEqual(["run", "state", "step", "train", "val", "best val", "parameters", "tokens/s", "date"]);
  expect(json.map(({ path: at }: { path: string }) => path.basename(at)).sort()).toEqual(["one", "two"]);
  const cell = (value: number | null) => value?.toFixed(4) ?? "-";
  expect(rows).toEqual(
    json.map((run: Record<string, number> & { path: string; parameters: null; updatedAt: string }) => [
      ...[run.path, "interrupted", `${run.step}/90`, cell(run.trainLoss!), cell(run.valLoss!), cell(run.bestValLoss!)],
      ...[run.parameters === null ? "-" : millions(run.parameters), grouped(run.tokensPerSecond!)],
      run.updatedAt.slice(0, 16).replace("T", " "),
    ]),
  );
  const one = json.find(({ step }: { step: number }) => step === 40);
  expect(one).toMatchObject({ trainLoss: 2.74, valLoss: 3.3, bestValLoss: 2.94, tokensPerSecond: 1800, maxIters: 90 });
});

test("folio eval", async () => {
  // PyTorch's weights of a model that nobody has trained, and a text in which a character is not a byte.
  const params = Object.fromEntries(
    Object.entries(readSafetensors(new URL("../golden/train.safetensors", import.meta.url).pathname)).flatMap(
      ([name, tensor]) => (name.startsWith("start/") ? [[name.slice("start/".length), tensor]] : []),
    ),
  );
  const { settings } = JSON.parse(fs.readFileSync(new URL("../golden/train.json", import.meta.url), "utf8"));
  const outDir = path.join(folder, "evaluated");
  const tokenizer = charTokenizer("abcdefghijklé");
  saveCheckpoint(
    outDir,
    {
      ...{ params, optimizer: {}, step: 7, tokens: 0, evaluated: false, bestValLoss: null, trainedMs: 0 },
      ...{ settings: { ...defaultSettings, ...settings, device: "cpu", dtype: "float32" }, runId: "0".repeat(64) },
      ...{ origin: {}, tokenizer: tokenizer.toJSON(), versions: {} },
    },
    { best: false },
  );
  const file = path.join(folder, "accents.txt");
  fs.writeFileSync(file, "abéécdééfghéijklé".repeat(3));
  const flags = ["eval", `--out_dir=${outDir}`, `--file=${file}`, "--no-compile"];
  const out = await printed(...flags);
  const { results, step } = JSON.parse(await printed(...flags, "--json"));
  expect(step).toBe(7);
  const { head, rows } = rowsBelow(out, /^text +loss/);
  expect(head).toEqual(["text", "loss", "perplexity", expect.stringMatching(/^bits .* byte$/), "tokens", "bytes"]);
  const [{ text, loss, perplexity, bitsPerByte, tokens, bytes }] = results;
  expect(rows).toEqual([
    [text, loss.toFixed(4), perplexity.toPrecision(4), bitsPerByte.toFixed(4), grouped(tokens), grouped(bytes)],
  ]);
  // The first character is no target; of the others 18 have two bytes.
  expect([tokens, bytes]).toEqual([50, 68]);
  expect(perplexity).toBeCloseTo(Math.exp(loss), 9);
  expect(bitsPerByte).toBeCloseTo((loss * 50) / Math.LN2 / 68, 9);
});
