async function wrongly(verdict: Promise<{ right: boolean; message: string }>, message: RegExp): Promise<void> {
  const { right, message: said } = await verdict;
  assert.ok(!right, `taken for right; wanted ${message}`);
  assert.match(said, message);
}

// ln V.
assert.ok((await ex1.check(10.82)).right);
assert.ok((await ex1.check(Math.log(50_257))).right);
await wrongly(ex1.check(Math.log2(50_257)), /bits/);
await wrongly(ex1.check(Math.log10(50_257)), /base 10/);
await wrongly(ex1.check(1 / 50_257), /probability/);
await wrongly(ex1.check(-Math.log(50_257)), /the sign: a loss is −ln p/);
await wrongly(ex1.check(10.8), /give more digits/);
await wrongly(ex1.check(3), /Hint: Which probability does each token have, if all are equally likely/);

// Central differences.
type Slope = Parameters<typeof ex2.check>[0];
const central =
  (epsilon: number): Slope =>
  (f, x) =>
    (f(x + epsilon) - f(x - epsilon)) / (2 * epsilon);
assert.ok((await ex2.check(central(0.01))).right);
assert.ok((await ex2.check(central(0.005))).right);
await wrongly(
  ex2.check((f, x) => 2 * central(0.01)(f, x)),
  /twice the slope/,
);
await wrongly(
  ex2.check((f, x) => -central(0.01)(f, x)),
  /wrong sign/,
);
await wrongly(
  ex2.check((f, x) => (f(x + 1e-3) - f(x)) / 1e-3),
  /one place on each side/,
);
await wrongly(ex2.check(central(1e-9)), /lost in float32/);
await wrongly(ex2.check(central(0.1)), /leaves the tangent/);

// AdamW of one weight.
type Update = Parameters<typeof ex3.check>[0];
interface Form {
  readonly sign?: number;
  readonly corrected?: boolean;
  readonly decay?: number;
}
const adamW =
  ({ sign = -1, corrected = true, decay = lambda }: Form = {}): Update =>
  ({ w, g, m, v, t }) => {
    const [first, second] = [beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g];
    const [mean, square] = corrected ? [first / (1 - beta1 ** t), second / (1 - beta2 ** t)] : [first, second];
    return w + (sign * eta * mean) / (Math.sqrt(square) + 1e-8) - eta * decay * w;
  };
assert.ok((await ex3.check(adamW())).right);
await wrongly(ex3.check(adamW({ sign: 1 })), /uphill: the step is subtracted\.$/);
await wrongly(
  ex3.check((before) => adamW()(before) - before.w),
  /that is the update; add w/,
);
await wrongly(ex3.check(adamW({ corrected: false })), /not yet divided/);
await wrongly(ex3.check(adamW({ decay: 0 })), /weight decay is missing/);
await wrongly(
  ex3.check(({ w, g }) => w - eta * g),
  /the update should be/,
);
