async function wrongly(verdict: Promise<{ right: boolean; message: string }>, message: RegExp): Promise<void> {
  const { right, message: said } = await verdict;
  assert.ok(!right, `taken for right; wanted ${message}`);
  assert.match(said, message);
}

// Passes over the text.
const seen = curve.bestStep * 64 * 256;
assert.ok((await ex1.check(seen / 1_003_854)).right);
await wrongly(ex1.check(seen), /divide by those of the text/);
await wrongly(ex1.check(seen / 256 / 1_003_854), /64 sequences, each of 256/);
await wrongly(ex1.check(seen / 1_115_394), /a tenth of it is for validation/);
await wrongly(ex1.check(1_003_854 / seen), /other way round/);
await wrongly(ex1.check(3), /Hint: How many characters/);

// The interval of a mean.
type Interval = Parameters<typeof ex2.check>[0];
const interval =
  ({ freedom = 1, shared = true, quantile = true } = {}): Interval =>
  (losses, t) => {
    const n = losses.length;
    const center = losses.reduce((sum, loss) => sum + loss, 0) / n;
    const spread = Math.sqrt(losses.reduce((sum, loss) => sum + (loss - center) ** 2, 0) / (n - freedom));
    const half = ((quantile ? t : 1) * spread) / (shared ? Math.sqrt(n) : 1);
    return [center - half, center + half];
  };
assert.ok((await ex2.check(interval())).right);
await wrongly(ex2.check(interval({ shared: false })), /a mean of n varies less/);
await wrongly(ex2.check(interval({ freedom: 0 })), /by n − 1, not n/);
await wrongly(ex2.check(interval({ quantile: false })), /multiply it by t/);
await wrongly(
  ex2.check((losses) => [Math.min(...losses), Math.max(...losses)]),
  /its middle is/,
);
await wrongly(
  ex2.check(() => [1.8, 2.0158]),
  /it reaches 0.1079 from the mean/,
);
