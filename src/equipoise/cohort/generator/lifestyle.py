"""Lifestyle: habits (z2) cause risk and treatment; questionnaires report them with recall error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from equipoise.cohort.draft import Column, ColumnStore
from equipoise.cohort.generator.dials import require, stream

# name, unit, location, scale, loading on z2
_ITEMS: tuple[tuple[str, str, float, float, float], ...] = (
    ("activity", "h/wk", 6.0, 1.5, -0.7),
    ("alcohol", "g/d", 14.0, 3.5, 0.55),
    ("diet_score", "{score}", 50.0, 10.0, -0.65),
    ("sleep", "h/d", 7.2, 0.8, -0.2),
)
_LOADING = np.array([i[4] for i in _ITEMS])
_HABIT = 0.75  # standard deviation of an item that the shared habit does not explain
SMOKING = ("never", "former", "current")
_THRESHOLDS = np.array([0.2, 1.1])  # on the smoking propensity, in its own standard deviations


@dataclass(frozen=True, kw_only=True)
class LifestyleDials:
    """Dials of lifestyle.

    Args:
        signal: factor on the numeric items' loadings; 0 is off.
        smoking: loading of the ordinal item (never, former, current) on the habit; 0 is off.
        recall_error: standard deviation of the reporting error, in units of the habit; 0 is off.
        item_missing: share of single answers missing completely at random; 0 (off) to 0.9.
    """

    signal: float
    smoking: float
    recall_error: float
    item_missing: float

    def __post_init__(self) -> None:
        for dial, high in (("signal", 3.0), ("smoking", 3.0), ("recall_error", 10.0), ("item_missing", 0.9)):
            require(f"lifestyle.{dial}", getattr(self, dial), 0.0, high)

    @property
    def sd(self) -> float:
        """Standard deviation of a reported item given the habit."""
        return float(np.hypot(_HABIT, self.recall_error))

    @property
    def thresholds(self) -> np.ndarray:
        """Of the reported smoking propensity, f64 (2,)."""
        return _THRESHOLDS * float(np.hypot(self.smoking, self.sd))


@dataclass(frozen=True)
class Lifestyle:
    """Questionnaires of everybody, whether or not the evidence is present.

    Args:
        report: f64 (n, 4), on the standard scale.
        observed: bool (n, 4).
        smoking: i64 (n,), 0 never, 1 former, 2 current, -1 not answered.
    """

    report: np.ndarray
    observed: np.ndarray
    smoking: np.ndarray

    def summary(self, dials: LifestyleDials) -> np.ndarray:
        """What a prescriber would make of the numeric answers (all of them, answered or not): their mean in the direction of worse habits, variance 1."""
        n_items = len(_ITEMS)
        mean = (np.sign(_LOADING) * self.report).mean(axis=1)
        variance = (dials.signal * np.abs(_LOADING).mean()) ** 2 + dials.sd**2 / n_items
        return mean / np.sqrt(variance)


def draw_lifestyle(z: np.ndarray, seed: int, dials: LifestyleDials) -> Lifestyle:
    """Asks everybody: report_j = lambda_j z2 + sd e_j; smoking is the same cut at two thresholds."""
    n = z.shape[0]
    noise = stream("lifestyle", seed).standard_normal((n, len(_ITEMS) + 1))
    report = z[:, 1:2] * (dials.signal * _LOADING) + dials.sd * noise[:, :-1]
    propensity = dials.smoking * z[:, 1] + dials.sd * noise[:, -1]
    answered = stream("lifestyle items", seed).random((n, len(_ITEMS) + 1)) >= dials.item_missing
    smoking = np.where(answered[:, -1], np.searchsorted(dials.thresholds, propensity), -1)
    return Lifestyle(report, answered[:, :-1], smoking)


def lifestyle_store(drawn: Lifestyle, present: np.ndarray) -> ColumnStore:
    """What the cohort holds, in the items' units."""
    value = np.array([i[2] for i in _ITEMS]) + np.array([i[3] for i in _ITEMS]) * drawn.report
    number = np.where(drawn.observed & present[:, None], value, np.nan)
    category = np.where(present, drawn.smoking, -1)[:, None].astype(np.int32)
    return ColumnStore(tuple(Column(i[0], "number", i[1]) for i in _ITEMS), (Column("smoking", "category", levels=SMOKING),), number, category)


def lifestyle_log_likelihood(drawn: Lifestyle, rows: np.ndarray, z2: np.ndarray, dials: LifestyleDials) -> np.ndarray:
    """log p(answers | z2) on a grid, up to a constant of the row; f64 (len(rows), len(z2))."""
    mean = (dials.signal * _LOADING)[:, None] * z2
    seen = drawn.observed[rows] / dials.sd**2
    out = (drawn.report[rows] * seen) @ mean - 0.5 * seen @ mean**2
    edges = np.concatenate([[-np.inf], dials.thresholds, [np.inf]])
    cdf = norm.cdf((edges[:, None] - dials.smoking * z2) / dials.sd)
    level = np.vstack([np.log(np.maximum(np.diff(cdf, axis=0), 1e-300)), np.zeros(z2.size)])  # the last line: not answered
    return out + level[drawn.smoking[rows]]
