"""What the predictions say of their own uncertainty: means and medians over the judged rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from equipoise.trial.compare import number
from equipoise.trial.rows import Forecasts, Rows


def certainty_of(rows: Rows, forecasts: Forecasts, interval: Mapping[str, Any]) -> dict[str, Any]:
    """{"interval", "level", "median_width", "mean_epistemic", "mean_aleatoric", "mean_total", "coverage", "estimated", "note"}; null = not estimated.

    Args:
        rows: the rows.
        forecasts: the model's.
        interval: what the predictions' manifest says of it: "kind" (credible_mean, predictive, conformal; None: there is none), "level", "of", "note".

    "estimated" is whether anything is known of what the model does not know: an interval, or an epistemic part (a few members of a point head
    differ, but are too few for an interval).

    Coverage of outcomes is given for a predictive or conformal interval only: an interval of the mean is not meant to hold outcomes.
    """
    given = forecasts.given
    label = 2 if rows.kind == "treatment_effect" else forecasts.risk.shape[1] - 1 if rows.kind == "time_to_event" else slice(None)
    width = (forecasts.hi - forecasts.lo)[given][:, label]
    has_interval = bool(np.isfinite(width).any())
    kind, epistemic = interval.get("kind"), forecasts.epistemic[given][:, label]
    declared = interval.get("of") or (str(kind).replace("_", " ") if kind else "not declared")
    made: dict[str, Any] = {
        "interval": declared if has_interval else "not estimated",
        "level": interval.get("level") if has_interval else None,
        "median_width": _over(width, np.median),
        "mean_epistemic": _over(epistemic, np.mean),
        "mean_aleatoric": _over(forecasts.aleatoric[given][:, label], np.mean),
        "mean_total": _over(forecasts.total[given][:, label], np.mean),
        "estimated": has_interval or bool(np.isfinite(epistemic).any()),
    }
    if interval.get("note") and not has_interval:
        made["note"] = interval["note"]
    if kind in ("predictive", "conformal") and rows.kind == "continuous" and has_interval:
        known = given & rows.observed
        inside = (forecasts.lo[known] <= rows.outcome[known]) & (rows.outcome[known] <= forecasts.hi[known])
        made["coverage"] = _over(inside.astype(np.float64), lambda x: np.average(x, weights=rows.weight[known]))
    return made


def _over(x: np.ndarray, f: Any) -> float | None:
    known = x[np.isfinite(x)]
    return number(float(f(known))) if known.size else None
