/**
 * Constants of a law that are fixed at a value or tied to each other, as a linear map from the free coordinates of a
 * search to the coordinates of the law.
 */
import type { Form } from "./form.js";

/** Which constants of a law are not free. */
export interface Constraints {
  /** Fixed values by name. */
  readonly fix?: Readonly<Record<string, number>>;
  /** Groups of names with one common value. */
  readonly tie?: readonly (readonly string[])[];
}

export const isFree = ({ fix = {}, tie = [] }: Constraints): boolean => Object.keys(fix).length + tie.length === 0;

/** @throws {RangeError} for a name that the law does not have, and for constants that cannot be fixed or tied so */
export function checkConstraints(
  { names, positive }: Pick<Form, "names" | "positive">,
  { fix = {}, tie = [] }: Constraints,
): void {
  const known = (name: string, what: string) => {
    if (names.includes(name)) return;
    throw new RangeError(`Cannot ${what} ${name}: the law has no such constant; it has ${names.join(", ")}.`);
  };
  for (const [name, value] of Object.entries(fix)) {
    known(name, "fix");
    if (Number.isFinite(value) && (!positive.has(name) || value > 0)) continue;
    throw new RangeError(
      `Cannot fix ${name} at ${value}: ${positive.has(name) ? "it must be a number above 0" : "it must be a number"}.`,
    );
  }
  const seen = new Set(Object.keys(fix));
  for (const group of tie) {
    for (const name of group) {
      known(name, "tie");
      if (seen.has(name)) {
        throw new RangeError(`Cannot tie ${group.join(" and ")}: ${name} is already fixed or tied; name it once.`);
      }
      seen.add(name);
    }
    if (group.length < 2) throw new RangeError(`Cannot tie ${group.join("")}: name at least two constants.`);
    if (new Set(group.map((name) => positive.has(name))).size > 1) {
      throw new RangeError(
        `Cannot tie ${group.join(" and ")}: a factor and an exponent have different units; tie factors with factors, or exponents with exponents.`,
      );
    }
  }
  if (groupsOf(names, { fix, tie }).length > 0) return;
  throw new RangeError("Cannot fit: all constants are fixed; leave at least one free.");
}

/** The free constants: names that change together. */
export function groupsOf(names: readonly string[], { fix = {}, tie = [] }: Constraints): (readonly string[])[] {
  const done = new Set(Object.keys(fix));
  return names.flatMap((name) => {
    if (done.has(name)) return [];
    const group = tie.find((tied) => tied.includes(name)) ?? [name];
    for (const each of group) done.add(each);
    return [group];
  });
}

/** theta = offset + matrix · x */
export interface FreeMap {
  readonly size: number;
  /** Free coordinates → the law's. */
  expand(x: Float64Array, theta: Float64Array): void;
  /** ∂/∂theta → ∂/∂x. */
  contract(ofTheta: Float64Array, ofX: Float64Array): void;
  /** The free coordinates of theta; tied coordinates are averaged. */
  inward(theta: Float64Array): Float64Array;
}

export function freeMap({ names, positive, pairs }: Form, constraints: Constraints): FreeMap {
  const { fix = {} } = constraints;
  const groups = groupsOf(names, constraints);
  const [rows, columns] = [names.length, groups.length];
  const at = (row: number, column: number) => row * columns + column;
  const matrix = new Float64Array(rows * columns);
  const offset = Float64Array.from(names, (name) => {
    const value = fix[name];
    return value === undefined ? 0 : positive.has(name) ? Math.log(value) : value;
  });
  const scale = groups.map((group) => {
    const spread = pairs.find(({ exponent }) => group.includes(exponent))?.spread ?? 1;
    for (const name of group) matrix[at(names.indexOf(name), groups.indexOf(group))] = 1 / spread;
    return spread;
  });
  // ln A = a' + alpha·mean, where A is free.
  const centred = pairs.filter(({ factor }) => groups.some((group) => group.length === 1 && group[0] === factor));
  for (const { factor, exponent, mean } of centred) {
    const [row, from] = [names.indexOf(factor), names.indexOf(exponent)];
    for (let column = 0; column < columns; column++) matrix[at(row, column)]! += mean * matrix[at(from, column)]!;
    offset[row]! += mean * offset[from]!;
  }
  return {
    size: columns,
    expand(x, theta) {
      for (let row = 0; row < rows; row++) {
        let sum = offset[row]!;
        for (let column = 0; column < columns; column++) sum += matrix[at(row, column)]! * x[column]!;
        theta[row] = sum;
      }
    },
    contract(ofTheta, ofX) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let row = 0; row < rows; row++) sum += matrix[at(row, column)]! * ofTheta[row]!;
        ofX[column] = sum;
      }
    },
    inward(theta) {
      const means = groups.map((group) => {
        const sum = group.reduce((total, name) => total + theta[names.indexOf(name)]!, 0);
        return sum / group.length;
      });
      const exponentAt = (name: string) => {
        const column = groups.findIndex((group) => group.includes(name));
        return column < 0 ? offset[names.indexOf(name)]! : means[column]!;
      };
      return Float64Array.from(groups, (group, column) => {
        const pair = centred.find(({ factor }) => group[0] === factor);
        return pair ? means[column]! - pair.mean * exponentAt(pair.exponent) : means[column]! * scale[column]!;
      });
    },
  };
}
