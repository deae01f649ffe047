assert.ok((await ex1.check(3)).right);
assert.ok(!(await ex1.check("four")).right);
