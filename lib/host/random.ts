/**
 * Counter-based random numbers: each is a function of a seed and of a path that says what it is for, such as
 * `uniform(1337, "train", step, row)`. There is no state to save: a resumed, replayed or split run draws the same
 * numbers. They are not cryptographic, and PyTorch gives other numbers for the same seed.
 *
 * The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"),
 * which TensorFlow's stateless operations use, too. Shown in notebook 01-train.
 */

/** One part of a path: what a number is for (a name), or which one it is (an integer). */
export type PathPart = number | string;

// Salmon 2011, table 2: the multipliers, and the Weyl constants (golden ratio, √3 − 1) added to the key in each round.
const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const bump0 = 0x9e3779b9;
const bump1 = 0xbb67ae85;
const rounds = 10;

/** The high 32 bits of the 64-bit product of two 32-bit unsigned integers (`Math.imul` gives the low ones). */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16); // < 2^32
  const carry = (aLow * bHigh + (middle & 0xffff)) >>> 16;
  return (aHigh * bHigh + (middle >>> 16) + carry) | 0;
}

/** Philox4x32-10 in place: `state` holds the counter and then the result. */
function permute(state: Int32Array, key0: number, key1: number): void {
  let c0 = state[0]!;
  let c1 = state[1]!;
  let c2 = state[2]!;
  let c3 = state[3]!;
  let k0 = key0 | 0;
  let k1 = key1 | 0;
  for (let round = 0; round < rounds; round++) {
    const high0 = multiplyHigh(multiplier0, c0);
    const high1 = multiplyHigh(multiplier1, c2);
    const low0 = Math.imul(multiplier0, c0);
    const low1 = Math.imul(multiplier1, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + bump0) | 0;
    k1 = (k1 + bump1) | 0;
  }
  state[0] = c0;
  state[1] = c1;
  state[2] = c2;
  state[3] = c3;
}

/**
 * Philox4x32-10: a bijection of 128-bit counters for each 64-bit key.
 * @param counter four 32-bit words, least significant first
 * @param key two 32-bit words
 * @returns four random 32-bit words
 * @throws {RangeError} if `counter` does not hold four words
 * @example
 * philox4x32(new Uint32Array(4), [0, 0])[0].toString(16); // "6627e8d5"
 */
export function philox4x32(counter: Uint32Array, key: readonly [number, number]): Uint32Array {
  if (counter.length !== 4) {
    throw new RangeError(`Cannot run Philox4x32: the counter holds ${counter.length} words; it must hold 4.`);
  }
  const state = Int32Array.from(counter);
  permute(state, key[0], key[1]);
  return Uint32Array.from(state, (word) => word >>> 0);
}

// Each part of a path is mixed in with a mark of its type, so that 1 and "1" differ.
const integerMark = 1;
const stringMark = 2;
const scratch = new Int32Array(4);

function integerWords(value: number, name: string): [low: number, high: number] {
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(`Cannot draw a random number: ${name} is ${value}; it must be an integer below 2^53.`);
  }
  return [value | 0, Math.floor(value / 2 ** 32) | 0];
}

/**
 * Fills `scratch` with the 128 random bits of a path: the words of each part are XORed into the counter, and Philox,
 * keyed by the seed, runs after each. A string is mixed in four UTF-16 units at a time, followed by its length.
 */
function absorb(seed: number, path: readonly PathPart[]): void {
  const [key0, key1] = integerWords(seed, "the seed");
  scratch.fill(0);
  for (let index = 0; index < path.length; index++) {
    const part = path[index]!;
    if (typeof part === "string") {
      for (let at = 0; at < part.length; at += 4) {
        // charCodeAt past the end is NaN, which `|` reads as 0.
        scratch[0]! ^= part.charCodeAt(at) | (part.charCodeAt(at + 1) << 16);
        scratch[1]! ^= part.charCodeAt(at + 2) | (part.charCodeAt(at + 3) << 16);
        scratch[3]! ^= stringMark;
        permute(scratch, key0, key1);
      }
      scratch[2]! ^= part.length;
      scratch[3]! ^= stringMark;
    } else {
      const [low, high] = integerWords(part, `part ${index} of the path`);
      scratch[0]! ^= low;
      scratch[1]! ^= high;
      scratch[3]! ^= integerMark;
    }
    permute(scratch, key0, key1);
  }
  if (path.length === 0) permute(scratch, key0, key1);
}

/**
 * A number uniform on [0, 1), with 53 random bits, that depends only on the seed and the path.
 * @throws {RangeError} if the seed or a number of the path is not an integer below 2^53
 * @example
 * uniform(1337, "train", 0, 3) === uniform(1337, "train", 0, 3); // true
 */
export function uniform(seed: number, ...path: PathPart[]): number {
  absorb(seed, path);
  return ((scratch[0]! >>> 5) * 2 ** 26 + (scratch[1]! >>> 6)) / 2 ** 53;
}

// With 6 rounds, permutations of a few numbers deviate from uniform by 9 %; with 8, not visibly
// (test/host/random.test.ts).
const ROUNDS = 10;

/**
 * The image of `index` under a random permutation of 0 … count − 1. The permutation depends only on the seed and the
 * path and takes no memory: a Feistel network over the next power of four, applied until the result is below count
 * (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"), with Philox as its round function.
 * @throws {RangeError} if index is not in [0, count), or count is beyond 2^53
 * @example
 * [0, 1, 2, 3].map((index) => permuted(index, 4, 1337, "epoch", 0)); // each of 0 … 3 once
 */
export function permuted(index: number, count: number, seed: number, ...path: PathPart[]): number {
  if (!Number.isSafeInteger(count) || !Number.isInteger(index) || index < 0 || index >= count) {
    throw new RangeError(`Cannot permute: index is ${index}; it must be an integer from 0 to ${count - 1}.`);
  }
  const half = Math.max(1, Math.ceil(Math.log2(count) / 2));
  const [mask, width] = [2 ** half - 1, 2 ** half];
  const [key0, key1] = key(seed, ...path) as unknown as [number, number];
  let walked = index;
  do {
    let left = Math.floor(walked / width);
    let right = walked % width;
    for (let round = 0; round < ROUNDS; round++) {
      scratch[0] = right;
      scratch[1] = round;
      scratch[2] = scratch[3] = 0;
      permute(scratch, key0, key1);
      [left, right] = [right, left ^ (scratch[0]! & mask)];
    }
    walked = left * width + right;
  } while (walked >= count);
  return walked;
}

/**
 * A 64-bit key that depends only on the seed and the path, as the two int32 numbers that TensorFlow's stateless random
 * operations take. Its bits are independent of those of `uniform` for the same path.
 * @returns [2]
 * @throws {RangeError} if the seed or a number of the path is not an integer below 2^53
 * @example
 * key(1337, "dropout", step, microStep);
 */
export function key(seed: number, ...path: PathPart[]): Int32Array {
  absorb(seed, path);
  return Int32Array.of(scratch[2]!, scratch[3]!);
}

// TensorFlow scrambles a key with Philox, under a key of its own, before use (GetPhiloxKey… in its sources).
const tensorflowKey = [0x3ec8f720, 0x02461e29] as const;

/**
 * Normal values of mean 0 and standard deviation 1 from a key: those of TensorFlow's StatelessRandomNormal, except for
 * the rounding of a logarithm, a sine and a cosine (Box and Muller 1958).
 * @param key [2], as `key` gives it
 * @returns [count]
 */
export function standardNormals(count: number, [first, second]: Int32Array): Float32Array {
  scratch.set([first!, first! >> 31, second!, second! >> 31]);
  permute(scratch, ...tensorflowKey);
  const [key0, key1, high0, high1] = scratch as unknown as [number, number, number, number];
  const values = new Float32Array(count);
  // 23 bits, as the mantissa of a float32 in [1, 2)
  const unit = (word: number) => (word & 0x7fffff) / 2 ** 23;
  for (let at = 0; at < count; at += 4) {
    scratch[0] = at / 4;
    scratch[1] = 0;
    scratch[2] = high0;
    scratch[3] = high1;
    permute(scratch, key0, key1);
    for (let pair = 0; pair < 4; pair += 2) {
      const radius = Math.sqrt(-2 * Math.log(Math.max(unit(scratch[pair]!), 1e-7)));
      const angle = 2 * Math.PI * unit(scratch[pair + 1]!);
      values[at + pair] = radius * Math.sin(angle); // a typed array ignores a store beyond its end
      values[at + pair + 1] = radius * Math.cos(angle);
    }
  }
  return values;
}
