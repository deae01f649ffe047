/** The flags of `fit` that adapt a law: constants fixed or tied, the objective, and how IsoFLOP profiles are read. */
import type { FitOptions } from "../../../../scaling/fit.js";
import type { FitMethod } from "../../../../scaling/points.js";
import { type Flags, positive } from "./flags.js";

export const adaptKinds = {
  fix: "string",
  tie: "string",
  objective: "string",
  scale: "string",
  asymmetry: "string",
  curve: "string",
  window: "string",
  "seed-noise": "string",
} as const;

export const adaptHelp = `  --fix NAME:X,…      give constants a value, in nats, such as --fix=E:1.7 (parametric, projection, power, muennighoff,
                      gadre)
  --tie NAME,NAME     give constants one common value, such as --tie=alpha,beta; several groups: alpha,beta;A,B
  --objective NAME    what is minimised: huber, or squared (default: the method's own)
  --scale NAME        residuals of the logarithm of the loss (log), or of the loss itself (linear)
  --asymmetry T       the expectile to follow, between 0 and 1: .2 follows the lower edge of the points (default .5)
  --curve NAME        isoflop: parabola (default), or akima, an interpolation, which needs --seed_noise or --errors
  --window W          isoflop: use only sizes within a factor of W of the one with the budget's lowest loss
  --seed_noise S      isoflop: the standard deviation of the loss between seeds, in nats`;

/** Constants fixed and tied. */
export function constraintsOf({ text: { fix, tie } }: Flags): Pick<FitOptions, "fix" | "tie"> {
  return {
    ...(fix !== undefined && { fix: fixed(fix) }),
    ...(tie !== undefined && { tie: tie.split(";").map((group) => group.split(",").map((name) => name.trim())) }),
  };
}

/** @throws {RangeError} naming the flag that cannot be read, or that the method does not use */
export function adaptationOf(flags: Flags, method: FitMethod): FitOptions {
  const { objective, scale, curve } = flags.text;
  for (const flag of ["curve", "window", "seed-noise"]) {
    if (method === "isoflop" || flags.text[flag] === undefined) continue;
    throw new RangeError(
      `Cannot use --${flag.replaceAll("-", "_")} with the method ${method}: it is for --method isoflop.`,
    );
  }
  const [asymmetry, window, seedNoise] = [
    positive(flags, "asymmetry"),
    positive(flags, "window"),
    positive(flags, "seed-noise"),
  ];
  return {
    ...constraintsOf(flags),
    ...(objective !== undefined && { objective: one("objective", objective, ["huber", "squared"]) }),
    ...(scale !== undefined && { scale: one("scale", scale, ["log", "linear"]) }),
    ...(curve !== undefined && { curve: one("curve", curve, ["parabola", "akima"]) }),
    ...(asymmetry !== undefined && { asymmetry }),
    ...(window !== undefined && { window }),
    ...(seedNoise !== undefined && { seedNoise }),
  };
}

/** E:1.7,alpha:0.34 → { E: 1.7, alpha: 0.34 } */
function fixed(text: string): Record<string, number> {
  return Object.fromEntries(
    text.split(",").map((part) => {
      const [name = "", written = ""] = part.split(":").map((word) => word.trim());
      const value = Number(written);
      if (name !== "" && written !== "" && Number.isFinite(value) && part.split(":").length === 2) return [name, value];
      throw new RangeError(`Cannot read --fix: "${part}" is not a name and a number, such as E:1.7.`);
    }),
  );
}

/** The word, if it is one of those known. */
export function one<Word extends string>(flag: string, value: string, known: readonly Word[]): Word {
  const found = known.find((word) => word === value);
  if (found !== undefined) return found;
  throw new RangeError(`Cannot read --${flag}: "${value}" is not one of ${known.join(", ")}.`);
}
