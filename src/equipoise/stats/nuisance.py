"""Regressions on which an effect leans, with how each row moves them: so that an interval counts that they were estimated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from equipoise.stats.logistic import logistic_fit


@dataclass(frozen=True)
class Regression:
    """A regression fitted on some rows, read at all of them.

    Args:
        mean: f64 (n,), E(y | x), for a binary outcome a probability.
        slope: f64 (n,), d mean / d linear predictor: 1, or p (1 - p).
        design: f64 (n, 1 + k), the intercept's column and the standardised columns.
        influence: f64 (n, 1 + k): the coefficients minus their limit are about the mean of these rows; 0 for rows not fitted on.
    """

    mean: np.ndarray
    slope: np.ndarray
    design: np.ndarray
    influence: np.ndarray

    def moved(self, gradient: np.ndarray) -> np.ndarray:
        """What estimating the coefficients adds to an influence function, f64 (n,).

        Args:
            gradient: f64 (n,), d psi_i / d mean_i for each row's estimating function.

        Source: Stefanski and Boos (2002), eq. 8 (stacked estimating equations).
        """
        return np.asarray(self.influence @ ((gradient * self.slope) @ self.design / gradient.size))


def regression(x: np.ndarray, y: np.ndarray, fitted_on: np.ndarray | None = None, *, binary: bool, ridge: float = 1e-9) -> Regression:
    """Logistic regression (maximum likelihood) or least squares of y on the columns of x.

    Args:
        x: f64 (n, k), finite; columns are standardised inside.
        y: f64 (n,); may be NaN in rows not fitted on.
        fitted_on: bool (n,), or None: all rows.
        binary: whether y is 0 or 1.
        ridge: of the logistic regression, see `logistic_fit`; the influence holds for a negligible one.

    Source: McCullagh and Nelder (1989), section 4.4; the influence is I^-1 x (y - mean).

    >>> r = regression(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]), binary=False)
    >>> r.mean.round(6).tolist()
    [1.0, 2.0, 3.0]
    """
    on = np.ones(len(y), dtype=bool) if fitted_on is None else fitted_on
    spread = np.where(np.ptp(x[on], axis=0) > 0, x[on].std(0), 0.0)  # the deviation of a constant is 0 only where it is a binary fraction
    # A column that is constant among the rows fitted on says nothing of other rows, whatever it is there.
    design = np.column_stack([np.ones(len(y)), np.where(spread > 0, (x - x[on].mean(0)) / np.where(spread > 0, spread, 1.0), 0.0)])
    if not binary:
        b = np.linalg.lstsq(design[on], y[on], rcond=None)[0]
        mean, slope = design @ b, np.ones(len(y))
    elif np.unique(y[on]).size < 2:
        raise ValueError("only one of 0 and 1 occurs among the rows fitted on")
    else:
        b = logistic_fit(design[on, 1:], y[on], ridge=ridge)
        mean = expit(design @ b)
        slope = mean * (1 - mean)
    information = design[on].T @ (design[on] * slope[on, None]) / len(y)
    influence = np.zeros_like(design)
    influence[on] = design[on] * (y[on] - mean[on])[:, None] @ np.linalg.pinv(information)
    return Regression(mean, slope, design, influence)
