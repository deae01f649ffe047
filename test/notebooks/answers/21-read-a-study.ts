async function wrongly(verdict: Promise<{ right: boolean; message: string }>, message: RegExp): Promise<void> {
  const { right, message: said } = await verdict;
  assert.ok(!right, `taken for right; wanted ${message}`);
  assert.match(said, message);
}

// How many runs a narrow interval takes.
assert.ok((await ex1.check(points.length * (width(refit.ci80.a) / 0.01) ** 2)).right);
await wrongly(ex1.check((points.length * width(refit.ci80.a)) / 0.01), /square root of the number of runs/);
await wrongly(ex1.check(wanted), /as wide as the published one/);
assert.ok(!(await ex1.check(points.length)).right);

// Rows by their design.
assert.ok((await ex2.check("d.d / d.n >= 5 && d.d / d.n <= 100")).right);
await wrongly(ex2.check("d.d / d.n >= 5"), /more than 100 tokens/);
await wrongly(ex2.check("d.d / d.n <= 100"), /fewer than 5 tokens/);
assert.ok(!(await ex2.check("d.d / d.n >= 20 && d.d / d.n <= 100")).right);

// Where both laws ask for the same size.
let [low, high] = [1e18, 1e21];
for (let halving = 0; halving < 40; halving++) {
  const at = Math.sqrt(low * high);
  const isBelow = optimumOfBudget(study.published, at).n > optimumOfBudget(candidates.refit, at).n;
  [low, high] = isBelow ? [at, high] : [low, at];
}
assert.ok((await ex3.check(low)).right);
await wrongly(ex3.check(study.goalFlops), /asks for 0\.\d\d times the N/);
await wrongly(ex3.check(1e18), /asks for 1\.\d\d times the N/);
