"""Endpoints of a multiclass outcome."""

from __future__ import annotations

import numpy as np

from equipoise.stats.estimate import Estimate
from equipoise.stats.proportion import wilson_interval
from equipoise.stats.roc import auroc
from equipoise.stats.scores import SMALLEST, is_correct, multiclass_brier, multiclass_log_score
from equipoise.stats.weighting import weighted_mean
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.sample import Sample


def _macro_auroc(s: Sample, w: np.ndarray) -> np.ndarray:
    """Mean over classes of each class's AUROC against the rest, over the classes that occur in these rows (and do not fill them)."""
    occurring = [c for c in range(len(s.labels)) if 0 < s.outcome[:, c].sum() < s.size]
    if len(occurring) < 2:
        return np.full(w.shape[:-1], np.nan)
    # A resample may lack a rare class: its mean is over the classes that it has.
    each = np.stack([auroc(s.risk[:, c], s.outcome[:, c], w) for c in occurring])
    known = np.isfinite(each)
    return np.divide(np.where(known, each, 0.0).sum(0), known.sum(0), out=np.full(each.shape[1:], np.nan), where=known.any(0))


def _lacking_classes(s: Sample) -> str:
    folds = [(part.outcome.sum(0) == 0).sum() for _, part in s.parts("within_fold")]
    lacking = int(np.sum(folds))
    return f"one class against the rest, mean over classes; {lacking} classes that do not occur left out" if lacking else "one class against the rest, mean"


def _accuracy_interval(s: Sample, level: float) -> Estimate | None:
    correct = is_correct(s.risk, s.outcome)
    if s.clustered or not np.isin(correct, (0.0, 1.0)).all():
        return None
    lo, hi = wilson_interval(correct.sum()[None], np.array([s.size]), level)
    p = float(correct.mean())
    return Estimate(p, float(np.sqrt(p * (1 - p) / s.size)), float(lo[0]), float(hi[0]), "Wilson")


def _impossible(s: Sample) -> str:
    n = int(((s.risk * s.outcome).sum(1) < SMALLEST).sum())
    return f"{n} rows whose class had risk 0, read as {SMALLEST:g}" if n else ""


MULTICLASS = (
    Endpoint("accuracy", "higher", lambda s, w: weighted_mean(is_correct(s.risk, s.outcome), w), interval=_accuracy_interval, floor=0.0, ceiling=1.0),
    Endpoint("log_score", "lower", lambda s, w: weighted_mean(multiclass_log_score(s.risk, s.outcome), w), note=_impossible),
    Endpoint("brier", "lower", lambda s, w: weighted_mean(multiclass_brier(s.risk, s.outcome), w)),
    Endpoint("auroc", "higher", _macro_auroc, "within_fold", floor=0.0, ceiling=1.0, note=_lacking_classes),
)
