// Exercise 1: the interval of u that draws “c”.
const idOfC = letters.indexOf("c");
const [startOfC, endOfC] = [running(probabilities)[idOfC - 1], running(probabilities)[idOfC]];
assert.ok((await ex1.check([startOfC, endOfC])).right);
const fromZero = await ex1.check([0, probabilities[idOfC]]); // as if the likeliest token came first
assert.ok(!fromZero.right);
assert.match(fromZero.message, /other tokens come before it/);
const tooLong = await ex1.check([0, endOfC]);
assert.ok(!tooLong.right);
assert.match(tooLong.message, /as long as the token's probability/);

// Exercise 2: the temperature at which the entropy is 3 bits.
let [colder, warmer] = [0.1, 10];
for (let i = 0; i < 30; i++) {
  const middle = (colder + warmer) / 2;
  if (entropy(at(middle)) < 3) colder = middle;
  else warmer = middle;
}
assert.ok((await ex2.check(warmer)).right);
const tooHot = await ex2.check(9);
assert.ok(!tooHot.right);
assert.match(tooHot.message, /choose a lower temperature/);
const tooCold = await ex2.check(0.2);
assert.ok(!tooCold.right);
assert.match(tooCold.message, /choose a higher temperature/);
const frozen = await ex2.check(0);
assert.ok(!frozen.right);
assert.match(frozen.message, /above 0/);

// Exercise 3: min-p.
const cutOff = (list: number[], least: number) => list.map((x) => (x < least ? 0 : x));
const again = (list: number[]) => list.map((x) => x / sum(list));
assert.ok((await ex3.check((list, share) => again(cutOff(list, share * Math.max(...list))))).right);
const notScaled = await ex3.check((list, share) => cutOff(list, share * Math.max(...list)));
assert.ok(!notScaled.right);
assert.match(notScaled.message, /adds up to 0.95, not to 1/);
const absolute = await ex3.check((list, share) => again(cutOff(list, share)));
assert.ok(!absolute.right);
assert.match(absolute.message, /share × the largest probability/);
const shorter = await ex3.check((list, share) => again(list.filter((x) => x >= share * Math.max(...list))));
assert.ok(!shorter.right);
assert.match(shorter.message, /a probability for every token/);
assert.ok(!(await ex3.check((list) => again([list[0], list[1], list[2], 0]))).right, "whatever the share is");
