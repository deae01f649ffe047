/**
 * What a fit minimises: Σ w·ρ(r), with residuals r = predicted − measured of the loss or of its logarithm, and ρ the
 * square, or Huber's loss, which is linear beyond δ (Huber 1964). With an asymmetry τ other than ½, points above the law
 * weigh 2τ and points below it 2(1 − τ), so the law is an expectile (Newey and Powell 1987): with τ < ½ it follows the
 * lower edge of the points, as is right where failures and bad settings only ever raise the loss.
 */

/** The objective of a fit. */
export interface ResidualLoss {
  readonly loss: "huber" | "squared";
  /** log: residuals of ln L, which are relative errors; linear: of L, in nats. */
  readonly scale: "log" | "linear";
  /** huber: δ, in the units of the residuals. */
  readonly delta: number;
  /** τ, between 0 and 1; ½ is symmetric. */
  readonly asymmetry: number;
}

/** The weight of a residual's side. */
export function sideWeight(r: number, asymmetry: number): number {
  return r < 0 ? 2 * asymmetry : 2 * (1 - asymmetry);
}

/** ρ(r): r² for the square, ½r² within δ and δ·(|r| − ½δ) beyond it for Huber's. */
export function rho(r: number, { loss, delta, asymmetry }: ResidualLoss): number {
  const side = sideWeight(r, asymmetry);
  if (loss === "squared") return side * r * r;
  const size = Math.abs(r);
  return side * (size <= delta ? 0.5 * r * r : delta * (size - 0.5 * delta));
}

/** ρ′(r). */
export function rhoSlope(r: number, { loss, delta, asymmetry }: ResidualLoss): number {
  const side = sideWeight(r, asymmetry);
  if (loss === "squared") return side * 2 * r;
  return side * Math.max(-delta, Math.min(delta, r));
}
