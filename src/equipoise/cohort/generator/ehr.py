"""The health record: two Poisson processes in continuous time whose rates follow the state, seen through delay and miscoding.

At time u (days since the window began, 0 <= u <= W) the state shows as x(u) = (z1, z2, phi(u) z3): morbidity grows towards the prediction time.
Consultations come at rate mu exp(v x3(u)) (sicker people are seen more often) and yield one diagnosis each, drawn from softmax(alpha + beta x(u)).
Check-ups come at their own such rate and yield two measured values. A diagnosis is written down a delay later, after the prediction time not at all, and
sometimes as another code. Displaced, relabelled Poisson processes are Poisson processes, so that the likelihood stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.cohort.draft import EventStore
from equipoise.cohort.generator.dials import require, stream

PERIODS = 6  # of constant rates
BINS = 12  # of recorded time, in which the likelihood counts diagnoses
DAY_US = 86_400_000_000


def _codes() -> tuple[tuple[str, tuple[float, float, float], float], ...]:
    """(code, loadings on x, log weight): acquired, inherited and habit-bound diseases, and complaints that say nothing of the state."""
    acquired = [(f"DX//ACQUIRED_{i}", (0.0, 0.0, 0.9), -0.5 - 0.15 * i) for i in range(6)]
    inherited = [(f"DX//INHERITED_{i}", (0.5, 0.0, 0.2), -1.2 - 0.2 * i) for i in range(3)]
    habit = [(f"DX//HABIT_{i}", (0.0, 0.4, 0.2), -1.2 - 0.2 * i) for i in range(3)]
    complaint = [(f"DX//COMPLAINT_{i}", (0.0, 0.0, 0.0), 0.3 - 0.1 * i) for i in range(8)]
    return (*acquired, *inherited, *habit, *complaint)


_CODES = _codes()
_BETA = np.array([c[1] for c in _CODES])
_ALPHA = np.array([c[2] for c in _CODES])
# code, unit, location, scale, loadings on x
_VALUES: tuple[tuple[str, str, float, float, tuple[float, float, float]], ...] = (
    ("VITAL//SBP", "mm[Hg]", 130.0, 12.0, (0.1, 0.1, 0.45)),
    ("VITAL//BMI", "kg/m2", 26.0, 3.5, (0.1, 0.25, 0.1)),
)
_SLOPE = np.array([v[4] for v in _VALUES])
CODES: tuple[str, ...] = (*(c[0] for c in _CODES), *(v[0] for v in _VALUES))
N_DIAGNOSES = len(_CODES)


@dataclass(frozen=True, kw_only=True)
class EhrDials:
    """Dials of the health record.

    Args:
        signal: factor on the state's influence on which code is written and on measured values; 0 is off.
        informative_visits: log rate ratio of contacts per unit of x3; 0 is off: contacts say nothing.
        progression: share of x3 that has grown within the window, 0 (off: the state is constant) to 1.
        window_days: W, length of the record, days > 0.
        diagnoses: expected diagnoses in the window at x = 0.
        checkups: expected check-ups in the window at x = 0, two values each.
        value_noise: standard deviation of a measured value given the state, in scale units; above 0.
        delay_days: mean of the exponential delay until a diagnosis is written down, days; 0 is off.
        miscoding: share of diagnoses written down as another, uniformly drawn code; 0 (off) to 0.9.
    """

    signal: float
    informative_visits: float
    progression: float
    window_days: float
    diagnoses: float
    checkups: float
    value_noise: float
    delay_days: float
    miscoding: float

    def __post_init__(self) -> None:
        for dial, low, high in (
            ("signal", 0.0, 3.0),
            ("informative_visits", 0.0, 1.0),
            ("progression", 0.0, 1.0),
            ("window_days", 1.0, 36500.0),
            ("diagnoses", 0.0, 1000.0),
            ("checkups", 0.0, 1000.0),
            ("value_noise", 1e-3, 100.0),
            ("delay_days", 0.0, 36500.0),
            ("miscoding", 0.0, 0.9),
        ):
            require(f"ehr.{dial}", getattr(self, dial), low, high)

    @property
    def phi(self) -> np.ndarray:
        """Share of z3 that shows in each period, f64 (PERIODS,), 1 in the last one."""
        return 1.0 - self.progression * (1.0 - np.arange(PERIODS) / (PERIODS - 1))

    def shown(self, z: np.ndarray) -> np.ndarray:
        """x in each period, f64 (m, PERIODS, 3)."""
        x = np.repeat(z[:, None, :3], PERIODS, axis=1)
        x[:, :, 2] *= self.phi
        return x

    def contact_ratio(self, z: np.ndarray) -> np.ndarray:
        """exp(v x3): rate of contacts relative to x = 0, f64 (m, PERIODS)."""
        return np.exp(self.informative_visits * z[:, 2:3] * self.phi)

    def code_probability(self, z: np.ndarray) -> np.ndarray:
        """softmax(alpha + signal beta x), f64 (m, PERIODS, codes)."""
        logit = _ALPHA + self.signal * self.shown(z) @ _BETA.T
        weight = np.exp(logit - logit.max(axis=-1, keepdims=True))
        return weight / weight.sum(axis=-1, keepdims=True)

    def value_mean(self, z: np.ndarray) -> np.ndarray:
        """Mean of the measured values in scale units, f64 (m, PERIODS, 2)."""
        return self.signal * self.shown(z) @ _SLOPE.T


@dataclass(frozen=True)
class Record:
    """Events of everybody, whether or not the evidence is present; in no order.

    Args:
        person: i64 (E,).
        code: i32 (E,), index into `CODES`.
        value: f64 (E,), NaN for diagnoses.
        at_days: f64 (E,), days since the window began, at most W.
    """

    person: np.ndarray
    code: np.ndarray
    value: np.ndarray
    at_days: np.ndarray


def draw_record(z: np.ndarray, seed: int, dials: EhrDials) -> Record:
    """Draws both processes for everybody: first the contacts, then what they yield, then how it is written down."""
    length = dials.window_days / PERIODS
    ratio = dials.contact_ratio(z)

    def contacts(expected: float, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = stream(name, seed)
        count = rng.poisson(expected / PERIODS * ratio)
        person, period = (np.repeat(a.ravel(), count.ravel()) for a in np.indices(count.shape))
        return person, period, (period + rng.random(person.size)) * length

    person, period, at = contacts(dials.diagnoses, "consultations")
    cumulative = np.cumsum(dials.code_probability(z), axis=2)[person, period]
    true_code = (stream("diagnoses", seed).random(person.size)[:, None] > cumulative[:, :-1]).sum(axis=1)
    written = at + dials.delay_days * stream("delay", seed).standard_exponential(person.size)
    wrong = stream("miscoding", seed)
    shift = wrong.integers(1, N_DIAGNOSES, person.size)
    code = np.where(wrong.random(person.size) < dials.miscoding, (true_code + shift) % N_DIAGNOSES, true_code)
    in_time = written <= dials.window_days
    person2, period2, at2 = contacts(dials.checkups, "check-ups")
    value = dials.value_mean(z)[person2, period2] + dials.value_noise * stream("vitals", seed).standard_normal((person2.size, len(_VALUES)))
    return Record(
        np.concatenate([person[in_time], *([person2] * len(_VALUES))]),
        np.concatenate([code[in_time], *(np.full(person2.size, N_DIAGNOSES + i) for i in range(len(_VALUES)))]).astype(np.int32),
        np.concatenate([np.full(int(in_time.sum()), np.nan), *(_VALUES[i][2] + _VALUES[i][3] * value[:, i] for i in range(len(_VALUES)))]),
        np.concatenate([written[in_time], *([at2] * len(_VALUES))]),
    )


def ehr_store(record: Record, present: np.ndarray, prediction_time_us: np.ndarray, dials: EhrDials) -> EventStore:
    """What the cohort holds: the events of rows with the evidence, by row and time; none is later than the prediction time."""
    keep = present[record.person]
    person, at = record.person[keep], record.at_days[keep]
    time_us = prediction_time_us[person] - np.ceil((dials.window_days - at) * DAY_US).astype(np.int64)
    order = np.lexsort((record.code[keep], time_us, person))
    edges = np.searchsorted(person[order], np.arange(present.size + 1))
    return EventStore(
        codes=CODES,
        units=(*("" for _ in _CODES), *(v[1] for v in _VALUES)),
        code=record.code[keep][order].astype(np.int32),
        value=record.value[keep][order].astype(np.float32),
        time_us=time_us[order],
        start=edges[:-1].astype(np.int64),
        stop=edges[1:].astype(np.int64),
        time_of_row_us=prediction_time_us.astype(np.int64),
    )


def exposure(dials: EhrDials) -> np.ndarray:
    """Days of consultation in period p whose diagnosis is written down in bin b: D (PERIODS, BINS).

    D_pb = int_p int_b f(t - s) dt ds with f the exponential delay's density; without delay, the overlap of p and b.
    """
    mean = dials.delay_days

    def twice_integrated(x: np.ndarray) -> np.ndarray:
        x = np.maximum(x, 0.0)
        return x - mean * -np.expm1(-x / mean) if mean > 0 else x

    p, b = np.linspace(0, dials.window_days, PERIODS + 1), np.linspace(0, dials.window_days, BINS + 1)
    h = twice_integrated(b[None, :] - p[:, None])
    return np.diff(h[:-1] - h[1:], axis=1)


class RecordLikelihood:
    """log p(record | z) on a grid: Poisson counts of written codes by bin, and for check-ups counts and Gaussian values by period.

    Where a diagnosis fell within its bin is not used: without delay it says nothing of z, with delay next to nothing.

    Args:
        points: f64 (K, 3).
        dials: the dials.
    """

    def __init__(self, points: np.ndarray, dials: EhrDials) -> None:
        self.dials = dials
        ratio = dials.contact_ratio(points)
        rate = dials.diagnoses / dials.window_days * ratio[:, :, None] * dials.code_probability(points)
        true = np.einsum("kpc,pb->kbc", rate, exposure(dials))
        m = dials.miscoding
        written = (1.0 - m) * true + m * (true.sum(axis=2, keepdims=True) - true) / (N_DIAGNOSES - 1)
        checkups = dials.checkups / PERIODS * ratio
        mean = dials.value_mean(points).reshape(points.shape[0], -1)
        log_checkups = np.log(np.maximum(checkups, 1e-300)) - 0.5 * (dials.value_mean(points) ** 2).sum(axis=2) / dials.value_noise**2
        # One line a sufficient statistic; the last is the constant 1.
        self._feature = np.hstack(
            [
                np.log(np.maximum(written, 1e-300)).reshape(points.shape[0], -1),
                log_checkups,
                mean / dials.value_noise**2,
                -(written.sum(axis=(1, 2)) + checkups.sum(axis=1))[:, None],
            ]
        ).T

    @staticmethod
    def statistics(record: Record, n: int, dials: EhrDials) -> np.ndarray:
        """Sufficient statistics of everybody, f64 (n, F): counts by bin and code, check-ups by period, sums of values by period and kind, one."""
        diagnosis = record.code < N_DIAGNOSES
        out: list[np.ndarray] = []
        bin_ = np.minimum((record.at_days / dials.window_days * BINS).astype(np.int64), BINS - 1)
        place = (record.person * BINS + bin_) * N_DIAGNOSES + record.code
        out.append(np.bincount(place[diagnosis], minlength=n * BINS * N_DIAGNOSES).reshape(n, -1))
        period = np.minimum((record.at_days / dials.window_days * PERIODS).astype(np.int64), PERIODS - 1)
        place = record.person * PERIODS + period
        first = record.code == N_DIAGNOSES
        out.append(np.bincount(place[first], minlength=n * PERIODS).reshape(n, -1))
        sums = np.zeros((n, PERIODS, len(_VALUES)))
        for i, (_, _, location, scale, _) in enumerate(_VALUES):
            here = record.code == N_DIAGNOSES + i
            total = np.bincount(place[here], weights=(record.value[here] - location) / scale, minlength=n * PERIODS)
            sums[:, :, i] = total.reshape(n, PERIODS)
        out.append(sums.reshape(n, -1))
        return np.hstack([*out, np.ones((n, 1))]).astype(float)

    def __call__(self, statistics: np.ndarray) -> np.ndarray:
        """f64 (n, K), up to a constant of the row."""
        return statistics @ self._feature
