/** Least-squares lines and parabolas through weighted points, centred to avoid rounding errors. */

export interface Line {
  readonly slope: number;
  readonly intercept: number;
  /** Σ w·(y − line)². */
  readonly sum: number;
  readonly slopeError: number;
  /** The standard error of the intercept. */
  readonly interceptError: number;
}

/** y = intercept + slope·x. NaN if x does not vary. */
export function fitLine(x: ArrayLike<number>, y: ArrayLike<number>, weights?: ArrayLike<number>): Line {
  let [total, count, meanX, meanY] = [0, 0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const w = weights ? weights[i]! : 1;
    if (w > 0) count++;
    total += w;
    meanX += w * x[i]!;
    meanY += w * y[i]!;
  }
  meanX /= total;
  meanY /= total;
  let [xx, xy] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    const w = weights ? weights[i]! : 1;
    xx += w * (x[i]! - meanX) ** 2;
    xy += w * (x[i]! - meanX) * (y[i]! - meanY);
  }
  const slope = xx > 0 ? xy / xx : Number.NaN;
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    sum += (weights ? weights[i]! : 1) * (y[i]! - meanY - slope * (x[i]! - meanX)) ** 2;
  }
  const variance = sum / (count - 2);
  return {
    slope,
    intercept: meanY - slope * meanX,
    sum,
    slopeError: Math.sqrt(variance / xx),
    interceptError: Math.sqrt(variance * (1 / total + meanX ** 2 / xx)),
  };
}

export interface Parabola {
  /** y = height + bend·(x − vertex)². */
  readonly vertex: number;
  readonly height: number;
  /** > 0 if the vertex is a minimum. */
  readonly bend: number;
}

/** The parabola through points with at least three different x; NaN for fewer. */
export function fitParabola(x: ArrayLike<number>, y: ArrayLike<number>, weights?: ArrayLike<number>): Parabola {
  let [total, meanX, meanY] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const w = weights ? weights[i]! : 1;
    total += w;
    meanX += w * x[i]!;
    meanY += w * y[i]!;
  }
  meanX /= total;
  meanY /= total;
  const moments = [0, 0, 0, 0, 0];
  const right = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const w = weights ? weights[i]! : 1;
    const t = x[i]! - meanX;
    for (let k = 0, power = w; k < 5; k++, power *= t) moments[k]! += power;
    for (let k = 0, power = w; k < 3; k++, power *= t) right[k]! += power * (y[i]! - meanY);
  }
  const [, , m2, m3, m4] = moments as [number, number, number, number, number];
  // After centring, m1 = 0 and right[0] = 0, so two equations remain.
  const spread = m4 - (m2 * m2) / total;
  const determinant = m2 * spread - m3 * m3;
  const bend = determinant > 1e-12 * m2 * m4 ? (m2 * right[2]! - m3 * right[1]!) / determinant : Number.NaN;
  const slope = (right[1]! - bend * m3) / m2;
  const flat = meanY - (bend * m2) / total;
  const t = -slope / (2 * bend);
  return { vertex: meanX + t, height: flat - bend * t * t, bend };
}
