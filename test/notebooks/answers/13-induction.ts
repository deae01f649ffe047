const refused = async (verdict: Promise<{ right: boolean; message: string }>, hint: RegExp) => {
  const { right, message } = await verdict;
  assert.strictEqual(right, false, `a wrong answer is taken for right, wanted ${hint}`);
  assert.match(message, hint);
};

await refused(ex1.check(answer1), /in the layer that copies\nHint: Look at the picture/);
await refused(ex1.check([0, (previous.head + 1) % 4]), /Not yet\.\nHint: It is in layer 0/);
assert.ok((await ex1.check([previous.layer, previous.head])).right);

const allOff = halves((await folio.tokenLosses(model, ids, { edits: { "h.1.attn.heads": { to: "zero" } } })).losses)[1];
await refused(ex2.check(answer2), /Not yet\.\nHint: An edit without/);
await refused(ex2.check(allOff + 1), /subtract `second`/);
assert.ok((await ex2.check(allOff - second)).right);

await refused(ex3.check(answer3), /Q does not occur\nHint: Let Q follow/);
await refused(ex3.check("Q and then"), /Q has \d+ %/);
assert.ok((await ex3.check("k7Qzw%u3k7Qzw%u3k7Qzw%u3k7")).right);
