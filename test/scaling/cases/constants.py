"""The constants of L(N, D) = E + A N^-alpha + B D^-beta by least squares of predicted / measured - 1, of the tables here that
hold different numbers, from SciPy, and the best learning rates of a tuning from NumPy. `expected.json` has them; run in an environment of yours with NumPy and SciPy."""
import csv
import json
import os
import sys

import numpy as np
from scipy.optimize import least_squares

here = os.path.dirname(os.path.abspath(__file__))


def read(name, loss="loss"):
    rows = list(csv.DictReader(open(os.path.join(here, name), newline="")))
    rows = [row for row in rows if row.get("role", "grid") == "grid"]
    return np.array([[float(row["n"]), float(row["d"]), float(row[loss])] for row in rows])


def fit(points):
    n, d, loss = points.T
    x, y = np.log(n) - np.log(n).mean(), np.log(d) - np.log(d).mean()

    def residuals(p):
        e, a, b, alpha, beta = p
        return (np.exp(e) + np.exp(a - alpha * x) + np.exp(b - beta * y)) / loss - 1

    ends = [
        least_squares(residuals, [e, a, a, alpha, alpha], xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=20000)
        for e in (-1, 0, 0.7)
        for a in (-1, 0)
        for alpha in (0.2, 0.4, 0.8)
    ]
    e, a, b, alpha, beta = min(ends, key=lambda end: end.cost).x
    return {
        "E": float(np.exp(e)),
        "A": float(np.exp(a + alpha * np.log(n).mean())),
        "B": float(np.exp(b + beta * np.log(d).mean())),
        "alpha": float(alpha),
        "beta": float(beta),
    }


def rates(name):
    """The vertex over ln rate of the parabola through the three lowest neighbours, at each N and D; rising in both."""
    rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(open(os.path.join(here, name), newline=""))]
    found = []
    for n, d in sorted({(row["n"], row["d"]) for row in rows}):
        own = sorted((row["learning_rate"], row["loss"]) for row in rows if (row["n"], row["d"]) == (n, d))
        low = min(range(len(own)), key=lambda k: own[k][1])
        rate, loss = np.array(own[low - 1 : low + 2]).T
        a, b, _ = np.polyfit(np.log(rate), loss, 2)
        found.append([n, d, float(np.exp(-b / (2 * a)))])
    return found


base = read("base.csv")
constants = {
    "base": fit(base),
    "without row 4": fit(np.delete(base, 3, axis=0)),
    "rounded": fit(read("rounded2.csv")),
    "one row 21 times": fit(read("dup_one.csv")),
    "bits": fit(read("bits.csv", "loss_bits")),
    "exchanged": fit(base[:, [1, 0, 2]]),
    "novels": fit(read("novels_noheld.csv")),
    "rates": rates("tune_batch64.csv"),
}
json.dump(constants, sys.stdout, indent=2)
