/**
 * Optima of a surface L(N, D): the best N and D for a budget, a loss, or one of the two; with the cost of inference
 * (Sardana) and with repeated tokens (Muennighoff). Closed forms if available, else a search in one dimension. `folio
 * scaling optimum` prints them. Notebook 08-scaling-laws shows them.
 */
import { type Repetition, repeatedLoss, type Surface, surfaceExponents, surfaceLoss, surfaceScale } from "./laws.js";

/** A training: its size, tokens, compute and loss. */
export interface Allocation {
  /** Parameters, N. */
  readonly n: number;
  /** Training tokens, D. */
  readonly d: number;
  /** Training FLOPs, 6ND unless counted otherwise. */
  readonly c: number;
  readonly loss: number;
}

/** The conditions of an optimum; by default, training cost only and no repeated tokens. */
export interface Circumstances {
  /** C / (N·D), by the FLOPs convention of the law's points; 6 by default. Inference takes a third of it per token. */
  readonly flopsPerProduct?: number | undefined;
  /** D_inf, the tokens of inference with the trained model: another 2·N·D_inf FLOPs (Sardana 2024). */
  readonly inferenceTokens?: number | undefined;
  /** U, the number of unique tokens; training on more repeats them (Muennighoff 2023). */
  readonly uniqueTokens?: number | undefined;
  readonly repetition?: Repetition | undefined;
}

/** N, D, their loss and C. */
export function allocation(surface: Surface, n: number, d: number, circumstances: Circumstances = {}): Allocation {
  const { uniqueTokens: U, repetition, flopsPerProduct = 6 } = circumstances;
  const loss = U === undefined ? surfaceLoss(surface, n, d) : repeatedLoss(surface, { N: n, D: d, U }, repetition);
  return { n, d, c: flopsPerProduct * n * d, loss };
}

/**
 * The lowest loss of a budget. Training alone: N* = G·(C/6)^a, D* = (C/6)^b / G (Hoffmann 2022, eq. 4). With inference,
 * the budget covers both: 6·N·D + 2·N·D_inf = C.
 * @example
 * optimumOfBudget(laws.hoffmann.surface, 2.21e19); // n 326.1e6, d 11.29e9
 */
export function optimumOfBudget(surface: Surface, budgetFlops: number, circumstances: Circumstances = {}): Allocation {
  const { inferenceTokens: T = 0, uniqueTokens: U, flopsPerProduct: k = 6 } = circumstances;
  const { a, b } = surfaceExponents(surface);
  const G = surfaceScale(surface);
  const plain = G * (budgetFlops / k) ** a;
  const tokens = (budgetFlops / k) ** b / G;
  if (T === 0 && (U === undefined || tokens <= U)) return allocation(surface, plain, tokens, circumstances);
  const tokensOf = (n: number) => budgetFlops / (k * n) - T / 3;
  const most = Math.min(100 * plain, ((1 - 1e-9) * 3 * budgetFlops) / (k * T));
  const n = lowest((at) => allocation(surface, at, tokensOf(at), circumstances).loss, most * 1e-8, most);
  return allocation(surface, n, tokensOf(n), circumstances);
}

/**
 * The cheapest training that reaches a loss: min 6·N·D + 2·N·D_inf at L(N, D) = loss (Sardana 2024, eq. 3).
 * @throws {RangeError} for a loss that the law cannot reach
 */
export function optimumOfLoss(surface: Surface, loss: number, circumstances: Circumstances = {}): Allocation {
  const { inferenceTokens: T = 0, uniqueTokens: U } = circumstances;
  checkLoss(surface, loss, surface.E, "the law");
  // At the optimum, A·N^−alpha : B·D^−beta = beta : alpha.
  const { A, B, alpha, beta } = surface;
  const part = (loss - surface.E) / (alpha + beta);
  const [n0, d0] = [((part * beta) / A) ** (-1 / alpha), ((part * alpha) / B) ** (-1 / beta)];
  if (T === 0 && (U === undefined || d0 <= U)) return allocation(surface, n0, d0, circumstances);
  // The smallest N that can reach the loss needs infinitely many tokens.
  const least = leastParameters(surface, loss, circumstances);
  const costOf = (n: number) => n * (3 * tokensForLoss(surface, loss, n, circumstances) + T);
  const n = lowest(costOf, least, least * 1e6);
  return allocation(surface, n, tokensForLoss(surface, loss, n, circumstances), circumstances);
}

/** The compute-optimal D for N parameters: D = (N / G)^(alpha / beta) / G (Hoffmann 2022, eq. 4). */
export function tokensForParameters(surface: Surface, n: number): number {
  const G = surfaceScale(surface);
  return (n / G) ** (surface.alpha / surface.beta) / G;
}

/** The compute-optimal N for D tokens: N = G·(D·G)^(beta / alpha) (Hoffmann 2022, eq. 4). */
export function parametersForTokens(surface: Surface, d: number): number {
  const G = surfaceScale(surface);
  return G * (d * G) ** (surface.beta / surface.alpha);
}

/** The number of epochs beyond which more repetitions have no effect. */
const passes = 1e3;

/** The D at which a model of N parameters reaches a loss; Infinity if none does. */
export function tokensForLoss(surface: Surface, loss: number, n: number, circumstances: Circumstances = {}): number {
  const { E, A, B, alpha, beta } = surface;
  const left = loss - E - A * n ** -alpha;
  const fresh = left > 0 ? (B / left) ** (1 / beta) : Number.POSITIVE_INFINITY;
  if (circumstances.uniqueTokens === undefined || !Number.isFinite(fresh)) return fresh;
  const most = passes * Math.max(fresh, circumstances.uniqueTokens);
  return firstBelow((d) => allocation(surface, n, d, circumstances).loss <= loss, fresh, most);
}

/** The N at which a training on D tokens reaches a loss. @throws {RangeError} if none does */
export function parametersForLoss(
  surface: Surface,
  loss: number,
  d: number,
  circumstances: Circumstances = {},
): number {
  const { uniqueTokens: U } = circumstances;
  const { A, alpha } = surface;
  const floor = allocation(surface, Number.MAX_VALUE, d, circumstances).loss;
  checkLoss(surface, loss, floor, `training on ${d.toPrecision(3)} tokens`);
  const plain = (A / (loss - surfaceLoss(surface, Number.POSITIVE_INFINITY, d))) ** (1 / alpha);
  if (U === undefined) return plain;
  return firstBelow((n) => allocation(surface, n, d, circumstances).loss <= loss, plain, 1e6 * plain);
}

/** The smallest N that reaches a loss with unlimited tokens. */
function leastParameters(surface: Surface, loss: number, circumstances: Circumstances): number {
  const plain = (surface.A / (loss - surface.E)) ** (1 / surface.alpha);
  const reaches = (n: number) =>
    allocation(surface, n, passes * (circumstances.uniqueTokens ?? Number.POSITIVE_INFINITY), circumstances).loss <
    loss;
  const least = firstBelow(reaches, plain, 1e9 * plain);
  if (Number.isFinite(least)) return least;
  throw new RangeError(
    `Cannot reach a loss of ${loss} with ${circumstances.uniqueTokens!.toPrecision(3)} unique tokens: no model size and number of repetitions is enough.`,
  );
}

/** The smallest x for which `holds(x)` is true, to full precision; Infinity if it is false even at `most`. */
function firstBelow(holds: (x: number) => boolean, least: number, most: number): number {
  if (holds(least)) return least;
  if (!holds(most)) return Number.POSITIVE_INFINITY;
  let [low, high] = [least, most];
  while (high / low > 1 + 1e-15) {
    const middle = Math.sqrt(low) * Math.sqrt(high);
    if (middle <= low || middle >= high) break;
    if (holds(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function checkLoss({ E }: Surface, loss: number, floor: number, what: string): void {
  if (loss > floor) return;
  throw new RangeError(
    `Cannot reach a loss of ${loss}: ${what} cannot go below ${floor.toPrecision(4)} (E is ${E.toPrecision(4)}); ask for a higher loss.`,
  );
}

const golden = (Math.sqrt(5) - 1) / 2;

/** The minimum over ln x of a function that falls, then rises: golden-section search, then a parabola. */
function lowest(of: (x: number) => number, least: number, most: number): number {
  const at = (t: number) => {
    const value = of(Math.exp(t));
    return Number.isFinite(value) ? value : Number.POSITIVE_INFINITY;
  };
  let [low, high] = [Math.log(least), Math.log(most)];
  let [left, right] = [high - golden * (high - low), low + golden * (high - low)];
  let [atLeft, atRight] = [at(left), at(right)];
  while (high - low > 1e-3) {
    // If neither can reach the loss, move to larger models.
    if (atLeft < atRight) {
      [high, right, atRight] = [right, left, atLeft];
      left = high - golden * (high - low);
      atLeft = at(left);
    } else {
      [low, left, atLeft] = [left, right, atRight];
      right = low + golden * (high - low);
      atRight = at(right);
    }
  }
  return Math.exp(vertex(at, (low + high) / 2, 1e-4));
}

/** Newton's method on the slope, by central differences; comparing values gives only half of the digits. */
function vertex(at: (t: number) => number, from: number, step: number): number {
  let t = from;
  for (let round = 0; round < 4; round++) {
    const [below, here, above] = [at(t - step), at(t), at(t + step)];
    const bend = below - 2 * here + above;
    if (!(bend > 0) || !Number.isFinite(bend)) break;
    t -= (step * (above - below)) / (2 * bend);
  }
  return t;
}
