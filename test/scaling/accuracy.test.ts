/** From loss to accuracy, and decisions between recipes: constants, coverage, what the points do not determine, commands. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { fitAccuracy, predictAccuracy, type TaskPoint } from "../../scaling/questions/accuracy.js";
import { decisions, type RecipeRun } from "../../scaling/questions/decisions.js";
import { temporaryFolder } from "../tiny-run.js";
import { normal } from "./simulate.js";

const folder = temporaryFolder();
const truth = { top: 0.8, chance: 0.25, k: 4, L0: 1.1 };
/** The task's loss is .1 + .5 · loss, so that its middle, 1.1, is at a loss of 2. */
const taskLossOf = (loss: number) => 0.1 + 0.5 * loss;
const accuracyOf = (taskLoss: number) => 0.8 - 0.55 / (1 + Math.exp(-4 * (taskLoss - 1.1)));

interface ModelsOptions {
  readonly from?: number;
  readonly to?: number;
  readonly count?: number;
  readonly noise?: number;
  readonly seed?: number;
}

function models({ from = 0.2, to = 4.4, count = 24, noise = 0, seed = 0 }: ModelsOptions = {}) {
  return Array.from({ length: count }, (_, k) => {
    const loss = from + ((to - from) * k) / (count - 1);
    const off = (what: string) => (noise === 0 ? 0 : noise * normal(seed, what, k));
    const taskLoss = taskLossOf(loss) + off("task");
    return { loss, taskLoss, accuracy: accuracyOf(taskLoss) + off("accuracy") };
  });
}

async function command(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(["scaling", ...argv], { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

describe("accuracy from loss", () => {
  test("the constants are found to 1e-6 without noise, from the task's loss and from the loss itself", () => {
    const chained = fitAccuracy(models());
    for (const [name, value] of Object.entries(truth)) {
      expect(Math.abs(chained.sigmoid.params[name as keyof typeof truth] - value), name).toBeLessThan(1e-6);
    }
    expect(chained.taskLoss).toMatchObject({ intercept: expect.closeTo(0.1, 9), slope: expect.closeTo(0.5, 9) });
    const direct = fitAccuracy(models().map(({ loss, accuracy }) => ({ loss, accuracy })));
    expect(direct.sigmoid.params).toEqual({
      ...{ top: expect.closeTo(0.8, 6), chance: expect.closeTo(0.25, 6) },
      ...{ k: expect.closeTo(2, 6), L0: expect.closeTo(2, 6) },
    });
    for (const loss of [1, 2, 3.3]) {
      expect(predictAccuracy(chained, loss).accuracy).toBeCloseTo(accuracyOf(taskLossOf(loss)), 7);
      expect(predictAccuracy(direct, loss).accuracy).toBeCloseTo(accuracyOf(taskLossOf(loss)), 7);
    }
    expect([chained, direct].flatMap(({ warnings }) => warnings)).toEqual([]);
  });

  test("a power between the losses is a line of their logarithms", () => {
    const points = models().map(({ loss }) => {
      const taskLoss = 0.7 * loss ** 0.6;
      return { loss, taskLoss, accuracy: accuracyOf(taskLoss) };
    });
    const fit = fitAccuracy(points, { form: "power" });
    expect(fit.taskLoss).toMatchObject({ intercept: expect.closeTo(Math.log(0.7), 9), slope: expect.closeTo(0.6, 9) });
    expect(predictAccuracy(fit, 1.7)).toMatchObject({
      taskLoss: expect.closeTo(0.7 * 1.7 ** 0.6, 9),
      accuracy: expect.closeTo(accuracyOf(0.7 * 1.7 ** 0.6), 7),
    });
  });

  test("80 % intervals hold the truth about as often as they say: constants, curve and single models", () => {
    const hits = { constants: [] as boolean[], law: [] as boolean[], run: [] as boolean[] };
    const inside = ([low, high]: readonly [number, number], value: number) => low <= value && value <= high;
    for (let seed = 0; seed < 120; seed++) {
      const fit = fitAccuracy(models({ noise: 0.01, seed }));
      for (const [name, value] of Object.entries(truth)) {
        hits.constants.push(inside(fit.sigmoid.ci80[name as keyof typeof truth]!, value));
      }
      for (const [k, loss] of [0.6, 1.5, 2.2, 3.5].entries()) {
        const predicted = predictAccuracy(fit, loss);
        hits.law.push(inside(predicted.law, accuracyOf(taskLossOf(loss))));
        const taskLoss = taskLossOf(loss) + 0.01 * normal(seed, "new task", k);
        hits.run.push(inside(predicted.run, accuracyOf(taskLoss) + 0.01 * normal(seed, "new", k)));
      }
    }
    // The seeds are fixed: these are what was measured, with a margin.
    for (const [what, found] of Object.entries(hits)) {
      const share = found.filter(Boolean).length / found.length;
      expect(share, what).toBeGreaterThan(0.75);
      expect(share, what).toBeLessThan(0.87);
    }
  });

  test("accuracies that have not left chance, or not levelled off, do not determine the top", () => {
    const weak = models({ from: 2, to: 4.4, noise: 0.005 });
    const found = fitAccuracy(weak);
    expect(found.warnings.map(({ kind }) => kind)).toContain("undetermined-end");
    expect(found.warnings[0]!.message).toContain("do not determine top");
    const given = fitAccuracy(weak, { top: 0.8 });
    expect(given.warnings).toEqual([]);
    expect(given.sigmoid.errors.top).toBeUndefined();
    const width = ({ law }: { law: readonly [number, number] }) => law[1] - law[0];
    expect(width(predictAccuracy(given, 1))).toBeLessThan(width(predictAccuracy(found, 1)) / 2);
    expect(Math.abs(predictAccuracy(given, 1).accuracy - accuracyOf(0.6))).toBeLessThan(0.02);
  });

  test.each([
    ["percent", [{ loss: 1, accuracy: 40 }], "40 is no share from 0 to 1; divide percent by 100"],
    ["too few points", models().slice(0, 5), "5 points for 4 constants; give 6 or more, or fix some"],
    ["a gap", [...models(), { loss: 2, accuracy: 0.5 }], "some points have a task loss and some have none"],
    ["equal losses", models().map((point) => ({ ...point, loss: 2 })), "all points have the same loss"],
  ] as [string, TaskPoint[], string][])("says what is wrong: %s", (what, points, message) => {
    const enough = what === "percent" ? Array.from({ length: 8 }, () => points[0]!) : points;
    expect(() => fitAccuracy(enough)).toThrow(message);
  });

  test("a step between two losses is told", () => {
    const step = models({ noise: 0.001 }).map(({ loss }, k) => ({
      loss,
      accuracy: (loss < 2 ? 0.8 : 0.25) + 0.001 * (k % 3),
    }));
    expect(fitAccuracy(step).warnings.map(({ kind }) => kind)).toContain("no-middle");
  });

  test("errors instead of accuracies, which rise with the loss, are told", () => {
    const errors = models().map(({ accuracy, ...rest }) => ({ ...rest, accuracy: 1 - accuracy }));
    expect(fitAccuracy(errors).warnings.map(({ kind }) => kind)).toEqual(["rising"]);
  });

  test("the command predicts held-out models and losses, as text and as JSON", async () => {
    const file = path.join(folder, "evals.csv");
    const lines = models({ noise: 0.005 }).map(({ loss, taskLoss, accuracy }) =>
      [loss, taskLoss, 100 * accuracy].join(),
    );
    fs.writeFileSync(file, `loss,arc,percent\n${lines.join("\n")}\n`);
    const flags = [
      "accuracy",
      file,
      "--task_loss=arc",
      "--accuracy=d.percent / 100",
      "--hold_out=d.loss < 1",
      "--at=1.5",
    ];
    const { code, out, err } = await command(...flags);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain("19 models, losses 1.1130 to 4.4000");
    expect(out).toMatch(/^accuracy = -0\.\d+ \/ \(1 \+ e\^\(-k \(task loss - L0\)\)\) \+ 0\.\d+; scatter 0\.00\d+$/m);
    const { predictions, sigmoid, taskLoss } = JSON.parse((await command(...flags, "--json")).out);
    expect(predictions.map(({ row }: { row?: number }) => row)).toEqual([1, 2, 3, 4, 5, undefined]);
    for (const each of predictions.slice(0, 5)) expect(Math.abs(each.measured - each.accuracy)).toBeLessThan(0.05);
    expect(predictions[5].taskLoss).toBeCloseTo(taskLoss.intercept + taskLoss.slope * 1.5, 12);
    const { top, chance, k, L0 } = sigmoid.params;
    const middle = top - (top - chance) / (1 + Math.exp(-k * (predictions[5].taskLoss - L0)));
    expect(predictions[5].accuracy).toBeCloseTo(middle, 12);
    expect(out).toContain(`${predictions[5].accuracy.toFixed(4)}  `);
  });

  test.each([
    [["accuracy"], "name a table of evaluated models"],
    [["accuracy", "FILE", "--accuracy=acc"], 'it has no column "acc" (for accuracy); the columns are '],
    [["accuracy", "FILE", "--accuracy=percent", "--chance=25"], 'Cannot read --chance: "25" is not a share'],
    [["accuracy", "FILE", "--accuracy=percent", "--step=cubic"], "cubic"],
    [["accuracy", "FILE", "--accuracy=percent", "--top=1", "--at=0"], 'Cannot read --at: "0" is not a loss'],
    [["accuracy", "FILE", "--accuracy=percent", "--where=d.loss > 9"], "no row fulfils --where"],
    [["accuracy", "FILE", "--accuracy=word"], 'row 1 has "x" in column "word", where a number is wanted'],
    [["decide"], "name a table of trained models"],
    [["decide", "FILE", "--recipe=word", "--scale=loss", "--score=percent"], "there is one recipe (x), where three"],
  ])("a message says what is wrong: %j", async (argv, message) => {
    const file = path.join(folder, "wrong.csv");
    const rows = Array.from({ length: 10 }, (_, k) => `${1 + k / 10},${0.3 + k / 50},x`);
    fs.writeFileSync(file, `loss,percent,word\n${rows.join("\n")}\n`);
    const { code, out, err } = await command(...argv.map((word) => (word === "FILE" ? file : word)));
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(message);
  });
});

describe("decisions between recipes", () => {
  const run = (recipe: string, scale: number, ...scores: number[]): RecipeRun[] =>
    scores.map((score) => ({ recipe, scale, score }));

  test("are right for the share of pairs in the target's order, over single runs; ties are half right", () => {
    const runs = [
      // The target: c > b > a. At 1e6: c > a > b, so one pair of three is wrong. At 1e7: b has one run on each side of a.
      ...[run("a", 1e9, 0.4, 0.42), run("b", 1e9, 0.5, 0.52), run("c", 1e9, 0.6)],
      ...[run("a", 1e6, 0.3), run("b", 1e6, 0.2), run("c", 1e6, 0.4)],
      ...[run("a", 1e7, 0.3), run("b", 1e7, 0.2, 0.35), run("c", 1e7, 0.4)],
      ...[run("a", 1e8, 0.3), run("b", 1e8, 0.3), run("c", 1e8, 0.25)],
    ].flat();
    const found = decisions(runs, { bootstrap: 200 });
    expect(found.map(({ scale }) => scale)).toEqual([1e6, 1e7, 1e8]);
    expect(found.map(({ right }) => right)).toEqual(
      [2 / 3, 2.5 / 3, 0.5 / 3].map((share) => expect.closeTo(share, 12)),
    );
    expect(found[0]).toMatchObject({ recipes: 3, pairs: 3, chosen: "c", regret: 0 });
    expect(found[2]!.regret).toBeCloseTo(0.6 - 0.41, 12);
    // As losses, everything is turned round: the same pairs are right.
    const losses = runs.map((each) => ({ ...each, score: 2 - each.score }));
    expect(decisions(losses, { lower: true, bootstrap: 0 }).map(({ right }) => right)).toEqual(
      found.map(({ right }) => expect.closeTo(right, 12)),
    );
    const earlier = decisions(runs, { target: 1e8, bootstrap: 0 });
    expect(earlier.map(({ scale }) => scale)).toEqual([1e6, 1e7]);
  });

  test("intervals hold the share of all recipes about as often as they say, or more often", () => {
    // Quality q of a recipe is normal; a small run has noise as large: pairs stand right with probability 3/4 on average
    // (the correlation of differences is √½, and ½ + asin(√½) / π = ¾).
    let held = 0;
    for (let study = 0; study < 60; study++) {
      const runs = Array.from({ length: 16 }, (_, k) => {
        const q = normal(study, "quality", k);
        return [...run(`r${k}`, 1, q + normal(study, "small", k)), ...run(`r${k}`, 2, q)];
      }).flat();
      const [{ ci80 }] = decisions(runs, { bootstrap: 200, seed: study }) as [ReturnType<typeof decisions>[number]];
      if (ci80[0] <= 0.75 && 0.75 <= ci80[1]) held++;
    }
    expect(held / 60).toBeGreaterThanOrEqual(0.72);
    expect(held / 60).toBeLessThanOrEqual(0.95);
  });

  test("need a smaller scale with three recipes that are at the target too", () => {
    const runs = [...run("a", 1, 1), ...run("b", 1, 2), ...run("c", 1, 3), ...run("a", 2, 1), ...run("b", 2, 2)];
    expect(() => decisions(runs)).toThrow("no scale below 2 has three recipes that also have runs at 2");
    expect(() => decisions(runs.slice(0, 2))).toThrow("there are 2 recipes (a, b), where three or more are needed");
  });

  test("need a direction if the score is named like a loss, and say which one was taken", async () => {
    const names = ["val_loss", "Ppl", "perplexity", "bpb", "bits", "error_rate"];
    const file = path.join(folder, "directions.csv");
    const scores = (at: number) => Array(names.length + 1).fill(at);
    const lines = ["a", "b", "c"].flatMap((recipe, k) => [1e6, 1e8].map((n) => [recipe, n, ...scores(k)].join()));
    fs.writeFileSync(file, `recipe,n,${names.join()},accuracy\n${lines.join("\n")}\n`);
    const decide = (...flags: string[]) => command("decide", file, "--bootstrap=0", ...flags);
    for (const name of names) {
      const { code, out, err } = await decide(`--score=${name}`);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toContain(`is a lower or a higher "${name}" better?`);
      for (const better of ["lower", "higher"]) {
        const said = await decide(`--score=${name}`, `--${better}`);
        expect(said.out).toContain(`; ${better} ${name} counts as better`);
        const json = JSON.parse((await decide(`--score=${name}`, `--${better}`, "--json")).out);
        expect(json).toMatchObject({ score: name, better });
        expect(json.decisions[0].chosen).toBe(better === "lower" ? "a" : "c");
      }
    }
    expect((await decide()).out).toContain("; higher accuracy counts as better");
    expect((await decide("--lower", "--higher")).err).toContain("--lower and --higher exclude each other");
  });

  test("the command prints what --json gives", async () => {
    const file = path.join(folder, "recipes.csv");
    const lines = ["a", "b", "c", "d"].flatMap((recipe, k) =>
      [1e6, 1e8].map((n) => [recipe, n, 3 - 0.1 * k - (n === 1e6 && recipe === "b" ? 0.15 : 0)].join()),
    );
    fs.writeFileSync(file, `data,n,loss\n${lines.join("\n")}\n`);
    const flags = ["decide", file, "--recipe=data", "--score=loss", "--lower", "--bootstrap=100"];
    const { code, out } = await command(...flags);
    const { decisions: found, target, runs } = JSON.parse((await command(...flags, "--json")).out);
    expect([code, target, runs, found.length]).toEqual([0, 1e8, 8, 1]);
    expect(found[0].right).toBeCloseTo(5 / 6, 12);
    expect(out).toContain(
      "8 runs; decisions of single runs against the order at 100,000,000; lower loss counts as better",
    );
    expect(out).toMatch(/^1,000,000 +4 +6 +83\.3 % +.* +16\.7 % +d +0\.00$/m);
  });
});
