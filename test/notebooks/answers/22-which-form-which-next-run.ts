async function wrongly(verdict: Promise<{ right: boolean; message: string }>, message: RegExp): Promise<void> {
  const { right, message: said } = await verdict;
  assert.ok(!right, `taken for right; wanted ${message}`);
  assert.match(said, message);
}

// The noise that hides the form.
assert.ok((await ex1.check(0.08)).right);
await wrongly(ex1.check(0.001), /kaplan is still excluded/);
await wrongly(ex1.check(8), /between 0 and \.1/);

// The budget that leaves three quarters.
let [low, high] = [3 * largest, 10 * largest];
for (let halving = 0; halving < 4; halving++) {
  const at = Math.sqrt(low * high);
  if (nextRuns(fit, { budgetFlops: at }).chosen.halfWidth > 0.75 * halfWidth) low = at;
  else high = at;
}
assert.ok((await ex2.check(Math.sqrt(low * high))).right);
await wrongly(ex2.check(largest), /\d\d % of it remain/);
await wrongly(ex2.check(20 * largest), /\d\d % of it remain/);

// Runs with few tokens.
assert.ok((await ex3.check({ budgetFlops: 3 * largest, mostTokens: 2e6 })).right);
await wrongly(ex3.check({ budgetFlops: 3 * largest }), /million tokens/);
await wrongly(ex3.check({ budgetFlops: largest, mostTokens: 2e6 }), /the budget is/);
