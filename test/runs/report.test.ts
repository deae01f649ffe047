import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import quickstart from "../../configs/quickstart.js";
import type { StepRecord } from "../../lib/runs/records.js";
import { describeEnvironment, trainingReport, writeReport } from "../../lib/runs/report.js";
import { parseSettings } from "../../lib/settings/settings.js";

const settings = parseSettings(quickstart);
const evaluation = (step: number, valLoss: number): StepRecord => ({
  kind: "eval",
  step,
  trainLoss: valLoss - 0.1,
  valLoss,
  learningRate: 1e-3,
  best: true,
});
const iter = (step: number, elapsedMs: number): StepRecord => ({
  kind: "iter",
  step,
  loss: 4 - step / 10,
  learningRate: 1e-3,
  gradNorm: 1,
  elapsedMs,
  tokens: 768 * (step + 1),
  tokensPerSecond: 768_000 / elapsedMs,
});
const records: StepRecord[] = [
  {
    kind: "start",
    step: 0,
    runId: "0",
    parameters: 809_856,
    parametersWithoutPositions: 801_664,
    flopsPerToken: 5_203_200,
    decayed: { tensors: 18, parameters: 808_704 },
    undecayed: { tensors: 9, parameters: 1152 },
    tokensPerStep: 768,
    device: "cpu",
    dtype: "float32",
    compiled: true,
  },
  evaluation(0, 4.5),
  iter(0, 900),
  iter(1, 40),
  iter(2, 30),
  iter(3, 32),
  evaluation(4, 2.25),
  { kind: "end", step: 4, reason: "finished", bestValLoss: 2.25, trainedMs: 61_000 },
];
const validation = { loss: 1.5, targets: 54_321, counted: [3.3, 2.4, 1.8] };

/** The visible text, without scripts, styles and tags. */
const text = (html: string) =>
  html
    .replace(/<(script|style|noscript)[\s\S]*?<\/\1>/g, "")
    .replace(/<[^>]+>/g, " ")
    .replace(/\s+/g, " ");

describe("trainingReport()", () => {
  const html = trainingReport({
    settings,
    records,
    samples: ["\ninterface A {}"],
    validation,
    environment: { Folio: "1" },
  });
  const read = text(html);

  test("begins with the most important numbers", () => {
    expect(read).toContain("typescript GPT: 4 layers, 4 heads, 128 wide, context 64, 0.81 M parameters");
    expect(read).toContain("validation loss 1.500 nats per token, whole split of 54,321");
    expect(read).toContain("compared with trigram −0.300 nats: better than the trigram model");
    expect(read).toContain("training time 1 min 1 s 4 steps, finished");
  });

  test("gives the speed as the median of all steps but the first", () => {
    expect(read).toContain("Time per step, median 32.0 ms");
    expect(read).toContain("Tokens per second, median 24,000");
    expect(read).toContain("First logged step, including tracing 900 ms");
  });

  test("compares the loss with n-gram counts, in nats and bits", () => {
    expect(read).toContain("trigram model 1.800 2.597");
    expect(read).toContain("this GPT 1.500 2.164");
  });

  test("lists changed settings first, with their defaults, and hides the others", () => {
    const folded = html.indexOf("<details>");
    expect(html.indexOf("<code>nLayer</code>")).toBeLessThan(folded);
    expect(html.indexOf("<code>weightDecay</code>")).toBeGreaterThan(folded);
    expect(read).toMatch(/nLayer .*? 4 blocks 12 /);
  });

  test("is one file that loads no others", () => {
    expect(html).not.toMatch(/<(script|link|img|iframe)[^>]*(src|href)="(?!data:)/);
    expect(html.slice(0, html.indexOf("<script>"))).not.toMatch(/@import|url\(/); // the part before Plotly
    expect(html.length).toBeLessThan(1.7e6);
    expect(html).toContain("prefers-color-scheme: dark");
  });

  test("escapes all text from the model and the machine", () => {
    const hostile = '</pre><script>alert("x")</script>';
    const page = trainingReport({ settings, records, samples: [hostile], environment: { [hostile]: hostile } });
    expect(page).not.toContain("<script>alert");
    expect(page).toContain("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;");
  });

  test("works for a run without an end, samples or n-gram counts, and for an empty log", () => {
    const early = text(trainingReport({ settings, records: records.slice(0, 3) }));
    expect(early).toContain("best validation loss 4.500");
    expect(early).not.toContain("Samples");
    expect(text(trainingReport({ settings, records: [] }))).toContain("Settings");
  });
});

describe("writeReport()", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-report-"));
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  test("writes report.html atomically, or reports why it cannot", async () => {
    const file = await writeReport(folder, { settings, records });
    expect(file).toBe(path.join(folder, "report.html"));
    expect(fs.readFileSync(file, "utf8").trimEnd().endsWith("</html>")).toBe(true);
    expect(fs.readdirSync(folder)).toEqual(["report.html"]);
    await expect(writeReport(path.join(folder, "none"), { settings, records })).rejects.toThrow(
      /Cannot write the report/,
    );
  });
});

test("describeEnvironment() gives versions and processor, but no host, user or path", () => {
  const environment = describeEnvironment();
  expect(Object.keys(environment)).toEqual(expect.arrayContaining(["Folio", "TensorFlow", "Node.js", "Processor"]));
  const all = Object.values(environment).join("\n");
  expect(all).not.toContain(os.hostname());
  expect(all).not.toContain(process.cwd());
});
