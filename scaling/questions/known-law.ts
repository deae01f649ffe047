/** Published and fitted laws for answer.ts: their constants, conventions for N and C, and ranges of points. */
import {
  type KaplanLaw,
  kaplanSurface,
  type LawName,
  laws,
  type NamedLaw,
  type Repetition,
  type Surface,
  surfaceExponents,
} from "../laws.js";
import type { Fit, FitWarning } from "../points.js";

/** Approaches 1 and 2: N* = nScale·C^a, D* = dScale·C^b, and no loss. */
export interface OptimumLine {
  readonly nScale: number;
  readonly dScale: number;
  readonly a: number;
  readonly b: number;
}

/** The constants of a law: a surface L(N, D); Kaplan's law, which is a surface to the power alphaD; or only optima. */
export type LawNumbers =
  | { readonly surface: Surface; readonly repetition?: Repetition | undefined }
  | { readonly kaplan: KaplanLaw }
  | { readonly line: OptimumLine };

/** A law that answers questions. */
export interface KnownLaw {
  readonly name: string;
  /** The paper, or the method of the fit. */
  readonly source: string;
  readonly numbers: LawNumbers;
  /** One per bootstrap refit. */
  readonly refits?: readonly LawNumbers[];
  /** Why there are no intervals. */
  readonly noIntervals: string;
  /** Names in conventions.ts, as far as they are known. */
  readonly conventions: { readonly parameters?: string; readonly flops?: string };
  /** C / (N·D), with C as counted in the law's points. */
  readonly flopsPerProduct: number;
  readonly range?: Partial<Fit["range"]>;
  /** The warnings of the fit. */
  readonly warnings: readonly FitWarning[];
}

/** A law of laws.ts. */
export function publishedLaw(name: LawName): KnownLaw {
  const { surface, source, repetition, parameters, flops, range }: NamedLaw = laws[name];
  return {
    name,
    source,
    numbers: { surface, repetition },
    noIntervals:
      "none are published for its optimum, and the errors of single constants are not enough, because these are correlated; `folio scaling fit` computes intervals from points",
    conventions: { ...(parameters && { parameters }), ...(flops && { flops }) },
    flopsPerProduct: 6,
    ...(range && { range }),
    warnings: [],
  };
}

/**
 * The law of a fit.
 * @throws {RangeError} for a fit by a method without optima
 */
export function fittedLaw(fit: Fit, name = "the fit"): KnownLaw {
  const numbers = numbersOf(fit.params, fit.exponents);
  if (!numbers) {
    throw new RangeError(
      `Cannot use ${name} (a fit by ${fit.method}) for an optimum: this method gives none; fit by parametric, projection, isoflop, envelope, kaplan, repeated, muennighoff or gadre.`,
    );
  }
  const refits = (fit.bootstrap ?? []).flatMap((row) => numbersOf(row) ?? []);
  // Without a column of FLOPs, C was computed from N and D.
  const flops = fit.counting?.flops ?? (fit.trainings?.every(({ c }) => c === undefined) ? "6ND" : undefined);
  const stopped = { kind: "not-converged", message: "The fit did not converge, so its numbers are not estimates." };
  return {
    name,
    source: `${fit.method} fit of ${fit.points} points`,
    numbers,
    ...(refits.length > 0 && { refits }),
    noIntervals: "the fit has no bootstrap refits; `folio scaling fit … --bootstrap 1000 --json FILE` writes some",
    conventions: {
      ...(fit.counting?.parameters && { parameters: fit.counting.parameters }),
      ...(flops !== undefined && { flops }),
    },
    flopsPerProduct: fit.counting?.flopsPerProduct ?? 6,
    range: fit.range,
    warnings: [...(fit.converged ? [] : [stopped]), ...fit.warnings],
  };
}

function numbersOf(
  params: Readonly<Record<string, number>>,
  exponents: { readonly a: number; readonly b: number } | undefined = params as unknown as { a: number; b: number },
): LawNumbers | undefined {
  const { E, A, B, alpha, beta, eta, rStar, rStarN, nScale, dScale, Nc, Dc, alphaN, alphaD } = params;
  if (E !== undefined && A !== undefined && B !== undefined && eta !== undefined) {
    // Gadre's A·M^eta·C^−eta with C = 6ND is A·6^−eta·N^−2eta, and his other term the same in D.
    return { surface: { E, A: A / 6 ** eta, B: B / 6 ** eta, alpha: 2 * eta, beta: 2 * eta } };
  }
  if (Nc !== undefined && Dc !== undefined && alphaN !== undefined && alphaD !== undefined) {
    return { kaplan: { Nc, Dc, alphaN, alphaD } };
  }
  if (nScale !== undefined && dScale !== undefined && exponents) {
    return { line: { nScale, dScale, a: exponents.a, b: exponents.b } };
  }
  if (E === undefined || A === undefined || B === undefined || alpha === undefined || beta === undefined)
    return undefined;
  // The fit of the repeated law does not discount excess parameters; that of Muennighoff's whole law does.
  const repetition =
    rStar === undefined ? undefined : { tokens: rStar, parameters: rStarN ?? Number.POSITIVE_INFINITY };
  return { surface: { E, A, B, alpha, beta }, repetition };
}

/** N* ∝ C^a, D* ∝ C^b. */
export function exponentsOf(numbers: LawNumbers): { a: number; b: number } {
  if ("line" in numbers) return { a: numbers.line.a, b: numbers.line.b };
  return surfaceExponents("surface" in numbers ? numbers.surface : kaplanSurface(numbers.kaplan));
}
