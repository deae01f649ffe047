/**
 * NumPy's `default_rng(seed).permutation(n)`, number for number, with which `datasets.train_test_split`, and so
 * nanoGPT, chooses the validation documents. Seed sequence and PCG64 (O'Neill 2014) as in NumPy. Folio's own draws come
 * from random.ts.
 */

const mask32 = 0xffff_ffffn;
const mask64 = (1n << 64n) - 1n;
const mask128 = (1n << 128n) - 1n;

/** `numpy.random.SeedSequence(seed).generate_state(count)`, with its pool of four words. */
function seedState(seed: number, count: number): number[] {
  const entropy: number[] = [];
  for (let rest = seed; rest > 0 || entropy.length === 0; rest = Math.floor(rest / 2 ** 32)) entropy.push(rest >>> 0);
  let constant = 0x43b0d7e5;
  const hash = (value: number): number => {
    let hashed = (value ^ constant) >>> 0;
    constant = Math.imul(constant, 0x931e8875) >>> 0;
    hashed = Math.imul(hashed, constant) >>> 0;
    return (hashed ^ (hashed >>> 16)) >>> 0;
  };
  const mix = (x: number, y: number): number => {
    const mixed = (Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715)) >>> 0;
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
  const pool = [0, 1, 2, 3].map((index) => hash(entropy[index] ?? 0));
  for (let source = 0; source < 4; source++) {
    for (let target = 0; target < 4; target++) {
      if (source !== target) pool[target] = mix(pool[target]!, hash(pool[source]!));
    }
  }
  constant = 0x8b51f9dd;
  return Array.from({ length: count }, (_, index) => {
    let value = (pool[index % 4]! ^ constant) >>> 0;
    constant = Math.imul(constant, 0x58f38ded) >>> 0;
    value = Math.imul(value, constant) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  });
}

/** PCG64's 32-bit numbers: the low half of each 64-bit number first. */
function pcg64(seed: number): () => number {
  const words = seedState(seed, 8).map(BigInt);
  const wide = (index: number) => (words[2 * index + 1]! << 32n) | words[2 * index]!;
  const multiplier = 0x2360ed051fc65da44385df649fccf645n;
  const increment = ((((wide(2) << 64n) | wide(3)) << 1n) | 1n) & mask128;
  const next = (state: bigint) => (state * multiplier + increment) & mask128;
  let state = next(((wide(0) << 64n) | wide(1)) + increment);
  let spare = -1;
  return () => {
    if (spare >= 0) {
      const high = spare;
      spare = -1;
      return high;
    }
    state = next(state);
    const value = ((state >> 64n) ^ state) & mask64;
    const rotation = state >> 122n;
    const rotated = ((value >> rotation) | (value << (64n - rotation))) & mask64;
    spare = Number(rotated >> 32n);
    return Number(rotated & mask32);
  };
}

/**
 * The numbers 0 to length − 1, shuffled.
 * @param length below 2³²
 * @param seed 0 or more
 * @example
 * permutation(5, 2357); // numpy.random.default_rng(2357).permutation(5)
 */
export function permutation(length: number, seed: number): Uint32Array {
  const uint32 = pcg64(seed);
  const shuffled = Uint32Array.from({ length }, (_, index) => index);
  for (let last = length - 1; last > 0; last--) {
    let mask = last;
    for (let shift = 1; shift < 32; shift *= 2) mask |= mask >>> shift;
    let drawn: number;
    do drawn = (uint32() & mask) >>> 0;
    while (drawn > last);
    const kept = shuffled[last]!;
    shuffled[last] = shuffled[drawn]!;
    shuffled[drawn] = kept;
  }
  return shuffled;
}
