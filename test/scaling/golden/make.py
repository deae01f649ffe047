"""Makes fits.json: what SciPy and statsmodels find in the same points, for test/scaling/fit/golden.test.ts.

    pip install numpy scipy statsmodels
    python test/scaling/golden/make.py

Made with Python 3.11, numpy 2.4, scipy 1.17, statsmodels 0.15 (the exact versions stand in the file). Estimates come from
general minimisers, standard errors from statsmodels' cluster covariance (HC1 where every point stands for itself) of the
linearised fit, or from its formula in NumPy where the objective is not the sum of squares of log residuals. Derivatives are
complex steps. The designs are asymmetric on purpose, so that an exchange of N and D, of a and b or of two columns shows.
"""

import json
import pathlib
import platform

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from scipy.optimize import least_squares, minimize
from scipy.stats import linregress, norm, t

HERE = pathlib.Path(__file__).parent
POSITIVE = {"A", "B", "nScale", "dScale", "Nc", "Dc", "rStar"}
rng = np.random.default_rng(18)


def rounded(values, digits=6):
    return np.array([float(f"{value:.{digits}g}") for value in values])


# --- what is common to all fits -------------------------------------------------------------------------------------


def jacobian(ln_predicted, params):
    """d ln L / d parameter at each point, by complex steps."""
    columns = []
    for name in params:
        step = 1e-30 * abs(params[name])
        moved = {k: complex(v) for k, v in params.items()} | {name: params[name] + 1j * step}
        columns.append(np.imag(ln_predicted(moved)) / step)
    return np.array(columns).T


def sandwich(J, psi, slope, groups):
    bread = np.linalg.inv((J * slope[:, None]).T @ J)
    scores = np.array([(psi[:, None] * J)[groups == g].sum(0) for g in np.unique(groups)])
    G, n, p = len(scores), len(psi), J.shape[1]
    return bread @ (scores.T @ scores) @ bread * G / (G - 1) * (n - 1) / (n - p)


def regression_covariance(J, residuals, groups):
    """Of a least-squares fit of log losses: the regression of its residuals on its gradient has nothing left to explain."""
    scales = np.linalg.norm(J, axis=0)
    found = sm.OLS(residuals, J / scales).fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert np.abs(found.params).max() < 1e-5, found.params
    return found.cov_params() / np.outer(scales, scales)


def with_exponents(names, covariance, params):
    """a = beta / (alpha + beta), b = 1 - a."""
    of_n, of_d = ("alphaN", "alphaD") if "alphaN" in params else ("alpha", "beta")
    alpha, beta = params[of_n], params[of_d]
    a = beta / (alpha + beta)
    gradient = np.zeros(len(names))
    gradient[names.index(of_n)] = -a / (alpha + beta)
    gradient[names.index(of_d)] = (1 - a) / (alpha + beta)
    full = np.vstack([np.eye(len(names)), gradient, -gradient])
    return {"a": a, "b": 1 - a}, full @ covariance @ full.T


def intervals(values, se, freedom, level):
    reach = t.ppf(0.5 + level / 2, freedom)
    out = {}
    for name, value in values.items():
        half = reach * se[name]
        if name in POSITIVE:
            out[name] = [value * np.exp(-half / value), value * np.exp(half / value)]
        else:
            low = value - half
            out[name] = [max(0.0, low) if name in ("E",) or name in ("d1", "f1") else low, value + half]
    return out


def described(params, covariance, objective, groups, ln_predicted, ln_loss, refit=None, exponents=True):
    names = list(params)
    values, matrix = dict(params), covariance
    found = {}
    if exponents:
        found, matrix = with_exponents(names, covariance, params)
        values |= found
    se = dict(zip(values, np.sqrt(np.diag(matrix))))
    freedom = len(np.unique(groups)) - len(params)
    out = dict(
        params=params,
        exponents=found,
        objective=objective,
        se=se,
        covariance=matrix.tolist(),
        ci80=intervals(values, se, freedom, 0.8),
        ci95=intervals(values, se, freedom, 0.95),
        residuals=(ln_predicted(params) - ln_loss).tolist(),
    )
    if refit:
        out["influence"] = influence(refit, values, se, len(ln_loss), exponents)
    return out


def main_number(values, exponents):
    return values["a"] if exponents else values.get("alpha", values.get("c0"))


def influence(refit, values, se, n, exponents):
    at = main_number(values, exponents)
    error = main_number(se, exponents)
    out = []
    for i in range(n):
        others = np.arange(n) != i
        params = refit(others)
        if exponents:
            params = params | with_exponents(list(params), np.eye(len(params)), params)[0]
        out.append((at - main_number(params, exponents)) / error)
    return out


# --- points ---------------------------------------------------------------------------------------------------------

LAW = dict(E=1.8, A=300.0, B=1500.0, alpha=0.31, beta=0.37)


def surface(p, n, d):
    return p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * d ** -p["beta"]


def strewn():
    """31 points of ten runs; the last run has four."""
    rows = []
    for run in range(10):
        n, shared = 10 ** rng.uniform(6.5, 8.8), 0.008 * rng.standard_normal()
        longest = n * 10 ** rng.uniform(0.9, 2.3)
        for k in range(4 if run == 9 else 3):
            d = longest / 2.3**k
            rows.append([n, d, surface(LAW, n, d) * np.exp(shared + 0.003 * rng.standard_normal()), run])
    n, d, loss, group = np.array(rows).T
    return rounded(n), rounded(d), rounded(loss), group.astype(int)


# --- the methods ----------------------------------------------------------------------------------------------------


def fit_projection(n, d, loss, start=None):
    """Least squares of predicted / measured - 1, none of E, A, B below 0."""
    at = lambda x: dict(E=x[0], A=np.exp(x[1]), B=np.exp(x[2]), alpha=x[3], beta=x[4])
    solve = lambda x0: least_squares(
        lambda x: surface(at(x), n, d) / loss - 1, x0, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15,
        bounds=([0] + 4 * [-np.inf], np.inf), max_nfev=5000,
    )
    starts = [start] if start is not None else [[1, 5, 6, 0.3, 0.4], [2, 6, 8, 0.4, 0.3], [0.5, 4, 5, 0.2, 0.2]]
    best = min((solve(x0) for x0 in starts), key=lambda found: found.cost)
    return at(best.x), 2 * best.cost, best.x


def golden_projection(points):
    n, d, loss, group = points
    params, objective, x = fit_projection(n, d, loss)
    predicted = lambda p: np.log(surface(p, n, d))
    J = jacobian(predicted, params)
    r = predicted(params) - np.log(loss)
    own = np.arange(len(n))
    out = {}
    for name, groups in (("apart", own), ("grouped", group)):
        refit = lambda m: fit_projection(n[m], d[m], loss[m], x)[0]
        covariance = sandwich(J, r, np.ones_like(r), groups)
        out[name] = described(params, covariance, objective, groups, predicted, np.log(loss), refit if name == "apart" else None)
        out[name]["holdout"] = held_out(n, d, loss, groups, lambda m: fit_projection(n[m], d[m], loss[m], x)[0])
    return out


def held_out(n, d, loss, groups, refit):
    """The tenth of largest compute, rounded up, with the runs that those points are of."""
    order = np.argsort(-n * d)
    held = order[: int(np.ceil(len(n) / 10))]
    left = ~np.isin(groups, groups[held])
    errors = np.log(surface(refit(left), n[held], d[held]) / loss[held])
    return dict(
        points=len(held), factor=(n * d).max() / (n * d)[left].max(), rms=np.sqrt((errors**2).mean()),
        bias=errors.mean(), largest=np.abs(errors).max(),
    )


def fit_huber(n, d, loss, delta, start):
    """Huber's loss of log losses, over (ln A', ln B', ln E, alpha, beta) with A' and B' at the mean of ln N and ln D."""
    mn, md, ln_loss = np.log(n).mean(), np.log(d).mean(), np.log(loss)
    x, y = np.log(n) - mn, np.log(d) - md

    def value(theta):
        tn, td, e = np.exp(theta[0] - theta[3] * x), np.exp(theta[1] - theta[4] * y), np.exp(theta[2])
        total = tn + td + e
        r = np.log(total) - ln_loss
        psi = np.clip(r, -delta, delta)
        cost = np.where(np.abs(r) <= delta, r**2 / 2, delta * (np.abs(r) - delta / 2)).sum()
        g = psi / total
        return cost, np.array([(g * tn).sum(), (g * td).sum(), (g * e).sum(), -(g * tn * x).sum(), -(g * td * y).sum()])

    theta = np.array([np.log(start["A"]) - start["alpha"] * mn, np.log(start["B"]) - start["beta"] * md,
                      np.log(start["E"]), start["alpha"], start["beta"]])
    scale = 1 / delta
    for _ in range(6):
        found = minimize(lambda z: tuple(scale * part for part in value(z)), theta, jac=True, method="BFGS",
                         options=dict(gtol=1e-11, maxiter=10000))
        theta = found.x
    assert np.abs(value(theta)[1]).max() * scale < 1e-6, value(theta)
    alpha, beta = theta[3], theta[4]
    params = dict(E=np.exp(theta[2]), A=np.exp(theta[0] + alpha * mn), B=np.exp(theta[1] + beta * md), alpha=alpha, beta=beta)
    return params, value(theta)[0]


def golden_huber(points, delta):
    n, d, loss, group = points
    params, objective = fit_huber(n, d, loss, delta, LAW)
    predicted = lambda p: np.log(surface(p, n, d))
    J, r = jacobian(predicted, params), predicted(params) - np.log(loss)
    # The density of residuals at 0, each point by its own (Powell 1991), with Silverman's window (1986, eq. 3.31).
    size, p = len(r), 5
    middle = np.sort(np.abs(r))[(size + p) // 2]
    window = max(delta, 0.9 * min(np.sqrt((r**2).sum() / (size - p)), 1.4826 * middle) * size**-0.2)
    slope = np.minimum(1, 2 * delta * norm.pdf(r / window) / window)
    out = dict(delta=delta)
    for name, groups in (("apart", np.arange(size)), ("grouped", group)):
        covariance = sandwich(J, np.clip(r, -delta, delta), slope, groups)
        out[name] = described(params, covariance, objective, groups, predicted, np.log(loss))
    return out


def fit_log_squares(ln_predicted, at, ln_loss, starts):
    solve = lambda x0: least_squares(
        lambda x: ln_predicted(at(x)) - ln_loss, x0, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=20000)
    best = min((solve(x0) for x0 in starts), key=lambda found: found.cost)
    return at(best.x), 2 * best.cost, best.x


def golden_log_squares(law, at, starts, columns, loss, group, exponents=True):
    """A law by least squares of log losses. columns: what the law is of."""
    ln_loss = np.log(loss)
    predicted = lambda p: np.log(law(p, *columns))
    params, objective, x = fit_log_squares(predicted, at, ln_loss, starts)
    J, r = jacobian(predicted, params), predicted(params) - ln_loss

    def refit(m):
        some = [column[m] for column in columns]
        return fit_log_squares(lambda p: np.log(law(p, *some)), at, ln_loss[m], [x])[0]

    out = {}
    for name, groups in (("apart", np.arange(len(loss))), ("grouped", group)):
        if groups is None:
            continue
        covariance = regression_covariance(J, r, groups)
        out[name] = described(params, covariance, objective, groups, predicted, ln_loss,
                              refit if name == "apart" else None, exponents)
    return out


def kaplan(p, n, d):
    return ((p["Nc"] / n) ** (p["alphaN"] / p["alphaD"]) + p["Dc"] / d) ** p["alphaD"]


def golden_kaplan(points):
    n, d, loss, group = points
    at = lambda x: dict(Nc=np.exp(x[0]), Dc=np.exp(x[1]), alphaN=x[2], alphaD=x[3])
    starts = [[np.log(1e13), np.log(1e12), 0.1, 0.1], [np.log(1e12), np.log(1e14), 0.08, 0.15]]
    return golden_log_squares(kaplan, at, starts, [n, d], loss, group)


def repeated(p, n, d, unique):
    worth = unique * (1 + p["rStar"] * (1 - np.exp(-(d / unique - 1) / p["rStar"])))
    return p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * worth ** -p["beta"]


def golden_repeated():
    truth = LAW | dict(rStar=9.0)
    n = rounded(10 ** rng.uniform(6.5, 8.8, 28))
    unique = rounded(10 ** rng.uniform(7.5, 9, 28))
    d = rounded(unique * 2.0 ** (np.arange(28) % 6))
    loss = rounded(repeated(truth, n, d, unique) * np.exp(0.002 * rng.standard_normal(28)))
    at = lambda x: dict(E=np.exp(x[0]), A=np.exp(x[1]), B=np.exp(x[2]), alpha=x[3], beta=x[4], rStar=np.exp(x[5]))
    starts = [[np.log(1.8), np.log(300), np.log(1500), 0.31, 0.37, np.log(r)] for r in (3, 9, 30)]
    fit = golden_log_squares(repeated, at, starts, [n, d, unique], loss, None)["apart"]
    return dict(points=[dict(n=a, d=b, unique=u, loss=l) for a, b, u, l in zip(n, d, unique, loss)], fit=fit)


def golden_power():
    """Of D, with the offset E by relative residuals, and without it a regression of logarithms."""
    d = rounded(10 ** np.sort(rng.uniform(6, 10, 17)))
    loss = rounded((1.4 + 60 * d**-0.24) * np.exp(0.006 * rng.standard_normal(17)))
    group = np.array([0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 5, 6, 7, 7, 8, 8])
    own = np.arange(17)
    out = dict(points=[dict(d=a, loss=l, group=f"run {g}") for a, l, g in zip(d, loss, group)])

    ols = {name: sm.OLS(np.log(loss), sm.add_constant(np.log(d))).fit(cov_type="cluster", cov_kwds={"groups": groups})
           for name, groups in (("apart", own), ("grouped", group))}
    straight = {}
    for name, groups in (("apart", own), ("grouped", group)):
        found = ols[name]
        A, alpha = np.exp(found.params[0]), -found.params[1]
        jac = np.diag([A, -1.0])  # of (A, alpha) by (ln A, slope)
        line = lambda p: np.log(p["A"]) - p["alpha"] * np.log(d)

        def refit(m):
            one = sm.OLS(np.log(loss)[m], sm.add_constant(np.log(d)[m])).fit().params
            return dict(A=np.exp(one[0]), alpha=-one[1])

        straight[name] = described(dict(A=A, alpha=alpha), jac @ found.cov_params() @ jac.T, float(found.ssr), groups,
                                   line, np.log(loss), refit if name == "apart" else None, exponents=False)
    out["straight"] = straight

    at = lambda x: dict(E=x[0], A=np.exp(x[1]), alpha=x[2])
    law = lambda p, d: p["E"] + p["A"] * d ** -p["alpha"]

    def fit(m, starts):
        solve = lambda x0: least_squares(lambda x: law(at(x), d[m]) / loss[m] - 1, x0, x_scale="jac", xtol=1e-15,
                                         ftol=1e-15, gtol=1e-15, bounds=([0, -np.inf, -np.inf], np.inf))
        return min((solve(x0) for x0 in starts), key=lambda found: found.cost)

    best = fit(own >= 0, [[1.4, 4, 0.24], [0.5, 3, 0.1], [2, 6, 0.4]])
    params = at(best.x)
    predicted = lambda p: np.log(law(p, d))
    J, r = jacobian(predicted, params), predicted(params) - np.log(loss)
    curved = {}
    for name, groups in (("apart", own), ("grouped", group)):
        covariance = sandwich(J, r, np.ones_like(r), groups)
        curved[name] = described(params, covariance, 2 * best.cost, groups, predicted, np.log(loss),
                                 (lambda m: at(fit(m, [best.x]).x)) if name == "apart" else None, exponents=False)
    out["curved"] = curved
    return out


def broken(p, c):
    return p["a"] + p["b"] * c ** -p["c0"] * (1 + (c / p["d1"]) ** (1 / p["f1"])) ** (-p["c1"] * p["f1"])


def golden_broken():
    c = rounded(10 ** np.linspace(2, 7, 33))
    truth = dict(a=1.2, b=9.0, c0=0.08, c1=0.35, d1=2e4, f1=0.6)
    loss = rounded(broken(truth, c) * np.exp(0.002 * rng.standard_normal(33)))
    at = lambda x: dict(a=np.exp(x[0]), b=np.exp(x[1]), c0=x[2], c1=x[3], d1=np.exp(x[4]), f1=np.exp(x[5]))
    starts = [[np.log(1.2 * s), np.log(9), 0.08, 0.35, np.log(2e4 * u), np.log(0.6)] for s in (0.5, 1) for u in (0.3, 1, 3)]
    fit = golden_log_squares(broken, at, starts, [c], loss, None, exponents=False)["apart"]
    return dict(points=[dict(c=a, loss=l) for a, l in zip(c, loss)], fit=fit)


# --- approaches 1 and 2 ---------------------------------------------------------------------------------------------

FLOPS = 7.3  # C / (N D) of these points


def golden_isoflop():
    """Five budgets, each of seven sizes that lie unevenly about its optimum and spend up to 3 % more than it."""
    rows = []
    for budget in (2e16, 9e16, 5e17, 2e18, 1.1e19):
        G = (LAW["alpha"] * LAW["A"] / (LAW["beta"] * LAW["B"])) ** (1 / (LAW["alpha"] + LAW["beta"]))
        best = G * (budget / FLOPS) ** (LAW["beta"] / (LAW["alpha"] + LAW["beta"]))
        for share in (0.22, 0.4, 0.7, 1.3, 2.2, 4.5, 8.0):
            c = budget * (1 + 0.03 * rng.random())
            n = best * share * np.exp(0.1 * rng.standard_normal())
            d = c / (FLOPS * n)
            rows.append([n, d, c, surface(LAW, n, d) * np.exp(0.002 * rng.standard_normal())])
    n, d, c, loss = (rounded(column) for column in np.array(rows).T)
    budgets = np.repeat(np.arange(5), 7)

    def vertices(y):
        out = []
        for k in range(5):
            m = budgets == k
            x = np.log(n[m])
            q = np.polyfit(x - x.mean(), y[m], 2)
            vertex = x.mean() - q[1] / (2 * q[0])
            product = np.log(n[m] * d[m]).mean()
            out.append(dict(c=np.exp(np.log(c[m]).mean()), n=np.exp(vertex), d=np.exp(product - vertex),
                            loss=q[2] - q[1] ** 2 / (4 * q[0])))
        return out

    def lines(optima):
        ln = lambda of: np.log([o[of] for o in optima])
        return linregress(ln("c"), ln("n")), linregress(ln("c"), ln("d"))

    optima = vertices(loss)
    line_n, line_d = lines(optima)
    values = dict(nScale=np.exp(line_n.intercept), dScale=np.exp(line_d.intercept), a=line_n.slope, b=line_d.slope)
    se = dict(nScale=values["nScale"] * line_n.intercept_stderr, dScale=values["dScale"] * line_d.intercept_stderr,
              a=line_n.stderr, b=line_d.stderr)
    # What parabolas get wrong without noise, on the surface that least squares finds in the same points.
    found, _, _ = fit_projection(n, d, loss)
    smooth_n, smooth_d = lines(vertices(surface(found, n, d)))
    alpha, beta = found["alpha"], found["beta"]
    a = beta / (alpha + beta)
    ln_g = np.log(alpha * found["A"] / (beta * found["B"])) / (alpha + beta)
    last = np.exp(np.log(c[budgets == 4]).mean())
    product = np.log(n * d)[budgets == 4].mean() - np.log(last)
    own_n, own_d = ln_g + a * product, -ln_g + (1 - a) * product
    line = dict(a=smooth_n.slope - a, b=smooth_d.slope - (1 - a), nScale=smooth_n.intercept - own_n,
                dScale=smooth_d.intercept - own_d)
    bias = dict(n=np.expm1(line["nScale"] + line["a"] * np.log(last)), d=np.expm1(line["dScale"] + line["b"] * np.log(last)),
                a=line["a"], b=line["b"])

    def unbiased(level):
        out = {}
        for name, (low, high) in intervals(values, se, 3, level).items():
            off = line[name]
            out[name] = [low * np.exp(-off), high * np.exp(-off)] if name in POSITIVE else [low - off, high - off]
        return out

    # One budget's vertex by the delta method on the quadratic regression.
    m = budgets == 2
    x = np.log(n[m])
    shift = x.mean()
    q, covariance = np.polyfit(x - shift, loss[m], 2, cov="unscaled")
    rest = ((np.polyval(q, x - shift) - loss[m]) ** 2).sum() / 4
    gradient = np.array([q[1] / (2 * q[0] ** 2), -1 / (2 * q[0]), 0])
    error = np.sqrt(rest * gradient @ covariance @ gradient)
    at = shift - q[1] / (2 * q[0])
    vertex = {str(level): np.exp(at + np.array([-1, 1]) * t.ppf(0.5 + level / 2, 4) * error).tolist() for level in (0.8, 0.95)}
    return dict(
        points=[dict(n=a, d=b, c=e, loss=l) for a, b, e, l in zip(n, d, c, loss)], values=values, se=se, optima=optima,
        bias=bias, line=line, ci80=unbiased(0.8), ci95=unbiased(0.95), objective=float(
            ((np.log([o["n"] for o in optima]) - line_n.intercept - line_n.slope * np.log([o["c"] for o in optima])) ** 2).sum()),
        vertex=vertex, surface=found)


def golden_envelope():
    """Seven sizes, a run each of eight points, which begin and end at other computes."""
    rows = []
    for size in range(7):
        n = 3e6 * 2.6**size
        first = 2e14 * 5.5**size
        for k in range(8):
            c = first * 3.1**k * np.exp(0.2 * rng.standard_normal())
            d = c / (6 * n)
            rows.append([n, d, surface(LAW, n, d) * np.exp(0.001 * rng.standard_normal()), size])
    n, d, loss, group = np.array(rows).T
    n, d, loss = rounded(n), rounded(d), rounded(loss)
    ln_c = np.log(6 * n * d)

    def fit(used):
        curves = []
        for g in np.unique(group[used]):
            own = np.where(used & (group == g))[0]
            curves.append(own[np.argsort(ln_c[own])])
        low, high = ln_c[used].min(), ln_c[used].max()
        places = np.unique(np.concatenate([low + (high - low) * np.arange(201) / 200, ln_c[used]]))
        # Beyond its ends a curve holds for .01 of ln C.
        table = np.array([
            np.where((places < ln_c[own[0]] - 0.01) | (places > ln_c[own[-1]] + 0.01), np.inf,
                     np.interp(places, ln_c[own], np.log(loss[own]))) for own in curves])
        best = table.argmin(0)
        # Stretches of one curve; each holds from half-way to its neighbours.
        starts = [0] + [k for k in range(1, len(places)) if best[k] != best[k - 1]]
        ends = [k - 1 for k in starts[1:]] + [len(places) - 1]
        middles = np.concatenate([[places[0]], (places[1:] + places[:-1]) / 2, [places[-1]]])
        optima, weights = [], []
        for s, e in zip(starts, ends):
            own = curves[best[s]]
            at = (places[s] + places[e]) / 2
            size = n[own[0]]
            if size <= n[used].min() or size >= n[used].max():
                continue
            optima.append(dict(c=np.exp(at), n=size, d=np.exp(np.interp(at, ln_c[own], np.log(d[own]))),
                               loss=np.exp(np.interp(at, ln_c[own], np.log(loss[own])))))
            weights.append(middles[e + 1] - middles[s])
        if len({o["n"] for o in optima}) < 3:
            return None
        ln = lambda of: np.log([o[of] for o in optima])
        line_n = np.polyfit(ln("c"), ln("n"), 1, w=np.sqrt(weights))
        line_d = np.polyfit(ln("c"), ln("d"), 1, w=np.sqrt(weights))
        values = dict(nScale=np.exp(line_n[1]), dScale=np.exp(line_d[1]), a=line_n[0], b=line_d[0])
        return values, optima, weights

    every = np.ones(len(n), bool)
    values, optima, weights = fit(every)
    # Tukey's jackknife over runs.
    rows = [found[0] for g in range(7) if (found := fit(group != g))]
    se = {name: np.sqrt((len(rows) - 1) * np.var([row[name] for row in rows])) for name in values}
    freedom = 7 - 2
    moved = []
    for i in range(len(n)):
        found = fit(np.arange(len(n)) != i)
        moved.append(None if found is None else (values["a"] - found[0]["a"]) / se["a"])
    return dict(
        points=[dict(n=a, d=b, loss=l, group=f"size {int(g)}") for a, b, l, g in zip(n, d, loss, group)], values=values,
        optima=optima, weights=weights, refits=len(rows), se=se, ci80=intervals(values, se, freedom, 0.8),
        ci95=intervals(values, se, freedom, 0.95), influence=moved)


def main():
    points = strewn()
    n, d, loss, group = points
    out = dict(
        madeBy="test/scaling/golden/make.py",
        versions=dict(python=platform.python_version(), numpy=np.__version__, scipy=scipy.__version__,
                      statsmodels=statsmodels.__version__),
        strewn=[dict(n=a, d=b, loss=l, group=f"run {g}") for a, b, l, g in zip(n, d, loss, group)],
        projection=golden_projection(points), parametric=golden_huber(points, 0.002), kaplan=golden_kaplan(points),
        repeated=golden_repeated(), power=golden_power(), broken=golden_broken(), isoflop=golden_isoflop(),
        envelope=golden_envelope(),
        student=[[p, f, t.ppf(p, f)] for f in (1, 2, 3, 4, 5, 7, 12, 30, 200) for p in (0.025, 0.6, 0.9, 0.975, 0.995)],
        normal=[[p, norm.ppf(p)] for p in (1e-6, 0.01, 0.024, 0.2, 0.5, 0.9, 0.975, 0.99999)],
    )
    plain = lambda x: x.item() if isinstance(x, np.generic) else x.tolist()
    short = json.loads(json.dumps(out, default=plain), parse_float=lambda text: float(f"{float(text):.12g}"))
    (HERE / "fits.json").write_text(json.dumps(short, separators=(",", ":")) + "\n")
    print({name: short[name].get("apart", short[name]).get("params") for name in ("projection", "parametric", "kaplan")})
    print(short["repeated"]["fit"]["params"], short["broken"]["fit"]["params"], short["isoflop"]["values"])
    print(short["envelope"]["values"], short["envelope"]["refits"], len(short["envelope"]["optima"]))


main()
