/** The warnings that a fit gives of its intervals: too narrow, or not to be relied on. */
import type { FitWarning, Interval } from "../../points.js";
import type { Data } from "../columns.js";
import { createFitter } from "../methods/fitters.js";
import type { MethodOptions } from "../methods/method.js";
import { residualsOf } from "./covariance.js";

/** The limit for the similarity of residuals of equal N (F statistic, as a normal deviate). */
const significant = 3.3;

/** The warning if points of equal N are taken as independent, but their residuals are correlated. */
export function warnOfCorrelation(data: Data, residuals: Float64Array): FitWarning[] {
  if (data.grouped) return [];
  const groups = new Map<number, number[]>();
  for (let i = 0; i < data.size; i++) {
    const group = groups.get(data.lnN[i]!);
    if (group) group.push(residuals[i]!);
    else groups.set(data.lnN[i]!, [residuals[i]!]);
  }
  const sets = [...groups.values()].filter((set) => set.length > 1);
  const count = sets.reduce((sum, set) => sum + set.length, 0);
  const between = sets.length - 1;
  const within = count - sets.length;
  if (between < 4 || within < 8) return [];
  const mean = (set: readonly number[]) => set.reduce((sum, value) => sum + value, 0) / set.length;
  const all = mean(sets.flat());
  const msBetween = sets.reduce((sum, set) => sum + set.length * (mean(set) - all) ** 2, 0) / between;
  const msWithin =
    sets.reduce((sum, set) => sum + set.reduce((s, value) => s + (value - mean(set)) ** 2, 0), 0) / within;
  const ratio = msBetween / msWithin;
  if (!(msWithin > 1e-18) || Math.log(ratio) / Math.sqrt(2 / between + 2 / within) < significant) return [];
  const size = count / sets.length;
  const correlation = (ratio - 1) / (ratio - 1 + size);
  const factor = Math.sqrt(1 + (size - 1) * correlation);
  const message = `The residuals of points with equal N are correlated (${correlation.toFixed(2)}), like those of points of the same run. Taken as independent, they make intervals about ${factor.toFixed(1)} times too narrow; name the column of the run by --group.`;
  return [{ kind: "narrow-intervals", message }];
}

/** Intervals narrower than this share of the expected width are implausible. */
const believable = 0.5;

/** The warning if bootstrap intervals are much narrower than residuals and design suggest. */
export function warnOfWidth(
  ci80: Readonly<Record<string, Interval>>,
  allowed: Readonly<Record<string, Interval>>,
): FitWarning[] {
  for (const name of ["a", "alpha"]) {
    const [given, least] = [ci80[name], allowed[name]];
    if (!given || !least || least[1] - least[0] < 1e-9) continue;
    const share = (given[1] - given[0]) / (least[1] - least[0]);
    if (share >= believable) continue;
    const message = `The interval of ${name} has only ${share.toPrecision(2)} of the width expected from the residuals: the refits vary too little; check their convergence.`;
    return [{ kind: "narrow-intervals", message }];
  }
  return [];
}

/**
 * Points per parameter above which the intervals cover as stated in simulations (test/proofs/scaling-coverage.ts): of
 * L(N, D), 35 for five do, 20 do not; of a broken law, 91 for six do, 35 do not.
 */
const enoughPerParameter = { broken: 10, others: 5 };

export function warnOfFewPoints(points: number, parameters: number, method: MethodOptions["method"]): FitWarning[] {
  const enough = method === "broken" ? enoughPerParameter.broken : enoughPerParameter.others;
  if (points > enough * parameters) return [];
  const message = `${points} points are few for ${parameters} parameters: in simulations with so few points, 80 % intervals contained the true value in 50 to 100 % of the sweeps. Use the intervals as a rough guide only, or add points.`;
  return [{ kind: "uncertain-intervals", message }];
}

/** The fewest refits for a 95 % interval, and the share of refits that may fail. */
const enoughRefits = 200;
const mayFail = 0.05;

export function warnOfRefits(made: number, good: number): FitWarning[] {
  const few = `${made} refits are too few for a 95 % interval, which becomes too narrow; use ${enoughRefits} or more.`;
  const lost = `${made - good} of ${made} refits failed, because the drawn points did not determine the law; the intervals come from the others and are too narrow.`;
  return [
    ...(made < enoughRefits ? [{ kind: "narrow-intervals", message: few }] : []),
    ...(made - good > mayFail * made ? [{ kind: "narrow-intervals", message: lost }] : []),
  ];
}

/** The fewest groups whose points can be drawn again. */
const enoughGroups = 10;

/** The warning if the points share so few runs that the refits have hardly any choice. */
export function warnOfFewGroups({ grouped, clusters }: Data): FitWarning[] {
  if (!grouped || clusters >= enoughGroups) return [];
  const message = `${clusters} groups are too few to draw from: the intervals mean little below ${enoughGroups}. Group only points of the same run, or leave out --group.`;
  return [{ kind: "uncertain-intervals", message }];
}

/** The warning if a law of N and D has seen so few values of one of them that its constants cannot be told apart. */
export function warnOfFewSizes({ lnN, lnD }: Data): FitWarning[] {
  const few = (
    [
      [lnN, "sizes N"],
      [lnD, "numbers of tokens D"],
    ] as const
  )
    .map(([column, what]) => ({ what, count: new Set(Array.from(column, (value) => Math.round(100 * value))).size }))
    .find(({ count }) => count < 3);
  if (!few) return [];
  const message = `There are only ${few.count} different ${few.what}: a law with an exponent and an offset fits any two exactly, so E, its factor and its exponent cannot be told apart. Add runs with a third.`;
  return [{ kind: "uncertain-intervals", message }];
}

/** The half-width of an exponent's 80 % interval, as a share of the exponent, above which percentiles of refits fail. */
const loosest = 0.5;

const isExponent = (name: string) => /^(alpha[ND]?|beta|eta|c\d)$/.test(name);

/** The warning if the points hardly determine an exponent. */
export function warnOfLooseExponents(
  params: Readonly<Record<string, number>>,
  ci80: Readonly<Record<string, Interval>>,
): FitWarning[] {
  const loose = Object.entries(params)
    .flatMap(([name, value]) => (isExponent(name) && ci80[name] ? [{ name, value, at: ci80[name] }] : []))
    .find(({ value, at }) => !(at[1] - at[0] <= 2 * loosest * Math.abs(value)));
  if (!loose) return [];
  const { name, value, at } = loose;
  const message = `The points hardly determine ${name}: ${value.toPrecision(2)}, 80 % interval ${at[0].toPrecision(2)} to ${at[1].toPrecision(2)}. In simulations such intervals contained the true value too rarely. Add points over a wider range, or fix a constant.`;
  return [{ kind: "uncertain-intervals", message }];
}

/** F statistic of a break below which noise may have made it: on points without a break, the search finds up to 5. */
const clearBreak = 8;

/** The warning if a law with one break less fits the points nearly as well. */
export function warnOfUnseenBreak(data: Data, options: MethodOptions, residuals: Float64Array): FitWarning[] {
  const { breaks } = options;
  const fewer =
    breaks > 1 ? { ...options, breaks: breaks - 1 } : { ...options, method: "power" as const, offset: true };
  const fitter = createFitter(data, fewer);
  const without = residualsOf(fitter, data, fitter.estimate());
  const sum = (of: Float64Array) => of.reduce((all, r, i) => all + data.weight[i]! * r * r, 0);
  const freedom = data.size - 3 - 3 * breaks;
  const f = (sum(without) - sum(residuals)) / 3 / (sum(residuals) / freedom);
  if (!(f < clearBreak)) return [];
  const message = `The points do not show ${breaks > 1 ? `a break number ${breaks}` : "a break"}: a law without it fits nearly as well (F = ${Math.max(0, f).toPrecision(2)} with 3 and ${freedom} degrees of freedom; ${clearBreak} or more would be clear). The constants of the break and their intervals mean nothing; use ${breaks > 1 ? `--breaks=${breaks - 1}` : "--method=power"}.`;
  return [{ kind: "uncertain-intervals", message }];
}
