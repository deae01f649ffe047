const rows = (size: number, weight: (t: number, s: number) => number) =>
  Array.from({ length: size }, (_, t) => Array.from({ length: size }, (_, s) => weight(t, s)));
const inWindow = (t: number, s: number) => s <= t && s > t - 3;
const wrong = async (verdict: Promise<{ right: boolean; message: string }>, reason: RegExp) => {
  const { right, message } = await verdict;
  assert.strictEqual(right, false, `a wrong answer is taken for right, wanted ${reason}`);
  assert.match(message, reason);
};

await wrong(ex1.check(answer1), /row 0 adds up to 0\.00/);
await wrong(
  ex1.check((size) => rows(size, (t, s) => (inWindow(t, s) ? 1 / 3 : 0))),
  /row 0 adds up to 0\.33; the weights of a row add up to 1$/,
);
await wrong(
  ex1.check((size) => rows(size, () => 1 / size)),
  /row 0 has weight on a later position/,
);
await wrong(
  ex1.check((size) => rows(size, (t, s) => (s <= t ? 1 / (t + 1) : 0))),
  /row 3 takes other positions/,
);
const window3 = (t: number, s: number) => (inWindow(t, s) ? 1 / Math.min(3, t + 1) : 0);
await wrong(
  ex1.check((size) => rows(size, window3).map((row, t) => row.slice(0, t + 1))), // ragged
  /row 0 has 1 weights, not 6/,
);
await wrong(
  ex1.check(() => rows(T, window3)),
  /for 6 there are 11 rows, not 6/,
);
await wrong(
  ex1.check(() => rows(6, window3)),
  /for 4 there are 6 rows, not 4/,
);
assert.ok((await ex1.check((size) => rows(size, window3))).right);

await wrong(ex2.check(answer2), /Not yet\.\nHint: Print the first row/);
await wrong(ex2.check(blockSize), /that is every position/);
await wrong(ex2.check(1), /Hint: The target of position t/);
assert.ok((await ex2.check(blockSize - 1)).right);

await wrong(ex3.check(answer3), /a later position has weight$/);
await wrong(
  ex3.check((scores) => tf.mul(tf.softmax(scores), tf.linalg.bandPart(tf.ones([6, 6]), -1, 0))),
  /was the mask applied after softmax\?$/,
);
await wrong(
  ex3.check((scores) => tf.softmax(tf.add(scores, maskOf(T)))),
  /for scores \[6, 6\] it throws: [\s\S]*maskOf\(T\) is \[11, 11\]/,
);
await wrong(
  ex3.check(() => tf.softmax(maskOf(T))),
  /the weights are \[11,11\]; wanted \[6, 6\]/,
);
await wrong(
  ex3.check(() => tf.softmax(maskOf(6))),
  /Not yet\.\nHint: The mask comes before softmax/,
);
assert.ok((await ex3.check((scores) => tf.softmax(tf.add(scores, maskOf(6))))).right);
assert.ok((await ex3.check((scores) => tf.softmax(tf.where(tf.less(maskOf(6), 0), -1e9, scores)))).right);
