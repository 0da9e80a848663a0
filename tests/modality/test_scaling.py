import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import skew

from equipoise.modality.rank_normal import RankNormal
from equipoise.modality.scaling import Scaling, skewness

RNG = np.random.default_rng(7)


def test_train_values_have_mean_zero_and_standard_deviation_one() -> None:
    x = RNG.normal(50, 7, (300, 3))
    z = Scaling.fit(x.T, winsorise=None, log_skewness=None)(x)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-12)


def test_outliers_are_clipped_at_the_train_quantiles_also_in_new_data() -> None:
    x = RNG.normal(size=1000)
    scale = Scaling.fit([x], winsorise=0.01, log_skewness=None)
    lo, hi = np.quantile(x, (0.01, 0.99))
    clipped = np.clip(x, lo, hi)
    expected = (np.array([hi, lo, 0.3]) - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(scale(np.array([[1e9], [-1e9], [0.3]]))[:, 0], expected)


def test_the_logarithm_is_taken_of_skewed_values_and_does_not_depend_on_their_unit() -> None:
    skewed, plain = np.exp(RNG.normal(0, 1.5, 500)), RNG.normal(100, 5, 500)
    z = Scaling.fit([skewed, plain], winsorise=None, log_skewness=2.0)(np.stack([skewed, plain], 1))
    logged = np.log1p(skewed / np.median(skewed))
    np.testing.assert_allclose(z[:, 0], (logged - logged.mean()) / logged.std())
    np.testing.assert_allclose(z[:, 1], (plain - plain.mean()) / plain.std())
    other_unit = Scaling.fit([skewed * 88.4], winsorise=None, log_skewness=2.0)(skewed[:, None] * 88.4)
    np.testing.assert_allclose(other_unit[:, 0], z[:, 0])


def test_values_with_a_negative_one_among_them_are_never_logged() -> None:
    x = np.append(np.exp(RNG.normal(0, 2, 200)), -0.5)
    np.testing.assert_allclose(Scaling.fit([x], winsorise=None, log_skewness=1.0)(x[:, None])[:, 0], (x - x.mean()) / x.std())


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)), arrays(np.float64, 5, elements=st.floats(-1e12, 1e12)))
def test_scaling_never_gives_infinity_and_keeps_the_order(train: np.ndarray, new: np.ndarray) -> None:
    for winsorise, log_skewness in ((None, None), (0.05, 1.0)):
        z = Scaling.fit([train], winsorise=winsorise, log_skewness=log_skewness)(np.sort(new)[:, None])[:, 0]
        assert np.isfinite(z).all()
        assert (np.diff(z) >= 0).all()


def test_a_constant_column_is_zero_and_a_column_without_train_values_is_never_observed() -> None:
    z = Scaling.fit([np.full(9, 0.1), np.zeros(0)], winsorise=0.01, log_skewness=2.0)(np.array([[0.1, 5.0]]))
    assert z[0, 0] == 0
    assert np.isnan(z[0, 1])


def test_flat_values_with_their_columns_scale_as_a_matrix_does() -> None:
    x = RNG.gamma(1, size=(50, 4))
    scale = Scaling.fit(x.T, winsorise=0.02, log_skewness=1.0)
    column = np.tile(np.arange(4), 50)
    np.testing.assert_array_equal(scale(x.ravel(), column), scale(x).ravel())


def test_skewness_equals_scipys() -> None:
    x = RNG.gamma(0.7, size=400)
    assert skewness(x) == pytest.approx(skew(x))


def test_rank_normal_scores_are_blom_scores_with_ties_at_their_mean_rank() -> None:
    from scipy.stats import norm, rankdata

    x = RNG.integers(0, 40, 300).astype(float)
    z = RankNormal.fit([x])(x[:, None])[:, 0]
    np.testing.assert_allclose(z, norm.ppf((rankdata(x) - 0.375) / (x.size + 0.25)))


def test_rank_normal_scores_do_not_change_under_a_monotone_change_of_unit() -> None:
    x = RNG.normal(size=5000)
    a, b = RankNormal.fit([x])(x[:, None]), RankNormal.fit([3 * x + 7])(3 * x[:, None] + 7)
    np.testing.assert_allclose(a, b, atol=1e-9)
    assert abs(a.mean()) < 0.01
    assert abs(a.std() - 1) < 0.01


def test_rank_normal_gives_the_extreme_score_beyond_the_train_range() -> None:
    x = RNG.normal(size=100)
    z = RankNormal.fit([x])(np.array([[-1e9], [x.min()], [x.max()], [1e9], [np.nan]]))[:, 0]
    assert z[0] == z[1] < z[2] == z[3]
    assert np.isnan(z[4])
