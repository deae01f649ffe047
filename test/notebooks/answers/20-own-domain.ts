async function wrongly(verdict: Promise<{ right: boolean; message: string }>, message: RegExp): Promise<void> {
  const { right, message: said } = await verdict;
  assert.ok(!right, `taken for right; wanted ${message}`);
  assert.match(said, message);
}

// Bits per byte.
assert.ok((await ex1.check((loss, tokens, bytes) => (loss * tokens) / bytes / Math.LN2)).right);
await wrongly(
  ex1.check((loss, tokens, bytes) => (loss * tokens) / bytes),
  /nats per byte/,
);
await wrongly(
  ex1.check((loss) => loss / Math.LN2),
  /bits per token/,
);
await wrongly(
  ex1.check((loss, tokens, bytes) => (loss * bytes) / tokens / Math.LN2),
  /the wrong way round/,
);
await wrongly(
  ex1.check((loss, tokens, bytes) => ((loss * tokens) / bytes) * Math.LN2),
  /divide by ln 2/,
);
await wrongly(
  ex1.check(() => 0),
  /Hint: How many nats/,
);

// int8.
type Rounded = Parameters<typeof ex2.check>[0];
const int8 =
  ({ round = Math.round, magnitude = Math.abs, back = true, zeros = true } = {}): Rounded =>
  (column) => {
    const scale = Math.max(...column.map(magnitude)) / 127;
    if (scale === 0 && zeros) return [...column];
    return column.map((x) => round(x / scale) * (back ? scale : 1));
  };
assert.ok((await ex2.check(int8())).right);
await wrongly(ex2.check(int8({ back: false })), /multiply them by the scale/);
await wrongly(ex2.check(int8({ round: Math.floor })), /Math.floor rounds down/);
await wrongly(ex2.check(int8({ round: Math.trunc })), /Math.trunc rounds towards 0/);
await wrongly(ex2.check(int8({ magnitude: (x: number) => x })), /take Math.abs first/);
await wrongly(ex2.check(int8({ zeros: false })), /divides 0 by 0/);
await wrongly(
  ex2.check((column) => column),
  /should become 0.5, −1.27, 0.02, −0.01/,
);
