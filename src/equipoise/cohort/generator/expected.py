"""Scores of a prediction in expectation over outcomes, when the true risks are known: no sampling error from the outcomes."""

from __future__ import annotations

import numpy as np

from equipoise.cohort.generator.dials import EVIDENCES, subset_name


def expected_scores(predicted: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """Expected AUROC, Brier score and log score of predicted risks.

    log score = mean of -(p log q + (1-p) log(1-q)) in nats; Brier = mean of p (1-q)^2 + (1-p) q^2; AUROC = weighted probability that a row
    drawn by p is ranked above one drawn by 1-p, ties counting half. Smaller is better but for the AUROC.

    Args:
        predicted: q, f64 (n,), in (0, 1).
        risk: p, f64 (n,), in (0, 1).

    Source: ours; the Rao-Blackwell form of the usual scores.

    >>> expected_scores(np.array([0.5, 0.5]), np.array([0.2, 0.6]))["auroc"]
    0.5
    """
    q = np.clip(predicted, 1e-15, 1.0 - 1e-15)
    log_score = -np.mean(risk * np.log(q) + (1.0 - risk) * np.log1p(-q))
    brier = np.mean(risk * (1.0 - predicted) ** 2 + (1.0 - risk) * predicted**2)
    return {"auroc": soft_auroc(predicted, risk), "brier": float(brier), "log_score": float(log_score)}


def soft_auroc(predicted: np.ndarray, risk: np.ndarray) -> float:
    """AUROC with each row counting p as an event and 1-p as a non-event; pairs of a row with itself are left out."""
    value, at = np.unique(predicted, return_inverse=True)
    event, other = (np.bincount(at.ravel(), weights=w, minlength=value.size) for w in (risk, 1.0 - risk))
    below = np.cumsum(other) - other
    own = float((risk * (1.0 - risk)).sum())
    won = float((event * (below + 0.5 * other)).sum()) - 0.5 * own
    return won / (float(event.sum()) * float(other.sum()) - own)


def added_values(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """What each evidence adds: to all the others, and alone to nothing, in log score (nats gained) and AUROC."""
    full, none = scores[subset_name(EVIDENCES)], scores[subset_name(())]
    out = {}
    for e in EVIDENCES:
        without, alone = scores[subset_name([x for x in EVIDENCES if x != e])], scores[subset_name([e])]
        out[e] = {
            "log_score_to_the_rest": without["log_score"] - full["log_score"],
            "auroc_to_the_rest": full["auroc"] - without["auroc"],
            "log_score_alone": none["log_score"] - alone["log_score"],
            "auroc_alone": alone["auroc"] - none["auroc"],
        }
    return out
