/**
 * Numbers in a page: arrays as base64 text, so that a file holds 1,024 tokens of every head, and how a number is written.
 * lib/inspect/views/pack.ts packs them.
 */
import { fromHalf } from "../../../host/sixteen-bit.js";

/** An array in a page: its numbers as float32, float16 or, from 0 to 255, uint8; little-endian, in base64. Or as they are in memory. */
export type Packed = PackedText | { readonly shape: readonly number[]; readonly values: Float32Array };

export interface PackedText {
  readonly shape: readonly number[];
  readonly format: "float32" | "float16" | "uint8";
  readonly base64: string;
}

/** A packed array that has been opened: `read(from, count)` gives numbers by their place, the last axis fastest. */
export interface Opened {
  readonly shape: readonly number[];
  read(from: number, count: number): Float32Array;
}

const opened = new WeakMap<Packed, Opened>();

/** Decodes the base64 text once; numbers are converted when they are read. */
export function open(packed: Packed): Opened {
  if ("values" in packed) {
    const { shape, values } = packed;
    return { shape, read: (from, count) => values.slice(from, from + count) };
  }
  const before = opened.get(packed);
  if (before) return before;
  const read = reader(packed.format, bytesOf(packed.base64));
  const result = { shape: packed.shape, read };
  opened.set(packed, result);
  return result;
}

/** The bytes of base64 text. */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function reader(format: PackedText["format"], bytes: Uint8Array): Opened["read"] {
  if (format === "uint8") return (from, count) => Float32Array.from(bytes.subarray(from, from + count), (x) => x / 255);
  if (format === "float16") {
    const bits = new Uint16Array(bytes.buffer, 0, bytes.length / 2);
    return (from, count) => fromHalf("float16", bits.subarray(from, from + count));
  }
  const values = new Float32Array(bytes.buffer, 0, bytes.length / 4);
  return (from, count) => values.slice(from, from + count);
}

/** How many numbers an array of this shape has. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((all, size) => all * size, 1);

/** A number for people: four digits, with exponents only far from 1. */
export function shortNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text =
    size >= 1e5 || size < 1e-3
      ? value.toExponential(2)
      : size >= 100
        ? value.toFixed(0)
        : `${Number(value.toPrecision(3))}`;
  return text.replaceAll("-", "−");
}

/** 0.1234 → "12.3 %". */
export const percent = (share: number): string => `${(100 * share).toFixed(share < 0.0995 ? 2 : 1)} %`;

/** Which of several things: `head 0`, `heads 0 to 3`. */
export const numbered = (what: string, first: number, last: number): string =>
  first === last ? `${what} ${first}` : `${what}s ${first} to ${last}`;

/** A token for people: white space and control characters become visible. */
export function shownToken(token: string): string {
  const visible = token.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll("\r", "␍");
  return visible === "" ? "∅" : visible.replace(/\p{Cc}/gu, (c) => String.fromCodePoint(0x2400 + c.codePointAt(0)!));
}
