/**
 * Scaling laws as pure functions of numbers: loss from parameters, tokens and compute, with published constants. Optima
 * are in optimum.ts, fits in fit.ts, conventions for N and C in conventions.ts, published optima in published.ts,
 * learning rates and batch sizes in rules.ts. Notebook 08-scaling-laws shows them.
 *
 * Symbols: N parameters, D training tokens, C training FLOPs, U unique tokens, L loss in nats per token.
 */

/** FLOPs of a PF-day, the unit of compute of Kaplan 2020. */
export const pfDay = 1e15 * 86_400;

/**
 * Kaplan 2020. N is without embeddings (conventions.ts: blocks). The constants are for WebText2 with a vocabulary of
 * 50,257.
 * @example
 * kaplan.ofParameters(8.8e13); // 1
 */
export const kaplan = {
  /** L(N) = (8.8e13 / N)^.076: unlimited data and compute (eq. 1.1). */
  ofParameters: (N: number): number => (8.8e13 / N) ** 0.076,
  /** L(D) = (5.4e13 / D)^.095: unlimited parameters, with early stopping (eq. 1.2). */
  ofTokens: (D: number): number => (5.4e13 / D) ** 0.095,
  /** L(C) = (1.6e7 / C)^.057, C in PF-days: compute at a fixed batch size (appendix A, table 4). @param flops C */
  ofCompute: (flops: number): number => (1.6e7 / (flops / pfDay)) ** 0.057,
  /** L(Cmin) = (3.1e8 / Cmin)^.050, in PF-days: the least compute for a loss, with small batches (eq. 1.3). */
  ofLeastCompute: (flops: number): number => (3.1e8 / (flops / pfDay)) ** 0.05,
  /** L(N, D) (eq. 1.5) with the constants of table 2. */
  ofBoth: (N: number, D: number): number => kaplanLoss({ Nc: 6.4e13, Dc: 1.8e13, alphaN: 0.076, alphaD: 0.103 }, N, D),
} as const;

/** The four constants of Kaplan's L(N, D), a law without irreducible loss whose gain from N grows with D. */
export interface KaplanLaw {
  readonly Nc: number;
  readonly Dc: number;
  readonly alphaN: number;
  readonly alphaD: number;
}

/** L(N, D) = [(Nc / N)^(alphaN / alphaD) + Dc / D]^alphaD (Kaplan 2020, eq. 1.5). */
export function kaplanLoss({ Nc, Dc, alphaN, alphaD }: KaplanLaw, N: number, D: number): number {
  return ((Nc / N) ** (alphaN / alphaD) + Dc / D) ** alphaD;
}

/** Kaplan's law to the power 1 / alphaD. It has the form of the surface L(N, D) below, and its optima are the same. */
export function kaplanSurface({ Nc, Dc, alphaN, alphaD }: KaplanLaw): Surface {
  return { E: 0, A: Nc ** (alphaN / alphaD), B: Dc, alpha: alphaN / alphaD, beta: 1 };
}

/** The five constants of L(N, D) = E + A·N^−alpha + B·D^−beta (Hoffmann 2022, eq. 2). */
export interface Surface {
  /** The irreducible loss, in nats per token. */
  readonly E: number;
  readonly A: number;
  readonly B: number;
  readonly alpha: number;
  readonly beta: number;
}

/** L(N, D) = E + A·N^−alpha + B·D^−beta (Hoffmann 2022, eq. 2). */
export function surfaceLoss({ E, A, B, alpha, beta }: Surface, N: number, D: number): number {
  return E + A * N ** -alpha + B * D ** -beta;
}

/** N* ∝ C^a and D* ∝ C^b: a = beta / (alpha + beta), b = alpha / (alpha + beta) (Hoffmann 2022, eq. 4). */
export function surfaceExponents({ alpha, beta }: Pick<Surface, "alpha" | "beta">): { a: number; b: number } {
  return { a: beta / (alpha + beta), b: alpha / (alpha + beta) };
}

/** G = (alpha·A / (beta·B))^(1 / (alpha + beta)): N* = G·(C/6)^a, D* = (C/6)^b / G (Hoffmann 2022, eq. 4). */
export function surfaceScale({ A, B, alpha, beta }: Surface): number {
  return ((alpha * A) / (beta * B)) ** (1 / (alpha + beta));
}

/** How repeated tokens, and parameters in excess of the data, lose value (Muennighoff 2023, eq. 5, 7). */
export interface Repetition {
  /** R*_D: the number of repetitions after which the next one is worth 1/e of an epoch of new tokens. */
  readonly tokens: number;
  /** R*_N: the same for excess parameters; Infinity if they keep their full value. */
  readonly parameters: number;
}

/** The constants of Muennighoff 2023, section 6, unrounded as in the authors' code. */
export const muennighoffRepetition: Repetition = { tokens: 15.387756, parameters: 5.309743 };

/**
 * x' = U + U·R*·(1 − e^(−R / R*)), R = x / U − 1: the value of x, of which U have full value (Muennighoff 2023, eq. 5).
 * It is at most U·(1 + R*).
 */
function effectiveAmount(x: number, U: number, halflife: number): number {
  if (halflife === Number.POSITIVE_INFINITY) return x;
  const R = Math.max(0, x / U - 1);
  return Math.min(x, U) - U * halflife * Math.expm1(-R / halflife);
}

/** D' (Muennighoff 2023, eq. 5): the number of new tokens as valuable as D tokens that are each seen D / U times. */
export function effectiveTokens(D: number, U: number, { tokens }: Pick<Repetition, "tokens"> = muennighoffRepetition) {
  return effectiveAmount(D, U, tokens);
}

/**
 * N' (Muennighoff 2023, eq. 7): parameters in excess of U_N = G·(U·G)^(beta / alpha), the optimum for U unique tokens,
 * lose value as repeated tokens do.
 */
export function effectiveParameters(
  surface: Surface,
  N: number,
  U: number,
  { parameters }: Pick<Repetition, "parameters"> = muennighoffRepetition,
): number {
  const G = surfaceScale(surface);
  const enough = G * (U * G) ** (surface.beta / surface.alpha);
  return effectiveAmount(N, Math.min(N, enough), parameters);
}

/** L(N', D') (Muennighoff 2023, eq. 6): the surface at the values of N and D with U unique tokens. */
export function repeatedLoss(
  surface: Surface,
  { N, D, U }: { readonly N: number; readonly D: number; readonly U: number },
  repetition: Repetition = muennighoffRepetition,
): number {
  const fresh = Math.min(U, D);
  const worth = effectiveParameters(surface, N, fresh, repetition);
  return surfaceLoss(surface, worth, effectiveTokens(D, fresh, repetition));
}

/** The constants of Gadre's law of over-training. */
export interface OverTraining {
  readonly E: number;
  readonly a: number;
  /** Negative. */
  readonly b: number;
  readonly c: number;
}

/**
 * L = E + a·N^b + c·6^(b/2)·(M·N)^b, M = D / N (Gadre 2024, eq. 4 with C = 6MN², as in their code). Models trained on M
 * tokens per parameter lie on parallel lines: over-training changes the scale of the power law, not its exponent.
 */
export function overTrainingLoss({ E, a, b, c }: OverTraining, N: number, M: number): number {
  return E + a * N ** b + c * 6 ** (b / 2) * (M * N) ** b;
}

/** One break of a broken law: near x = d, the slope changes by −c over a width f in ln x. */
export interface Break {
  readonly c: number;
  readonly d: number;
  readonly f: number;
}

/** The constants of a smoothly broken power law. */
export interface BrokenLaw {
  /** The limit for x → ∞. */
  readonly a: number;
  readonly b: number;
  /** The slope before the first break. */
  readonly c0: number;
  readonly breaks: readonly Break[];
}

/** y = a + b·x^−c0·Π (1 + (x / d)^(1/f))^(−c·f) (Caballero 2023, eq. 1). */
export function brokenLoss({ a, b, c0, breaks }: BrokenLaw, x: number): number {
  // ln(1 + e^t), without overflow or loss of small terms.
  const softplus = (t: number) => Math.max(t, 0) + Math.log1p(Math.exp(-Math.abs(t)));
  const bent = breaks.reduce((sum, { c, d, f }) => sum - c * f * softplus(Math.log(x / d) / f), 0);
  return a + b * Math.exp(-c0 * Math.log(x) + bent);
}

/** A published fit of the surface, with its name and, if known, its conventions for N and C. */
export interface NamedLaw {
  readonly surface: Surface;
  readonly source: string;
  /** Names of conventions.ts. */
  readonly parameters?: "blocks" | "blocks-head" | "total";
  readonly flops?: "6ND" | "attention" | "chinchilla" | "palm";
  readonly repetition?: Repetition;
  /** The range of the trained models; beyond it, the law extrapolates. */
  readonly range?: Readonly<Record<"n" | "d" | "c", readonly [number, number]>>;
}

// Hoffmann 2022, abstract and figure 3: 70M to 16B parameters, 5 to 500 billion tokens, budgets of 6e18 to 3e21.
const hoffmannRange = { n: [70e6, 16e9], d: [5e9, 500e9], c: [6e18, 3e21] } as const;

/** Published surfaces by name. */
export const laws = {
  /**
   * As printed. Rounding hardly changes losses, but changes the optimum: 92.6 tokens per parameter at 5.76e23 FLOPs.
   */
  hoffmann: {
    surface: { E: 1.69, A: 406.4, B: 410.7, alpha: 0.34, beta: 0.28 },
    source: "Hoffmann 2022, eq. 10, as printed",
    parameters: "blocks-head",
    flops: "6ND",
    range: hoffmannRange,
  },
  /** The same fit from the paper's source: 58.9 tokens per parameter at 5.76e23 FLOPs. */
  "hoffmann-unrounded": {
    surface: { E: 1.69337, A: 406.401, B: 410.723, alpha: 0.33917, beta: 0.28491 },
    source: "Hoffmann 2022, constants from the paper's TeX source (Besiroglu 2024)",
    parameters: "blocks-head",
    flops: "6ND",
    range: hoffmannRange,
  },
  /**
   * The points of Hoffmann's figure 4, reconstructed and fitted to the minimum. As printed: E is that of the authors' fit with
   * δ 1e-3, the other constants are those of the one with δ 1e-6, whose E is 1.81686 (test/scaling/studies/studies.test.ts fits
   * both to their points). Losses are .0004 too high for it.
   */
  epoch: {
    surface: { E: 1.8172, A: 482.01, B: 2085.43, alpha: 0.3478, beta: 0.3658 },
    source: "Besiroglu 2024 (Epoch), table 1",
    parameters: "blocks-head",
    flops: "6ND",
    range: hoffmannRange,
  },
  /** Fitted on C4 with alpha = beta, with the constants for repeated data. */
  muennighoff: {
    surface: {
      E: Math.exp(0.6254804),
      A: Math.exp(6.255414),
      B: Math.exp(7.3049974),
      alpha: 0.3526596,
      beta: 0.3526596,
    },
    source: "Muennighoff 2023, section 6, constants from the authors' code",
    flops: "6ND",
    repetition: muennighoffRepetition,
  },
} as const satisfies Readonly<Record<string, NamedLaw>>;

export type LawName = keyof typeof laws;
