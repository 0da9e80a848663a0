"""What the protocol says of censoring, competing events and late entries, and the endpoints over all horizons."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.stats.antolini import antolini_c
from equipoise.stats.calibration_curve import calibration_error
from equipoise.stats.integrated_brier import integrated, marginal_brier
from equipoise.stats.ipcw import brier_of_known, known_at
from equipoise.stats.observation import incidence, status_at
from equipoise.stats.pseudo_values import pseudo_values
from trial.simulated_predictions import judged, protocol
from trial.test_evaluate_other_kinds import survival

H = np.array([30.0, 60.0])


def arrays(t: pl.DataFrame, model: str = "equipoise") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Risks (n, 2), time, event, entry, in the table's order."""
    both = [t.filter((pl.col("model") == model) & (pl.col("target") == f"h={h:g}")) for h in H]
    return np.stack([b["risk"].to_numpy() for b in both], axis=1), *(both[0][c].to_numpy() for c in ("time_days", "event", "entry_days"))


def tried(t: pl.DataFrame, **over: Any) -> dict[str, Any]:
    return judged(t, kind="time_to_event", protocol=protocol(**{"n_bootstrap": 100} | over))


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return tried(survival(400, equipoise=0.0, linear=1.5), loess_bootstrap=40, extra_endpoints=["e50", "e90", "td_auc_event_free"])


def test_endpoints_over_all_horizons_are_those_of_their_definitions(found: dict[str, Any]) -> None:
    p, time, event, _ = arrays(survival(400, equipoise=0.0, linear=1.5))
    line, ones = found["endpoints"], np.ones(400)
    known = [known_at(time, event, h) for h in H]
    scores = np.array([float(brier_of_known(p[:, k], known[k], ones)) for k in range(2)])
    null = np.array([float(marginal_brier(known[k], incidence(time, event, h), ones)) for k, h in enumerate(H)])
    assert line["integrated_brier"]["value"] == pytest.approx(float(integrated(scores, H)))
    assert line["integrated_scaled_brier"]["value"] == pytest.approx(1 - float(integrated(scores, H) / integrated(null, H)))
    assert line["scaled_brier@h=60"]["value"] == pytest.approx(1 - scores[1] / null[1])
    assert line["antolini_c"]["value"] == pytest.approx(float(antolini_c(p, H, time, event)))
    assert all(line[k]["lo"] < line[k]["value"] < line[k]["hi"] for k in ("integrated_brier", "integrated_scaled_brier", "antolini_c"))
    assert "first of 30, 60 days at or after" in line["antolini_c"]["note"]


def test_calibration_at_the_horizon_is_of_pseudo_values_with_groups_by_aalen_johansen(found: dict[str, Any]) -> None:
    p, time, event, _ = arrays(survival(400, equipoise=0.0, linear=1.5))
    error = calibration_error(p[:, 1], pseudo_values(time, event, 60.0))
    line = found["endpoints"]
    assert [line[f"{k}@h=60"]["value"] for k in ("ici", "e50", "e90")] == pytest.approx([error.ici, error.e50, error.e90])
    assert line["ici@h=60"]["lo"] == 0.0 < line["ici@h=60"]["hi"]
    assert line["e50@h=60"]["lo"] is None
    curve = found["curves"]["equipoise"]["calibration"]
    assert "Aalen-Johansen pseudo-values" in curve["method"]
    lowest = p[:, 1] <= np.sort(p[:, 1])[39]
    assert curve["bins"]["observed"][0] == pytest.approx(float(incidence(time[lowest], event[lowest], 60.0)))
    assert sum(curve["bins"]["n"]) == 400
    assert np.isfinite(np.array(curve["lo"], dtype=float)).all()


def test_the_definition_of_controls_stands_beside_each_auc(found: dict[str, Any]) -> None:
    assert "a competing event by the horizon makes a control" in found["endpoints"]["td_auc@h=60"]["note"]
    assert "makes neither" in found["endpoints"]["td_auc_event_free@h=60"]["note"]
    assert found["endpoints"]["td_auc@h=60"]["value"] != found["endpoints"]["td_auc_event_free@h=60"]["value"]
    assert "smallest G at the horizon 0.56" in found["endpoints"]["ipcw_brier@h=60"]["note"]


def test_one_horizon_has_neither_antolini_s_c_nor_an_integral() -> None:
    line = tried(survival(200, equipoise=0.0, linear=1.5).filter(pl.col("target") == "h=60"))["endpoints"]
    assert {"ipcw_brier@h=60", "harrell_c"} <= set(line)
    assert not {"antolini_c", "integrated_brier"} & set(line)


def test_competing_events_are_censored_only_when_declared_and_that_stands_beside_every_number() -> None:
    t = survival(300, equipoise=0.0, linear=1.5)
    p, time, event, _ = arrays(t)
    found = tried(t, competing="censor")["endpoints"]
    alone = np.where(event > 1, 0, event)
    assert found["ipcw_brier@h=60"]["value"] == pytest.approx(float(brier_of_known(p[:, 1], known_at(time, alone, 60.0), np.ones(300))))
    assert all("trial.competing=censor" in line["note"] for line in found.values())
    assert "trial.competing" not in tried(t, endpoints=["ipcw_brier"])["endpoints"]["ipcw_brier@h=60"]["note"]


def test_censoring_by_site_weighs_within_sites_and_sites_not_followed_stand_in_the_way_of_a_verdict() -> None:
    t = survival(400, equipoise=0.0, linear=1.5)
    number = pl.col("subject_id").str.slice(1).cast(pl.Int64)
    second = number % 2 == 1
    stopped = second & (pl.col("time_days") > 50)
    t = t.with_columns(
        pl.when(second).then(pl.lit("b")).otherwise(pl.lit("a")).alias("site"),
        pl.when(stopped).then(50.0).otherwise(pl.col("time_days")).alias("time_days"),
        pl.when(stopped).then(0).otherwise(pl.col("event")).alias("event"),
    )
    p, time, event, _ = arrays(t)
    brief = {"endpoints": ["ipcw_brier"]}
    by_site = tried(t, censoring="by_site", horizon_days=30.0, **brief)
    known = status_at(time, event, 30.0, largest_weight=100.0, stratum=np.arange(400) % 2)
    assert by_site["endpoints"]["ipcw_brier@h=30"]["value"] == pytest.approx(float(brier_of_known(p[:, 0], known, np.ones(400))))
    assert "within sites" in by_site["endpoints"]["ipcw_brier@h=30"]["note"]
    assert by_site["verdict"] != "not evaluable"
    at_sixty = tried(t, censoring="by_site", **brief)
    assert at_sixty["verdict"] == "not evaluable"
    assert any("50% of the rows, by site" in r and "a share of 0 would" in r for r in at_sixty["verdict_detail"]["reasons"])
    assert tried(t, **brief)["verdict"] != "not evaluable"


def test_weights_above_the_declared_are_cut_and_counted() -> None:
    t = survival(400, equipoise=0.0, linear=1.5)
    _, time, event, _ = arrays(t)
    note = tried(t, censoring_truncation=1.2, endpoints=["ipcw_brier"])["endpoints"]["ipcw_brier@h=60"]["note"]
    raw = known_at(time, event, 60.0).weight
    assert f"{(raw > 1.2).sum()} weights cut to 1.2" in note


def test_late_entries_are_weighted_where_the_protocol_says_so() -> None:
    t = survival(500, late=True, equipoise=0.0, linear=1.5)
    p, time, event, entry = arrays(t)
    found = tried(t, late_entry="weight", endpoints=["ipcw_brier", "observed_expected"])
    known = status_at(time, event, 60.0, largest_weight=100.0, entry=entry)
    assert found["endpoints"]["ipcw_brier@h=60"]["value"] == pytest.approx(float(brier_of_known(p[:, 1], known, np.ones(500))))
    assert "takes entry to be independent of risk and event" in found["endpoints"]["ipcw_brier@h=60"]["note"]
    assert "weighted for censoring and late entry" in found["curves"]["equipoise"]["calibration"]["method"]
    expected = float(incidence(time, event, 60.0, entry=entry)) / np.average(p[:, 1], weights=known.weight)
    assert found["endpoints"]["observed_expected@h=60"]["value"] == pytest.approx(expected)
