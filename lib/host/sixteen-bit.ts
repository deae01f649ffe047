/**
 * Converts the 16-bit numbers in files, float16 (IEEE 754) and bfloat16 (the upper half of a float32), to and from
 * float32. Weights on the host are always float32; TensorFlow does the 16-bit arithmetic.
 */

export type HalfFormat = "float16" | "bfloat16";

let float16Table: Float32Array | undefined; // for all 65,536 bit patterns, so that each value is one look-up

/** Exact. @param bits one value each @param into as many values; returned */
export function fromHalf(format: HalfFormat, bits: Uint16Array, into = new Float32Array(bits.length)): Float32Array {
  if (format === "bfloat16") {
    const words = new Uint32Array(into.buffer, into.byteOffset, into.length);
    for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
    return into;
  }
  float16Table ??= Float32Array.from({ length: 65_536 }, (_, code) => float16Value(code));
  for (let i = 0; i < bits.length; i++) into[i] = float16Table[bits[i]!]!;
  return into;
}

function float16Value(code: number): number {
  const [exponent, fraction] = [(code >> 10) & 31, code & 1023];
  const sign = code & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

/** Rounds to the nearest, ties to even, as PyTorch does; values beyond the largest become infinite. */
export function toHalf(format: HalfFormat, values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  const convert = format === "bfloat16" ? bfloat16Bits : float16Bits;
  for (let i = 0; i < words.length; i++) bits[i] = convert(words[i]!);
  return bits;
}

function bfloat16Bits(word: number): number {
  if ((word & 0x7fffffff) > 0x7f800000) return (word >>> 16) | 0x40; // NaN stays NaN
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

function float16Bits(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65,520 and more round to infinity
  if (magnitude >= 0x38800000) {
    // From 2⁻¹⁴ on: the exponent's bias changes by 112, and 13 bits of the fraction are dropped.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  if (magnitude < 0x33000000) return sign; // below 2⁻²⁵: zero
  const shift = 126 - (magnitude >>> 23); // subnormal: multiples of 2⁻²⁴
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const half = 1 << (shift - 1);
  return sign | ((fraction + half - 1 + ((fraction >>> shift) & 1)) >>> shift);
}
