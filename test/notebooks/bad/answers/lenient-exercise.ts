assert.ok((await ex1.check(3)).right, "3 is right");
const wrong = await ex1.check(4);
assert.ok(!wrong.right, "4 is taken for right");
assert.match(wrong.message, /Divide by two/);
