/** Probabilities on the host, for measures and for pages: in double precision, without TensorFlow. */

/** softmax(logits). [V] */
export function softmax(logits: ArrayLike<number>): Float64Array {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) highest = Math.max(highest, logits[i]!);
  const weights = Float64Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** The likeliest `count` ids, the likeliest first; of equals the one with the smaller id. */
export function likeliest(values: ArrayLike<number>, count: number): number[] {
  const best: number[] = [];
  for (let id = 0; id < values.length; id++) {
    if (best.length === count && !(values[id]! > values[best.at(-1)!]!)) continue;
    let at = best.length;
    while (at > 0 && values[id]! > values[best[at - 1]!]!) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
  }
  return best;
}
