/** Fits as arquero tables, to filter, join and draw. points.ts describes the numbers. */
import { type ColumnTable, from } from "arquero";
import { warningKinds } from "../fit/warnings.js";
import type { Fit } from "../points.js";

/** One row per number of a fit: its estimate, error and intervals, or null. */
export function fitTable(fit: Fit): ColumnTable {
  return from(
    Object.entries({ ...fit.params, ...fit.exponents }).map(([name, estimate]) => {
      const [low80, high80] = fit.ci80[name] ?? [null, null];
      const [low95, high95] = fit.ci95[name] ?? [null, null];
      return { name, estimate, error: fit.se[name] ?? null, low80, high80, low95, high95 };
    }),
  );
}

/** One row per bootstrap refit, one column per number; no rows if the fit has no refits. */
export function refitsTable({ bootstrap = [] }: Fit): ColumnTable {
  return from([...bootstrap]);
}

/** The result of a method applied to points. */
interface Tried {
  readonly method: string;
  readonly name: string;
  readonly fit?: Fit;
  readonly refused?: string;
}

/** One row per method: exponent a with its interval, and its warnings or error. */
export function approachesTable(approaches: readonly Tried[]): ColumnTable {
  return from(
    approaches.map(({ method, name, fit, refused }) => ({
      method,
      name,
      a: fit?.exponents?.a ?? null,
      low80: fit?.ci80.a?.[0] ?? null,
      high80: fit?.ci80.a?.[1] ?? null,
      converged: fit?.converged ?? null,
      says: refused ?? (warningKinds(fit).join(", ") || "no warning"),
    })),
  );
}
