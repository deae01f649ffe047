const refused = async (verdict: Promise<{ right: boolean; message: string }>, reason: RegExp) => {
  const { right, message } = await verdict;
  assert.strictEqual(right, false, `a wrong answer is taken for right, wanted ${reason}`);
  assert.match(message, reason);
};

// Two heads of one layer, off together, are not the last one alone.
assert.ok((await without(...strong)) > Math.max(...(await Promise.all(strong.map((one) => without(one))))) + 1);

const least = scores.induction[1].indexOf(Math.min(...scores.induction[1]));
await refused(ex1.check(answer1), /a head of layer 0; the question is about layer 1$/);
await refused(ex1.check([3, 0]), /there is no layer 3; the order is \[layer, head\]/);
await refused(ex1.check([0, 4]), /there are heads 0 to 3/);
await refused(ex1.check([least]), /wanted two numbers, \[layer, head\]; found 1/);
await refused(ex1.check([1, induction.head]), /that is the most an induction head/);
const middle = [0, 1, 2, 3].find((head) => head !== least && head !== induction.head)!;
await refused(ex1.check([1, middle]), /Not yet\.\nHint: Look at the picture/);
await refused(ex1.check([1, middle]), /Hint: The smallest number/);
assert.ok((await ex1.check([1, least])).right);

const allOff = await rise("h.1.attn.heads");
await refused(ex2.check(answer2), /Not yet\.\nHint: An edit without/);
await refused(ex2.check(allOff + second), /that is the loss itself/);
await refused(ex2.check(-allOff), /after minus before/);
await refused(ex2.check(await rise("h.0.attn.heads")), /the heads of layer 0/);
await refused(ex2.check(await rise("h.1.attn.out")), /h\.1\.attn\.out, which has a bias/);
await refused(ex2.check(await rise("h.1.attn.heads", [2])), /only head 1\.2 was off/);
await refused(ex2.check(allOff + 1), /subtract `second`/);
assert.ok((await ex2.check(Number(allOff.toFixed(3)))).right);

await refused(ex3.check(answer3), /Q does not occur$/);
await refused(ex3.check("Q and then"), /is the likeliest, with \d+ %; Q has \d+ %/);
await refused(ex3.check("aQaQaQa"), /Q is already the likeliest, with \d\d %; more than 80 % is wanted/);
await refused(ex3.check(`${"k7Qzw%u3".repeat(8)}k7`), /at most 60 characters are wanted; yours has 66/);
assert.ok((await ex3.check("k7Qzw%u3k7Qzw%u3k7Qzw%u3k7")).right);
