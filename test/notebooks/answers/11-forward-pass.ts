async function wrongly(verdict: Promise<{ right: boolean; message: string }>, message: RegExp): Promise<void> {
  const { right, message: said } = await verdict;
  assert.ok(!right, `taken for right; wanted ${message}`);
  assert.match(said, message);
}

// The parts of the residual stream: from the sum of two tables, or from the tables.
const added = ["h.0.attn.out", "h.0.mlp.out", "h.1.attn.out", "h.1.mlp.out"] as const;
assert.ok((await ex1.check(["embed", ...added])).right);
assert.ok((await ex1.check(["wte", "wpe", ...added])).right);
await wrongly(ex1.check(["embed", "h.0.resid_out", "h.1.attn.out", "h.1.mlp.out"]), /resid is a sum already/);
await wrongly(ex1.check(["embed", "h.0.attn.out", "h.0.mlp.out"]), /differ by/);
await wrongly(ex1.check(["wte", "wpe", "embed", ...added]), /differ by/);
await wrongly(ex1.check(["embed", "h.0.mlp.pre"]), /4C/);

// Softmax.
const softmax = (scores: number[], shift: number) => {
  const exponentials = scores.map((x) => Math.exp(x - shift));
  const total = exponentials.reduce((sum, x) => sum + x, 0);
  return exponentials.map((x) => x / total);
};
assert.ok((await ex2.check((scores) => softmax(scores, Math.max(...scores)))).right);
await wrongly(
  ex2.check((scores) => softmax(scores, 0)),
  /too large for a number/,
);
await wrongly(
  ex2.check((scores) => scores.map(Math.exp)),
  /add up to 1; yours/,
);
await wrongly(
  ex2.check((scores) => scores.map(() => 1 / scores.length)),
  /not the model's probabilities/,
);
await wrongly(
  ex2.check(() => probabilities), // whatever it is given
  /for 2 scores it gives 288 numbers/,
);
await wrongly(
  ex2.check((scores) => (scores.length === V ? probabilities : [0.5, 0.5])),
  /for 3 and 2 it gives 0\.5 and 0\.5; wanted 0\.7311 and 0\.2689/,
);
await wrongly(
  ex2.check((scores) => (scores.length === V ? probabilities : [1 / (1 + Math.exp(-1)), 1 / (1 + Math.E)])),
  /for 999 and 1000 it gives/,
);

// " log" after the cat: from the text about the dog, as the embedding or as what attention reads there.
const dog = await folio.look(model, "the dog sat on the", ["wte", "embed"]);
assert.ok((await ex3.check({ embed: { positions: [cat], to: dog.values.embed } })).right);
assert.ok((await ex3.check({ wte: { positions: [cat], to: dog.values.wte } })).right);
await wrongly(ex3.check({ embed: { to: dog.values.embed } }), /edit position 1 only/);
await wrongly(ex3.check({ embed: { positions: [cat], to: "zero" } }), /the model says/);
await wrongly(ex3.check({}), /one is wanted/);
