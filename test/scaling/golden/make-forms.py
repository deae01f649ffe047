"""Makes forms.json: what SciPy finds for laws under other objectives, with constants fixed or tied, and for IsoFLOP profiles.

    pip install numpy scipy
    python test/scaling/golden/make-forms.py

Made with Python 3.11, numpy 2.4, scipy 1.17 (the exact versions stand in the file). Minima come from least_squares, with the
root of each point's share of the objective as its residual; standard errors from the sandwich of an M-estimator with complex-step derivatives (HC1).
"""

import json
import pathlib
import platform

import numpy as np
import scipy
from scipy.interpolate import Akima1DInterpolator
from scipy.optimize import least_squares, minimize_scalar
from scipy.stats import t

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(24)
LOG = {"E", "A", "B", "rStar", "rStarN"}


def rounded(values, digits=6):
    return np.array([float(f"{value:.{digits}g}") for value in values])


# --- laws -----------------------------------------------------------------------------------------------------------


def surface(p, x):
    return p["E"] + p["A"] * x["n"] ** -p["alpha"] + p["B"] * x["d"] ** -p["beta"]


def gadre(p, x):
    m, c = x["d"] / x["n"], 6 * x["n"] * x["d"]
    return p["E"] + (p["A"] * m ** p["eta"] + p["B"] * m ** -p["eta"]) * c ** -p["eta"]


def muennighoff(p, x):
    g = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / (p["alpha"] + p["beta"]))
    enough = g * (g * x["unique"]) ** (p["beta"] / p["alpha"])
    un = np.where(np.real(enough) < x["n"], enough, x["n"])
    rn, rd = x["n"] / un - 1, x["d"] / x["unique"] - 1
    n = un + un * p["rStarN"] * (1 - np.exp(-rn / p["rStarN"]))
    d = x["unique"] + x["unique"] * p["rStar"] * (1 - np.exp(-rd / p["rStar"]))
    return p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * d ** -p["beta"]


def power(p, x):
    return p["E"] + p["A"] * x["d"] ** -p["alpha"]


# --- objectives -----------------------------------------------------------------------------------------------------


def residuals(law, p, x, scale):
    predicted = law(p, x)
    return np.log(predicted) - np.log(x["loss"]) if scale == "log" else predicted - x["loss"]


def rho(r, kind, delta, tau):
    side = np.where(r < 0, 2 * tau, 2 * (1 - tau))
    if kind == "squared":
        return side * r**2
    return side * np.where(abs(r) <= delta, 0.5 * r**2, delta * (abs(r) - 0.5 * delta))


def fitted(law, x, start, groups, kind="squared", scale="log", delta=1e-3, tau=0.5, weight=None):
    """The minimum over the groups of free constants, with standard errors: rho(r) as the square of one residual each."""
    w = np.ones(len(x["loss"])) if weight is None else weight / weight.mean()

    def params(z):
        p = dict(start)
        for group, value in zip(groups, z):
            for name in group:
                p[name] = np.exp(value) if name in LOG else value
        return p

    def halves(z):
        r = residuals(law, params(z), x, scale)
        return np.sign(r) * np.sqrt(w * rho(r, kind, delta, tau))

    def slopes(z):
        r, root = residuals(law, params(z), x, scale), halves(z)
        side = w * np.where(r < 0, 2 * tau, 2 * (1 - tau))
        psi = side * (2 * r if kind == "squared" else np.clip(r, -delta, delta))
        outer = np.where(abs(root) > 0, psi / np.where(root == 0, 1, 2 * root), np.sqrt(side * (1 if kind == "squared" else 0.5)))
        inner = [np.imag(residuals(law, params(z + 1e-30j * np.eye(len(z))[k]), x, scale)) / 1e-30 for k in range(len(z))]
        return np.array(inner).T * outer[:, None]

    at = np.array([np.log(start[g[0]]) if g[0] in LOG else start[g[0]] for g in groups])
    ends = []
    for k in range(8):
        z = at if k == 0 else at * (1 + 0.05 * rng.standard_normal(len(at)))
        try:
            end = least_squares(halves, z, slopes, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=3000)
        except ValueError:  # a start without a number
            continue
        ends.append((2 * end.cost, end.x))
    value, z = min(ends, key=lambda end: end[0])
    p = params(z)
    return dict(params=p, objective=value, se=errors(law, x, p, groups, w, kind, scale, delta, tau))


def errors(law, x, p, groups, w, kind, scale, delta, tau):
    """HC1 sandwich in the natural constants; for Huber's loss, Powell's estimate of E psi' with Silverman's window."""
    columns = []
    for group in groups:
        step = 1e-30 * abs(p[group[0]])
        moved = {k: complex(v) for k, v in p.items()} | {name: p[name] + 1j * step for name in group}
        predicted = law(moved, x)
        columns.append(np.imag(np.log(predicted) if scale == "log" else predicted) / step)
    J, r = np.array(columns).T, residuals(law, p, x, scale)
    n, q = J.shape
    w = w * np.where(r < 0, 2 * tau, 2 * (1 - tau))
    if kind == "huber":
        sizes = np.sort(abs(r))
        middle = sizes[min(n - 1, (n + q) // 2)]
        root = np.sqrt((r**2).sum() / (n - q))
        window = max(delta, 0.9 * min(root, 1.4826 * middle) * n**-0.2)
        slope = np.minimum(1, 2 * delta * np.exp(-0.5 * (r / window) ** 2) / (window * np.sqrt(2 * np.pi)))
        psi = np.clip(r, -delta, delta)
    else:
        slope, psi = np.ones(n), r
    bread = np.linalg.inv((J * (w * slope)[:, None]).T @ J)
    scores = (w * psi)[:, None] * J
    covariance = bread @ (scores.T @ scores) @ bread * n / (n - 1) * (n - 1) / (n - q)
    se = dict.fromkeys(p, 0.0)
    for k, group in enumerate(groups):
        for name in group:
            se[name] = float(np.sqrt(covariance[k, k]))
    return se


def columns(points):
    return {name: np.array([point[name] for point in points]) for name in points[0]}


def rows(x):
    return [dict(zip(x, map(float, values))) for values in zip(*x.values())]


# --- points ---------------------------------------------------------------------------------------------------------

LAW = dict(E=1.8, A=300.0, B=1500.0, alpha=0.31, beta=0.37)


def strewn(count, law=surface, p=LAW, noise=0.006, unique=False):
    n = rounded(10 ** rng.uniform(6.5, 9, count))
    d = rounded(n * 10 ** rng.uniform(0.8, 2.4, count))
    x = dict(n=n, d=d)
    if unique:
        n[::3] = rounded(n[::3] * 40)
        x["unique"] = rounded(d / np.array([1, 2, 4, 10, 30])[np.arange(count) % 5])
    error = rounded(noise * rng.uniform(0.5, 2, count), 3)
    x["loss"] = rounded(law(p, x) * np.exp(error * rng.standard_normal(count)), 7)
    x["error"] = error
    return x


def each(names):
    return [[name] for name in names]


plain = strewn(36)
five = each(["E", "A", "B", "alpha", "beta"])
over_p = dict(E=1.7, A=400.0, B=900.0, eta=0.16)
over = strewn(24, gadre, over_p, 0.004)
repeated_p = LAW | dict(rStar=12.0, rStarN=4.0)
repeated = strewn(45, muennighoff, repeated_p, 0.003, unique=True)
powered = strewn(20, power, dict(E=1.9, A=120.0, alpha=0.25), 0.004)

out = dict(
    made_with=dict(python=platform.python_version(), numpy=np.__version__, scipy=scipy.__version__),
    surface=dict(
        points=rows(plain),
        fits={
            "squared, log": fitted(surface, plain, LAW, five),
            "squared, linear": fitted(surface, plain, LAW, five, scale="linear"),
            "huber, linear": fitted(surface, plain, LAW, five, kind="huber", scale="linear", delta=0.02),
            "asymmetric": fitted(surface, plain, LAW, five, tau=0.2),
            "fixed": fitted(surface, plain, LAW | dict(E=1.75), five[1:], kind="huber", delta=0.01),
            "tied": fitted(surface, plain, LAW | dict(beta=0.31), [["E"], ["A"], ["B"], ["alpha", "beta"]]),
            "weighted, log": fitted(surface, plain, LAW, five, weight=(plain["loss"] / plain["error"]) ** 2),
            "weighted, linear": fitted(surface, plain, LAW, five, scale="linear", weight=plain["error"] ** -2.0),
        },
    ),
    gadre=dict(points=rows(over), fit=fitted(gadre, over, over_p, each(over_p), scale="linear")),
    muennighoff=dict(
        points=rows(repeated),
        free=fitted(muennighoff, repeated, repeated_p, each(repeated_p), kind="huber", delta=0.01),
        fixed=fitted(muennighoff, repeated, repeated_p, each(["rStar", "rStarN"]), kind="huber", delta=0.01),
    ),
    power=dict(points=rows(powered), fit=fitted(power, powered, dict(E=1.9, A=120.0, alpha=0.25), each(["A", "alpha"]))),
)

# --- predictions: the delta method and the scatter of runs ----------------------------------------------------------


def prediction():
    found = out["surface"]["fits"]["squared, log"]
    p, x = found["params"], plain
    new = dict(n=np.array([3e9, 2e7]), d=np.array([9e10, 3e9]))
    r = residuals(surface, p, x, "log")
    n, q = len(r), 5

    def jacobian(at):
        cols = []
        for name in p:
            step = 1e-30 * abs(p[name])
            cols.append(np.imag(np.log(surface({k: complex(v) for k, v in p.items()} | {name: p[name] + 1j * step}, at))) / step)
        return np.array(cols).T

    J = jacobian(x)
    s = np.linalg.norm(J, axis=0)
    bread = np.linalg.inv((J / s).T @ (J / s)) / np.outer(s, s)
    covariance = bread @ ((J * r[:, None]).T @ (J * r[:, None])) @ bread * n / (n - q)
    K = jacobian(new)
    se = np.sqrt(np.einsum("ij,jk,ik->i", K, covariance, K))
    ln = np.log(surface(p, new))
    sigma = np.sqrt((r**2).sum() / (n - q))
    levels = {}
    for name, level in (("ci80", 0.8), ("ci95", 0.95)):
        reach = t.ppf(0.5 + level / 2, n - q)
        law, run = reach * se, np.hypot(reach * se, reach * sigma)
        levels[name] = dict(law=np.exp([ln - law, ln + law]).T.tolist(), run=np.exp([ln - run, ln + run]).T.tolist())
    return dict(n=new["n"].tolist(), d=new["d"].tolist(), loss=np.exp(ln).tolist(), **levels)


out["prediction"] = prediction()

# --- IsoFLOP profiles -----------------------------------------------------------------------------------------------


def profile(c, count, width, noise):
    alpha, beta = LAW["alpha"], LAW["beta"]
    g = (alpha * LAW["A"] / (beta * LAW["B"])) ** (1 / (alpha + beta))
    best = g * (c / 6) ** (beta / (alpha + beta))
    n = rounded(best * width ** np.linspace(-1, 1.15, count))
    d = c / (6 * n)
    error = rounded(noise * rng.uniform(0.5, 2, count), 3)
    loss = rounded(surface(LAW, dict(n=n, d=d)) + error * rng.standard_normal(count), 7)
    return [dict(n=float(a), d=float(b), c=float(c), loss=float(l), error=float(e)) for a, b, l, e in zip(n, d, loss, error)]


budgets = [1e17, 4e17, 1.6e18, 6.4e18, 2.56e19]
profiles = [profile(c, 8, 7, 0.004) for c in budgets]


def akima_minimum(points):
    x, y = np.log([p["n"] for p in points]), np.log([p["loss"] for p in points])
    curve = Akima1DInterpolator(x, y)
    grid = np.linspace(x[0], x[-1], 20001)
    k = int(np.argmin(curve(grid)))
    end = minimize_scalar(curve, bounds=(grid[max(0, k - 1)], grid[min(20000, k + 1)]), method="bounded", options=dict(xatol=1e-13))
    return [float(np.exp(end.x)), float(np.exp(end.fun))]


def parabola(points, weights):
    x, y = np.log([p["n"] for p in points]), np.array([p["loss"] for p in points])
    q = np.polyfit(x - x.mean(), y, 2, w=np.sqrt(weights))
    at = -q[1] / (2 * q[0])
    return [float(np.exp(at + x.mean())), float(np.polyval(q, at))]


def windowed(points, window):
    low = min(points, key=lambda p: p["loss"])["n"]
    near = [p for p in points if 1 / window <= p["n"] / low <= window]
    return parabola(near, np.ones(len(near)))


def line(vertices):
    slope, intercept = np.polyfit(np.log(budgets), np.log([v[0] for v in vertices]), 1)
    return dict(a=float(slope), nScale=float(np.exp(intercept)))


found = {
    "akima": [akima_minimum(points) for points in profiles],
    "weighted": [parabola(points, np.array([p["error"] ** -2.0 for p in points])) for points in profiles],
    "windowed": [windowed(points, 4.5) for points in profiles],
}
optimal = fitted(
    lambda p, x: p["E"] + p["A"] * (x["c"] / 1e18) ** -p["alpha"],
    dict(c=np.array(budgets), loss=np.array([v[1] for v in found["windowed"]])),
    dict(E=2.0, A=1.5, alpha=0.15),
    each(["E", "A", "alpha"]),
)
optimal["params"]["A"] *= 1e18 ** optimal["params"]["alpha"]
out["isoflop"] = dict(
    points=[point for points in profiles for point in points],
    **found,
    lines={name: line(vertices) for name, vertices in found.items()},
    optimalLoss=optimal["params"],
)


def noisy_vertex(points, sd, draws=100000):
    """The standard deviation of the vertex of an unweighted parabola under noise of the loss, by simulation."""
    x, y = np.log([p["n"] for p in points]), np.array([p["loss"] for p in points])
    q = np.polyfit(x - x.mean(), y, 2)
    smooth = np.polyval(q, x - x.mean())
    many = np.polyfit(x - x.mean(), (smooth[:, None] + sd * rng.standard_normal((len(x), draws))), 2)
    at = -many[1] / (2 * many[0])
    return float(at.std())


out["isoflop"]["nError"] = [noisy_vertex(points, 0.003) for points in profiles]

(HERE / "forms.json").write_text(json.dumps(out, indent=1) + "\n")
