/**
 * Linear algebra for symmetric positive definite matrices of a few rows, in place on row-major Float64Arrays. Unlike
 * ml-matrix, it allocates nothing, because it is used in inner loops.
 */

/**
 * A = LLᵀ: the lower triangle of `a` becomes L.
 * @param a [size × size]
 * @returns false if A is not positive definite to working precision; the contents of `a` are then undefined
 */
export function cholesky(a: Float64Array, size: number): boolean {
  for (let row = 0; row < size; row++) {
    const diagonal = a[row * size + row]!;
    for (let column = 0; column <= row; column++) {
      let sum = a[row * size + column]!;
      for (let k = 0; k < column; k++) sum -= a[row * size + k]! * a[column * size + k]!;
      if (column < row) a[row * size + column] = sum / a[column * size + column]!;
      else if (sum > 1e-15 * diagonal) a[row * size + row] = Math.sqrt(sum);
      else return false;
    }
  }
  return true;
}

/** x ← A⁻¹x, given the Cholesky factor of A. */
export function choleskySolve(l: Float64Array, size: number, x: Float64Array): void {
  for (let row = 0; row < size; row++) {
    let sum = x[row]!;
    for (let k = 0; k < row; k++) sum -= l[row * size + k]! * x[k]!;
    x[row] = sum / l[row * size + row]!;
  }
  for (let row = size - 1; row >= 0; row--) {
    let sum = x[row]!;
    for (let k = row + 1; k < size; k++) sum -= l[k * size + row]! * x[k]!;
    x[row] = sum / l[row * size + row]!;
  }
}

/** A⁻¹ [size × size], or undefined if A is not positive definite. */
export function inverse(a: Float64Array, size: number): Float64Array | undefined {
  const l = a.slice();
  if (!cholesky(l, size)) return undefined;
  const result = new Float64Array(size * size);
  const column = new Float64Array(size);
  for (let k = 0; k < size; k++) {
    column.fill(0);
    column[k] = 1;
    choleskySolve(l, size, column);
    for (let row = 0; row < size; row++) result[row * size + k] = column[row]!;
  }
  return result;
}

export function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += x[k]! * y[k]!;
  return sum;
}

export function largest(x: Float64Array): number {
  let most = 0;
  for (let k = 0; k < x.length; k++) {
    const size = Math.abs(x[k]!);
    if (!(size <= most)) most = size; // also true for NaN
  }
  return most;
}
