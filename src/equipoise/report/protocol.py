"""The protocol as a document: what was declared before the rows were opened, in the order in which a trial's protocol says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.finding import Finding
from equipoise.report.markup import Html, facts, fold, join, paragraph, section
from equipoise.report.reading import mapping
from equipoise.report.text import finite, listed, percent_plain, sure
from equipoise.report.vocabulary import humane, metric

ESTIMANDS = {
    "current_care": "the risk under the care that these people got",
    "if_untreated": "the risk had nobody been treated",
}
CLAIMS = {
    "superiority": "better than every required comparator",
    "non_inferiority": "not worse than any required comparator by more than the margin",
    "equivalence": "differs from every required comparator by less than the margin",
}
MULTIPLICITY = {
    "holm": "Holm: the chance of any false secondary claim is kept",
    "benjamini_hochberg": "Benjamini-Hochberg: the expected share of false secondary claims is kept",
    "none": "none: secondary endpoints are not adjusted for their number",
}


def protocol(finding: Finding) -> Html:
    """Section: population to missing data, each declared or said not to be; all other keys folded away."""
    declared = mapping(finding.results, "protocol")
    if not declared:
        return Html("")
    told = document_lines(finding, declared)
    used = {
        "population", "prediction_time", "outcome", "horizon_days", "estimand", "comparators", "claim", "primary", "margin", "worthwhile_gain", "secondary",
        "multiplicity", "subgroups", "cluster", "few_clusters", "max_missing", "abstain", "missing_outcomes", "hash",
    }  # fmt: skip
    rest = [(humane(k), sure(str(v) if k == "seed" else v)) for k, v in declared.items() if k not in used and v is not None]
    return section(
        "Protocol",
        paragraph(_when(finding, str(declared.get("hash", "no hash")))),
        facts(told),
        fold("All other keys", facts(rest)) if rest else "",
        anchor=f"{finding.anchor}protocol",
    )


def _when(finding: Finding, hashed: str) -> str:
    """Whether the protocol stood before the rows were looked at, as far as the seal shows."""
    opening = finite(finding.opening)
    if finding.tuning:
        return f"These are select rows; the protocol (hash {hashed}) claims nothing about them."
    if opening is None:
        return f"No seal was kept over these rows, so nothing shows that this protocol (hash {hashed}) was declared before they were looked at."
    if opening > 1:
        return f"These rows had been opened before, so this protocol (hash {hashed}) may have been chosen by what was seen."
    return f"Declared and hashed ({hashed}) before these rows were opened."


def document_lines(finding: Finding, declared: Mapping[str, Any]) -> list[tuple[object, object]]:
    """What a trial's protocol says, in its order: (name, what was declared)."""
    detail = mapping(finding.results, "verdict_detail")
    against = [str(c) for c in detail.get("against") or ()]
    primary = finding.metric(finding.primary) if finding.primary else None
    silent = declared.get("max_missing")
    fewest = f"fewer than {declared['few_clusters']}: one is left out at a time" if declared.get("few_clusters") else ""
    lines: list[tuple[object, object]] = [
        ("Population", _said(declared.get("population"))),
        ("Prediction time", _said(declared.get("prediction_time"))),
        ("Outcome", _said(declared.get("outcome"))),
        ("Estimand", ESTIMANDS.get(str(declared.get("estimand")), "not declared")),
        ("Comparators", listed(against) if against else "none required"),
        ("Claim", CLAIMS.get(str(declared.get("claim")), "not declared")),
        ("Primary endpoint", join(primary.label, f" ({primary.aim})" if primary.aim else "") if primary else "not declared"),
        ("Margin", sure(declared["margin"]) if declared.get("margin") is not None else "none declared"),
        ("Smallest gain worth a claim", sure(declared["worthwhile_gain"]) if declared.get("worthwhile_gain") else "any gain"),
        ("Secondary claims", listed([metric(k).label for k in declared.get("secondary") or ()]) or "none"),
    ]
    if declared.get("secondary"):
        lines.append(("Multiplicity", MULTIPLICITY.get(str(declared.get("multiplicity")), "not declared")))
    lines += [
        ("Subgroups", listed([str(s) for s in declared.get("subgroups") or ()]) or "none"),
        ("Clusters", join(_said(declared.get("cluster")), f"; {fewest}" if fewest else "")),
        ("Missing predictions", _missing_predictions(declared.get("abstain"), silent)),
        ("Missing outcomes", "weighted for" if declared.get("missing_outcomes") == "weight" else "rows without an outcome are left out"),
    ]
    if declared.get("horizon_days") is not None:
        lines.insert(3, ("Horizon", f"{declared['horizon_days']:g} days"))
    return lines


def _missing_predictions(abstain: object, allowed: object) -> str:
    how = "the model's mean risk stands in" if abstain == "base_rate" else "such rows are left out"
    return how + (f"; no verdict beyond {percent_plain(allowed)} of the rows" if isinstance(allowed, int | float) else "")


def _said(text: object) -> str:
    return str(text) if text else "not declared"
