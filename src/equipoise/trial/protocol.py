"""The protocol: what will be claimed and how it will be judged, fixed and hashed before the held-out rows are opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

from equipoise.contract.errors import UserError
from equipoise.stats.alerts import UNIT_COSTS

Abstain = Literal["exclude", "base_rate"]
Estimand = Literal["current_care", "if_untreated"]
Claim = Literal["superiority", "non_inferiority", "equivalence"]
Multiplicity = Literal["holm", "benjamini_hochberg", "none"]
Censoring = Literal["marginal", "by_site"]
Competing = Literal["competing", "censor"]
LateEntry = Literal["exclude", "weight"]
MissingOutcomes = Literal["exclude", "weight"]
Subsets = Literal["none", "all"]
About = Literal["model", "way"]
BetterOutcome = Literal["higher", "lower"]


@dataclass(frozen=True)
class Protocol:
    """How predictions are judged. Every key stands in ``configs/trial/default.yaml`` with its default; here there is none.

    Args:
        name: of the protocol.
        population: who the claim is about, in words; None: not declared, and the report says so.
        prediction_time: when the prediction is made, in words; None likewise.
        outcome: what is predicted, in words; None likewise.
        estimand: "current_care": the risk under the care that these people got; "if_untreated": the risk had nobody been treated, judged on the
            untreated rows, weighted by one over their probability of being untreated.
        about: "model": the claim is about this fitted model; "way": about the way of making it, over training sets too (needs ``validation.resampled``).
        comparators: over which the claim is made; None: those that the comparators' own configs require.
        claim: "superiority"; "non_inferiority" or "equivalence" by ``margin``.
        primary: the one endpoint that carries the verdict; None: log_score (binary, multiclass, treatment effect), crps (continuous),
            ipcw_brier (time to event).
        endpoints: names of the endpoints to report; None: all of the kind. The primary one is always among them.
        extra_endpoints: further ones that are not reported by default.
        secondary: endpoints, in names without horizon, for which a gain is claimed too, if the primary one is shown.
        multiplicity: how the secondary endpoints' p-values are adjusted.
        subgroups: columns of the predictions table, or of the cohort, by which the endpoints are shown; ``missing`` is the pattern of present evidences.
        cluster: what a cluster is, in words; None: not declared.
        few_clusters: with fewer clusters, intervals come from leaving each cluster out, with Student's t, and a warning stands beside them, >= 0.
        level: of all intervals, two-sided, in (0, 1); 0.95 makes the verdict's one-sided error 0.025 against each comparator.
        n_bootstrap: resamples of clusters, >= 100.
        loess_bootstrap: the first so many of them serve for what needs a smoothed curve, >= 0.
        seed: of the resamples.
        margin: non-inferiority margin, > 0, in the primary endpoint's unit; None: no margin was declared.
        worthwhile_gain: the smallest gain worth a claim, >= 0, in the primary endpoint's unit: a gain is claimed only where its lower bound is above it.
            At 0 any gain counts, also one that luck in fitting made and that no further training set would show again.
        threshold: declared risk threshold of the decision, in (0, 1), for net benefit.
        threshold_range: lowest and highest threshold of the decision curve.
        net_benefit_margin_share: a gain is claimed only if net benefit at the threshold is worse by less than this share, >= 0, of the prevalence:
            the net benefit of a perfect model, so that a rare outcome's margin is as strict as a common one's.
        event1_threshold: threshold for event1, fixed on other rows; None: ``threshold``.
        horizon_days: horizon of the primary endpoint for a time to event; None: the longest in the predictions.
        censoring: model of the censoring of a time to event: "marginal", one Kaplan-Meier; "by_site", one for each site.
        censoring_truncation: weights for censoring are cut to this, >= 1.
        minimum_censoring_survival: no verdict where more than ``max_missing`` of the rows are in sites (or in a cohort) of which a smaller share than
            this, in (0, 1), would still be followed at the horizon.
        competing: "competing": who died of something else never has the event; "censor": counted as censored, which no patient can be.
        late_entry: what endpoints at a horizon do with rows that came under observation late: "exclude"; "weight" by one over P(under observation),
            which takes entry to be independent of risk and event. Harrell's and Antolini's C and the calibration groups count them from their
            entry on; Uno's C leaves them out.
        better_outcome: which outcome of a treatment is better, "higher" or "lower": whom a rule treats, and which effects rank first.
        propensity_clip: propensities are read as at least this far from 0 and 1, in (0, 0.5).
        min_events: fewest events, and fewest non-events, for a verdict (rows, for a continuous outcome).
        max_missing: largest share of rows without a prediction for a verdict, in [0, 1].
        missing_outcomes: "exclude" judges rows with an outcome; "weight" weights them by one over the probability that it is known, given the models'
            risks and the site.
        abstain: "exclude" compares on rows where both models have a prediction; "base_rate" gives an abstaining row its model's mean risk.
        recalibration_ladder: show the model's endpoints also after local recalibration (see `trial.recalibration_ladder`).
        value_of: evidences whose worth is claimed (`trial.value`); ("all",) for every one that does not hold the base columns; () for none.
        value_base: names of columns that every nested model keeps, with * and ? as in file names; those that the cohort lacks are named on the page.
        placebo_strata: a placebo's content is permuted within these: ``site``, ``ancestry``, or a category column.
        placebo_repeats: permutations of each evidence, each with a model of its own, >= 1; from 2 on a claim is about the evidence and not about one fit.
        subsets: "all" predicts with every subset of the evidences hidden, "none" with none but single ones.
        delta: log odds (standard deviations of a continuous outcome) by which the outcome of rows without the evidence may differ; () for no table.
        min_cell: counts below this are not shown, in histograms and by subgroup.
        referral_cost: of having one least certain row decided by treating, in true positives (the harm of a test), >= 0; None: not declared.
        relative_risk_reduction: of treating those alerted, in (0, 1], for the number needed to treat; None: not declared.
        unit_costs: cost of a true_positive, false_positive, false_negative and true_negative at the threshold, in any one currency; None: not declared.
    """

    name: str
    population: str | None
    prediction_time: str | None
    outcome: str | None
    estimand: Estimand
    about: About
    comparators: tuple[str, ...] | None
    claim: Claim
    primary: str | None
    endpoints: tuple[str, ...] | None
    extra_endpoints: tuple[str, ...]
    secondary: tuple[str, ...]
    multiplicity: Multiplicity
    subgroups: tuple[str, ...]
    cluster: str | None
    few_clusters: int
    level: float
    n_bootstrap: int
    loess_bootstrap: int
    seed: int
    margin: float | None
    worthwhile_gain: float
    threshold: float
    threshold_range: tuple[float, float]
    net_benefit_margin_share: float
    event1_threshold: float | None
    horizon_days: float | None
    censoring: Censoring
    censoring_truncation: float
    minimum_censoring_survival: float
    competing: Competing
    late_entry: LateEntry
    better_outcome: BetterOutcome
    propensity_clip: float
    min_events: int
    max_missing: float
    missing_outcomes: MissingOutcomes
    abstain: Abstain
    min_cell: int
    recalibration_ladder: bool
    value_of: tuple[str, ...]
    value_base: tuple[str, ...]
    placebo_strata: tuple[str, ...]
    placebo_repeats: int
    subsets: Subsets
    delta: tuple[float, ...]
    referral_cost: float | None
    relative_risk_reduction: float | None
    unit_costs: Mapping[str, float] | None

    @cached_property
    def hash(self) -> str:
        """Hash of every key, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """Plain values and the hash, for results.json."""
        return {**json.loads(json.dumps(asdict(self))), "hash": self.hash}


def protocol_of(config: Mapping[str, Any]) -> Protocol:
    """A protocol from the config group ``trial``.

    Args:
        config: every key of `Protocol`, and no other.

    Raises:
        UserError: a key is missing or unknown, or a value is outside its range.
    """
    known = [f.name for f in fields(Protocol)]
    wrong = sorted(set(config) ^ set(known))
    if wrong:
        missing = [k for k in wrong if k in known]
        raise UserError(
            f"The trial's protocol {'lacks' if missing else 'has an unknown key,'} {', '.join(missing or wrong)}",
            expected=f"the keys {', '.join(known)}",
            mend="start from configs/trial/default.yaml",
        )
    values = {name: _checked(name, config[name]) for name in known}
    low, high = values["threshold_range"]
    if not 0 < low < high < 1:
        raise _wrong("threshold_range", "two numbers 0 < low < high < 1", [low, high])
    if values["claim"] != "superiority" and values["margin"] is None:
        raise _wrong("margin", f"a number > 0, because trial.claim is {values['claim']}", None)
    return Protocol(**values)


_RANGES: dict[str, tuple[str, Any]] = {
    "level": ("a number in (0, 1)", lambda x: 0 < x < 1),
    "threshold": ("a number in (0, 1)", lambda x: 0 < x < 1),
    "event1_threshold": ("a number in (0, 1), or null", lambda x: 0 < x < 1),
    "margin": ("a number > 0 in the primary endpoint's unit, or null", lambda x: x > 0),
    "worthwhile_gain": ("a number >= 0 in the primary endpoint's unit", lambda x: x >= 0),
    "net_benefit_margin_share": ("a number >= 0", lambda x: x >= 0),
    "horizon_days": ("a number > 0, or null", lambda x: x > 0),
    "censoring_truncation": ("a number >= 1", lambda x: x >= 1),
    "minimum_censoring_survival": ("a number in (0, 1)", lambda x: 0 < x < 1),
    "propensity_clip": ("a number in (0, 0.5)", lambda x: 0 < x < 0.5),
    "max_missing": ("a number in [0, 1]", lambda x: 0 <= x <= 1),
    "n_bootstrap": ("a whole number >= 100", lambda x: x >= 100),
    "loess_bootstrap": ("a whole number >= 0", lambda x: x >= 0),
    "seed": ("a whole number >= 0", lambda x: x >= 0),
    "min_events": ("a whole number >= 1", lambda x: x >= 1),
    "min_cell": ("a whole number >= 1", lambda x: x >= 1),
    "few_clusters": ("a whole number >= 0", lambda x: x >= 0),
    "placebo_repeats": ("a whole number >= 1", lambda x: x >= 1),
    "referral_cost": ("a number >= 0 in true positives a row, or null", lambda x: x >= 0),
    "relative_risk_reduction": ("a number in (0, 1], or null", lambda x: 0 < x <= 1),
}
_WHOLE = ("n_bootstrap", "loess_bootstrap", "seed", "min_events", "min_cell", "few_clusters", "placebo_repeats")
_LISTS = ("endpoints", "extra_endpoints", "comparators", "secondary", "subgroups", "threshold_range", "value_of", "value_base", "placebo_strata", "delta")
_NUMBERS = ("threshold_range", "delta")
_WORDS: dict[str, Any] = {
    "abstain": Abstain,
    "estimand": Estimand,
    "claim": Claim,
    "multiplicity": Multiplicity,
    "censoring": Censoring,
    "competing": Competing,
    "late_entry": LateEntry,
    "missing_outcomes": MissingOutcomes,
    "subsets": Subsets,
    "better_outcome": BetterOutcome,
    "about": About,
}
_MAY_BE_NULL = (
    "population", "prediction_time", "outcome", "comparators", "primary", "endpoints", "cluster", "margin", "event1_threshold", "horizon_days",
    "referral_cost", "relative_risk_reduction", "unit_costs",
)  # fmt: skip


def _checked(name: str, value: Any) -> Any:
    """The value in its declared type."""
    if value is None and name in _MAY_BE_NULL:
        return None
    if name == "recalibration_ladder":
        if not isinstance(value, bool):
            raise _wrong(name, "true or false", value)
        return value
    if name in _RANGES:
        expected, inside = _RANGES[name]
        whole = name in _WHOLE
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not inside(value):
            raise _wrong(name, expected, value)
        return value if whole else float(value)
    if name == "unit_costs":
        return _costs(value)
    if name in _LISTS:
        if not isinstance(value, list | tuple):
            raise _wrong(name, "a list", value)
        if name not in _NUMBERS:
            return tuple(str(v) for v in value)
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value) or (name == "threshold_range" and len(value) != 2):
            raise _wrong(name, "numbers" if name == "delta" else "two numbers", value)
        return tuple(float(v) for v in value)
    if name in _WORDS and value not in get_args(_WORDS[name]):
        raise _wrong(name, f"one of {', '.join(get_args(_WORDS[name]))}", value)
    if not isinstance(value, str):
        raise _wrong(name, "text", value)
    return value


def _costs(value: Any) -> dict[str, float]:
    numbers = isinstance(value, Mapping) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value.values())
    if not numbers or set(value) != set(UNIT_COSTS):
        raise _wrong("unit_costs", f"a number for each of {', '.join(UNIT_COSTS)}, or null", value)
    return {name: float(value[name]) for name in UNIT_COSTS}


def _wrong(name: str, expected: str, found: object) -> UserError:
    return UserError(f"Config key trial.{name} has a wrong value", expected=expected, found=repr(found), mend=f"correct trial.{name}")
