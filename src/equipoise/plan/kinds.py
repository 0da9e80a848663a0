"""The kinds of plan: for each file of ``configs/plan`` what makes the plan, and what each of its keys may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from equipoise.config.ranges import Range
from equipoise.plan import clusters, development, parallel, sequential, validation
from equipoise.plan.result import Plan
from equipoise.plan.settings import Allowed, Fractions, Words
from equipoise.stats.group_sequential import BOUNDARIES

MOST_LOOKS = 20

_SHARE = Range(0, 1, open_below=True, open_above=True)
_SHARE_OR_NULL = Range(0, 1, open_below=True, open_above=True, null=True)
_FROM_ZERO = Range(0, 1, open_above=True)
_POSITIVE = Range(0, open_below=True)
_POSITIVE_OR_NULL = Range(0, open_below=True, null=True)
_NUMBER = Range(-1e12, 1e12)
_COUNT = Range(1, whole=True)
_C = Range(0.5, 1, open_below=True, open_above=True)
_C_OR_NULL = Range(0.5, 1, open_below=True, open_above=True, null=True)
_MARGIN = Range(1, 10, open_below=True)
_ERROR = {"alpha": Range(0, 0.5, open_below=True, open_above=True), "power": _SHARE}
_ENDPOINT = {"control": _NUMBER, "treated": _NUMBER, "sd": _POSITIVE_OR_NULL}
_DEVELOPMENT = {"parameters": _COUNT, "shrinkage": _SHARE, "optimism": _SHARE}


@dataclass(frozen=True)
class Kind:
    """How a plan is made from its settings, and what they may be."""

    make: Callable[..., Plan]
    allowed: Mapping[str, Allowed]


KINDS: dict[str, Kind] = {
    "development_binary": Kind(
        development.binary,
        {
            **_DEVELOPMENT,
            "prevalence": _SHARE,
            "cox_snell_r2": _SHARE_OR_NULL,
            "c_statistic": _C_OR_NULL,
            "half_width": _SHARE,
            "absolute_error": _SHARE_OR_NULL,
        },
    ),
    "development_continuous": Kind(development.continuous, {**_DEVELOPMENT, "r2": _SHARE, "mean": _POSITIVE, "sd": _POSITIVE, "margin": _MARGIN}),
    "development_time_to_event": Kind(
        development.time_to_event,
        {
            **_DEVELOPMENT,
            "cox_snell_r2": _SHARE,
            "rate_per_year": _POSITIVE,
            "mean_follow_up_years": _POSITIVE,
            "horizon_years": _POSITIVE,
            "half_width": _SHARE,
        },
    ),
    "validation_binary": Kind(
        validation.binary,
        {
            "prevalence": _SHARE,
            "c_statistic": _C,
            "lp_mean": Range(-50, 50, null=True),
            "lp_sd": Range(0, 50, open_below=True, null=True),
            "threshold": _SHARE_OR_NULL,
            "oe_width": _POSITIVE,
            "slope_width": _POSITIVE,
            "c_width": _POSITIVE,
            "net_benefit_width": _POSITIVE,
        },
    ),
    "validation_continuous": Kind(
        validation.continuous,
        {"r2": _SHARE, "sd": _POSITIVE, "mean_width": _POSITIVE, "r2_width": _POSITIVE, "slope_width": _POSITIVE, "margin": _MARGIN},
    ),
    "validation_time_to_event": Kind(
        validation.time_to_event,
        {
            "risk": _SHARE,
            "horizon_years": _POSITIVE,
            "lp_sd": Range(0, 5, open_below=True),
            "lost_per_year": _FROM_ZERO,
            "oe_width": _POSITIVE,
            "slope_width": _POSITIVE,
        },
    ),
    "parallel": Kind(parallel.parallel, {**_ENDPOINT, **_ERROR, "n_per_arm": Range(2, whole=True, null=True), "lost": _FROM_ZERO}),
    "parallel_time_to_event": Kind(
        parallel.time_to_event,
        {
            **_ERROR,
            "control_risk": _SHARE,
            "horizon_years": _POSITIVE,
            "hazard_ratio": _POSITIVE,
            "accrual_years": Range(0),
            "follow_up_years": _POSITIVE,
            "lost_per_year": _FROM_ZERO,
        },
    ),
    "cluster": Kind(
        clusters.parallel,
        {**_ENDPOINT, **_ERROR, "size": Range(1), "icc": _FROM_ZERO, "cv": Range(0), "clusters_per_arm": Range(2, whole=True, null=True)},
    ),
    "stepped_wedge": Kind(
        clusters.stepped_wedge,
        {
            **_ENDPOINT,
            **_ERROR,
            "steps": Range(2, 100, whole=True),
            "size": _COUNT,
            "icc": _FROM_ZERO,
            "cac": Range(0, 1),
            "clusters": Range(1, whole=True, null=True),
        },
    ),
    "group_sequential": Kind(
        sequential.group_sequential,
        {
            **_ENDPOINT,
            **_ERROR,
            "looks": Range(1, MOST_LOOKS, whole=True),
            "information": Fractions(MOST_LOOKS),
            "boundary": Words(BOUNDARIES),
            "lost": _FROM_ZERO,
        },
    ),
}
