"""Clone, censor, weight: laws, and immortal time that the naive analysis shows and the weights remove."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from equipoise.stats.clone_censor import NEVER, FollowUp, clone_censor_weight, naive_difference, strategy_difference

GRACE, HORIZON = 3, 8


def world(seed: int, n: int, *, effect: float, confounding: float = 0.8, forced: str = "") -> FollowUp:
    """People who may begin in periods 0 to 4; x drives beginning and the event. ``forced``: everybody follows this strategy (the truth)."""
    rng = np.random.default_rng([seed, 23])
    x = rng.normal(size=(n, 1))
    begin, end, event = np.full(n, NEVER), np.full(n, HORIZON - 1), np.zeros(n, dtype=int)
    alive = np.ones(n, dtype=bool)
    for k in range(HORIZON):
        chance = expit(-1.0 + confounding * x[:, 0]) * (k < 5)
        starts = rng.random(n) < chance
        if forced == "refrain":
            starts &= k >= GRACE
        if forced == "begin" and k == GRACE - 1:
            starts |= True
        begin = np.where(alive & starts & (begin == NEVER), k, begin)
        dies = alive & (rng.random(n) < expit(-2.2 + 0.8 * x[:, 0] + effect * (begin != NEVER)))
        lost = alive & ~dies & (rng.random(n) < 0.02) & (not forced)
        event[dies] = 1
        end[dies | lost] = k
        alive &= ~dies & ~lost
    return FollowUp(begin, end, event, x)


def truth(effect: float, confounding: float) -> float:
    risks = [np.mean(world(7, 400_000, effect=effect, confounding=confounding, forced=s).event == 1) for s in ("begin", "refrain")]
    return float(risks[0] - risks[1])


def test_without_x_or_loss_and_a_grace_of_one_period_it_is_the_difference_of_curves() -> None:
    rng = np.random.default_rng(0)
    begin, event = np.where(rng.random(400) < 0.4, 0, NEVER), rng.integers(0, 2, 400)
    people = FollowUp(begin, np.where(event == 1, rng.integers(0, 4, 400), 3), event, np.zeros((400, 1)))
    made = clone_censor_weight(people, grace=1, horizon=4)
    assert made.begin[-1] == pytest.approx(event[begin == 0].mean())
    assert made.refrain[-1] == pytest.approx(event[begin == NEVER].mean())


def test_competing_events_end_the_risk_without_being_it() -> None:
    people = world(1, 600, effect=0.0)
    event = np.where((people.event == 1) & (people.x[:, 0] > 0), 2, people.event)
    both = clone_censor_weight(people, grace=GRACE, horizon=HORIZON)
    one = clone_censor_weight(FollowUp(people.begin, people.end, event, people.x), grace=GRACE, horizon=HORIZON)
    other = clone_censor_weight(FollowUp(people.begin, people.end, np.select([event == 1, event == 2], [2, 1], 0), people.x), grace=GRACE, horizon=HORIZON)
    np.testing.assert_allclose(one.begin + other.begin, both.begin)
    assert (np.diff(both.refrain) >= 0).all()


def test_refusals_and_the_seed() -> None:
    people = world(2, 200, effect=0.0)
    with pytest.raises(ValueError, match="grace"):
        clone_censor_weight(people, grace=4, horizon=3)
    with pytest.raises(ValueError, match="one strategy"):
        clone_censor_weight(FollowUp(np.full(5, NEVER), np.full(5, 3), np.zeros(5), np.zeros((5, 1))), grace=2, horizon=3)
    first, again = (strategy_difference(people, grace=GRACE, horizon=HORIZON, resamples=5) for _ in range(2))
    assert first == again
    assert first.value == clone_censor_weight(people, grace=GRACE, horizon=HORIZON).difference


@pytest.mark.slow
@pytest.mark.parametrize(("effect", "confounding"), [(0.0, 0.0), (0.0, 0.8), (-0.8, 0.8)])
def test_weights_remove_the_immortal_time_that_the_naive_analysis_shows(effect: float, confounding: float) -> None:
    right = truth(effect, confounding)
    worlds = [world(s, 1000, effect=effect, confounding=confounding) for s in range(200)]
    made = np.array([clone_censor_weight(w, grace=GRACE, horizon=HORIZON).difference for w in worlds])
    naive = np.array([naive_difference(w, horizon=HORIZON) for w in worlds])
    noise = np.hypot(made.std(ddof=1) / np.sqrt(200), 0.001)
    print("effect", effect, "confounding", confounding, "true", right, "naive", naive.mean(), "weighted", made.mean(), noise)
    assert abs(made.mean() - right) < 3 * noise
    if confounding == 0 or effect:  # with confounding alone, that the ill begin hides the immortal time
        assert naive.mean() - right < -10 * naive.std(ddof=1) / np.sqrt(200)


@pytest.mark.slow
def test_the_bootstrap_interval_covers() -> None:
    made = [strategy_difference(world(s, 400, effect=0.0), grace=GRACE, horizon=HORIZON, resamples=50, seed=s) for s in range(80)]
    covered = np.mean([m.lo <= 0.0 <= m.hi for m in made])
    assert covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 80)
