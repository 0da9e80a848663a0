"""Target-trial emulation: the trial that one would have run, written down first, and its emulation in a table of people observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.stats.bias_curve import bias_curve, e_value, nearest_to_one
from equipoise.stats.estimate import Estimate
from equipoise.stats.nuisance import regression
from equipoise.stats.point_treatment import ArmContrast, aipw_effect, g_formula, ipw_effect
from equipoise.stats.propensity import ESTIMANDS, POPULATIONS, balancing_weights, overlap, standardized_differences

FOLDS = 5
BALANCED = 0.1
"""A standardized difference of at most this is called balanced (Austin 2009)."""
CURVE = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
"""Strengths RR_EU at which the bias curve is printed."""


@dataclass(frozen=True, kw_only=True)
class TargetTrial:
    """The protocol of the target trial; the first five are the attributes of an estimand in ICH E9(R1).

    Args:
        population: whom the question is about.
        strategies: the two treatment strategies, the untreated one first.
        variable: the outcome, its horizon, how it is measured.
        intercurrent_events: each event after time zero that bears on the outcome (stopping, switching, death) -> the strategy that handles it.
        summary_measure: by what the strategies are compared, e.g. "difference of means".
        eligibility: criteria, each decidable at time zero.
        assignment: how the target trial would assign, and how the emulation stands for it.
        time_zero: the moment at which eligibility is met, a strategy is assigned and follow-up starts.
        follow_up: until when.
        causal_contrast: e.g. "intention to treat".
        assumptions: under which the contrast is identified.
        estimand: whose average: "ATE", "ATT" or "ATO" (see `stats.propensity.POPULATIONS`).
        confounders: the columns that assumptions of exchangeability name.
        analysis: the plan of analysis.

    Raises:
        UserError: one of them is empty, or is none of its choices.
    """

    population: str
    strategies: tuple[str, str]
    variable: str
    intercurrent_events: Mapping[str, str]
    summary_measure: str
    eligibility: tuple[str, ...]
    assignment: str
    time_zero: str
    follow_up: str
    causal_contrast: str
    assumptions: tuple[str, ...]
    estimand: str
    confounders: tuple[str, ...]
    analysis: str = "weighting and standardisation with logistic or linear regressions, and AIPW cross-fitted in 5 folds, which is primary"

    def __post_init__(self) -> None:
        for f in fields(self):
            if not getattr(self, f.name) and f.name != "intercurrent_events":
                raise UserError(f"The target trial does not say its {f.name.replace('_', ' ')}", expected="every part of the protocol", mend=f"write {f.name}")
        if len(self.strategies) != 2 or self.strategies[0] == self.strategies[1]:
            raise UserError("The target trial does not have two different strategies", found=", ".join(self.strategies), mend="write the untreated one first")
        if self.estimand not in ESTIMANDS:
            raise UserError(f"The target trial's estimand is {self.estimand!r}", expected=f"one of {', '.join(ESTIMANDS)}", mend="choose one")


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The people who were eligible, one row each.

    Args:
        treatment: i64 (n,), 1: the second strategy was followed at time zero.
        outcome: f64 (n,); NaN = missing.
        confounders: f64 (n, k), finite, known at time zero, in the order of `TargetTrial.confounders`.
        eligible_day: f64 (n,), when eligibility was met.
        assigned_day: f64 (n,), when the strategy was begun or declined.
        followed_from_day: f64 (n,), from when outcomes were counted.
        cluster: (n,), or None: independent people.
        negative_controls: outcome that the treatment cannot change -> f64 (n,).
    """

    treatment: np.ndarray
    outcome: np.ndarray
    confounders: np.ndarray
    eligible_day: np.ndarray
    assigned_day: np.ndarray
    followed_from_day: np.ndarray
    cluster: np.ndarray | None = None
    negative_controls: Mapping[str, np.ndarray] = field(default_factory=dict)


def emulate(trial: TargetTrial, observed: Observed, *, level: float = 0.95, seed: int = 0) -> dict[str, Any]:
    """Emulates the target trial.

    Args:
        trial: the protocol.
        observed: the people.
        level: of the intervals, in (0, 1).
        seed: of the folds of AIPW.

    Returns:
        {"target_trial", "n", "balance", "overlap", "estimates", "trimmed", "negative_controls", "bias_curve", "sentences"}; aggregates only. The
        estimates are "crude", "ipw", "g_formula" (unless the estimand is ATO) and "aipw" (ATE only).

    Raises:
        UserError: time zero is not one moment, an arm is empty, or a confounder is missing.

    Source: Hernan and Robins (2016); ICH E9(R1) (2019).
    """
    _refuse(trial, observed)
    treated, x = observed.treatment == 1, np.asarray(observed.confounders, dtype=np.float64)
    propensity = regression(x, treated.astype(np.float64), binary=True).mean
    weight = balancing_weights(propensity, treated, trial.estimand)
    before, after = standardized_differences(x, treated), standardized_differences(x, treated, weight)
    shared = overlap(propensity, treated, estimand=trial.estimand)
    everyone = np.ones(treated.size, dtype=bool)
    estimates = _estimates(trial, observed, everyone, level, seed)
    negative = {
        name: _said(ipw_effect(y, treated, x, estimand=trial.estimand, level=level, cluster=observed.cluster)) for name, y in observed.negative_controls.items()
    }
    primary = estimates.get("aipw") or estimates["ipw"]
    return {
        "target_trial": asdict(trial),
        "n": {"rows": int(treated.size), "treated": int(treated.sum()), "outcome_missing": int((~np.isfinite(observed.outcome)).sum())},
        "balance": [{"confounder": name, "before": float(b), "after": float(a)} for name, b, a in zip(trial.confounders, before, after, strict=True)],
        "overlap": {
            "bound": shared.bound,
            "outside": shared.outside,
            "outside_treated": shared.outside_treated,
            "effective_untreated": shared.effective_untreated,
            "effective_treated": shared.effective_treated,
            "largest_weight": float(weight.max()),
            "sentence": shared.sentence,
        },
        "estimates": estimates,
        "trimmed": _estimates(trial, observed, shared.kept, level, seed) if not shared.kept.all() else {},
        "negative_controls": negative,
        "bias_curve": _curve(primary),
        "sentences": _sentences(trial, after, negative),
    }


def _refuse(trial: TargetTrial, observed: Observed) -> None:
    for name, day in (("assigned a strategy", observed.assigned_day), ("followed", observed.followed_from_day)):
        if (apart := int((day != observed.eligible_day).sum())) > 0:
            later = int((day > observed.eligible_day).sum())
            raise UserError(
                f"Time zero is not one moment: {apart} of {day.size} people were {name} on another day than they became eligible",
                expected="eligibility, assignment and start of follow-up at the same time",
                found=f"{later} later, {apart - later} earlier",
                mend="start follow-up when a strategy can be assigned; with a grace period clone, censor and weight (stats.clone_censor)",
            )
    if observed.confounders.shape != (observed.treatment.size, len(trial.confounders)):
        raise UserError(
            "The confounders are not those of the target trial",
            expected=f"{len(trial.confounders)} columns, a row for each of {observed.treatment.size} people",
            found=" x ".join(map(str, observed.confounders.shape)),
            mend="give them in the order of TargetTrial.confounders",
        )
    lacking = {name: int(n) for name, n in zip(trial.confounders, (~np.isfinite(observed.confounders)).sum(0), strict=True) if n}
    if lacking:
        raise UserError(
            "Confounders are missing",
            found=", ".join(f"{k} in {v} rows" for k, v in lacking.items()),
            mend="impute them, with a column that says where it was missing",
        )
    for arm in (0, 1):
        if not (np.isfinite(observed.outcome) & (observed.treatment == arm)).any():
            raise UserError(f"Nobody with an outcome followed the strategy {trial.strategies[arm]!r}", mend="correct eligibility or treatment")


def _estimates(trial: TargetTrial, observed: Observed, kept: np.ndarray, level: float, seed: int) -> dict[str, Any]:
    """On these rows, every model fitted anew on them."""
    y, a, x = observed.outcome[kept], observed.treatment[kept], observed.confounders[kept]
    cluster = None if observed.cluster is None else observed.cluster[kept]
    made = {"crude": ipw_effect(y, a, np.zeros((y.size, 1)), level=level, cluster=cluster)}
    made["ipw"] = ipw_effect(y, a, x, estimand=trial.estimand, level=level, cluster=cluster)
    if trial.estimand != "ATO":
        made["g_formula"] = g_formula(y, a, x, estimand=trial.estimand, level=level, cluster=cluster)
    if trial.estimand == "ATE":
        made["aipw"] = aipw_effect(y, a, x, _folds(a, cluster, seed), level=level, cluster=cluster)
    return {name: _said(contrast) for name, contrast in made.items()}


def _folds(treatment: np.ndarray, cluster: np.ndarray | None, seed: int) -> np.ndarray:
    codes = np.arange(treatment.size) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    return np.asarray(numpy_stream("emulation-folds", seed).permutation(int(codes.max()) + 1) % FOLDS)[codes]


def _said(contrast: ArmContrast) -> dict[str, Any]:
    def ends(e: Estimate) -> dict[str, Any]:
        return {"value": e.value, "se": e.se, "lo": e.lo, "hi": e.hi, "p": e.p, "method": e.method}

    ratio = contrast.log_ratio
    return {
        "untreated": ends(contrast.untreated),
        "treated": ends(contrast.treated),
        "difference": ends(contrast.difference),
        "ratio": {key: float(np.exp(getattr(ratio, key))) for key in ("value", "lo", "hi")} if np.isfinite(ratio.value) else None,
    }


def _curve(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Of the ratio of risks and of its limit nearest 1; nothing where there is no ratio of risks."""
    ratio, risks = estimate["ratio"], [estimate[arm]["value"] for arm in ("untreated", "treated")]
    if ratio is None or max(risks) > 1:
        return {"note": "the outcome is no risk: the bounding factor is about ratios of risks"}
    limit, strength = nearest_to_one(ratio["lo"], ratio["hi"]), np.array(CURVE)
    return {
        "risk_ratio": ratio["value"],
        "limit": limit,
        "confounder_treatment": list(CURVE),
        "confounder_outcome": [float(v) if np.isfinite(v) else None for v in bias_curve(ratio["value"], strength)],
        "confounder_outcome_for_limit": [float(v) if np.isfinite(v) else None for v in bias_curve(limit, strength)],
        "e_value": e_value(ratio["value"]),
        "e_value_for_limit": e_value(limit),
        "note": "the E-value is one point of the curve; what strengths are plausible is a judgement about this question, not about the number",
    }


def _sentences(trial: TargetTrial, after: np.ndarray, negative: Mapping[str, Any]) -> list[str]:
    left = [name for name, d in zip(trial.confounders, after, strict=True) if not abs(d) <= BALANCED]
    said = [f"The estimate is about {POPULATIONS[trial.estimand]}."]
    said.append(
        f"After weighting {', '.join(left)} still differ by more than {BALANCED}."
        if left
        else f"After weighting no confounder differs by more than {BALANCED}."
    )
    for name, control in negative.items():
        value, lo, hi = (control["difference"][key] for key in ("value", "lo", "hi"))
        found = f"Negative control {name}: a difference of {value:.3g} ({lo:.3g} to {hi:.3g})"
        none = lo <= 0 <= hi
        said.append(f"{found}: no confounding that these data can show." if none else f"{found} that the treatment cannot have caused: confounding is left.")
    return said
