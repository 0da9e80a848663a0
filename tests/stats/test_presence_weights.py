"""Weights for presence: right from a known truth where absence is at random, and by a shift where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from equipoise.stats.logistic import logistic_fit
from equipoise.stats.presence_weights import LARGEST, presence_probability, presence_weights, tilt, tilt_normal


def test_logistic_coefficients_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = rng.random(300) < expit(0.5 + x @ [1.0, -0.5, 0.0])
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y)
    made = logistic_fit(x, y, ridge=1e-12)
    np.testing.assert_allclose(made, np.r_[other.intercept_, other.coef_[0]], atol=2e-4)


def test_separated_columns_and_copies_of_a_column_give_finite_probabilities() -> None:
    present = np.arange(40) >= 20
    x = np.column_stack([present, present, np.zeros(40)]).astype(float)
    made = presence_probability(present, x)
    assert np.isfinite(made).all()
    assert made[present].min() > 0.99
    assert presence_probability(present, np.empty((40, 0))).tolist() == [0.5] * 40
    assert presence_probability(np.ones(40, bool), x).tolist() == [1.0] * 40


def test_weights_are_cut_and_keep_their_mean() -> None:
    probability = np.r_[np.full(99, 0.9), 1e-4]
    made = presence_weights(np.ones(100, bool), probability)
    assert (made.truncated, made.weight.mean()) == (1, pytest.approx(1))
    assert made.weight[-1] / made.weight[0] == pytest.approx(LARGEST)
    assert made.effective_rows < 100
    nobody = presence_weights(np.zeros(3, bool), np.full(3, 0.5))
    assert (nobody.weight.sum(), nobody.effective_rows) == (0, 0)


def _means(delta: float, n: int, times: int) -> np.ndarray:
    """A mean over everybody: the truth; from those with the evidence without weights, with weights, and with the tilt too; (times, 4)."""
    made = []
    for seed in range(times):
        rng = np.random.default_rng(seed)
        x, content = rng.normal(size=n), rng.normal(size=n)
        present = rng.random(n) < expit(0.3 + x)
        risk = expit(-1 + 0.8 * x + 0.9 * content)  # of those with the evidence
        y = (rng.random(n) < np.where(present, risk, expit(np.log(risk / (1 - risk)) + delta))).astype(float)
        gain = y * content  # whatever an endpoint makes of outcome and content
        p = presence_probability(present, x[:, None])
        weights = [presence_weights(present, p, t).weight for t in (0.0, 1.0, tilt(y, risk, delta))]
        truth = np.mean(np.where(present, risk, expit(np.log(risk / (1 - risk)) + delta)) * content)
        made.append([truth, *(np.average(gain, weights=w) for w in weights)])
    return np.array(made)


@pytest.mark.parametrize("delta", [0.0, 0.8])
def test_weights_and_the_shift_find_the_mean_over_everybody(delta: float) -> None:
    found = _means(delta, 2000, 100)
    error = found[:, 1:] - found[:, :1]
    z = error.mean(0) / (error.std(0, ddof=1) / np.sqrt(len(error)))
    assert abs(z[2]) < 3, z  # tilted by the true shift
    assert delta or abs(z[0]) > 3, z  # those with the evidence are others than everybody
    assert (abs(z[1]) < 3) == (delta == 0), z  # missing at random is right only where it is so


def test_a_normal_outcome_is_shifted_by_standard_deviations() -> None:
    rng = np.random.default_rng(1)
    mean, sd = rng.normal(size=200_000), 2.0
    y = mean + sd * rng.normal(size=mean.size)
    w = tilt_normal(y, mean, np.full(mean.size, sd), 0.5)
    assert w.mean() == pytest.approx(1, abs=0.01)
    assert np.average(y - mean, weights=w) == pytest.approx(0.5 * sd, abs=0.02)
