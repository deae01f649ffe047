// Exercise 1: the distance at which less than 1 % is left.
const enough = Math.ceil(Math.log(100) / slopesOf(4)[0]);
assert.ok((await ex1.check(enough)).right);
const oneLess = await ex1.check(enough - 1);
assert.ok(!oneLess.right);
assert.match(oneLess.message, /still 1\.\d %/);
const tooFar = await ex1.check(2 * enough);
assert.ok(!tooFar.right);
assert.match(tooFar.message, /a smaller distance is enough/);
const broken = await ex1.check(Math.log(100) / slopesOf(4)[0]);
assert.ok(!broken.right);
assert.match(broken.message, /a whole number/);

// Exercise 2: a full turn of the slowest pair.
assert.ok((await ex2.check(2 * Math.PI * 10000 ** (6 / 8))).right);
const oneRadian = await ex2.check(10000 ** (6 / 8));
assert.ok(!oneRadian.right);
assert.match(oneRadian.message, /2π/);
const pairFour = await ex2.check(2 * Math.PI * 10000);
assert.ok(!pairFour.right);
assert.match(pairFour.message, /numbered from 0/);
const fastest = await ex2.check(2 * Math.PI);
assert.ok(!fastest.right);
assert.match(fastest.message, /the fastest/);
assert.ok(!(await ex2.check(100)).right);

// Exercise 3: a sliding window.
const distanceOf = (scores: tf.Tensor, positions: tf.Tensor1D) =>
  tf.sub(tf.expandDims(positions, 1), tf.expandDims(tf.range(0, scores.shape[3]!, 1, "int32"), 0));
const windowOf = (size: number): folio.ChangedPass => ({
  wants: (name) => name.endsWith("attn.scores"),
  at: (_name, scores, positions) => {
    const outside = tf.greaterEqual(distanceOf(scores, positions), size);
    return tf.sub(scores, tf.mul(1e9, tf.cast(outside, "float32")));
  },
});
assert.ok((await ex3.check(windowOf(3))).right);
const wide = await ex3.check(windowOf(4));
assert.ok(!wide.right);
assert.match(wide.message, /still attends to position 2/);
const narrow = await ex3.check(windowOf(2));
assert.ok(!narrow.right);
assert.match(narrow.message, /no longer attends to position 3/);
const afterSoftmax = await ex3.check({
  wants: (name) => name.endsWith("attn.weights"),
  at: (_name, weights, positions) => tf.mul(weights, tf.cast(tf.less(distanceOf(weights, positions), 3), "float32")),
});
assert.ok(!afterSoftmax.right);
assert.match(afterSoftmax.message, /before the softmax/);
const gentle = await ex3.check(alibi); // lowers the scores, and leaves all of them
assert.ok(!gentle.right);
assert.match(gentle.message, /distance 3/);
