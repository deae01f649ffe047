/**
 * Decisions between recipes (data sets, settings) at small scale: how often two recipes stand in the order that they have
 * at the largest scale (Magnusson 2025, DataDecide). `folio scaling decide` shows it.
 */
import { group } from "d3-array";
import { uniform } from "../../lib/host/random.js";
import { quantile } from "../../lib/host/statistics.js";
import type { Interval } from "../points.js";

/** A trained model's score, under a recipe at a scale. Runs of other seeds are further records. */
export interface RecipeRun {
  readonly recipe: string;
  /** Such as parameters or FLOPs: the largest is the target. */
  readonly scale: number;
  readonly score: number;
}

/** How well a scale decides. */
export interface Decision {
  readonly scale: number;
  /** Recipes with runs at this scale and at the target. */
  readonly recipes: number;
  readonly pairs: number;
  /** The share of pairs in the order of the target: of single runs at this scale, on average over them. Ties are half right. */
  readonly right: number;
  /** Bootstrap over recipes, and over the runs of each. */
  readonly ci80: Interval;
  readonly ci95: Interval;
  /** The recipe that this scale would choose, by its mean score. */
  readonly chosen: string;
  /** How much worse the chosen recipe is at the target than the best one of these. */
  readonly regret: number;
}

export interface DecisionOptions {
  /** Whether lower scores are better, as of losses; false by default. */
  readonly lower?: boolean;
  /** The scale whose order counts; the largest by default. */
  readonly target?: number;
  readonly bootstrap?: number;
  readonly seed?: number;
}

interface Recipe {
  readonly name: string;
  readonly small: readonly number[];
  readonly target: readonly number[];
}

/**
 * The decisions of each scale below the target.
 * @throws {RangeError} if there is no such scale with three recipes that also have runs at the target
 * @example
 * decisions(runs, { lower: true })[0]?.right; // of the smallest scale
 */
export function decisions(runs: readonly RecipeRun[], options: DecisionOptions = {}): Decision[] {
  const { lower = false, bootstrap = 1000, seed = 1 } = options;
  const scales = [...new Set(runs.map(({ scale }) => scale))].sort((a, b) => a - b);
  const target = options.target ?? scales.at(-1);
  const of = group(
    runs.map((run) => ({ ...run, score: lower ? -run.score : run.score })),
    ({ scale }) => scale,
    ({ recipe }) => recipe,
  );
  const scores = (scale: number | undefined, recipe: string) =>
    (scale === undefined ? undefined : of.get(scale)?.get(recipe))?.map(({ score }) => score) ?? [];
  const found = scales.flatMap((scale) => {
    if (target === undefined || scale >= target) return [];
    const recipes = [...(of.get(scale)?.keys() ?? [])]
      .map((name) => ({ name, small: scores(scale, name), target: scores(target, name) }))
      .filter((recipe) => recipe.target.length > 0);
    return recipes.length < 3 ? [] : [decisionOf(recipes, { scale, bootstrap, seed })];
  });
  if (found.length > 0) return found;
  const names = new Set(runs.map(({ recipe }) => recipe));
  throw new RangeError(
    names.size < 3
      ? `Cannot judge decisions: there ${names.size === 1 ? "is one recipe" : `are ${names.size} recipes`} (${[...names].join(", ")}), where three or more are needed; check the column of recipes, and the rows that are chosen.`
      : `Cannot judge decisions: no scale below ${target} has three recipes that also have runs at ${target}; the scales are ${shortList(scales)}.`,
  );
}

/** The first values of a list, and how many more there are. */
const shortList = (values: readonly number[], most = 12) =>
  values.length <= most ? values.join(", ") : `${values.slice(0, most).join(", ")} and ${values.length - most} more`;

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function decisionOf(
  recipes: readonly Recipe[],
  { scale, bootstrap, seed }: { scale: number; bootstrap: number; seed: number },
): Decision {
  const right = rightOf(recipes);
  const shares = Array.from({ length: bootstrap }, (_, b) => {
    const draw = (count: number, ...path: (string | number)[]) => Math.floor(uniform(seed, b, ...path) * count);
    const drawn = recipes.map((_, i) => {
      const recipe = recipes[draw(recipes.length, "recipe", i)]!;
      const again = (what: "small" | "target") =>
        recipe[what].map((_, k) => recipe[what][draw(recipe[what].length, i, what, k)]!);
      return { name: recipe.name, small: again("small"), target: again("target") };
    });
    return rightOf(drawn);
  }).filter((share) => !Number.isNaN(share));
  const ends = (level: number): Interval => [quantile(shares, (1 - level) / 2), quantile(shares, (1 + level) / 2)];
  const best = (what: "small" | "target") =>
    recipes.reduce((high, other) => (mean(other[what]) > mean(high[what]) ? other : high));
  const chosen = best("small");
  return {
    ...{ scale, recipes: recipes.length, pairs: (recipes.length * (recipes.length - 1)) / 2, right },
    ...{ ci80: ends(0.8), ci95: ends(0.95), chosen: chosen.name },
    regret: mean(best("target").target) - mean(chosen.target),
  };
}

/** The share of pairs in the right order; NaN without pairs of two recipes. A recipe that was drawn twice is no pair. */
function rightOf(recipes: readonly Recipe[]): number {
  let [sum, pairs] = [0, 0];
  for (let i = 0; i < recipes.length; i++) {
    for (let j = 0; j < i; j++) {
      const [one, other] = [recipes[i]!, recipes[j]!];
      if (one.name === other.name) continue;
      const order = Math.sign(mean(one.target) - mean(other.target));
      const agreements = one.small.flatMap((a) => other.small.map((b) => (1 + order * Math.sign(a - b)) / 2));
      sum += mean(agreements);
      pairs++;
    }
  }
  return sum / pairs;
}
