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


def outcomes(time: np.ndarray, event: np.ndarray, entry: float | np.ndarray = 0.0) -> np.ndarray:
    return np.column_stack([time, event, np.broadcast_to(entry, time.shape)])


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=30), st.integers(1, 9))
@settings(deadline=None)
def test_weights_equal_the_definition_person_by_person(rows: list[tuple[int, int, int]], horizon: int) -> None:
    time, event, late = np.array(rows, dtype=float).T
    entry = np.where(late == 0, 0.5, 0.0)
    seen, status, weight = status_at(outcomes(time, event, entry), float(horizon))
    whole, found = entry == 0, dict(zip(seen.tolist(), zip(status, weight, strict=True), strict=True))
    for i in range(len(rows)):
        by_horizon = event[i] > 0 and time[i] <= horizon
        assert (i in found) == bool(whole[i] and (by_horizon or time[i] >= horizon))
        if i in found:
            assert found[i][0] == (event[i] == 1 and time[i] <= horizon)
            assert found[i][1] == pytest.approx(1 / uncensored_before(time[whole], event[whole], min(time[i], horizon)))


def test_weights_stand_for_everybody() -> None:
    rng = np.random.default_rng(0)
    latent = np.stack([rng.uniform(0, 10, 5000), rng.exponential(6, 5000), rng.exponential(9, 5000)])
    _, status, weight = status_at(outcomes(latent.min(0), latent.argmin(0)), 5.0)
    assert weight.sum() == pytest.approx(5000, rel=0.01)
    assert (weight * status).sum() / 5000 == pytest.approx((1 / 6) / (1 / 6 + 1 / 9) * -np.expm1(-5 * (1 / 6 + 1 / 9)), abs=0.02)


def test_nobody_censored_gives_everybody_weight_one() -> None:
    _, _, weight = status_at(outcomes(np.array([1.0, 2.0, 3.0]), np.array([1, 2, 1])), 2.0)
    assert weight.tolist() == [1, 1, 1]


def test_where_everybody_entered_late_no_row_counts() -> None:
    rows, status, weight = status_at(outcomes(np.array([1.0, 2.0]), np.array([1, 0]), 0.5), 2.0)
    assert rows.size == status.size == weight.size == 0


@pytest.mark.reference
def test_weights_are_the_inverse_of_scikit_survivals_censoring_curve() -> None:
    frozen = json.loads((Path(__file__).parent.parent / "task" / "survival_curves.json").read_text())
    time, event, kept = (np.array(frozen[k]) for k in ("time_days", "event", "kept"))
    rows, _, weight = status_at(outcomes(time, event), 8.0)
    time, event, kept = time[rows], event[rows], kept[rows]
    by_horizon = (event > 0) & (time <= 8)
    assert weight[by_horizon] == pytest.approx(1 / kept[by_horizon])
    assert weight[time == 8] == pytest.approx(1 / kept[time == 8])
    assert weight[time > 8] == pytest.approx(1 / kept[time == 8][0])
