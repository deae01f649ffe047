/** Fits as arquero tables, to be filtered, joined and drawn. What the numbers are is points.ts. */
import { type ColumnTable, from } from "arquero";
import type { Fit } from "../points.js";

/** A row per number of a fit: its estimate, error and intervals; null where there is none. */
export function fitTable(fit: Fit): ColumnTable {
  return from(
    Object.entries({ ...fit.params, ...fit.exponents }).map(([name, estimate]) => {
      const [low80, high80] = fit.ci80[name] ?? [null, null];
      const [low95, high95] = fit.ci95[name] ?? [null, null];
      return { name, estimate, error: fit.se[name] ?? null, low80, high80, low95, high95 };
    }),
  );
}

/** A row per bootstrap refit, a column per number. Without rows where the fit has no refits. */
export function refitsTable({ bootstrap = [] }: Fit): ColumnTable {
  return from([...bootstrap]);
}

/** What is said of a method that was tried on points. */
interface Tried {
  readonly method: string;
  readonly name: string;
  readonly fit?: Fit;
  readonly refused?: string;
}

/** A row per method: exponent a with its interval, and what it warns of, or why it refused. */
export function approachesTable(approaches: readonly Tried[]): ColumnTable {
  return from(
    approaches.map(({ method, name, fit, refused }) => ({
      method,
      name,
      a: fit?.exponents?.a ?? null,
      low80: fit?.ci80.a?.[0] ?? null,
      high80: fit?.ci80.a?.[1] ?? null,
      converged: fit?.converged ?? null,
      says: refused ?? (fit?.warnings.map(({ kind }) => kind).join(", ") || "no warning"),
    })),
  );
}
