from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.calibration.censoring import status_at


def uncensored_before(time: np.ndarray, event: np.ndarray, t: float) -> float:
    """Kaplan-Meier of staying uncensored until just before t, one censoring time after another; events leave first where tied."""
    kept = 1.0
    for u in np.unique(time[(event == 0) & (time < t)]):
        at_risk = (time > u).sum() + ((time == u) & (event == 0)).sum()
        kept *= 1 - ((time == u) & (event == 0)).sum() / at_risk
    return kept


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), min_size=1, max_size=30), st.integers(1, 9))
@settings(deadline=None)
def test_weights_equal_the_definition_person_by_person(rows: list[tuple[int, int]], horizon: int) -> None:
    time, event = np.array(rows, dtype=float).T
    status, weight = status_at(time, event.astype(int), float(horizon))
    for i in range(len(rows)):
        by_horizon = event[i] > 0 and time[i] <= horizon
        assert status[i] == (event[i] == 1 and time[i] <= horizon)
        if by_horizon or time[i] >= horizon:
            assert weight[i] == pytest.approx(1 / uncensored_before(time, event, min(time[i], horizon)))
        else:
            assert weight[i] == 0


def test_weights_stand_for_everybody() -> None:
    rng = np.random.default_rng(0)
    latent = np.stack([rng.uniform(0, 10, 5000), rng.exponential(6, 5000), rng.exponential(9, 5000)])
    status, weight = status_at(latent.min(0), latent.argmin(0), 5.0)
    assert weight.sum() == pytest.approx(5000, rel=0.01)
    assert (weight * status).sum() / 5000 == pytest.approx((1 / 6) / (1 / 6 + 1 / 9) * -np.expm1(-5 * (1 / 6 + 1 / 9)), abs=0.02)


def test_nobody_censored_gives_everybody_weight_one() -> None:
    _, weight = status_at(np.array([1.0, 2.0, 3.0]), np.array([1, 2, 1]), 2.0)
    assert weight.tolist() == [1, 1, 1]


@pytest.mark.reference
def test_weights_are_the_inverse_of_scikit_survivals_censoring_curve() -> None:
    frozen = json.loads((Path(__file__).parent.parent / "task" / "survival_curves.json").read_text())
    time, event, kept = (np.array(frozen[k]) for k in ("time_days", "event", "kept"))
    _, weight = status_at(time.astype(float), event, 8.0)
    by_horizon = (event > 0) & (time <= 8)
    assert weight[by_horizon] == pytest.approx(1 / kept[by_horizon])
    assert weight[time == 8] == pytest.approx(1 / kept[time == 8])
    assert weight[time > 8] == pytest.approx(1 / kept[time == 8][0])
