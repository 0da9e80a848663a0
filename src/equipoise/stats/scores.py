"""Scores of probabilities and distributions: Brier, log score, accuracy, CRPS of a normal, intervals; a value for each row, whose mean is the score."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

SMALLEST = 1e-15
"""A probability below this counts as this in a log score: a forecast of 0 that comes true costs 34.5 nats, not infinitely many."""


def brier(risk: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """(risk - outcome)^2 for each row, f64 (n,).

    Source: Brier (1950), for one of two classes.
    """
    return (np.asarray(risk, dtype=np.float64) - np.asarray(outcome, dtype=np.float64)) ** 2


def log_score(risk: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """-log P(what happened) for each row, nats, lower is better, f64 (n,).

    Args:
        risk: f64 (n,), in [0, 1]; read as at least `SMALLEST` for what happened.
        outcome: (n,), 0 or 1.

    Source: Good (1952).

    >>> log_score(np.array([0.5, 0.0]), np.array([1, 1])).round(4).tolist()
    [0.6931, 34.5388]
    """
    p = np.asarray(risk, dtype=np.float64)
    return -np.log(np.maximum(np.where(np.asarray(outcome) == 1, p, 1 - p), SMALLEST))


def multiclass_brier(risk: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """sum_c (risk_c - [outcome = c])^2 for each row, in [0, 2], f64 (n,).

    Args:
        risk: f64 (n, C).
        outcome: (n, C), 1 for the class that happened, else 0.

    Source: Brier (1950).
    """
    return ((np.asarray(risk, dtype=np.float64) - outcome) ** 2).sum(1)


def multiclass_log_score(risk: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """-log P(the class that happened) for each row, nats, f64 (n,); arguments as in `multiclass_brier`."""
    return -np.log(np.maximum((np.asarray(risk, dtype=np.float64) * outcome).sum(1), SMALLEST))


def is_correct(risk: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Whether the most probable class happened, f64 (n,); k classes that tie for most probable count 1/k; arguments as in `multiclass_brier`.

    >>> is_correct(np.array([[0.4, 0.4, 0.2]]), np.array([[1, 0, 0]])).tolist()
    [0.5]
    """
    top = risk == risk.max(1, keepdims=True)
    return (top * outcome).sum(1) / top.sum(1)


def crps_normal(mean: np.ndarray, sd: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of N(mean, sd^2) for each row, in the outcome's unit, lower is better.

    s (z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)) with z = (y - m)/s; |y - m| where sd is 0.

    Args:
        mean: f64 (n,).
        sd: f64 (n,), >= 0.
        outcome: f64 (n,).

    Source: Gneiting and Raftery (2007), eq. 21 and the formula below it.

    >>> round(float(crps_normal(np.array([0.0]), np.array([1.0]), np.array([0.0]))[0]), 6)
    0.233695
    """
    mean, sd, y = (np.asarray(x, dtype=np.float64) for x in (mean, sd, outcome))
    z = np.divide(y - mean, sd, out=np.zeros(np.broadcast(y, mean, sd).shape), where=sd > 0)
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return np.where(sd > 0, sd * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)), np.abs(y - mean))


def normal_log_score(mean: np.ndarray, sd: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """-log density of N(mean, sd^2) at the outcome for each row, nats, f64 (n,); sd > 0."""
    z = (np.asarray(outcome, dtype=np.float64) - mean) / sd
    return 0.5 * z * z + np.log(sd) + 0.5 * np.log(2 * np.pi)


def interval_score(lo: np.ndarray, hi: np.ndarray, outcome: np.ndarray, level: float) -> np.ndarray:
    """(hi - lo) + 2/a (lo - y)+ + 2/a (y - hi)+ with a = 1 - level for each row, in the outcome's unit, lower is better.

    Args:
        lo: f64 (n,).
        hi: f64 (n,), >= lo.
        outcome: f64 (n,).
        level: of the central interval, in (0, 1).

    Source: Gneiting and Raftery (2007), eq. 43.

    >>> interval_score(np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([0.5, 1.1]), 0.9).round(6).tolist()
    [1.0, 3.0]
    """
    lo, hi, y = (np.asarray(x, dtype=np.float64) for x in (lo, hi, outcome))
    return hi - lo + 2 / (1 - level) * (np.maximum(lo - y, 0.0) + np.maximum(y - hi, 0.0))
