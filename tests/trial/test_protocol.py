"""The protocol: typed, checked, hashed."""

from __future__ import annotations

from dataclasses import fields

import pytest
import yaml

from equipoise.contract.errors import UserError
from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.protocol import Protocol, protocol_of
from trial.simulated_predictions import CONFIG, protocol

DEFAULT = yaml.safe_load(CONFIG.read_text())


def test_the_default_protocol_holds_every_key_and_is_as_declared() -> None:
    assert set(DEFAULT) == {f.name for f in fields(Protocol)}
    made = protocol_of(DEFAULT)
    assert (made.level, made.n_bootstrap, made.primary, made.margin, made.abstain) == (0.95, 1000, None, None, "exclude")


def test_every_key_is_part_of_the_hash() -> None:
    other = {
        "name": "x", "primary": "brier", "endpoints": ["brier"], "extra_endpoints": ["event1"], "level": 0.9, "n_bootstrap": 300, "loess_bootstrap": 3,
        "seed": 4, "margin": 0.1, "worthwhile_gain": 0.01,
        "threshold": 0.2, "threshold_range": [0.02, 0.4], "net_benefit_margin_share": 0.0, "event1_threshold": 0.3,
        "horizon_days": 30.0, "better_outcome": "lower", "propensity_clip": 0.05, "min_events": 3, "max_missing": 0.0, "abstain": "base_rate", "min_cell": 5,
        "population": "adults", "prediction_time": "admission", "outcome": "death", "estimand": "if_untreated", "comparators": ["linear"],
        "claim": "equivalence", "about": "way", "secondary": ["auroc"], "multiplicity": "none", "subgroups": ["site"], "cluster": "a ward",
        "few_clusters": 10, "missing_outcomes": "weight", "recalibration_ladder": True,
        "value_of": ["all"], "value_base": ["age"], "placebo_strata": [], "placebo_repeats": 1, "subsets": "all", "delta": [0.5],
        "censoring": "by_site", "censoring_truncation": 20, "minimum_censoring_survival": 0.2,
        "competing": "censor", "late_entry": "weight",
        "referral_cost": 0.01, "relative_risk_reduction": 0.2,
        "unit_costs": {"true_positive": 3, "false_positive": 1, "false_negative": 9, "true_negative": 0},
    }  # fmt: skip
    assert set(other) == set(DEFAULT)
    base = DEFAULT | {"margin": 0.05}  # equivalence cannot be claimed without one
    hashes = {protocol_of(base | {k: v}).hash for k, v in other.items()} | {protocol_of(base).hash}
    assert len(hashes) == len(other) + 1
    assert all(len(h) == 16 and int(h, 16) >= 0 for h in hashes)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("level", 95), ("level", "high"), ("n_bootstrap", 10), ("n_bootstrap", 1000.5), ("threshold", 0), ("threshold", None), ("margin", -0.1),
        ("threshold_range", [0.5, 0.1]), ("threshold_range", 0.3), ("abstain", "drop"), ("max_missing", 1.2), ("seed", True), ("endpoints", "auroc"),
        ("estimand", "cured"), ("claim", "better"), ("multiplicity", "bonferroni"), ("secondary", "auroc"), ("population", 3), ("few_clusters", -1),
        ("value_of", "all"), ("placebo_repeats", 0), ("subsets", "some"), ("delta", ["far"]), ("delta", [True]),
        ("censoring", "cox"), ("censoring_truncation", 0.5), ("minimum_censoring_survival", 0), ("competing", True), ("late_entry", "drop"),
        ("referral_cost", -0.1), ("relative_risk_reduction", 0), ("unit_costs", {"true_positive": 1}), ("unit_costs", 3),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_key(key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"trial.{key} "):
        protocol_of(DEFAULT | {key: value})


def test_equivalence_and_non_inferiority_need_a_margin() -> None:
    for claim in ("equivalence", "non_inferiority"):
        with pytest.raises(UserError, match=rf"trial.margin .*\n?.*{claim}"):
            protocol_of(DEFAULT | {"claim": claim})
        assert protocol_of(DEFAULT | {"claim": claim, "margin": 0.02}).claim == claim


def test_a_missing_and_an_unknown_key_are_named() -> None:
    with pytest.raises(UserError, match="unknown key, treshold"):
        protocol_of(DEFAULT | {"treshold": 0.1})
    with pytest.raises(UserError, match="lacks margin"):
        protocol_of({k: v for k, v in DEFAULT.items() if k != "margin"})


def test_an_endpoint_of_another_kind_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(UserError, match=r"'crps'.*auroc"):
        endpoints_of("binary", protocol(primary="crps"))
    with pytest.raises(UserError, match="pearson"):
        endpoints_of("continuous", protocol(extra_endpoints=["auroc"]))


@pytest.mark.parametrize(
    ("kind", "primary"),
    [("binary", "log_score"), ("multiclass", "log_score"), ("continuous", "crps"), ("time_to_event", "ipcw_brier@h=60"), ("treatment_effect", "log_score")],
)
def test_the_primary_endpoint_follows_the_kind_unless_declared(kind: str, primary: str) -> None:
    horizons = (30.0, 60.0) if kind == "time_to_event" else ()
    assert endpoints_of(kind, protocol(), horizons)[1].name == primary
    assert endpoints_of("time_to_event", protocol(horizon_days=30.0), (30.0, 60.0))[1].name == "ipcw_brier@h=30"
    with pytest.raises(UserError, match="45 days was not predicted"):
        endpoints_of("time_to_event", protocol(horizon_days=45.0), (30.0, 60.0))


def test_only_the_named_endpoints_are_reported_with_the_primary_and_what_the_rule_needs() -> None:
    chosen, _ = endpoints_of("binary", protocol(endpoints=["auroc"], extra_endpoints=["event2"]))
    assert {e.name for e in chosen} == {"auroc", "event2", "log_score", "net_benefit"}
