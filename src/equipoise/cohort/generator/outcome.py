"""The outcome: a risk at a horizon, the event times that agree with it, competing death, delayed entry and censoring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from equipoise.cohort.generator.dials import require, stream

_CALENDAR_NODES, _CALENDAR_WEIGHTS = np.polynomial.legendre.leggauss(8)
_SEVERITY_CUTS = np.array([0.0, 1.5])
SEVERITY = ("mild", "moderate", "severe")


@dataclass(frozen=True, kw_only=True)
class OutcomeDials:
    """Dials of the outcome.

    Args:
        prevalence: expected share with the event by the horizon (death may forestall it), 0.005 to 0.9.
        signal: factor on everything in the risk but the base rate; 0 is off: nobody's risk differs.
        weights: of (z1, z2, z3) in the log odds.
        interaction: coefficient of z1 z3 in the log odds; 0 is off.
        site_shift: coefficient of the site's own constant (-1.5 to 1.5) in the log odds; 0 is off.
        calendar_shift: change of the log odds from the middle to the end of the calendar span; 0 is off.
        horizon_days: the horizon H, days > 0.
        shape: Weibull shape of both causes, > 0.
        death: probability of competing death by the horizon at z3 = 0, were it the only cause; 0 (off) to 0.9.
        death_slope: log hazard ratio of death per unit of z3; 0 is off.
        delayed_entry: share who come under observation late, 0 (off) to 1.
        max_entry_days: their entry is uniform up to here, days >= 0.
        censoring: probability of loss to follow-up by the horizon, 0 (off) to 0.95.
        follow_up_days: end of the study, days after the prediction time, >= 1.
    """

    prevalence: float
    signal: float
    weights: tuple[float, float, float]
    interaction: float
    site_shift: float
    calendar_shift: float
    horizon_days: float
    shape: float
    death: float
    death_slope: float
    delayed_entry: float
    max_entry_days: float
    censoring: float
    follow_up_days: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        require("outcome.weights (their number)", len(self.weights), 3, 3)
        for dial, low, high in (
            ("prevalence", 0.005, 0.9),
            ("signal", 0.0, 10.0),
            ("interaction", -3.0, 3.0),
            ("site_shift", -3.0, 3.0),
            ("calendar_shift", -3.0, 3.0),
            ("horizon_days", 1.0, 36500.0),
            ("shape", 0.2, 5.0),
            ("death", 0.0, 0.9),
            ("death_slope", -3.0, 3.0),
            ("delayed_entry", 0.0, 1.0),
            ("max_entry_days", 0.0, 36500.0),
            ("censoring", 0.0, 0.95),
            ("follow_up_days", 1.0, 36500.0),
        ):
            require(f"outcome.{dial}", getattr(self, dial), low, high)

    def liability(self, z: np.ndarray) -> np.ndarray:
        """eta = signal (w . z + interaction z1 z3), f64 (m,)."""
        return self.signal * (z[:, :3] @ np.array(self.weights) + self.interaction * z[:, 0] * z[:, 2])

    def site_constant(self, n_sites: int) -> np.ndarray:
        """signal site_shift c_s with c_s spread evenly over -1.5 .. 1.5 in a fixed shuffled order, f64 (n_sites,)."""
        order = np.argsort((np.arange(n_sites) * 7919 + 3) % 1009)
        return self.signal * self.site_shift * np.linspace(-1.5, 1.5, n_sites)[order]

    def risk(self, liability: np.ndarray, constant: np.ndarray | float, base: float) -> np.ndarray:
        """P(event by the horizon | z, site), averaged over calendar time; broadcast."""
        x = base + liability + constant
        shift = self.signal * self.calendar_shift
        if shift == 0.0:
            return expit(x)
        nodes = zip(_CALENDAR_NODES.tolist(), _CALENDAR_WEIGHTS.tolist(), strict=True)
        return 0.5 * sum((w * expit(x + shift * t) for t, w in nodes), np.zeros_like(x))


@dataclass(frozen=True)
class Course:
    """What happens to everybody.

    Args:
        risk: f64 (n,), P(event of cause 1 by the horizon | z, site, calendar).
        outcome: bool (n,), whether it happened.
        hazard: f64 (n, 2), cumulative cause-specific hazards at the horizon; at t they are hazard (t / H)^shape.
        time_days: f64 (n,), end of observation.
        event: i64 (n,), 0 censored, 1 the event, 2 death.
        entry_days: f64 (n,).
        observed: bool (n,), False where event or loss came before the entry: left truncation hides such a person.
        severity_probability: f64 (n, 3).
        severity: i64 (n,).
    """

    risk: np.ndarray
    outcome: np.ndarray
    hazard: np.ndarray
    time_days: np.ndarray
    event: np.ndarray
    entry_days: np.ndarray
    observed: np.ndarray
    severity_probability: np.ndarray
    severity: np.ndarray


def draw_course(z: np.ndarray, constant: np.ndarray, calendar: np.ndarray, base: float, seed: int, dials: OutcomeDials) -> Course:
    """Draws outcome, times and severity.

    Both causes have Weibull hazards of one shape. Death's hazard at the horizon is h2 = -log(1 - death) exp(death_slope z3); h1 is set so that
    the cumulative incidence h1/(h1+h2) (1 - exp(-h1-h2)) is the risk. So the binary outcome is what the event times say.

    Args:
        z: f64 (n, 4).
        constant: f64 (n,), of each row's site.
        calendar: f64 (n,), in [-1, 1].
        base: the intercept.
        seed: the cohort's seed.
        dials: the dials.
    """
    n = z.shape[0]
    liability = dials.liability(z)
    risk = expit(base + liability + constant + dials.signal * dials.calendar_shift * calendar)
    death = -np.log1p(-dials.death) * np.exp(dials.death_slope * z[:, 2])
    hazard = np.column_stack([event_hazard(risk, death), death])
    rng = stream("event times", seed)
    total = hazard.sum(axis=1)
    time = dials.horizon_days * (rng.standard_exponential(n) / np.maximum(total, 1e-300)) ** (1.0 / dials.shape)
    cause = np.where(rng.random(n) * total < hazard[:, 0], 1, 2)
    outcome = (time <= dials.horizon_days) & (cause == 1)
    loss_rate = -np.log1p(-dials.censoring) / dials.horizon_days
    loss = stream("censoring", seed).standard_exponential(n) / loss_rate if loss_rate > 0 else np.full(n, np.inf)
    end = np.minimum(np.minimum(time, loss), dials.follow_up_days)
    entering = stream("entry", seed)
    late = entering.random(n) < dials.delayed_entry
    entry = np.where(late, entering.random(n) * dials.max_entry_days, 0.0)
    probability = severity_probability(liability, dials)
    drawn = stream("severity", seed).random((n, 1))
    severity = (drawn > np.cumsum(probability, axis=1)[:, :-1]).sum(axis=1)
    return Course(risk, outcome, hazard, end, np.where(end == time, cause, 0), entry, end > entry, probability, severity)


def event_hazard(risk: np.ndarray, death: np.ndarray) -> np.ndarray:
    """h1 with h1/(h1+h2) (1 - exp(-h1-h2)) = risk, by bisection to rounding; f64 (n,).

    >>> bool(np.allclose(event_hazard(np.array([0.3]), np.array([0.0])), -np.log(0.7)))
    True
    """
    low, high = np.zeros_like(risk), np.full_like(risk, 1.0)

    def incidence(h: np.ndarray) -> np.ndarray:
        total = np.maximum(h + death, 1e-300)
        return h / total * -np.expm1(-total)

    while bool(np.any(incidence(high) < risk)) and float(high.max()) < 1e8:
        high = np.where(incidence(high) < risk, high * 2.0, high)
    for _ in range(80):
        middle = 0.5 * (low + high)
        below = incidence(middle) < risk
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def severity_probability(liability: np.ndarray, dials: OutcomeDials) -> np.ndarray:
    """Ordered logit of the liability, f64 (m, 3): P(class <= k) = logistic(cut_k - eta)."""
    below = expit(_SEVERITY_CUTS - liability[:, None])
    return np.diff(np.column_stack([np.zeros(liability.size), below, np.ones(liability.size)]), axis=1)
