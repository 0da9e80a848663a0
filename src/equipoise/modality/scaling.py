"""Numbers on a common scale: winsorised, logged where heavily skewed, standardised; fitted per column on train values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

_FARTHEST = 1e6  # standard deviations; keeps float32 finite whatever a new cohort holds


@dataclass(frozen=True)
class Scaling:
    """Per column ``(g(clip(x, lo, hi)) - mean) / sd`` with ``g(x) = log(1 + x / log_unit)`` where ``log_unit`` > 0, else ``g(x) = x``.

    The logarithm's unit is the column's train median, so that the transform does not depend on the unit of the measurement.

    Args:
        lo: f64 (F,), lower bound, -inf where there is none.
        hi: f64 (F,).
        log_unit: f64 (F,), 0 where the column is not logged.
        mean: f64 (F,), NaN for a column without train values: it then counts as never observed.
        sd: f64 (F,), 1 for a constant column.

    Source: ours.
    """

    lo: np.ndarray
    hi: np.ndarray
    log_unit: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def fit(cls, columns: Iterable[np.ndarray], *, winsorise: float | None, log_skewness: float | None) -> Scaling:
        """Fits each column.

        Args:
            columns: the train values of each column, finite, any length.
            winsorise: values are clipped at these lower and upper train quantiles, in (0, 0.5); None clips nothing.
            log_skewness: a column of non-negative values with more skewness than this is logged if that brings it nearer 0; None logs nothing.
        """
        found = [_fit_column(np.asarray(x, np.float64), winsorise, log_skewness) for x in columns]
        return cls(*np.array(found, np.float64).reshape(-1, len(fields(cls))).T)

    def __call__(self, x: np.ndarray, column: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Scales values.

        Args:
            x: (n, F), or (N,) together with ``column``.
            column: i64 (N,), which column each value belongs to.

        Returns:
            f64, the shape of ``x``; NaN where ``x`` is NaN or the column is unknown.
        """
        lo, hi, unit, mean, sd = (getattr(self, f.name)[column] for f in fields(self))
        x = np.clip(np.asarray(x, np.float64), lo, hi)
        logged = np.log1p(np.maximum(x, 0.0) / np.where(unit > 0, unit, 1.0))
        return np.clip((np.where(unit > 0, logged, x) - mean) / sd, -_FARTHEST, _FARTHEST)

    def followed_by(self, other: Scaling, columns: np.ndarray) -> Scaling:
        """These columns, and behind them some of another's, i64."""
        return Scaling(**{f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)[columns]]) for f in fields(self)})

    def state(self) -> dict[str, Any]:
        return {f.name: torch.from_numpy(getattr(self, f.name).copy()) for f in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Scaling:
        return cls(**{f.name: state[f.name].numpy() for f in fields(cls)})


def _fit_column(x: np.ndarray, winsorise: float | None, log_skewness: float | None) -> tuple[float, float, float, float, float]:
    if not x.size:
        return -np.inf, np.inf, 0.0, np.nan, 1.0
    lo, hi = (-np.inf, np.inf) if winsorise is None else np.quantile(x, (winsorise, 1 - winsorise))
    x = np.clip(x, lo, hi)
    unit = 0.0 if log_skewness is None else _log_unit(x, log_skewness)
    if unit > 0:
        x = np.log1p(x / unit)
    sd = float(x.std())
    # A constant column has no scale; rounding may leave its standard deviation a hair above zero.
    return float(lo), float(hi), unit, float(x.mean()), sd if sd > max(1e-9 * float(np.abs(x).max()), 1e-100) else 1.0


def _log_unit(x: np.ndarray, log_skewness: float) -> float:
    median = float(np.median(x))
    if x.min() < 0 or median <= 0:
        return 0.0
    plain = skewness(x)
    return median if plain > log_skewness and abs(skewness(np.log1p(x / median))) < plain else 0.0


def skewness(x: np.ndarray) -> float:
    """Third standardised moment; 0 for a constant.

    >>> skewness(np.array([1.0, 2.0, 3.0]))
    0.0
    """
    deviation, sd = x - x.mean(), float(x.std())
    return float(np.mean((deviation / sd) ** 3)) if sd > 1e-100 else 0.0
