/**
 * Questions to a published or fitted law, and its answers with intervals: the optimum for a budget, a loss, a size or a
 * number of tokens; the loss of a given training. Intervals are quantiles of the answers of a fit's bootstrap refits.
 * The arithmetic is in optimum.ts; the command is `folio scaling optimum`. Notebook 08-scaling-laws shows it.
 */
import { quantile } from "../../lib/host/statistics.js";
import { extrapolationWarning, roundingWarning } from "../fit/warnings.js";
import { kaplanLoss, kaplanSurface, laws, type Surface } from "../laws.js";
import {
  type Allocation,
  allocation,
  type Circumstances,
  optimumOfBudget,
  optimumOfLoss,
  parametersForLoss,
  parametersForTokens,
  tokensForLoss,
  tokensForParameters,
} from "../optimum.js";
import type { FitWarning, Interval } from "../points.js";
import { exponentsOf, type KnownLaw, type LawNumbers, type OptimumLine } from "./known-law.js";

/** One of budget, loss, parameters and tokens asks for the optimum; two of them describe a training. */
export interface Question {
  /** C; with `inferenceTokens`, it covers inference as well. */
  readonly budgetFlops?: number;
  readonly loss?: number;
  readonly parameters?: number;
  readonly tokens?: number;
  readonly inferenceTokens?: number;
  readonly uniqueTokens?: number;
}

/** A training; loss is null if the law predicts no losses. */
export interface Answered {
  readonly n: number;
  readonly d: number;
  readonly c: number;
  readonly loss: number | null;
}

type Quantity = keyof Answered;

export interface Answer extends Answered {
  /** FLOPs of training and inference, for a question with `inferenceTokens`. */
  readonly totalFlops?: number;
  /** D / U, for a question with `uniqueTokens`. */
  readonly epochs?: number;
  /** If the question fixes two quantities: the optimum for the same training FLOPs. */
  readonly best?: Answered;
  readonly exponents: { readonly a: number; readonly b: number };
  /** Intervals of the quantities that the question leaves open; null if there are none. */
  readonly intervals: Readonly<Record<"ci80" | "ci95", Partial<Record<Quantity, Interval>>>> | null;
  /** The source of the intervals, or why there are none. */
  readonly intervalsFrom: string;
  readonly warnings: readonly FitWarning[];
}

/**
 * The answer of a law.
 * @throws {RangeError} for a question that fixes nothing, too much, or something that the law cannot reach
 * @example
 * ask(publishedLaw("epoch"), { budgetFlops: 5.76e23 }); // n 72.3e9, d 1.33e12, loss 1.97
 */
export function ask(law: KnownLaw, question: Question): Answer {
  const given = checkQuestion(question);
  const computed = answerOf(law, law.numbers, question);
  // The value in the question, without rounding errors.
  const c = question.inferenceTokens === undefined ? (question.budgetFlops ?? computed.c) : computed.c;
  const answered = { ...computed, c };
  const { n, d } = answered;
  if (![n, d, c].every((value) => value > 0 && Number.isFinite(value))) {
    throw new RangeError(`Cannot answer: by ${law.name}, no training has ${describe(question)}.`);
  }
  const { inferenceTokens: T, uniqueTokens: U } = question;
  const open = openQuantities(given).filter((name) => answered[name] !== null);
  const intervals = law.refits ? intervalsOf(law, question, open) : undefined;
  return {
    ...answered,
    ...(T !== undefined && { totalFlops: c + (law.flopsPerProduct / 3) * n * T }),
    ...(U !== undefined && { epochs: d / Math.min(U, d) }),
    ...(given.length === 2 && { best: bestAt(law, c, question) }),
    exponents: exponentsOf(law.numbers),
    intervals: intervals?.intervals ?? null,
    intervalsFrom: intervals?.from ?? law.noIntervals,
    warnings: [...law.warnings, ...warningsOf(law, answered)],
  };
}

/** The question in words, for tables and messages. */
export function describe({ budgetFlops, loss, parameters, tokens, inferenceTokens, uniqueTokens }: Question): string {
  const parts = [
    budgetFlops !== undefined && `${budgetFlops.toPrecision(4)} FLOPs`,
    loss !== undefined && `a loss of ${loss}`,
    parameters !== undefined && `${parameters.toPrecision(4)} parameters`,
    tokens !== undefined && `${tokens.toPrecision(4)} tokens`,
    inferenceTokens !== undefined && `${inferenceTokens.toPrecision(4)} tokens of inference`,
    uniqueTokens !== undefined && `${uniqueTokens.toPrecision(4)} unique tokens`,
  ];
  return parts.filter((part) => part !== false).join(" and ");
}

function checkQuestion({ budgetFlops, loss, parameters, tokens, inferenceTokens }: Question): Quantity[] {
  const named = { c: budgetFlops, loss, n: parameters, d: tokens };
  const given = (Object.keys(named) as Quantity[]).filter((name) => named[name] !== undefined);
  const flags = "a budget, a loss, parameters and tokens";
  if (given.length === 0)
    throw new RangeError(
      `Cannot answer: nothing is asked for; give ${flags.replace(" and ", " or ")}, or two of these.`,
    );
  if (given.length > 2)
    throw new RangeError(`Cannot answer: ${given.length} of ${flags} are given; two determine the others.`);
  if (given.includes("c") && given.includes("loss")) {
    throw new RangeError(
      "Cannot answer: for a budget and a loss there are two model sizes or none; give only one of them.",
    );
  }
  if (inferenceTokens !== undefined && !given.includes("c") && !given.includes("loss")) {
    throw new RangeError(
      "Cannot include inference: with parameters or tokens given, there is nothing to optimize; give a budget or a loss.",
    );
  }
  if (inferenceTokens !== undefined && given.length === 2) {
    throw new RangeError(
      "Cannot include inference: with two quantities given, there is nothing to optimize; give only a budget or a loss.",
    );
  }
  return given;
}

/** The quantities that the law must determine; two of N, D and C already give the third. */
function openQuantities(given: readonly Quantity[]): Quantity[] {
  const product = (["n", "d", "c"] as const).filter((name) => given.includes(name));
  return product.length === 2 ? ["loss"] : (["n", "d", "c", "loss"] as const).filter((name) => !given.includes(name));
}

function circumstancesOf(law: KnownLaw, numbers: LawNumbers, question: Question): Circumstances {
  return {
    flopsPerProduct: law.flopsPerProduct,
    inferenceTokens: question.inferenceTokens,
    uniqueTokens: question.uniqueTokens,
    repetition: "surface" in numbers ? numbers.repetition : undefined,
  };
}

function answerOf(law: KnownLaw, numbers: LawNumbers, question: Question): Answered {
  if ("line" in numbers) return onLine(law, numbers.line, question);
  const circumstances = circumstancesOf(law, numbers, question);
  if ("surface" in numbers) return onSurface(numbers.surface, question, circumstances);
  if (question.uniqueTokens !== undefined) {
    throw new RangeError(
      `Cannot include repetition: its effect has not been measured for Kaplan's law (${law.name}); fit by repeated.`,
    );
  }
  const { alphaD } = numbers.kaplan;
  const { loss: asked, ...rest } = question;
  const raise = (value: number) => value ** (1 / alphaD);
  const D = question.tokens ?? Number.POSITIVE_INFINITY;
  const floor = kaplanLoss(numbers.kaplan, Number.POSITIVE_INFINITY, D);
  if (asked !== undefined && !(raise(asked) > raise(floor))) {
    throw new RangeError(
      `Cannot reach a loss of ${asked}: training on ${D.toPrecision(3)} tokens cannot go below ${floor.toPrecision(4)}; ask for a higher loss.`,
    );
  }
  const raised = { ...rest, ...(asked !== undefined && { loss: raise(asked) }) };
  const { loss, ...answered } = onSurface(kaplanSurface(numbers.kaplan), raised, circumstances);
  return { ...answered, loss: loss ** alphaD };
}

function onSurface(surface: Surface, question: Question, circumstances: Circumstances): Allocation {
  const { budgetFlops: C, loss, parameters: N, tokens: D } = question;
  const product = C === undefined ? undefined : C / circumstances.flopsPerProduct!;
  const at = (n: number, d: number) => allocation(surface, n, d, circumstances);
  if (N !== undefined) {
    if (D !== undefined) return at(N, D);
    if (product !== undefined) return at(N, product / N);
    if (loss !== undefined) return at(N, tokensForLoss(surface, loss, N, circumstances));
    return at(N, tokensForParameters(surface, N));
  }
  if (D !== undefined) {
    if (product !== undefined) return at(product / D, D);
    if (loss !== undefined) return at(parametersForLoss(surface, loss, D, circumstances), D);
    return at(parametersForTokens(surface, D), D);
  }
  return C === undefined ? optimumOfLoss(surface, loss!, circumstances) : optimumOfBudget(surface, C, circumstances);
}

function onLine(law: KnownLaw, { nScale, dScale, a, b }: OptimumLine, question: Question): Answered {
  const { budgetFlops, parameters, tokens, ...rest } = question;
  const fixed = [budgetFlops, parameters, tokens].filter((value) => value !== undefined);
  if (fixed.length !== 1 || Object.values(rest).some((value) => value !== undefined)) {
    throw new RangeError(
      `Cannot answer: ${law.name} gives optima but no losses; ask for a budget, parameters or tokens alone, or fit by parametric.`,
    );
  }
  const c =
    budgetFlops ?? (parameters === undefined ? (tokens! / dScale) ** (1 / b) : (parameters / nScale) ** (1 / a));
  return { n: parameters ?? nScale * c ** a, d: tokens ?? dScale * c ** b, c, loss: null };
}

function bestAt(law: KnownLaw, budgetFlops: number, { uniqueTokens }: Question): Answered {
  const asked = { budgetFlops, ...(uniqueTokens !== undefined && { uniqueTokens }) };
  return { ...answerOf(law, law.numbers, asked), c: budgetFlops };
}

function intervalsOf(law: KnownLaw, question: Question, open: readonly Quantity[]) {
  const answers = law.refits!.flatMap((numbers) => {
    try {
      const answered = answerOf(law, numbers, question);
      return open.every((name) => Number.isFinite(answered[name])) ? [answered] : [];
    } catch {
      return []; // this refit cannot reach the loss
    }
  });
  const all = law.refits!.length;
  if (answers.length < 20) return undefined;
  const at = (level: number) =>
    Object.fromEntries(
      open.map((name) => {
        const values = answers.map((answered) => answered[name]!);
        return [name, [quantile(values, (1 - level) / 2), quantile(values, (1 + level) / 2)]];
      }),
    ) as Partial<Record<Quantity, Interval>>;
  const lost = answers.length < all ? `, ${all - answers.length} of which have no answer` : "";
  return { intervals: { ci80: at(0.8), ci95: at(0.95) }, from: `${all} bootstrap refits${lost}` };
}

/** The factor beyond the largest fitted value, or below the smallest, at which there is a warning. */
const farthest = 10;

function warningsOf(law: KnownLaw, { n, d, c }: Answered): FitWarning[] {
  const found: FitWarning[] = [];
  const { range, numbers } = law;
  if (range?.c)
    found.push(...maybe(extrapolationWarning({ range: { c: range.c, n: range.c, d: range.c } }, c, farthest)));
  for (const [what, value, limits] of [
    ["parameters", n, range?.n],
    ["tokens", d, range?.d],
    ["FLOPs", c, range?.c],
  ] as const) {
    if (!limits) continue;
    const [above, below] = [value / limits[1], limits[0] / value];
    if (below > farthest || (above > farthest && what !== "FLOPs")) {
      const side =
        below > farthest
          ? `the smallest fitted value is ${factor(below)} times as large`
          : `this is ${factor(above)} times the largest fitted value`;
      found.push({
        kind: "extrapolation",
        message: `${value.toPrecision(3)} ${what}: ${side} (fitted range ${limits[0].toPrecision(3)} to ${limits[1].toPrecision(3)}).`,
      });
    }
  }
  // The constants of a fit are not rounded.
  if (law.refits === undefined && "surface" in numbers && Object.hasOwn(laws, law.name))
    found.push(...maybe(roundingWarning(numbers.surface, c)));
  return found;
}

/** 28.3 → "28", without an exponent. */
const factor = (value: number) => String(Number(value.toPrecision(2)));

function maybe(warning: FitWarning | undefined): FitWarning[] {
  return warning ? [warning] : [];
}
