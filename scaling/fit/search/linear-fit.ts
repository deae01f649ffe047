/** Linear least squares of several coefficients, by the normal equations. The columns should be centred and of size 1. */
import { inverse } from "./cholesky.js";

export interface LinearFit {
  readonly coefficients: Float64Array;
  /** (XᵀWX)⁻¹ [coefficients × coefficients]. */
  readonly inverse: Float64Array;
  /** The weighted sum of squares of the residuals. */
  readonly sum: number;
}

/**
 * @param rows X
 * @param weights the diagonal of W; by default 1
 * @param mostInflation how much larger a variance may be than with uncorrelated columns
 * @returns undefined if the rows do not determine the coefficients
 */
export function fitLinear(
  rows: readonly ArrayLike<number>[],
  values: readonly number[],
  { weights, mostInflation }: { readonly weights?: readonly number[]; readonly mostInflation: number },
): LinearFit | undefined {
  const count = rows[0]?.length ?? 0;
  const normal = new Float64Array(count * count);
  const right = new Float64Array(count);
  rows.forEach((row, i) => {
    const weight = weights?.[i] ?? 1;
    for (let j = 0; j < count; j++) {
      right[j]! += weight * row[j]! * values[i]!;
      for (let k = 0; k < count; k++) normal[j * count + k]! += weight * row[j]! * row[k]!;
    }
  });
  const found = inverse(normal, count);
  const inflated = (k: number) => !(normal[k * (count + 1)]! * found![k * (count + 1)]! < mostInflation);
  if (!found || right.some((_, k) => inflated(k))) return undefined;
  const coefficients = right.map((_, j) => right.reduce((sum, value, k) => sum + found[j * count + k]! * value, 0));
  const sum = rows.reduce((all, row, i) => {
    const off = values[i]! - coefficients.reduce((total, value, k) => total + value * row[k]!, 0);
    return all + (weights?.[i] ?? 1) * off * off;
  }, 0);
  return { coefficients, inverse: found, sum };
}
