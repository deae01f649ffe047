/**
 * The smoothly broken power law (Caballero 2023, eq. 1): y = a + b·x^−c0·Π(1 + (x/d_k)^(1/f_k))^(−c_k·f_k). ln(y − a)
 * consists of straight segments in ln x; the slope changes by c_k at d_k, over a width f_k in ln x. Residuals are of ln
 * y.
 */
import { type Data, lnOver } from "../columns.js";
import { createLeastSquares, lowestFrom } from "../search/least-squares.js";
import { fitLine } from "../search/line-fit.js";
import { type Estimate, endOf, type Fitter, type MethodOptions } from "./method.js";

/** ln(1 + e^s), without overflow. */
const softplus = (s: number) => (s > 30 ? s : Math.log1p(Math.exp(s)));
const logistic = (s: number) => 1 / (1 + Math.exp(-s));

/** Starting values: widths of a break in ln x, and the offset a as a share of the lowest loss. */
const widths = [0.2, 1];
const offsets = [1e-3, 0.5, 0.9];

export function brokenFitter(data: Data, { over, breaks, maxIterations }: MethodOptions): Fitter {
  const lnX = lnOver(data, over);
  const parameters = 3 + 3 * breaks;
  // x = (ln a, ln b' , c0, then for each break c, ln d, ln f), with b' at the mean of ln x.
  const middle = lnX.reduce((sum, value) => sum + value, 0) / data.size;
  const search = createLeastSquares({
    size: data.size,
    parameters,
    weight: data.weight,
    at(i, x, gradient) {
      const t = lnX[i]! - middle;
      const a = Math.exp(x[0]!);
      let exponent = x[1]! - x[2]! * t;
      for (let k = 3; k < parameters; k += 3) {
        const f = Math.exp(x[k + 2]!);
        exponent -= x[k]! * f * softplus((lnX[i]! - x[k + 1]!) / f);
      }
      const term = Math.exp(exponent);
      const share = term / (a + term);
      gradient[0] = 1 - share;
      gradient[1] = share;
      gradient[2] = -share * t;
      for (let k = 3; k < parameters; k += 3) {
        const f = Math.exp(x[k + 2]!);
        const s = (lnX[i]! - x[k + 1]!) / f;
        gradient[k] = -share * f * softplus(s);
        gradient[k + 1] = share * x[k]! * logistic(s);
        gradient[k + 2] = -share * x[k]! * f * (softplus(s) - s * logistic(s));
      }
      return Math.log(a + term) - data.lnLoss[i]!;
    },
  });

  function lowest(weights: Float64Array | undefined, from: readonly Float64Array[]): Estimate {
    const { x, end } = lowestFrom(search, from, { maxIterations, weights });
    return {
      params: toParams(x, middle),
      ...endOf(end),
      starts: [[...x]],
    };
  }

  return {
    estimate: () => lowest(undefined, startsOf(data, lnX, { middle, breaks })),
    refit: (weights, { starts }) => lowest(weights, [Float64Array.from(starts![0]!)]),
    predict: (params, at) => lnOver(at, over).map((x) => Math.log(brokenLaw(params, x))),
  };
}

/** y at ln x. */
function brokenLaw(params: Readonly<Record<string, number>>, lnX: number): number {
  let exponent = Math.log(params.b!) - params.c0! * lnX;
  for (let k = 1; params[`d${k}`] !== undefined; k++) {
    const f = params[`f${k}`]!;
    exponent -= params[`c${k}`]! * f * softplus((lnX - Math.log(params[`d${k}`]!)) / f);
  }
  return params.a! + Math.exp(exponent);
}

function toParams(x: Float64Array, middle: number): Record<string, number> {
  const params: Record<string, number> = { a: Math.exp(x[0]!), b: Math.exp(x[1]! + x[2]! * middle), c0: x[2]! };
  for (let k = 3; k < x.length; k += 3) {
    params[`c${k / 3}`] = x[k]!;
    params[`d${k / 3}`] = Math.exp(x[k + 1]!);
    params[`f${k / 3}`] = Math.exp(x[k + 2]!);
  }
  return params;
}

/** Starts: breaks at every combination of evenly spaced places, with slopes from straight lines between them. */
function startsOf(
  data: Data,
  lnX: Float64Array,
  { middle, breaks }: { middle: number; breaks: number },
): Float64Array[] {
  const sorted = Float64Array.from(lnX).sort();
  const places = Array.from(
    { length: breaks + 4 },
    (_, k) => sorted[Math.floor(((k + 1) * sorted.length) / (breaks + 5))]!,
  );
  const lowestLoss = data.loss.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
  return choices(places, breaks).flatMap((chosen) =>
    widths.flatMap((width) =>
      offsets.map((share) => startAt(data, lnX, { chosen, width, offset: share * lowestLoss, middle })),
    ),
  );
}

function startAt(
  data: Data,
  lnX: Float64Array,
  { chosen, width, offset, middle }: { chosen: readonly number[]; width: number; offset: number; middle: number },
): Float64Array {
  const y = data.loss.map((loss) => Math.log(loss - 0.99 * offset));
  const edges = [Number.NEGATIVE_INFINITY, ...chosen, Number.POSITIVE_INFINITY];
  const slopes = edges.slice(1).map((edge, k) => {
    const inside = lnX.map((value) => (value >= edges[k]! && value <= edge ? 1 : 0));
    const { slope } = fitLine(lnX, y, inside);
    return Number.isFinite(slope) ? slope : 0;
  });
  const first = fitLine(
    lnX,
    y,
    lnX.map((value) => (value <= chosen[0]! ? 1 : 0)),
  );
  const slope = slopes[0]!;
  const height = Number.isFinite(first.intercept) ? first.intercept + first.slope * middle : y[0]!;
  const rest = chosen.flatMap((place, k) => [slopes[k]! - slopes[k + 1]!, place, Math.log(width)]);
  return Float64Array.of(Math.log(offset), height, -slope, ...rest);
}

/** All combinations of `count` values, in order. */
function choices(values: readonly number[], count: number): number[][] {
  if (count === 0) return [[]];
  return values.flatMap((value, index) => choices(values.slice(index + 1), count - 1).map((rest) => [value, ...rest]));
}
