/**
 * Akima's interpolation (1970): cubics between points whose slopes at a point depend on the two points on either side, so
 * that one bad point disturbs only its neighbourhood. Here it is used for its lowest point.
 */

/** A lowest point strictly between the first and the last x. */
export interface Lowest {
  readonly x: number;
  readonly y: number;
}

/** The interpolated y at each of `at`, which lie between the first and the last x. */
export function akimaCurve(x: readonly number[], y: readonly number[], at: readonly number[]): number[] {
  const slopes = slopesAt(x, y);
  return at.map((value) => {
    const after = x.findIndex((end) => end >= value);
    const i = Math.max(1, after < 0 ? x.length - 1 : after);
    const { p, q } = pieceOf(x, y, slopes, i);
    const t = value - x[i - 1]!;
    return y[i - 1]! + t * (slopes[i - 1]! + t * (p + t * q));
  });
}

/** y = y0 + s0·t + p·t² + q·t³ with t = x − x0, between points i − 1 and i. */
function pieceOf(x: readonly number[], y: readonly number[], slopes: readonly number[], i: number) {
  const width = x[i]! - x[i - 1]!;
  const mean = (y[i]! - y[i - 1]!) / width;
  const [s0, s1] = [slopes[i - 1]!, slopes[i]!];
  return { width, s0, p: (3 * mean - 2 * s0 - s1) / width, q: (s0 + s1 - 2 * mean) / width ** 2 };
}

/** The slopes at the points (Akima 1970, eq. 1, with his extrapolation at both ends). */
function slopesAt(x: readonly number[], y: readonly number[]): number[] {
  const inner = x.slice(1).map((value, i) => (y[i + 1]! - y[i]!) / (value - x[i]!));
  if (inner.length === 1) return [inner[0]!, inner[0]!];
  const [first, second] = [inner[0]!, inner[1]!];
  const [last, before] = [inner.at(-1)!, inner.at(-2)!];
  const m = [3 * first - 2 * second, 2 * first - second, ...inner, 2 * last - before, 3 * last - 2 * before];
  const steepness = m.slice(1).map((value, i) => Math.abs(value - m[i]!));
  const total = x.map((_, i) => steepness[i + 2]! + steepness[i]!);
  const most = total.reduce((high, value) => Math.max(high, value), 0);
  return x.map((_, i) => {
    // On a straight stretch both weights are 0.
    if (!(total[i]! > 1e-9 * most)) return (m[i]! + m[i + 3]!) / 2;
    return (steepness[i + 2]! * m[i + 1]! + steepness[i]! * m[i + 2]!) / total[i]!;
  });
}

/**
 * The lowest point of the interpolation; undefined if it is the first or the last point.
 * @param x ascending, at least two
 */
export function akimaMinimum(x: readonly number[], y: readonly number[]): Lowest | undefined {
  const slopes = slopesAt(x, y);
  let best = { x: x[0]!, y: y[0]!, inside: false };
  const consider = (at: number, value: number, inside: boolean) => {
    if (value < best.y) best = { x: at, y: value, inside };
  };
  for (let i = 1; i < x.length; i++) {
    consider(x[i]!, y[i]!, i < x.length - 1);
    const { width, s0, p, q } = pieceOf(x, y, slopes, i);
    for (const t of rootsOf(3 * q, 2 * p, s0)) {
      if (t > 0 && t < width) consider(x[i - 1]! + t, y[i - 1]! + t * (s0 + t * (p + t * q)), true);
    }
  }
  return best.inside ? { x: best.x, y: best.y } : undefined;
}

/** The real roots of a·t² + b·t + c. */
function rootsOf(a: number, b: number, c: number): number[] {
  const inside = b * b - 4 * a * c;
  if (inside < 0) return [];
  // Without cancellation, also for a = 0.
  const far = -0.5 * (b + (b < 0 ? -1 : 1) * Math.sqrt(inside));
  return [far / a, c / far].filter(Number.isFinite);
}
