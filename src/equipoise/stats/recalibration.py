"""Logistic recalibration of a risk: calibration slope, and calibration in the large."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.stats.logistic_expansion import expanded_line, expanded_shift, fast_expit
from equipoise.stats.once import once
from equipoise.stats.scores import SMALLEST
from equipoise.stats.weighting import in_cache, weights_of

_STEPS = 60
_START = np.array([0.0, 1.0])
_CLOSE = 1e-7  # Newton's error after a step is of the order of the step's square
_EXPANDED = 1e-9  # what an expansion around the sample's solution may be off by, at most
_LARGEST = 1e3  # a slope beyond this means that the classes are separated and no finite slope is best


def log_odds(risk: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), with risks read as at least `SMALLEST` from 0 and 1; f64, same shape."""
    return logit(np.clip(np.asarray(risk, dtype=np.float64), SMALLEST, 1 - SMALLEST))


def calibration_slope(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """b of the model logit P(event) = a + b logit(risk), by maximum likelihood (1 is ideal; below 1: risks too extreme).

    Args:
        risk: f64 (n,), in [0, 1].
        outcome: (n,), 0 or 1; or in [0, 1], the part of a row's weight that counts as event.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,); NaN where it has no finite maximum: one class, one risk only, or separated classes.

    Source: Cox (1958); Van Calster et al. (2016), section 2.

    >>> round(float(calibration_slope(np.array([0.2, 0.2, 0.2, 0.6, 0.6, 0.6]), np.array([1, 0, 0, 1, 1, 0]))), 4)
    0.7737
    """
    return _line(log_odds(risk), np.asarray(outcome, dtype=np.float64), weight)[1]


def calibration_in_the_large(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """a of the model logit P(event) = a + logit(risk): the log odds by which the risks are too low on average (0 is ideal).

    Args:
        risk: f64 (n,), in [0, 1].
        outcome: (n,), 0 or 1; or in [0, 1], the part of a row's weight that counts as event.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,); NaN where there is one class only.

    Source: Van Calster et al. (2016), section 2 ("calibration intercept given that the slope is 1").

    >>> round(float(calibration_in_the_large(np.array([0.5, 0.5, 0.5, 0.5]), np.array([1, 1, 1, 0]))), 4)
    1.0986
    """
    return _shift(log_odds(risk), np.asarray(outcome, dtype=np.float64), weight)


def recalibrated(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """expit(a + b logit(risk)) with a and b by maximum likelihood on these rows, f64 (n,).

    Args:
        risk: f64 (n,), in [0, 1].
        outcome: (n,), 0 or 1.
        weight: f64 (n,), >= 0; None: ones.

    Returns:
        NaN where there is no finite maximum (see `calibration_slope`).
    """
    x = log_odds(risk)
    a, b = _line(x, np.asarray(outcome, dtype=np.float64), weight)
    return np.asarray(expit(a + b * x))


def slope_interval(risk: np.ndarray, outcome: np.ndarray, level: float, cluster: np.ndarray | None = None) -> Estimate:
    """Calibration slope with its Wald interval; with clusters the variance is the sandwich of cluster scores, with Student's quantile.

    Args:
        risk: f64 (n,), in [0, 1].
        outcome: (n,), 0 or 1.
        level: in (0, 1).
        cluster: i64 (n,), or None: independent rows and the information matrix.

    Source: Cox (1958); Liang and Zeger (1986), with the factor clusters / (clusters - 1).
    """
    x, y = log_odds(risk), np.asarray(outcome, dtype=np.float64)
    a, b = (float(v) for v in _line(x, y, None))
    design = np.column_stack([np.ones_like(x), x])
    return _wald(b, 1, design, y, expit(a + b * x), level, cluster)


def in_the_large_interval(risk: np.ndarray, outcome: np.ndarray, level: float, cluster: np.ndarray | None = None) -> Estimate:
    """Calibration in the large with its Wald interval; see `slope_interval`."""
    x, y = log_odds(risk), np.asarray(outcome, dtype=np.float64)
    a = float(_shift(x, y, None))
    return _wald(a, 0, np.ones((x.size, 1)), y, expit(a + x), level, cluster)


def _wald(value: float, at: int, design: np.ndarray, y: np.ndarray, fitted: np.ndarray, level: float, cluster: np.ndarray | None) -> Estimate:
    codes = np.arange(y.size) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    clusters = int(codes.max(initial=-1)) + 1
    method = "Wald, clustered sandwich variance" if clusters < y.size else "Wald"
    if not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"), float("nan"), method)
    bread = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    if clusters < y.size:
        score = np.stack([np.bincount(codes, column) for column in (design * (y - fitted)[:, None]).T])
        bread = bread @ (score @ score.T) @ bread * clusters / (clusters - 1) if clusters > 1 else np.full_like(bread, np.nan)
    return normal_interval(value, float(np.sqrt(bread[at, at])), level, method, df=max(clusters - 1.0, 1.0) if clusters < y.size else np.inf)


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope (...,) by Newton's method for all weightings at once; NaN where it does not converge."""
    w = weights_of(weight, x.size)
    flat = w.reshape(-1, x.size)
    found, open_ = np.tile(_START, (flat.shape[0], 1)), np.ones(flat.shape[0], dtype=bool)
    if flat.shape[0] > 1:
        # Resamples are near the sample: an expansion around its solution needs no exponential a row and resample.
        centre = _newton(x, y, flat.mean(0)[None], _unweighted_line(x, y)[None])[0]
        if np.isfinite(centre).all():
            near, error = expanded_line(x, y, flat, centre)
            found, open_ = centre + near, ~(error < _EXPANDED)
    if open_.any():
        found[open_] = in_cache(lambda w, start: _newton(x, y, w, start), flat[open_], found[open_])
    made = found.reshape(*w.shape[:-1], 2)
    return made[..., 0], made[..., 1]


@once
def _unweighted_line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where resamples begin, f64 (2,): the sample's own solution, or where any sample begins."""
    found = _newton(x, y, np.ones((1, x.size)), _START[None])[0]
    return found if np.isfinite(found).all() else _START


def _newton(x: np.ndarray, y: np.ndarray, w: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Intercepts and slopes f64 (b, 2) by Newton's method from a start (b, 2), for weights f64 (b, n); NaN where there is no finite maximum."""
    powers, observed = np.column_stack([np.ones_like(x), x, x * x]), w @ np.column_stack([y, y * x])
    theta = start.copy()
    open_, information = np.arange(w.shape[0]), np.zeros(w.shape[0])
    for _ in range(_STEPS):
        fitted = fast_expit(theta[open_, :1] + theta[open_, 1:] * x)
        expected = fitted * (w if open_.size == w.shape[0] else w[open_])
        gradient = observed[open_] - expected @ powers[:, :2]
        fitted *= expected
        h0, h1, h2 = ((expected - fitted) @ powers).T
        determinant, information[open_] = h0 * h2 - h1 * h1, h0
        # Below this the log odds of the rows that count do not vary (rounding of h0 h2 alone leaves more than 0).
        regular = determinant > 1e-10 * np.maximum(h0 * h2, 1e-300)
        safe = np.where(regular, determinant, 1.0)
        step = np.column_stack([h2 * gradient[:, 0] - h1 * gradient[:, 1], h0 * gradient[:, 1] - h1 * gradient[:, 0]]) / safe[:, None]
        step = np.clip(step, [-5.0, -2.0], [5.0, 2.0])
        theta[open_] = np.where(regular[:, None], theta[open_] + step, np.nan)
        going = regular & (np.abs(step) >= _CLOSE * (1 + np.abs(theta[open_]))).any(1) & (np.abs(theta[open_, 1]) <= _LARGEST)
        open_ = open_[going]
        if not open_.size:
            break
    theta[open_] = np.nan
    # Where all fitted risks are 0 or 1 the gradient vanishes by rounding, and a step of 0 says nothing.
    theta[~(np.abs(theta[:, 1]) <= _LARGEST) | (information < 1e-6 * w.sum(1))] = np.nan
    for lost in np.flatnonzero(np.isnan(theta[:, 1])):
        theta[lost] = _careful(x, y, w[lost])
    return theta


def _careful(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Newton's method with step halving on one weighting, for the few that full steps lost (risks of 0 that came true); NaN without a maximum."""
    kept = w > 0
    x, y, w = x[kept], y[kept], w[kept]
    with_event, without = x[y > 0], x[y < 1]
    if not with_event.size or not without.size or with_event.min() >= without.max() or with_event.max() <= without.min():
        return float("nan"), float("nan")  # one class, one risk, or classes that a threshold separates
    centre, scale = float(np.average(x, weights=w)), float(np.sqrt(np.cov(x, aweights=w, ddof=0)))
    design = np.column_stack([np.ones_like(x), (x - centre) / scale])

    def fit_of(theta: np.ndarray) -> float:
        eta = design @ theta
        return float(w @ (y * eta - np.logaddexp(0, eta)))

    theta = np.array([float(logit(np.average(y, weights=w))), 0.0])
    reached = fit_of(theta)
    for _ in range(200):
        fitted = fast_expit(design @ theta)
        spread = design * (w * fitted * (1 - fitted))[:, None]
        gradient = design.T @ (w * (y - fitted))
        try:
            step = np.linalg.solve(spread.T @ design, gradient)
        except np.linalg.LinAlgError:
            return float("nan"), float("nan")
        size = 1.0
        while (found := fit_of(theta + size * step)) < reached and size > 1e-9:
            size /= 2
        theta, reached = theta + size * step, max(found, reached)
        if np.abs(step).max() < 1e-9 * (1 + np.abs(theta).max()):
            slope = float(theta[1] / scale)
            return (float(theta[0] - slope * centre), slope) if abs(slope) <= _LARGEST else (float("nan"), float("nan"))
    return float("nan"), float("nan")


def _shift(offset: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    w = weights_of(weight, y.size)
    flat, odds, rate = w.reshape(-1, y.size), np.exp(offset), w.reshape(-1, y.size).mean(0)
    found, open_ = np.zeros(flat.shape[0]), np.ones(flat.shape[0], dtype=bool)
    if flat.shape[0] > 1 and 0 < rate @ y < rate.sum():
        centre = float(_shifted(odds, y, rate[None], np.zeros(1))[0])
        near, error = expanded_shift(offset, y, flat, centre)
        found, open_ = centre + near, ~(error < _EXPANDED)
    if open_.any():
        found[open_] = in_cache(lambda w, start: _shifted(odds, y, w, start), flat[open_], found[open_])
    return found.reshape(w.shape[:-1])


def _shifted(odds: np.ndarray, y: np.ndarray, w: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Intercepts f64 (b,) by Newton's method from a start (b,); NaN where there is one class."""
    # In u = exp(a) the fitted risk is u o / (1 + u o): one exponential a row serves all weightings.
    events, total = w @ y, w.sum(1)
    a = np.where((events > 0) & (events < total), start, np.nan)
    open_ = np.flatnonzero(~np.isnan(a))
    for _ in range(_STEPS):
        if not open_.size:
            break
        fitted = np.exp(a[open_, None]) * odds
        fitted /= 1 + fitted
        expected = fitted * (w if open_.size == w.shape[0] else w[open_])
        sums = expected.sum(1)
        curvature = sums - np.einsum("bi,bi->b", expected, fitted)
        step = np.clip((events[open_] - sums) / np.maximum(curvature, 1e-300), -5.0, 5.0)
        a[open_] += step
        open_ = open_[np.abs(step) >= _CLOSE * (1 + np.abs(a[open_]))]
    a[open_] = np.nan
    return a
