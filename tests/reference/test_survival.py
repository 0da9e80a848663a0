"""Time to event: agreement with survival, prodlim and riskRegression, frozen in survival.json by make_survival.R (versions inside), and scikit-survival."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.stats.antolini import antolini_c
from equipoise.stats.calibration_curve import calibration_error
from equipoise.stats.integrated_brier import integrated, marginal_brier, scaled
from equipoise.stats.ipcw import Known, brier_of_known
from equipoise.stats.observation import incidence, status_at
from equipoise.stats.pseudo_values import influence, pseudo_values
from equipoise.stats.roc import auroc

pytestmark = pytest.mark.reference
FROZEN = json.loads((Path(__file__).parent / "survival.json").read_text())
D = {k: np.array(v, dtype=float) for k, v in FROZEN["data"].items()}
TIME, ENTRY, RISK, HORIZONS = D["time"], D["entry"], D["risk"], D["horizons"]
CAUSES = {"competing": D["event"].astype(int), "single": (D["event"] == 1).astype(int)}
SITE = D["site"].astype(int)


def agrees(found: Any, expected: Any, digits: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=10.0**-digits, atol=10.0 ** -(digits + 1))


def known(event: np.ndarray, horizon: float) -> Known:
    return status_at(TIME, event, horizon, largest_weight=100.0)


def brier(event: np.ndarray, k: int) -> tuple[float, float]:
    """Of the risk, and of everybody's incidence."""
    found, ones = known(event, HORIZONS[k]), np.ones(TIME.size)
    return float(brier_of_known(RISK[:, k], found, ones)), float(marginal_brier(found, incidence(TIME, event, HORIZONS[k]), ones))


def test_the_frozen_values_name_their_packages() -> None:
    assert {"R", "survival", "prodlim", "riskRegression"} <= set(FROZEN["versions"])


def test_antolini_c_equals_survival_concordance_of_a_risk_that_changes_with_time() -> None:
    agrees(antolini_c(RISK, HORIZONS, TIME, CAUSES["single"]), FROZEN["antolini"]["single"], 12)


def test_antolini_c_equals_survival_concordance_with_late_entry() -> None:
    agrees(antolini_c(RISK, HORIZONS, TIME, CAUSES["single"], ENTRY), FROZEN["antolini"]["late"], 12)


def test_antolini_c_equals_survival_concordance_with_competing_events_kept_at_risk() -> None:
    agrees(antolini_c(RISK, HORIZONS, TIME, CAUSES["competing"]), FROZEN["antolini"]["competing"], 12)


@pytest.mark.parametrize("causes", ["single", "competing"])
def test_the_scaled_brier_score_equals_the_ipa_of_riskregression(causes: str) -> None:
    both = np.array([brier(CAUSES[causes], k) for k in range(4)])
    agrees(both[:, 0], FROZEN[causes]["brier"], 10)
    agrees(both[:, 1], FROZEN[causes]["null"], 10)
    agrees(scaled(both[:, 0], both[:, 1]), FROZEN[causes]["ipa"], 8)


@pytest.mark.parametrize("causes", ["single", "competing"])
def test_the_integrated_brier_score_equals_trapezoids_of_riskregression_scores(causes: str) -> None:
    both = np.array([brier(CAUSES[causes], k) for k in range(4)])
    agrees(integrated(both[:, 0], HORIZONS), FROZEN[causes]["integrated"], 10)
    agrees(scaled(integrated(both[:, 0], HORIZONS), integrated(both[:, 1], HORIZONS)), FROZEN[causes]["integrated_ipa"], 8)


def test_the_integrated_brier_score_equals_scikit_survival() -> None:
    from sksurv.metrics import integrated_brier_score
    from sksurv.util import Surv

    y = Surv.from_arrays(CAUSES["single"] == 1, TIME)
    own = integrated(np.array([brier(CAUSES["single"], k)[0] for k in range(4)]), HORIZONS)
    # scikit-survival weighs an event at T by 1/G(T), the others by 1/G(T-): equal where no censoring is tied with an event.
    shifted = TIME + np.where(CAUSES["single"] == 1, 0.0, 1e-4)
    y = Surv.from_arrays(CAUSES["single"] == 1, shifted)
    agrees(integrated_brier_score(y, y, 1 - RISK, HORIZONS), own, 10)


@pytest.mark.parametrize("causes", ["single", "competing"])
def test_the_time_dependent_auc_equals_riskregression_at_every_horizon(causes: str) -> None:
    found = [auroc(RISK[:, k], (s := known(CAUSES[causes], HORIZONS[k])).status, s.weight) for k in range(4)]
    agrees(found, FROZEN[causes]["auc"], 10)


def test_both_definitions_of_controls_equal_blanche_s_pair_by_pair_in_r() -> None:
    event = CAUSES["competing"]
    for k, h in enumerate(HORIZONS):
        found = known(event, h)
        free = ~((event > 1) & (h >= TIME))
        agrees(auroc(RISK[:, k], found.status, found.weight), FROZEN["auc_all"][k], 10)
        agrees(auroc(RISK[:, k], found.status, found.weight * free), FROZEN["auc_free"][k], 10)


def test_the_brier_score_with_censoring_by_site_equals_weights_of_prodlim_by_site() -> None:
    found = status_at(TIME, CAUSES["competing"], HORIZONS[2], largest_weight=100.0, stratum=SITE)
    agrees(brier_of_known(RISK[:, 2], found, np.ones(TIME.size)), FROZEN["brier_site"], 10)


def test_the_incidence_by_site_equals_prodlim_averaged_over_sites() -> None:
    agrees(incidence(TIME, CAUSES["competing"], HORIZONS[2], stratum=SITE), FROZEN["incidence_site"], 12)


@pytest.mark.parametrize(("causes", "name"), [("competing", "ij"), ("single", "single")])
def test_pseudo_values_equal_survival_pseudo(causes: str, name: str) -> None:
    agrees(pseudo_values(TIME, CAUSES[causes], HORIZONS[2]), FROZEN["pseudo"][name], 11)


def test_pseudo_values_are_those_of_leaving_rows_out_up_to_one_over_n() -> None:
    found, left_out = pseudo_values(TIME, CAUSES["competing"], HORIZONS[2]), np.array(FROZEN["pseudo"]["jackknife"])
    assert np.abs(found - left_out).max() < 5 / TIME.size
    assert abs(found.mean() - left_out.mean()) < 1e-3


def test_ici_e50_and_e90_at_a_horizon_equal_r_loess_of_survival_s_pseudo_values() -> None:
    found = calibration_error(RISK[:, 2], pseudo_values(TIME, CAUSES["competing"], HORIZONS[2]))
    agrees([found.ici, found.e50, found.e90], [FROZEN["pseudo"][k] for k in ("ici", "e50", "e90")], 10)


def test_incidence_with_late_entry_and_its_robust_error_equal_survfit() -> None:
    value, slope = influence(TIME, CAUSES["competing"], HORIZONS[2], ENTRY)
    agrees(value, FROZEN["late"]["incidence"], 12)
    agrees(np.sqrt((slope**2).sum()), FROZEN["late"]["se"], 10)


def test_groups_incidence_with_late_entry_and_its_robust_error_equal_survfit() -> None:
    for k in range(3):
        rows = D["group"] == k
        value, slope = influence(TIME[rows], CAUSES["competing"][rows], HORIZONS[2], ENTRY[rows])
        agrees(value, FROZEN["groups"]["incidence"][k], 12)
        agrees(np.sqrt((slope**2).sum()), FROZEN["groups"]["se"][k], 10)


def test_weights_for_late_entry_sum_to_the_incidence_of_survfit() -> None:
    found = status_at(TIME, CAUSES["competing"], HORIZONS[2], largest_weight=1e9, entry=ENTRY)
    agrees(found.weight @ found.status / TIME.size, FROZEN["late"]["incidence"], 11)
    agrees(found.weight.sum(), TIME.size, 11)
