/**
 * Colour scales. A colour is one hue whose opacity grows with the value, so that the same picture reads on white and on
 * black; blue and orange, which people with any colour vision tell apart, are positive and negative.
 */

/** From values to colours. */
export interface Scale {
  /** What the values are, with their unit: "attention weight". */
  readonly label: string;
  /** Opaque at this value, and of a signed scale in orange at its negative. */
  readonly high: number;
  /** Negative values are orange. */
  readonly signed?: boolean;
  /** Opacity is the square root of the share, so that small values show. */
  readonly root?: boolean;
  /** There is text on the colours: they stay light enough for a contrast of 4.5 with the ink of light and dark pages. */
  readonly underText?: boolean;
}

const blue = [43, 123, 186] as const; // palette[0] of lib/charts/figure.ts
const orange = [217, 102, 44] as const; // palette[1]

/** A scale that ends at the largest value, by size if it is signed. */
export function scaleOf(label: string, values: ArrayLike<number>, options: Omit<Scale, "label" | "high"> = {}): Scale {
  let high = 0;
  for (let i = 0; i < values.length; i++) {
    const value = options.signed ? Math.abs(values[i]!) : values[i]!;
    if (value > high && value < Infinity) high = value;
  }
  return { label, high: high || 1, ...options };
}

/** Opacity of a value, 0 to 1. */
export function strength(value: number, { high, signed, root, underText }: Scale): number {
  const share = Math.min(1, Math.max(0, (signed ? Math.abs(value) : value) / high)) || 0;
  return (underText ? 0.75 : 1) * (root ? Math.sqrt(share) : share);
}

/** A value's colour in CSS. */
export function cssColor(value: number, scale: Scale): string {
  const [r, g, b] = scale.signed && value < 0 ? orange : blue;
  return `rgba(${r}, ${g}, ${b}, ${strength(value, scale).toFixed(3)})`;
}

/** The colours of a matrix, RGBA row by row. */
export function colorsOf(values: ArrayLike<number>, scale: Scale): Uint8ClampedArray {
  const colors = new Uint8ClampedArray(4 * values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const [r, g, b] = scale.signed && value < 0 ? orange : blue;
    colors[4 * i] = r;
    colors[4 * i + 1] = g;
    colors[4 * i + 2] = b;
    colors[4 * i + 3] = 255 * strength(value, scale);
  }
  return colors;
}

/** Turns RGBA pixels into the address of a picture; Node and the browser each set theirs. */
export type Painter = (pixels: Uint8ClampedArray, width: number, height: number) => string;

let painter: Painter | undefined;

/** Sets how this process makes pictures from pixels. */
export function setPainter(paint: Painter): void {
  painter = paint;
}

/** The address of a picture with one pixel per value. */
export function picture(values: ArrayLike<number>, columns: number, scale: Scale): string {
  if (!painter) throw new Error("Cannot draw: no painter is set.");
  return painter(colorsOf(values, scale), columns, values.length / columns);
}
