/** The output of nanoGPT's train script by preset, and a whole Folio log read with patterns for nanoGPT's logs. */
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { logLines } from "../../lib/cli/train.js";
import { parameterSpecs } from "../../lib/model/model.js";
import { countParameters, flopsPerToken, tokensPerStep } from "../../lib/model/sizing.js";
import { loadSettings } from "../../lib/settings/config-files.js";
import type { Settings } from "../../lib/settings/settings.js";
import { decayGroups } from "../../lib/train/optimizers/adamw.js";
import { temporaryFolder, writeFox } from "../tiny-run.js";

// shared/reference.md, from nanoGPT's code: tokens per iteration, parameters, decayed and other tensors and their
// sizes.
const printed: Record<string, [preset: string, model: Partial<Settings>, ...string[]]> = {
  "shakespeare, characters": [
    "train_shakespeare_char",
    { vocabSize: 65 },
    ...["16,384", "10.65M", "26, with 10,740,096", "13, with 4,992"],
  ],
  "the CPU demo": ["cpu_demo", { vocabSize: 65 }, ...["768", "0.80M", "18, with 802,944", "9, with 1,152"]],
  "124M from scratch": [
    "train_gpt2",
    { vocabSize: 50_304 },
    ...["491,520", "123.59M", "50, with 124,354,560", "25, with 19,200"],
  ],
  "GPT-2's weights": [
    "train_gpt2",
    { vocabSize: 50_257, bias: true, initFrom: "gpt2" },
    ...["491,520", "123.65M", "50, with 124,318,464", "98, with 121,344"],
  ],
};

describe("the first lines of a log are nanoGPT's:", () => {
  test.each(Object.entries(printed))("%s", async (_, [preset, model, tokens, parameters, decayed, others]) => {
    const settings = { ...(await loadSettings([preset])), ...model };
    const start = {
      kind: "start",
      step: 0,
      runId: "",
      parameters: countParameters(settings),
      parametersWithoutPositions: countParameters(settings, { positions: false }),
      flopsPerToken: flopsPerToken(settings),
      ...decayGroups(parameterSpecs(settings)),
      tokensPerStep: tokensPerStep(settings),
      ...{ device: "cpu", dtype: "float32", compiled: true },
      ...(model.initFrom ? { initFrom: model.initFrom } : {}),
    } as const;
    expect(logLines(start, settings).slice(0, 5)).toEqual([
      `tokens per iteration will be: ${tokens}`,
      model.initFrom ? "Initializing from OpenAI GPT-2 weights: gpt2" : "Initializing a new model from scratch",
      `number of parameters: ${parameters}`,
      `num decayed parameter tensors: ${decayed} parameters`,
      `num non-decayed parameter tensors: ${others} parameters`,
    ]);
  });
});

test("patterns for nanoGPT's logs read a whole log, without a wrong match", async () => {
  const folder = temporaryFolder();
  writeFox(folder);
  let out = "";
  const stdout = { write: (more: string) => (out += more) };
  const flags = [
    ...`--data_dir=${folder} --dataset=fox --out_dir=${path.join(folder, "run")} --device=cpu --compile=False`.split(
      " ",
    ),
    ..."--n_layer=1 --n_head=1 --n_embd=8 --block_size=8 --batch_size=2 --gradient_accumulation_steps=2".split(" "),
    ..."--max_iters=6 --eval_interval=3 --eval_iters=2 --log_interval=2 --warmup_iters=0".split(" "),
  ];
  expect(await main(["train", ...flags], { stdout, stderr: stdout })).toBe(0);
  // As in plotting scripts for nanoGPT: re.findall over the whole text.
  const steps = [...out.matchAll(/step (\d+): train loss ([\d.]+), val loss ([\d.]+)/g)];
  const iters = [...out.matchAll(/iter (\d+): loss ([\d.]+), time ([\d.]+)ms, mfu (-?[\d.]+)%/g)];
  expect(steps.map(([, step]) => Number(step))).toEqual([0, 3, 6]);
  expect(iters.map(([, step]) => Number(step))).toEqual([0, 2, 4]);
  for (const [, , train, val] of steps)
    expect([Number(train), Number(val)].every((loss) => loss > 1 && loss < 5)).toBe(true);
  for (const [, , loss, ms, mfu] of iters) {
    expect([Number(loss) < 5, Number(ms) > 0, Number(mfu)]).toEqual([true, true, -100]);
  }
  expect(out.match(/saving checkpoint to (.*)/)?.[1]).toBe(path.join(folder, "run"));
  // Simpler scripts select lines by their beginning.
  const lines = out.split("\n");
  expect(lines.filter((line) => line.startsWith("iter")).length).toBe(iters.length);
  expect(lines.filter((line) => line.startsWith("step")).length).toBe(steps.length);
  expect(lines.filter((line) => /\bloss\b/.test(line) && !/^(iter|step|finished)/.test(line))).toEqual([]);
});
