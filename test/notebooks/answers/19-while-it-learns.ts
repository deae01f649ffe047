async function wrongly(verdict: Promise<{ right: boolean; message: string }>, message: RegExp): Promise<void> {
  const { right, message: said } = await verdict;
  assert.ok(!right, `taken for right; wanted ${message}`);
  assert.match(said, message);
}

// Where wsd's decay begins.
assert.ok((await ex1.check(1600)).right);
await wrongly(ex1.check(400), /how long the decay takes/);
assert.ok(!(await ex1.check(1500)).right);

// The rate of a run that is stopped in the middle.
const stopped = { ...common, schedule: "cosine" as const, maxIters: 5000, lrDecayIters: 5000 };
assert.ok((await ex2.check(folio.learningRate(2500, stopped) / folio.learningRate(5000, stopped))).right);
await wrongly(ex2.check(common.learningRate / common.minLr), /end of the warm-up/);
assert.ok(!(await ex2.check(1)).right);

// Which checkpoint wrote a text.
assert.ok((await ex3.check((text) => [250, 500, 1000].find((step) => written[step] === text)!)).right);
await wrongly(
  ex3.check(() => 1000),
  /takes the text of step 250 for another's/,
);
await wrongly(
  ex3.check(() => 250),
  /takes the text of step 1000 for another's/,
);
