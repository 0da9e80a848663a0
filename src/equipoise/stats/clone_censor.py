"""Clone, censor, weight: "begin within the grace period" against "do not begin in it", without giving the beginners time in which they could not die."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.contract.counter import numpy_stream
from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.stats.nuisance import regression
from equipoise.stats.propensity import effective_rows

NEVER = -1
"""Period of beginning of who never began."""
SMALLEST_CHANCE = 0.01
"""A chance of keeping to a strategy in one period is read as at least this, so that no clone counts more than a hundredfold for one period."""


@dataclass(frozen=True)
class FollowUp:
    """People in whole periods since time zero, at which all were eligible and untreated. In a period the decision to begin comes first, then the event.

    Args:
        begin: i64 (n,), period in which treatment began, `NEVER` for none.
        end: i64 (n,), last period under observation, >= 0.
        event: i64 (n,), how that period ended: 0 without event, 1 the event, 2 a competing one.
        x: f64 (n, k), known at time zero, on which beginning depends.
    """

    begin: np.ndarray
    end: np.ndarray
    event: np.ndarray
    x: np.ndarray

    def rows(self, index: np.ndarray) -> FollowUp:
        """The people with these row numbers, some of them several times."""
        return FollowUp(self.begin[index], self.end[index], self.event[index], self.x[index])


@dataclass(frozen=True)
class StrategyRisks:
    """Cumulative incidence of the event under both strategies.

    Args:
        begin: f64 (horizon,), after each period, under "begin within the grace period".
        refrain: f64 (horizon,), under "do not begin in it".
        effective_begin: effective number of clones kept at the end of the grace period under the first strategy.
        effective_refrain: under the second.
        largest_weight: over both.
    """

    begin: np.ndarray
    refrain: np.ndarray
    effective_begin: float
    effective_refrain: float
    largest_weight: float

    @property
    def difference(self) -> float:
        """Risk at the horizon, begin minus refrain."""
        return float(self.begin[-1] - self.refrain[-1])


def clone_censor_weight(people: FollowUp, *, grace: int, horizon: int) -> StrategyRisks:
    """Risks under both strategies by weighted discrete-time Aalen-Johansen curves.

    Everybody is cloned into both strategies; a clone is censored when it departs from its own. With h_k(x) = P(begin in period k | not begun, under
    observation, x), one pooled logistic regression with a constant a period: who refrains weighs 1 / prod_{j <= k} (1 - h_j); who begins in the last
    period of grace weighs 1 / h from then on, earlier beginners weigh 1 (they began as people do; the strategy forces only the last moment).
    Right where all that beginning and the event share is in x, some would do either in every period, and loss to follow-up is independent.

    Args:
        people: see `FollowUp`.
        grace: periods in which one may begin, >= 1.
        horizon: periods until which the risk is counted, >= grace.

    Source: Hernan (2018), BMJ 360:k182; Cain et al. (2010), section 3; Gaber et al. (2024) for the steps.

    >>> people = FollowUp(np.array([0, -1, 0, -1]), np.array([1, 0, 1, 1]), np.array([0, 1, 1, 0]), np.zeros((4, 1)))
    >>> r = clone_censor_weight(people, grace=1, horizon=2)
    >>> r.begin.round(3).tolist(), r.refrain.round(3).tolist()
    ([0.0, 0.5], [0.5, 0.5])
    """
    if not 1 <= grace <= horizon:
        raise ValueError(f"a grace period of {grace} and a horizon of {horizon} periods: expected 1 <= grace <= horizon")
    chance = _chances(people, grace)
    period = np.arange(horizon)
    watched = period <= people.end[:, None]
    began = np.where(people.begin == NEVER, horizon, people.begin)[:, None]
    in_grace = began < grace
    waited = np.ones((len(began), horizon))
    waited[:, :grace] = np.maximum(1 - chance, SMALLEST_CHANCE)
    refrain = np.where(in_grace & (period >= began), 0.0, 1 / np.cumprod(waited, axis=1))
    forced = np.where(began == grace - 1, 1 / np.maximum(chance[:, -1:], SMALLEST_CHANCE), 1.0)
    begin = np.where(period < grace - 1, 1.0, np.where(in_grace, forced, 0.0))
    at_grace = watched[:, grace - 1]
    kept = [w[at_grace & (w[:, grace - 1] > 0), grace - 1] for w in (begin, refrain)]
    return StrategyRisks(
        begin=_incidence(people, begin * watched),
        refrain=_incidence(people, refrain * watched),
        effective_begin=effective_rows(kept[0]) if kept[0].size else 0.0,
        effective_refrain=effective_rows(kept[1]) if kept[1].size else 0.0,
        largest_weight=float(max((k.max() for k in kept if k.size), default=np.nan)),
    )


def strategy_difference(
    people: FollowUp, *, grace: int, horizon: int, level: float = 0.95, resamples: int = 200, seed: int = 0, cluster: np.ndarray | None = None
) -> Estimate:
    """Risk difference at the horizon with a bootstrap over people (or clusters) that repeats cloning, weighting and all.

    Args:
        people: see `FollowUp`.
        grace, horizon: see `clone_censor_weight`.
        level: in (0, 1).
        resamples: at least 2.
        seed: a counter.
        cluster: (n,), whole clusters are drawn; None: people.

    Source: Hernan and Robins (2020), section 21.4; normal interval with the bootstrap's standard error.
    """
    value = clone_censor_weight(people, grace=grace, horizon=horizon).difference
    codes = np.arange(people.begin.size) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = numpy_stream("clone-censor-weight", seed)
    drawn = []
    for _ in range(resamples):
        index = np.concatenate([members[c] for c in rng.integers(0, len(members), len(members))])
        drawn.append(clone_censor_weight(people.rows(index), grace=grace, horizon=horizon).difference)
    return normal_interval(value, float(np.std(drawn, ddof=1)), level, f"bootstrap standard error, {resamples} resamples", floor=-1.0, ceiling=1.0)


def naive_difference(people: FollowUp, *, horizon: int) -> float:
    """Risk among who ever began minus risk among who never did, both counted from time zero: what immortal time does to an analysis. To be shown, not used."""
    ever = people.begin != NEVER
    begun, not_begun = (
        _incidence(g, (np.arange(horizon) <= g.end[:, None]).astype(np.float64)) for g in (people.rows(np.flatnonzero(m)) for m in (ever, ~ever))
    )
    return float(begun[-1] - not_begun[-1])


def _chances(people: FollowUp, grace: int) -> np.ndarray:
    """h_k(x), f64 (n, grace)."""
    n = people.begin.size
    period = np.arange(grace)
    began = np.where(people.begin == NEVER, grace, people.begin)[:, None]
    asked = ((period <= people.end[:, None]) & (period <= began)).ravel()
    begins = (period == began).astype(np.float64).ravel()
    if np.unique(begins[asked]).size < 2:
        raise ValueError("nobody, or everybody, began in the grace period: there is only one strategy in these data")
    dummies = np.tile(np.eye(grace)[:, 1:], (n, 1))
    return regression(np.column_stack([dummies, np.repeat(people.x, grace, axis=0)]), begins, asked, binary=True).mean.reshape(n, grace)


def _incidence(people: FollowUp, weight: np.ndarray) -> np.ndarray:
    """Weighted Aalen-Johansen curve of cause 1 in whole periods, f64 (horizon,); weight f64 (n, horizon), 0 where not at risk."""
    ends = np.arange(weight.shape[1]) == people.end[:, None]
    at_risk = weight.sum(0)
    one, any_ = ((weight * (ends & (event[:, None]))).sum(0) for event in (people.event == 1, people.event != 0))
    hazard, total = (np.divide(d, at_risk, out=np.zeros_like(at_risk), where=at_risk > 0) for d in (one, any_))
    survival = np.cumprod(1 - total)
    return np.cumsum(np.r_[1.0, survival[:-1]] * hazard)
