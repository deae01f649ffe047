import fs from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { openDataset } from "../../lib/data/batches.js";
import type { EvalRecord } from "../../lib/runs/records.js";
import { evaluateSplit } from "../../lib/train/evaluate.js";
import { train } from "../../lib/train/train.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { collect, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
const settings = tinySettings(folder, "run", { evalInterval: 3, evalIters: 2 });
let evaluations: EvalRecord[];

beforeAll(async () => {
  writeFox(folder);
  evaluations = (await collect(train(settings))).filter((record) => record.kind === "eval");
});

async function folio(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(argv, { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

interface Printed {
  step: number;
  results: {
    text: string;
    loss: number;
    standardError?: number;
    perplexity: number;
    bitsPerByte: number;
    tokens: number;
    bytes: number;
  }[];
}

async function evaluated(...args: string[]): Promise<Printed> {
  const { code, out, err } = await folio("eval", `--out_dir=${settings.outDir}`, "--no-compile", "--json", ...args);
  expect(code, err).toBe(0);
  return JSON.parse(out) as Printed;
}

describe("folio eval", () => {
  test("gives loss, perplexity and bits per byte of the whole validation split", async () => {
    const { results, step } = await evaluated("--checkpoint=last");
    const dataset = openDataset(folder, "fox");
    const { loss, targets } = await evaluateSplit(openCheckpoint(settings.outDir), dataset.val);
    dataset.close();
    expect(step).toBe(6);
    expect(results).toEqual([
      {
        text: "fox val",
        loss,
        perplexity: Math.exp(loss),
        bitsPerByte: expect.closeTo(loss / Math.LN2, 12), // a character is a byte here
        tokens: targets,
        bytes: targets,
      },
    ]);
  });

  test("sampled, gives the loss that training logged at that step", async () => {
    const { results } = await evaluated("--checkpoint=last", "--eval_iters=2", "--split=both");
    const last = evaluations.at(-1)!;
    expect(results.map(({ loss }) => loss)).toEqual([
      expect.closeTo(last.trainLoss, 10),
      expect.closeTo(last.valLoss, 10),
    ]);
    expect(results[1]!.standardError).toBeGreaterThan(0);
  });

  test("takes the best checkpoint unless told otherwise", async () => {
    const best = evaluations.filter((record) => record.best).at(-1)!;
    expect((await evaluated()).step).toBe(best.step);
  });

  test("reads a text file, even if it is shorter than the context", async () => {
    const file = path.join(folder, "text.txt");
    fs.writeFileSync(file, "the fox");
    expect((await evaluated(`--file=${file}`, "--stride=2")).results[0]).toMatchObject({
      text: file,
      tokens: 6,
      bytes: 6,
    });
  });

  test("prints a table and how the context was used", async () => {
    const flags = ["eval", "config/train_shakespeare_char.py", `--out_dir=${settings.outDir}`, "--dataset=fox"];
    const { out, err } = await folio(...flags, "--eval_iters=0", "--no-compile", "--stride=2", "--batch_size=2");
    expect(out).toMatch(/^text +loss +perplexity +bits per byte +tokens +bytes\nfox val +\d\.\d{4} /);
    expect(out).toContain("windows of 8 tokens begin 2 apart, so each token has 6 or more before it.");
    expect(err).toContain("evaluating");
  });

  test.each([
    [["--out_dir=nowhere"], "there is no nowhere/checkpoint/"],
    [["--init_from=scratch"], "is scratch, an untrained model"],
    [["--init_from=gtp2"], "Did you mean gpt2?"],
    [["--file=nowhere.txt"], "Cannot read the text nowhere.txt"],
    [["--n_layer=3"], "n_layer is a setting of `folio train`, not of `folio eval`."],
    [["--stride=-1"], "Cannot read --stride: it is -1; wanted a whole number of at least 0"],
  ])("%j fails with one line", async (args, message) => {
    const { code, out, err } = await folio("eval", `--out_dir=${settings.outDir}`, "--no-compile", ...args);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(message);
  });

  test("refuses a dataset of another tokenizer, a text with unknown characters, and a file that is not text", async () => {
    writeFox(folder, "wolf", " & wolf");
    expect((await folio("eval", `--out_dir=${settings.outDir}`, "--dataset=wolf")).err).toContain(
      "not prepared with the model's tokenizer",
    );
    const file = path.join(folder, "strange.txt");
    fs.writeFileSync(file, "the £");
    expect((await folio("eval", `--out_dir=${settings.outDir}`, `--file=${file}`)).err).toContain('"£" (U+00A3)');
    fs.writeFileSync(file, Buffer.from([0xff, 0xfe]));
    expect((await folio("eval", `--out_dir=${settings.outDir}`, `--file=${file}`)).err).toContain(
      "it is UTF-16, not UTF-8; convert it, for example with: iconv -f UTF-16",
    );
  });
});
