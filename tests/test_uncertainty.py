from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy, norm

from equipoise.contract.counter import numpy_stream
from equipoise.uncertainty import credible_interval, decompose, fewest_draws, predictive_interval

SHAPES = st.tuples(st.integers(2, 6), st.integers(1, 4), st.integers(1, 3))


def probabilities(shape: tuple[int, int, int]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, shape, elements=st.floats(0, 1, allow_subnormal=False))


@given(SHAPES.flatmap(probabilities))
@example(np.array([[[0.1]], [[0.1]], [[0.1]]]))  # the mean of equal draws is not their common value in floating point
@example(np.array([[[0.0]], [[1.0]]]))
@example(np.array([[[0.3]], [[0.3 + 2**-54]]]))  # differs in the last bit: divergence far below the entropies' rounding
@settings(deadline=None)
def test_total_is_aleatoric_plus_epistemic_and_epistemic_is_zero_only_for_equal_draws(p: np.ndarray) -> None:
    for form in ("entropy", "variance"):
        d = decompose(p, p * (1 - p), [form] * p.shape[2], exclusive=False)
        assert np.array_equal(d.total, d.aleatoric + d.epistemic)
        assert (d.epistemic >= 0).all()
        spread = np.ptp(p, axis=0)
        assert (d.epistemic[spread == 0] == 0).all()
        assert (d.epistemic[spread > 1e-100] > 0).all()


@given(SHAPES.flatmap(probabilities))
@settings(deadline=None)
def test_entropy_form_equals_the_textbook_formulas(p: np.ndarray) -> None:
    d = decompose(p, p * (1 - p), ["entropy"] * p.shape[2], exclusive=False)
    total = entropy(np.stack([p.mean(0), 1 - p.mean(0)]), axis=0)
    aleatoric = entropy(np.stack([p, 1 - p]), axis=0).mean(0)
    assert np.allclose(d.total, total, atol=1e-12)
    assert np.allclose(d.aleatoric, aleatoric, atol=1e-12)
    assert np.allclose(d.epistemic, total - aleatoric, atol=1e-12)


def test_classes_that_exclude_one_another_share_their_joint_entropy() -> None:
    p = numpy_stream("test", 0).dirichlet([1.0, 2.0, 0.5], size=(40, 6))
    d = decompose(p, p * (1 - p), ["entropy"] * 3, exclusive=True)
    total, aleatoric = entropy(p.mean(0), axis=-1), entropy(p, axis=-1).mean(0)
    assert np.allclose(d.total, np.repeat(total[:, None], 3, 1))
    assert np.allclose(d.aleatoric, np.repeat(aleatoric[:, None], 3, 1))
    assert np.allclose(d.epistemic, np.repeat((total - aleatoric)[:, None], 3, 1))


def test_variance_form_is_the_law_of_total_variance_of_the_mixture() -> None:
    rng = numpy_stream("test", 1)
    mean, sd = rng.normal(3, 2, (5, 1, 1)), rng.uniform(0.5, 2, (5, 1, 1))
    d = decompose(mean, sd**2, ["variance"], exclusive=False)
    sample = (mean + sd * rng.standard_normal((5, 400_000, 1))).ravel()
    assert d.total.item() == pytest.approx(sample.var(), rel=0.01)
    assert d.epistemic.item() == pytest.approx(mean.var())


def test_labels_of_both_forms_stand_side_by_side() -> None:
    rng = numpy_stream("test", 2)
    mu = rng.uniform(size=(8, 3, 2))
    mean = np.concatenate([mu, mu[..., 1:] - mu[..., :1]], axis=-1)
    variance = np.concatenate([mu * (1 - mu), np.full((8, 3, 1), math.nan)], axis=-1)
    d = decompose(mean, variance, ["entropy", "entropy", "variance"], exclusive=False)
    assert np.array_equal(d.total[:, :2], decompose(mu, mu * (1 - mu), ["entropy"] * 2, exclusive=False).total)
    assert np.allclose(d.epistemic[:, 2], mean[..., 2].var(0))
    assert np.isnan(d.aleatoric[:, 2]).all()
    assert np.isnan(d.total[:, 2]).all()


def test_one_draw_is_not_estimated_and_never_zero() -> None:
    p = np.full((1, 4, 1), 0.3)
    d = decompose(p, p * (1 - p), ["entropy"], exclusive=False)
    assert np.isnan([d.aleatoric, d.epistemic, d.total]).all()
    d = decompose(p, np.full_like(p, 2.5), ["variance"], exclusive=False)
    assert (d.aleatoric == 2.5).all()
    assert (d.total == 2.5).all()
    assert np.isnan(d.epistemic).all()
    assert np.isnan(credible_interval(p, 0.95).lo).all()


def test_rows_that_are_nan_stay_nan_and_leave_the_others_alone() -> None:
    p = numpy_stream("test", 3).uniform(size=(20, 4, 2))
    p[:, 1] = math.nan
    for form in ("entropy", "variance"):
        d = decompose(p, p * (1 - p), [form] * 2, exclusive=False)
        for part in (d.aleatoric, d.epistemic, d.total):
            assert np.isnan(part[1]).all()
            assert np.isfinite(part[[0, 2, 3]]).all()
    assert np.isnan(credible_interval(p, 0.9).lo[1]).all()
    assert np.isfinite(credible_interval(p, 0.9).lo[[0, 2, 3]]).all()
    interval = predictive_interval(p, np.ones_like(p), 0.9)
    assert np.isnan(interval.lo[1]).all()
    assert np.isfinite(interval.hi[[0, 2, 3]]).all()


def test_a_wrong_shape_form_or_level_is_refused() -> None:
    p = np.full((2, 3, 2), 0.5)
    half = np.full((1, 3, 2), 0.5)
    wrong = [(half, ["entropy"] * 2, False), (p, ["entropy"], False), (p, ["nats", "entropy"], False), (p, ["entropy", "variance"], True)]
    for variance, form, exclusive in wrong:
        with pytest.raises(ValueError, match="form"):
            decompose(p, variance, form, exclusive)
    with pytest.raises(ValueError, match="level"):
        credible_interval(p, 95)


def test_the_credible_interval_holds_its_level_over_many_draws() -> None:
    p = numpy_stream("test", 4).beta(2, 5, size=(4000, 3, 1))
    interval = credible_interval(p, 0.8)
    inside = ((p >= interval.lo) & (p <= interval.hi)).mean(0)
    assert np.allclose(inside, 0.8, atol=0.001)
    assert np.allclose((p < interval.lo).mean(0), 0.1, atol=0.001)


@pytest.mark.parametrize(("level", "fewest"), [(0.9, 19), (0.8, 9), (0.95, 39)])
def test_no_interval_is_drawn_from_too_few_draws_and_one_from_enough_holds_about_its_level(level: float, fewest: int) -> None:
    """One more member falls inside the interval of S others as often as the level says, once there are enough; the range of four holds 60 %."""
    assert fewest_draws(level) == fewest
    draws = numpy_stream("test", 5).standard_normal((fewest + 1, 4000, 1))
    assert np.isnan(credible_interval(draws[: fewest - 1], level).lo).all()
    interval = credible_interval(draws[:fewest], level)
    inside = (interval.lo <= draws[-1]) & (draws[-1] <= interval.hi)
    assert level - 0.06 < inside.mean() < level + 0.02
    four = draws[:4]
    assert ((four.min(0) <= draws[-1]) & (draws[-1] <= four.max(0))).mean() == pytest.approx(0.6, abs=0.03)


@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(0.5, 0.99))
@settings(deadline=None, max_examples=40)
def test_the_predictive_interval_has_exactly_its_level_under_the_mixture(seed: int, n_draws: int, level: float) -> None:
    rng = numpy_stream("mixture", seed)
    mean, sd = rng.normal(0, 10, (n_draws, 3, 2)), 10 ** rng.uniform(-2, 1, (n_draws, 3, 2))
    interval = predictive_interval(mean, sd**2, level)
    assert np.allclose(norm.cdf(interval.lo, mean, sd).mean(0), (1 - level) / 2, atol=1e-6)
    assert np.allclose(norm.cdf(interval.hi, mean, sd).mean(0), (1 + level) / 2, atol=1e-6)


def test_the_predictive_interval_of_one_draw_is_the_normals() -> None:
    interval = predictive_interval(np.array([[[1.0]]]), np.array([[[4.0]]]), 0.95)
    assert interval.lo.item() == pytest.approx(1 - 1.959963984540054 * 2)
    assert interval.hi.item() == pytest.approx(1 + 1.959963984540054 * 2)
