/** Damaged forms of a valid file, deterministic by seed: changed bytes and unexpected values. */

/** Random draws by mulberry32, which is small and good enough here. */
export interface Draws {
  /** A whole number, 0 ≤ value < limit. */
  below(limit: number): number;
  pick<T>(values: readonly T[]): T;
}

export function drawsOf(seed: number): Draws {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return { below, pick: (values) => values[below(values.length)]! };
}

const escapes = "\x1b]0;title\x07\x1b[31mred\u202e\u009b2J";
/** Bad values: too large, of another type, a property name of JavaScript, a path, an escape sequence. */
const values: readonly unknown[] = [
  ...[0, -1, 1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 1e308, 1e12, null, true, false, "", "0", "NaN"],
  ...["__proto__", "constructor", "toString", "../../outside", "/dev/zero", "a\nb", "\0", "x".repeat(5000), escapes],
  ...[[], {}, [null], [[]], { length: 1e9 }, { toString: 1 }, [1e12], Array.from({ length: 1000 }, (_, i) => i)],
];
const words: readonly string[] = [
  ...["NaN", "Infinity", "1e999", "-1", "2147483648", "99999999999999999999", "null", "[]", "{}", '""', "'", '"'],
  ...["__proto__", "constructor", "toString", "../../outside", "\\u0000", "\\x41", "\r\n", ",", ";", "\t", "\0"],
  ...[escapes, "\ufeff", "é", "😀", "\ud800", "[".repeat(3000), "9".repeat(400), "x".repeat(10_000), "1/0", "**"],
];

/** Changes, removes or inserts bytes. */
function damagedBytes(bytes: Buffer, draws: Draws): Buffer {
  const at = draws.below(bytes.length + 1);
  const rest = bytes.length - at;
  const length = Math.min(rest, 1 + draws.below(draws.pick([1, 8, 64, 4096])));
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at + length)];
  switch (draws.below(6)) {
    case 0: {
      const changed = Buffer.from(bytes);
      if (rest > 0) changed[at] = draws.below(256);
      return changed;
    }
    case 1:
      return Buffer.concat([before, after]);
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([before, bytes.subarray(at, at + length), bytes.subarray(at)]);
    case 4: {
      const number = Buffer.alloc(8);
      number.writeBigUInt64LE(draws.pick([0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 64n - 1n]));
      return Buffer.concat([before, number, bytes.subarray(at + 8)]);
    }
    default:
      return Buffer.concat([before, Buffer.from(Array.from({ length }, () => draws.below(256))), after]);
  }
}

/** Replaces a word of the text. */
function damagedText(text: string, draws: Draws): string {
  const found = [...text.matchAll(/[\w.+-]+|[^\w\s]/g)];
  if (found.length === 0) return draws.pick(words);
  const { 0: word, index } = draws.pick(found);
  const [before, after] = [text.slice(0, index), text.slice(index + word.length)];
  return before + draws.pick([draws.pick(words), word + draws.pick(words), ""]) + after;
}

/** Replaces or removes a value of the document, or renames its key. */
function damagedJson(document: unknown, draws: Draws): unknown {
  if (typeof document !== "object" || document === null || draws.below(8) === 0) return draws.pick(values);
  if (Array.isArray(document)) {
    if (document.length === 0) return [draws.pick(values)];
    const at = draws.below(document.length);
    return document.map((value, index) => (index === at ? damagedJson(value, draws) : value));
  }
  const entries = Object.entries(document);
  if (entries.length === 0) return Object.fromEntries([[String(draws.pick(words)), draws.pick(values)]]);
  const [key, value] = draws.pick(entries);
  const others = entries.filter(([other]) => other !== key);
  const changed: [string, unknown][][] = [
    [...others, [key, damagedJson(value, draws)]],
    [...others, [key, damagedJson(value, draws)]],
    [...others, [key, draws.pick(values)]],
    others,
    [...entries, [draws.pick(words), draws.pick(values)]],
    [...others, [draws.pick(words), value]],
  ];
  return Object.fromEntries(draws.pick(changed));
}

/** A damaged form of a valid file, which by chance may still be valid. */
export function damaged(valid: Buffer, kind: "bytes" | "text" | "json" | "lines", draws: Draws): Buffer {
  const times = 1 + draws.below(3);
  let bytes = valid;
  for (let round = 0; round < times; round++) bytes = damagedOnce(bytes, kind, draws);
  return bytes;
}

function damagedOnce(bytes: Buffer, kind: "bytes" | "text" | "json" | "lines", draws: Draws): Buffer {
  if (kind === "bytes" || draws.below(5) === 0) return damagedBytes(bytes, draws);
  const text = bytes.toString("utf8");
  if (kind === "text" || draws.below(3) === 0) return Buffer.from(damagedText(text, draws));
  try {
    if (kind === "json") return Buffer.from(JSON.stringify(damagedJson(JSON.parse(text), draws)) ?? "");
    const lines = text.split("\n");
    const at = draws.below(lines.length);
    lines[at] = JSON.stringify(damagedJson(JSON.parse(lines[at]!), draws)) ?? "";
    return Buffer.from(lines.join("\n"));
  } catch {
    return Buffer.from(damagedText(text, draws)); // it is not JSON any more
  }
}
