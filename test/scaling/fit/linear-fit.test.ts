/** Linear least squares against values of NumPy: with w the weights, np.linalg.lstsq(X·√w, y·√w) and inv(Xᵀ·diag(w)·X). */
import { expect, test } from "vitest";
import { fitLinear } from "../../../scaling/fit/search/linear-fit.js";

const rows = [
  [1, -1.5, 0.4],
  [1, -0.5, -1.1],
  [1, 0.25, 0.9],
  [1, 0.75, -0.3],
  [1, 1.5, 1.3],
];
const values = [2.1, 0.3, 1.9, -0.4, 1.2];
const weights = [1, 2, 0.5, 3, 1.5];

test.each([
  [
    undefined,
    {
      coefficients: [0.8336283185840705, -0.7019469026548676, 1.0690265486725659],
      inverse: [
        ...[0.21574610924626186, 0.0036618858712236866, -0.06713457430576748],
        ...[0.0036618858712236866, 0.22410741531888922, -0.1086359475129692],
        ...[-0.06713457430576748, -0.1086359475129692, 0.3249923710711017],
      ],
      sum: 0.35921238938053085,
    },
  ],
  [
    weights,
    {
      coefficients: [0.7793284416692143, -0.7825529996860614, 1.0723413634027836],
      inverse: [
        ...[0.13926510453783594, -0.04924792271864435, 0.03156333508522803],
        ...[-0.04924792271864435, 0.17297105164542664, -0.08806632334207722],
        ...[0.03156333508522803, -0.08806632334207722, 0.21788581193303355],
      ],
      sum: 0.6123030185398786,
    },
  ],
])("coefficients, covariance and squares with the weights %j", (given, wanted) => {
  const { coefficients, inverse, sum } = fitLinear(rows, values, {
    mostInflation: 10,
    ...(given && { weights: given }),
  })!;
  for (const [k, value] of wanted.coefficients.entries()) expect(coefficients[k]).toBeCloseTo(value, 12);
  for (const [k, value] of wanted.inverse.entries()) expect(inverse[k]).toBeCloseTo(value, 12);
  expect([coefficients.length, inverse.length]).toEqual([3, 9]);
  expect(sum).toBeCloseTo(wanted.sum, 12);
});

test("rows that inflate a variance as much as is allowed, or that determine nothing, give nothing", () => {
  // The largest inflation of the weighted rows is that of the second column, 1.3567.
  expect(fitLinear(rows, values, { weights, mostInflation: 1.36 })).toBeDefined();
  expect(fitLinear(rows, values, { weights, mostInflation: 1.35 })).toBeUndefined();
  const twice = rows.map(([one, x]) => [one!, x!, x!]);
  expect(fitLinear(twice, values, { mostInflation: 1e10 })).toBeUndefined();
});
