async function wrongly(verdict: Promise<{ right: boolean; message: string }>, message: RegExp): Promise<void> {
  const { right, message: said } = await verdict;
  assert.ok(!right, `taken for right; wanted ${message}`);
  assert.match(said, message);
}

// What each device sends in a ring.
assert.ok((await ex1.check((N, K) => (2 * (N - 1) * K) / N)).right);
await wrongly(
  ex1.check((N, K) => ((N - 1) * K) / N),
  /come back/,
);
await wrongly(
  ex1.check((N, K) => 2 * (N - 1) * K),
  /K \/ N/,
);
assert.ok(!(await ex1.check((_, K) => K)).right);

// Micro-batches of each device.
assert.ok((await ex2.check(5)).right);
await wrongly(ex2.check(40), /shared by all devices/);
await wrongly(ex2.check(60), /number of rows/);
assert.ok(!(await ex2.check(8)).right);

// The bandwidth that is enough.
let enough = 1e9;
while (efficiency(64, enough) < 0.9) enough *= 1.5;
assert.ok((await ex3.check(enough)).right);
await wrongly(ex3.check(enough / 2), /the efficiency is 0\.\d+/);
await wrongly(ex3.check(10 * enough), /half of it would be enough/);
