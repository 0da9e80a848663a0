"""What the page calls things: metrics, kinds of question, roles, verdicts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DISCRIMINATION, CALIBRATION, OVERALL, UTILITY, OTHER = (
    "Discrimination",
    "Calibration",
    "Overall performance",
    "Clinical utility",
    "Other endpoints",
)
GROUPS = (DISCRIMINATION, CALIBRATION, OVERALL, UTILITY, OTHER)


@dataclass(frozen=True)
class Metric:
    """How a metric is printed.

    Args:
        key: its name in results.json.
        label: its name on the page.
        group: the heading that it stands under.
        digits: decimals, at least; None for a quantity in the outcome's unit, whose decimals follow its size.
        better: "higher", "lower", "zero", "one", or "" where there is no better.
        unit: of the value.
    """

    key: str
    label: str
    group: str = OTHER
    digits: int | None = 3
    better: str = ""
    unit: str = ""

    @property
    def aim(self) -> str:
        """In words, which way is better."""
        return {"higher": "higher is better", "lower": "lower is better", "zero": "0 is ideal", "one": "1 is ideal"}.get(self.better, "")

    @property
    def directed(self) -> bool:
        """Whether a difference has a sign that favours one side."""
        return self.better in ("higher", "lower")


_KNOWN = {
    m.key: m
    for m in (
        Metric("auroc", "AUROC", DISCRIMINATION, 3, "higher"),
        Metric("auprc", "AUPRC", DISCRIMINATION, 3, "higher"),
        Metric("harrell_c", "Harrell's C", DISCRIMINATION, 3, "higher"),
        Metric("uno_c", "Uno's C", DISCRIMINATION, 3, "higher"),
        Metric("antolini_c", "Antolini's C", DISCRIMINATION, 3, "higher"),
        Metric("td_auc", "Cumulative/dynamic AUC", DISCRIMINATION, 3, "higher"),
        Metric("td_auc_event_free", "Cumulative/dynamic AUC, controls free of any event", DISCRIMINATION, 3, "higher"),
        Metric("top_minus_bottom", "Effect in the highest minus the lowest group of predicted effect", DISCRIMINATION, None, "higher"),
        Metric("accuracy", "Accuracy", DISCRIMINATION, 3, "higher"),
        Metric("pearson_r", "Pearson r", DISCRIMINATION, 3, "higher"),
        Metric("calibration_slope", "Calibration slope", CALIBRATION, 2, "one"),
        Metric("calibration_in_the_large", "Calibration in the large", CALIBRATION, 2, "zero"),
        Metric("effect_slope", "Calibration slope of the effect", CALIBRATION, 2, "one"),
        Metric("observed_expected", "Observed / expected", CALIBRATION, 2, "one"),
        Metric("ici", "Integrated calibration index", CALIBRATION, 3, "lower"),
        Metric("e50", "Median calibration error (E50)", CALIBRATION, 3, "lower"),
        Metric("e90", "90th percentile of the calibration error (E90)", CALIBRATION, 3, "lower"),
        Metric("event2", "Range-normalised Hosmer-Lemeshow statistic (Event 2)", CALIBRATION, 1, "lower"),
        Metric("log_score", "Log score", OVERALL, 3, "lower", "nats"),
        Metric("brier", "Brier score", OVERALL, 3, "lower"),
        Metric("ipcw_brier", "IPCW Brier score", OVERALL, 3, "lower"),
        Metric("integrated_brier", "Integrated IPCW Brier score", OVERALL, 3, "lower"),
        Metric("integrated_scaled_brier", "Integrated scaled Brier score", OVERALL, 3, "higher"),
        Metric("scaled_brier", "Scaled Brier score", OVERALL, 3, "higher"),
        Metric("r2", "R\N{SUPERSCRIPT TWO}", OVERALL, 3, "higher"),
        Metric("rmse", "RMSE", OVERALL, None, "lower"),
        Metric("squared_error", "Squared error", OVERALL, None, "lower"),
        Metric("mae", "MAE", OVERALL, None, "lower"),
        Metric("crps", "CRPS", OVERALL, None, "lower"),
        Metric("interval_score", "Interval score", OVERALL, None, "lower"),
        Metric("received_rmse", "RMSE in the arm received", OVERALL, None, "lower"),
        Metric("effect_loss", "Loss of the effect", OVERALL, None, "lower"),
        Metric("average_effect", "Average effect", OTHER, None),
        Metric("autoc", "AUTOC: effect in the first by the predicted effect, over all first shares", DISCRIMINATION, None, "higher"),
        Metric("qini", "Qini coefficient", DISCRIMINATION, None, "higher"),
        Metric("autoc_baseline_risk", "AUTOC of ranking by baseline risk alone", DISCRIMINATION, None, "higher"),
        Metric("autoc_over_baseline_risk", "AUTOC over that of ranking by baseline risk alone", DISCRIMINATION, None, "higher"),
        Metric("policy_value_gain", "Gain of treating by the predicted effect over the better of all and none", UTILITY, None, "higher"),
        Metric("net_benefit", "Net benefit", UTILITY, 3, "higher"),
        Metric("sensitivity", "Sensitivity", UTILITY, 3, "higher"),
        Metric("specificity", "Specificity", UTILITY, 3, "higher"),
        Metric("ppv", "Positive predictive value", UTILITY, 3, "higher"),
        Metric("selection_rate", "Share alerted", UTILITY, 3),
        Metric("alerts_per_100", "Alerts per 100 people", UTILITY, 1),
        Metric("number_needed_to_alert", "Alerts for each true one", UTILITY, 2, "lower"),
        Metric("number_needed_to_treat", "People treated for each event averted", UTILITY, 1, "lower"),
        Metric("cost_per_person", "Cost per person", UTILITY, 2, "lower"),
        Metric("event1", "Lower of sensitivity and precision (Event 1)", UTILITY, 3, "higher"),
    )
}
_IN_OUTCOME_UNIT = ("rmse", "mae", "crps", "interval_score", "received_rmse", "average_effect", "top_minus_bottom")


def metric(key: str, entry: Mapping[str, Any] | None = None, unit: str = "", kind: str = "") -> Metric:
    """The metric called ``key``, known or not.

    Args:
        key: ``name`` or ``name@place``, e.g. ``brier@h=365`` or ``net_benefit@0.1``.
        entry: its line in results.json, whose "better" and "unit" win.
        unit: the outcome's unit, for metrics in it.
        kind: of the question; a continuous outcome's calibration in the large is in its unit.

    >>> metric("brier@h=365").label
    'Brier score at 365 days'
    """
    name, place = split_place(key)
    known = _KNOWN.get(name) or Metric(name, humane(name))
    entry = entry or {}
    residual = kind == "continuous" and name == "calibration_in_the_large"
    own_unit = entry.get("unit") or (unit if residual or name in _IN_OUTCOME_UNIT else known.unit)
    better = entry.get("better") or known.better
    return Metric(key, known.label + place, known.group, None if residual else known.digits, str(better), str(own_unit or ""))


def split_place(key: str) -> tuple[str, str]:
    """The metric's name, and in words the horizon, threshold or class that it is for."""
    found = re.fullmatch(r"([^@:\[]+?)(?:@|:|_at_(?=\d)|\[)(.+?)\]?", key)
    if not found:
        return key, ""
    name, place = found.groups()
    horizon = re.fullmatch(r"h=([\d.]+)", place)
    if horizon:
        return name, f" at {horizon.group(1)} days"
    return name, f" at {place}" if re.fullmatch(r"[\d.]+%?", place) else f", {place}"


def humane(key: str) -> str:
    """A key as words: underscores become spaces, the first letter a capital."""
    words = str(key).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


_PEOPLE = ("Antolini", "Brier", "Harrell", "Pearson", "Uno")


def lower(label: str) -> str:
    """A label within a sentence: its first letter small, unless it is an acronym or a person's name.

    >>> lower("Log score"), lower("AUROC"), lower("Brier score")
    ('log score', 'AUROC', 'Brier score')
    """
    return label[:1].lower() + label[1:] if label[1:2].islower() and not label.startswith(_PEOPLE) else label


ROLES = {
    "train": ("Train", "weights and transforms"),
    "select": ("Select", "early stopping, choice of settings"),
    "calibrate": ("Calibrate", "recalibration, intervals"),
    "held_out": ("Held out", "this report only"),
}

VERDICTS = {
    "demonstrated gain": "Demonstrated gain",
    "non-inferior": "Non-inferior",
    "equivalent": "Equivalent",
    "no demonstrated gain": "No demonstrated gain",
    "no demonstrated non-inferiority": "No demonstrated non-inferiority",
    "no demonstrated equivalence": "No demonstrated equivalence",
    "demonstrated loss": "Demonstrated loss",
    "not evaluable": "Not evaluable",
}


def model_label(name: object) -> str:
    """A model's name on the page; our own with its capital."""
    return "Equipoise" if name == "equipoise" else str(name)


def column_label(name: object) -> str:
    """A subgroup's column as a heading.

    >>> column_label("missing"), column_label("age_at_entry")
    ('Evidences present', 'Age at entry')
    """
    return "Evidences present" if name == "missing" else humane(str(name))


def scenario_label(name: object) -> str:
    """A scenario in words.

    >>> scenario_label("masked:genotype")
    'genotype hidden'
    """
    kind, _, what = str(name).partition(":")
    what = what.replace("_", " ")
    return {"masked": f"{what} hidden", "refit": f"refitted on {what}", "placebo": f"{what} permuted"}.get(kind, str(name)) if what else str(name)
