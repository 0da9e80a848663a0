"""The expansion of logistic fits around a centre: within its own bound of Newton's solution, and its derivatives those of the logistic function."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from scipy.special import expit, logit

from equipoise.stats import logistic_expansion as expansion
from equipoise.stats.recalibration import _newton, _shifted


def test_derivatives() -> None:
    """dp/dx = p - p^2, over and over; the one after the last stays below what the bound takes for it."""
    p = np.linspace(0, 1, 2001)
    derivative = Polynomial([0.0, 1.0])
    for made in expansion._of(p):
        derivative = derivative.deriv() * Polynomial([0.0, 1.0, -1.0])
        np.testing.assert_allclose(made, derivative(p), atol=1e-10)
    after = derivative.deriv() * Polynomial([0.0, 1.0, -1.0])
    largest = float(np.abs(after(p)).max())
    assert 0.99 * 2.4 < largest < 2.4


def sample(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x = rng.normal(-1.2, 1.5, n)
    y = (rng.random(n) < expit(0.2 + 0.9 * x)).astype(float)
    return x, y, rng.multinomial(n, np.ones(n) / n, 300).astype(float)


@pytest.mark.parametrize("n", [150, 1000, 5000])
def test_errors_stay_below_their_bound(n: int) -> None:
    x, y, w = sample(n)
    centre = _newton(x, y, np.ones((1, n)), np.array([[0.0, 1.0]]))[0]
    move, error = expansion.expanded_line(x, y, w, centre)
    solved = _newton(x, y, w, np.tile(centre, (300, 1)))
    known = np.isfinite(error) & np.isfinite(solved).all(1)
    assert known.mean() > 0.9
    assert (np.abs(centre + move - solved).max(1)[known] <= error[known] + 1e-12).all()
    shift = float(_shifted(np.exp(x), y, np.ones((1, n)), np.zeros(1))[0])
    move, error = expansion.expanded_shift(x, y, w, shift)
    assert (np.abs(shift + move - _shifted(np.exp(x), y, w, np.full(300, shift))) <= error + 1e-12).all()


def test_most_resamples_of_a_large_sample_need_no_more() -> None:
    x, y, w = sample(5000)
    centre = _newton(x, y, np.ones((1, x.size)), np.array([[0.0, 1.0]]))[0]
    assert (expansion.expanded_line(x, y, w, centre)[1] < 1e-9).mean() > 0.7


def test_what_lies_out_of_reach_is_said_to() -> None:
    x, y, w = sample(150)
    far = np.array([logit(0.999), 1.0])
    assert np.isinf(expansion.expanded_line(x, y, w, far)[1]).all()
    assert np.isinf(expansion.expanded_shift(x, y, w, 9.0)[1]).all()
