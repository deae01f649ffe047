import fs from "node:fs";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";

async function folio(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(argv, { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

async function json(...argv: string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await folio("sizes", ...argv, "--json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return JSON.parse(out) as Record<string, unknown>;
}

describe("folio sizes", () => {
  test("prints parameters, FLOPs, memory and time of a preset", async () => {
    const { code, out, err } = await folio("sizes", "config/train_gpt2.py", "--hardware=A100", "--devices=8");
    expect(code).toBe(0);
    expect(err).toBe("config/train_gpt2.py does not exist here: Folio's own configs/train_gpt2.ts is read\n");
    expect(out).toMatch(/^12 layers, 12 heads, 768 features, context 1,024, 50,304 ids$/m);
    expect(out).toMatch(/^block +7,079,424 +5\.69$/m);
    expect(out).toMatch(/^attention\/qkv +3,623,878,656 /m);
    expect(out).toMatch(/^optimizer +0\.99 GB +8 N$/m);
    expect(out).toMatch(/^tokens +294,912,000,000 \(600,000 steps\)$/m);
    expect(out).toMatch(/^on +8 × A100, 312\.0 TFLOP\/s each, 30 % reached$/m);
    // 3.90 days without the mean of the gradients.
    expect(out).toMatch(/^each device sends +871 MB per step/m);
    expect(out).toMatch(/^that takes +\d+\.\d+ ms, of which \d+\.\d+ ms after the backward pass$/m);
    expect(out).toMatch(/^efficiency +9\d\.\d % \(by a model that was not compared with measurements\)$/m);
    expect(out).toMatch(/^total time +(3\.9|4\.0)\d days$/m);
  });

  test("knows GPT-2's shapes and the vocabularies of nanoGPT's datasets", async () => {
    expect(await json("--init_from=gpt2-xl")).toMatchObject({
      settings: { nLayer: 48, nHead: 25, nEmbd: 1600, bias: true, vocabSize: 50_257 },
      parameters: expect.arrayContaining([expect.objectContaining({ part: "total", count: 1_557_611_200 })]),
    });
    expect((await json("train_shakespeare_char", "--data_dir=nowhere")).settings).toMatchObject({ vocabSize: 65 });
  });

  test("estimates time with measured FLOP/s and tokens, or without", async () => {
    const flags = ["cpu_demo", "--vocab_size=65", "--tokens=1e6"];
    const speed = ["--flops=100e9", "--utilization=0.5"];
    const planned = await json(...flags, ...speed);
    const perToken = planned.flopsPerToken as number;
    expect(planned.seconds).toBeCloseTo((perToken * 1e6) / (100e9 * 0.5), 9);
    const shared = ["--devices=2", "--gradient_accumulation_steps=2"];
    const two = await json(...flags, ...speed, ...shared, "--bandwidth=1e12", "--latency=0");
    expect(two.seconds).toBeCloseTo((perToken * 1e6) / (2 * 100e9 * 0.5), 6);
    // Slower by what the slowest link exposes.
    const slow = await json(...flags, ...speed, ...shared, "--bandwidth=0.001");
    const { exposedSeconds } = slow.dataParallel as { exposedSeconds: number };
    const steps = 1e6 / (slow.tokensPerStep as number);
    expect(slow.seconds).toBeCloseTo((two.seconds as number) + steps * exposedSeconds, 3);
    const { out } = await folio("sizes", ...flags);
    expect(out).toContain('For the training time, give --hardware="A100" or --flops');
  });

  test("refuses devices that a training would refuse, with the same words", async () => {
    const flags = ["train_gpt2", "--devices=64"];
    const { code, out, err } = await folio("sizes", ...flags, "--hardware=A100");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain("Cannot train on 64 devices: they cannot share 40 micro-batches equally");
    expect(err).toContain("such as --gradient_accumulation_steps=64");
    expect((await folio("train", ...flags)).err).toBe(err);
    const [line] = fs.readFileSync("README.md", "utf8").match(/(?<=npx folio )sizes .*--devices=64.*(?= #)/) ?? [];
    expect((await folio(...line!.trim().split(/ +/))).code).toBe(0);
  });

  test("warns if memory is short, and names the settings to lower", async () => {
    const flags = [
      "sizes",
      "--dataset=openwebtext",
      "--data_dir=nowhere",
      "--memory=16",
      "--hardware=T4",
      "--dtype=float32",
    ];
    const { err } = await folio(...flags);
    expect(err).toMatch(
      /needs about 24\.0 GB of memory, but there are only 16\.0 GB; try batchSize 6 with gradientAccum/,
    );
  });

  test.each([
    [["--dataset=own", "--data_dir=nowhere"], "Cannot size the model: the vocabulary of own is unknown before"],
    [["--vocab_size=9", "--hardware=Voodoo"], "Cannot plan for Voodoo: it is not in the table (B200, "],
    [["--vocab_size=9", "--hardware=V100", "--dtype=bfloat16"], "Cannot plan for V100 in bfloat16"],
    [["--vocab_size=9", "--n_embd=10", "--n_head=3"], "n_embd 10 is not divisible by --n_head 3"],
    [["--hardwar=A100"], "there is no setting hardwar; did you mean --hardware?"],
  ])("%j fails with one line", async (args, message) => {
    const { code, err, out } = await folio("sizes", ...args);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(message);
    expect(err.trimEnd().split("\n")).toHaveLength(1);
  });
});
