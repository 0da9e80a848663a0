"""How a question is cut into regressions and put together again."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.draft import TargetTable
from equipoise.comparator.reduction import at_risk_weights, join, pieces
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question


def censored(seed: int, n: int, late_entry: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Time, event (1 or competing 2), entry; and the true risk of cause 1 by day 300. With late entry, people who left before it are not seen."""
    rng = np.random.default_rng(seed)
    cause = np.stack([rng.exponential(500, n), rng.exponential(900, n)])
    event_days, event = cause.min(0), cause.argmin(0) + 1
    entry = np.where(rng.random(n) < 0.5, rng.uniform(0, 250, n), 0.0) if late_entry else np.zeros(n)
    leave = entry + rng.exponential(600, n)
    time = np.minimum(event_days, leave)
    event = np.where(event_days <= leave, event, 0)
    seen = time > entry
    rate = 1 / 500 + 1 / 900
    truth = (1 / 500) / rate * (1 - np.exp(-300 * rate))
    return time[seen], event[seen], entry[seen], np.array(truth)


def test_without_late_entry_the_weight_is_one_over_the_kaplan_meier_of_censoring() -> None:
    time, event, entry, _ = censored(0, 200)
    order = np.argsort(time)
    g = np.cumprod(np.where(event[order] == 0, 1 - 1 / np.arange(200, 0, -1), 1.0))  # no ties
    before = np.concatenate([[1.0], g[:-1]])
    weight = at_risk_weights(time, event, entry, 300.0)[order]
    t, e = time[order], event[order]
    np.testing.assert_allclose(weight[(e > 0) & (t <= 300)], 1 / before[(e > 0) & (t <= 300)])
    np.testing.assert_allclose(weight[t > 300], 1 / before[t > 300][0])
    assert (weight[(e == 0) & (t <= 300)] == 0).all()
    assert weight.sum() == pytest.approx(200)


@pytest.mark.parametrize("late_entry", [False, True])
def test_weighted_share_of_cause_one_is_the_true_cumulative_incidence(late_entry: bool) -> None:
    found = []
    for seed in range(20):
        time, event, entry, truth = censored(seed, 1000, late_entry)
        weight = at_risk_weights(time, event, entry, 300.0)
        found.append(np.average((event == 1) & (time <= 300), weights=weight) - truth)
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(20) + 0.002
    if late_entry:  # and ignoring the entry would be wrong by more than that
        naive = [np.average((e == 1) & (t <= 300), weights=at_risk_weights(t, e, np.zeros(len(t)), 300.0)) - tr for t, e, _, tr in (censored(s, 1000, True) for s in range(20))]  # fmt: skip  # noqa: E501
        assert abs(np.mean(naive)) > 0.01


def table(n: int, **columns: object) -> pl.DataFrame:
    base = {"outcome": np.zeros(n), "observed": np.ones(n, bool), "time_days": np.full(n, np.nan), "event": np.full(n, -1), "entry_days": np.zeros(n)}
    return pl.DataFrame({**base, "treatment": np.full(n, -1), "weight": np.ones(n), **columns})


def test_competing_events_before_the_horizon_count_as_free_of_cause_one_and_the_censored_do_not_count() -> None:
    target = TargetTable("time_to_event", table(5, time_days=[1.0, 2.0, 3.0, 9.0, 9.0], event=[1, 2, 0, 1, 0]))
    (piece,) = pieces(Question("t", "s", "time_to_event", (), horizons_days=(5.0,)), target, np.arange(5))
    assert piece.rows.tolist() == [0, 1, 3, 4]
    assert piece.outcome.tolist() == [1, 0, 0, 0]


def test_arms_are_fitted_apart_on_the_scale_of_their_outcome() -> None:
    question = Question("t", "s", "treatment_effect", ())
    binary = TargetTable("treatment_effect", table(4, outcome=[0.0, 1, 1, 0], treatment=[0, 0, 1, 1]))
    assert [(p.rows.tolist(), p.n_classes) for p in pieces(question, binary, np.arange(4))] == [([0, 1], 2), ([2, 3], 2)]
    real = TargetTable("treatment_effect", table(4, outcome=[0.0, 1.5, 1, 0], treatment=[0, 0, 1, 1]))
    assert [p.n_classes for p in pieces(question, real, np.arange(4))] == [0, 0]


def test_unobserved_and_weightless_rows_are_left_out() -> None:
    target = TargetTable("binary", table(4, outcome=[0.0, 1, np.nan, 1], observed=[True, True, False, True], weight=[2.0, 1, 1, 0]))
    (piece,) = pieces(Question("t", "s", "binary", ()), target, np.array([3, 2, 1, 0]))
    assert piece.rows.tolist() == [0, 1]
    np.testing.assert_allclose(piece.weight, [4 / 3, 2 / 3])


def test_nothing_to_learn_from_is_the_users_error_with_the_count() -> None:
    target = TargetTable("binary", table(3, observed=[False] * 3))
    with pytest.raises(UserError, match="none among 3"):
        pieces(Question("t", "s", "binary", ()), target, np.arange(3))


def test_later_horizons_never_have_lower_risks_in_whatever_order_they_are_asked() -> None:
    question = Question("t", "s", "time_to_event", (), horizons_days=(9.0, 3.0))
    late, early = np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([[0.5, 0.5], [0.9, 0.1]])
    np.testing.assert_allclose(join(question, (late, early)), [[0.5, 0.5], [0.6, 0.1]])
