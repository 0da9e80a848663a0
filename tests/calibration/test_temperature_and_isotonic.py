"""Temperature scaling and isotonic recalibration against known truths and other people's code."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.isotonic import IsotonicRegression

from equipoise.calibration.isotonic import IsotonicCalibration
from equipoise.calibration.temperature import TemperatureCalibration
from equipoise.contract.question import Question

BINARY = Question("t", "died", "binary", ())
CLASSES = Question("t", "stage", "multiclass", (), classes=("a", "b", "c"))


def overconfident(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=n)
    return expit(2.5 * x)[:, None], (rng.random(n) < expit(x)).astype(float)


def test_the_temperature_of_known_overconfidence_is_found() -> None:
    made, (risk, y) = TemperatureCalibration(min_events=10), overconfident(40_000)
    made.fit(BINARY, risk, y, np.ones(y.size, bool))
    assert made.temperature[0] == pytest.approx(2.5, abs=0.06)
    # Where the likelihood is best its slope is 0: sum (y - p) logit p is, too.
    p = made.apply(risk)[:, 0]
    assert abs(float((y - p) @ np.log(p / (1 - p)))) < 1e-2


def test_a_temperature_moves_no_order_of_classes() -> None:
    rng = np.random.default_rng(2)
    eta = rng.normal(size=(4000, 3))
    y = (eta + rng.gumbel(size=eta.shape)).argmax(1).astype(float)
    made = TemperatureCalibration(min_events=10)
    made.fit(CLASSES, softmax(2 * eta, axis=1), y, np.ones(y.size, bool))
    assert made.temperature[0] == pytest.approx(2.0, abs=0.2)
    after = made.apply(softmax(2 * eta, axis=1))
    np.testing.assert_array_equal(np.argsort(after, axis=1), np.argsort(eta, axis=1))


def test_isotonic_is_scikit_learns_between_its_ends() -> None:
    made, (risk, y) = IsotonicCalibration(min_events=10), overconfident(3000)
    made.fit(BINARY, risk, y, np.ones(y.size, bool))
    after, other = made.apply(risk)[:, 0], IsotonicRegression().fit_transform(risk[:, 0], y)
    inner = (other > other.min()) & (other < other.max())
    np.testing.assert_allclose(after[inner], other[inner], atol=1e-12)
    assert np.abs(after - expit(np.log(risk[:, 0] / (1 - risk[:, 0])) / 2.5)).mean() < 0.04


def test_separated_classes_give_no_risk_of_0_or_1() -> None:
    made, x = IsotonicCalibration(min_events=10), np.linspace(0.1, 0.9, 100)
    made.fit(BINARY, x[:, None], (x > 0.5).astype(float), np.ones(100, bool))
    np.testing.assert_allclose(np.sort(np.unique(made.apply(x[:, None])))[[0, -1]], [0.5 / 51, 50.5 / 51])
