"""Do intervals and sets hold the outcomes, in all rows and in each group, and how wide are they?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

from equipoise.stats.bootstrap import percentile_interval
from equipoise.stats.proportion import wilson_interval
from equipoise.stats.scores import interval_score
from equipoise.stats.weighting import ratio
from equipoise.trial.compare import number
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.small_cells import BESIDE, hidden_groups, in_order

ALL = "all"
NORMAL = "normal, from the predicted mean and variance"


def coverage_tables(judged: Judged, own: Arm, interval: Mapping[str, Any]) -> dict[str, Any]:
    """{"of", "level", "groups"}: coverage of outcomes, interval score and median width, of all rows and by subgroup, site and missingness pattern.

    The interval is the stated one where it is of outcomes (predictive, conformal), else for a continuous outcome that of a normal distribution with
    the stated mean and variance, at the protocol's level. An interval of the mean is not meant to hold outcomes: only its width is shown.

    Args:
        judged: estimates.
        own: the model.
        interval: what the predictions' manifest says of it: "kind", "level", "of".

    Returns:
        "groups" is column ("all" for everything) -> group -> {"n", "median_width", and for intervals of outcomes "coverage", "coverage_lo",
        "coverage_hi", "interval_score", "interval_score_lo", "interval_score_hi", "method"}, or {"suppressed"}; {} where there is no interval.
    """
    where = judged.usable(own)
    found = _bounds(judged, own, interval)
    if found is None or not where.any():
        return {}
    lo, hi, said, level, of_outcomes = found
    y = judged.rows.outcome[:, 0]
    scored = {"coverage": (lo <= y) & (y <= hi), "interval_score": interval_score(lo, hi, y, level)} if of_outcomes else {}
    return {"of": said, "level": level, "groups": _by_group(judged, where & np.isfinite(lo) & np.isfinite(hi), scored, width=hi - lo)}


def set_tables(judged: Judged, own: Arm, sets: Mapping[str, Any]) -> dict[str, Any]:
    """{"of", "level", "without", "groups"}: how often the stated set holds the outcome, and how many classes it has on average.

    Args:
        judged: estimates.
        own: the model.
        sets: what the predictions' manifest says of them: "level", "of".

    Returns:
        "without": rows without a set; "groups" as in `coverage_tables`, with "set_size" in the place of the interval score and no width; {} where
        no row has a set.
    """
    rows, f, usable = judged.rows, judged.rows.forecasts[own], judged.usable(own)
    both = np.isfinite(f.set_event).all(axis=1)
    where = usable & (both & np.isfinite(f.set_no_event).all(axis=1) if rows.kind == "binary" else both)
    if rows.kind not in ("binary", "multiclass") or not where.any():
        return {}
    happened = rows.outcome == 1
    inside = np.where(happened, f.set_event, f.set_no_event)[:, 0] if rows.kind == "binary" else (f.set_event * happened).sum(axis=1)
    size = (f.set_event + f.set_no_event)[:, 0] if rows.kind == "binary" else f.set_event.sum(axis=1)
    groups = _by_group(judged, where, {"coverage": inside, "set_size": size})
    return {"of": sets.get("of"), "level": sets.get("level"), "without": int((usable & ~where).sum()), "groups": groups}


def _by_group(judged: Judged, where: np.ndarray, scored: Mapping[str, np.ndarray], width: np.ndarray | None = None) -> dict[str, Any]:
    """column ("all" for everything) -> group -> what is known of it; small groups are hidden."""
    labels = {ALL: np.full(judged.rows.size, ALL), **judged.rows.groups}
    groups: dict[str, Any] = {}
    for column, label in labels.items():
        names = in_order(label[where])
        masks = [where & (label == name) for name in names]
        counts = np.array([[int(np.unique(judged.rows.subject[m]).size)] for m in masks])
        hidden = hidden_groups(counts, judged.protocol.min_cell)
        shown = [m for m, h in zip(masks, hidden, strict=True) if not h]
        values = iter(_estimates(judged, shown, scored) if scored else [{} for _ in shown])
        groups[column] = {
            name: {"suppressed": BESIDE if h == 2 else f"fewer than {judged.protocol.min_cell}"}
            if h
            else {"n": int(n[0]), **({"median_width": number(float(np.median(width[mask])))} if width is not None else {}), **next(values)}
            for name, mask, n, h in zip(names, masks, counts, hidden, strict=True)
        }
    return groups


def _bounds(judged: Judged, own: Arm, interval: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, str, float, bool] | None:
    """lo, hi (n,), what the interval is, its level, and whether it is one of outcomes."""
    rows, f, where = judged.rows, judged.rows.forecasts[own], judged.usable(own)
    if rows.kind in ("multiclass", "time_to_event", "treatment_effect"):
        return None
    lo, hi, total = f.lo[:, 0], f.hi[:, 0], f.total[:, 0]
    stated = bool((np.isfinite(lo) & np.isfinite(hi))[where].any())
    of_outcomes = rows.kind == "continuous" and interval.get("kind") in ("predictive", "conformal")
    level = float(interval.get("level") or judged.protocol.level)
    if stated and of_outcomes:
        return lo, hi, str(interval.get("of") or interval["kind"]), level, True
    if rows.kind == "continuous" and np.isfinite(total[where]).all():
        half = float(ndtri((1 + judged.protocol.level) / 2)) * np.sqrt(total)
        return f.risk[:, 0] - half, f.risk[:, 0] + half, NORMAL, judged.protocol.level, True
    return (lo, hi, str(interval.get("of") or "the stated interval of the prediction"), level, False) if stated else None


def _estimates(judged: Judged, masks: list[np.ndarray], scored: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Weighted means of coverage (0 or 1) and of one more score in each group, one pass over the shared resamples for all of them."""
    if not masks:
        return []
    rows, level, names = judged.rows, judged.protocol.level, list(scored)
    at = np.flatnonzero(np.any(masks, axis=0))
    belongs = np.stack([m[at] for m in masks], axis=1) * rows.weight[at, None]  # (rows, k)
    each = np.concatenate([*(np.asarray(scored[n], dtype=np.float64)[at, None] * belongs for n in names), belongs], axis=1)
    value, draws = _ratios(each.sum(0)), np.concatenate([_ratios(block[:, at] @ each) for block in judged.bootstrap().blocks()])
    made = []
    for g, mask in enumerate(masks):
        n_clusters = int(np.unique(rows.cluster[mask]).size)
        covered, other = (percentile_interval(float(value[i, g]), draws[:, i, g], level, n_clusters) for i in (0, 1))
        lo, hi, method = covered.lo, covered.hi, covered.method
        if n_clusters == mask.sum() and (rows.weight[mask] == 1).all():
            bounds = wilson_interval(scored["coverage"][mask].sum()[None], np.array([mask.sum()]), level)
            lo, hi, method = float(bounds[0][0]), float(bounds[1][0]), "Wilson"
        made.append(
            {
                "coverage": number(float(value[0, g])),
                "coverage_lo": number(max(lo, 0.0)),
                "coverage_hi": number(min(hi, 1.0)),
                names[1]: number(float(value[1, g])),
                f"{names[1]}_lo": number(other.lo),
                f"{names[1]}_hi": number(other.hi),
                "method": method,
            }
        )
    return made


def _ratios(sums: np.ndarray) -> np.ndarray:
    """Means of coverage and of the other score by group, f64 (..., 2, k), from sums f64 (..., 3 k): inside, score, weight."""
    inside, score, weight = np.split(sums, 3, axis=-1)
    return np.stack([ratio(inside, weight), ratio(score, weight)], axis=-2)
