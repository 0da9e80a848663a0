"""Endpoints in expectation over outcomes whose probabilities are known: the truth that an interval should hold."""

from __future__ import annotations

import numpy as np

from equipoise.trial.endpoint import Endpoint
from equipoise.trial.protocol import Protocol
from equipoise.trial.sample import Sample


def expected_value(endpoint: Endpoint, protocol: Protocol, risk: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The endpoint of a table in which each row stands as a case with its true risk p and as a non-case with 1 - p.

    Args:
        endpoint: a weighted one of a binary outcome.
        protocol: thresholds.
        risk: f64 (n,), predicted, in [0, 1].
        truth: f64 (n,), the risks from which outcomes are drawn.
        weight: f64 (n,), of the rows; None: equal.

    Returns:
        For a mean over rows its expectation; for AUROC its limit in many rows.

    Source: ours.

    >>> from equipoise.trial.binary import BINARY
    >>> brier = next(e for e in BINARY if e.name == "brier")
    >>> float(round(expected_value(brier, None, np.array([0.5, 0.2]), np.array([0.5, 0.2])), 3))
    0.205
    """
    n = risk.size
    own = np.ones(n) if weight is None else weight
    nothing, zero = np.full(2 * n, np.nan), np.zeros(2 * n, np.int64)
    sample = Sample(
        protocol=protocol,
        kind="binary",
        labels=("",),
        risk=np.concatenate([risk, risk])[:, None],
        total=nothing[:, None],
        outcome=np.concatenate([np.ones(n), np.zeros(n)])[:, None],
        time=nothing,
        event=zero,
        entry=nothing,
        treatment=zero,
        propensity=nothing,
        score=np.empty(0),
        weight=np.concatenate([own * truth, own * (1 - truth)]),
        cluster=np.tile(np.arange(n), 2),
        site=np.full(2 * n, ""),
        subject=np.arange(2 * n),
        repeat=zero,
        fold=zero,
    )
    return float(endpoint.value(sample))


def true_gain(endpoint: Endpoint, protocol: Protocol, model: np.ndarray, other: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """The expected difference on rows where both have a prediction, positive where the model is better; NaN where there is no such row."""
    both = np.isfinite(model) & np.isfinite(other)
    if not both.any():
        return float("nan")
    of = [expected_value(endpoint, protocol, risk[both], truth[both], weight[both]) for risk in (model, other)]
    return endpoint.sign * (of[0] - of[1])
