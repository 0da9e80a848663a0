"""Shapley values against their definition over orders of the players, their axioms, and a linear model's closed form."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.shapley import coalition, shapley

games = st.integers(1, 6).flatmap(lambda m: st.lists(st.floats(-100, 100), min_size=1 << m, max_size=1 << m).map(np.array))


def _over_orders(v: np.ndarray) -> np.ndarray:
    m = v.size.bit_length() - 1
    total = np.zeros(m)
    orders = list(permutations(range(m)))
    for order in orders:
        s = 0
        for i in order:
            total[i] += v[s | 1 << i] - v[s]
            s |= 1 << i
    return total / len(orders)


@settings(max_examples=40, deadline=None)
@given(games)
def test_it_is_the_mean_over_all_orders_and_efficient(v: np.ndarray) -> None:
    phi = shapley(v)
    np.testing.assert_allclose(phi, _over_orders(v), atol=1e-11)
    assert phi.sum() == pytest.approx(v[-1] - v[0], abs=1e-11)


def test_who_adds_nothing_gets_nothing_and_equals_get_the_same() -> None:
    rng = np.random.default_rng(1)
    v = rng.standard_normal(16)
    s = np.arange(16)
    null = v[s & ~4]  # player 2 changes no coalition's value
    assert shapley(null)[2] == pytest.approx(0, abs=1e-15)
    swapped = (s & ~3) | (s & 1) << 1 | (s >> 1 & 1)
    phi = shapley(v + v[swapped])  # players 0 and 1 may be exchanged
    assert phi[0] == pytest.approx(phi[1], abs=1e-15)


def test_it_is_linear_and_games_on_leading_axes_are_apart() -> None:
    rng = np.random.default_rng(2)
    v = rng.standard_normal((3, 5, 32))
    phi = shapley(v)
    assert phi.shape == (3, 5, 5)
    np.testing.assert_allclose(phi[1, 2], shapley(v[1, 2]), atol=1e-14)
    np.testing.assert_allclose(shapley(2 * v[0] - 3 * v[1]), 2 * phi[0] - 3 * phi[1], atol=1e-13)
    v[0, 0, 7] = np.nan
    assert np.isnan(shapley(v)[0, 0]).all()
    np.testing.assert_allclose(shapley(v)[1:], phi[1:])


def test_a_common_level_leaves_no_rounding() -> None:
    rng = np.random.default_rng(3)
    v = rng.standard_normal(64)
    np.testing.assert_allclose(shapley(v + 2.0**30), shapley((v + 2.0**30) - 2.0**30), rtol=0, atol=1e-14)


def test_explained_variance_of_a_linear_model_is_divided_as_lindeman_merenda_and_gold_do() -> None:
    """R2 of two correlated inputs: each gets its own share and half of what both know (closed form)."""
    b, r = np.array([1.0, 0.5]), 0.6
    total = b @ np.array([[1, r], [r, 1]]) @ b
    alone = np.array([(b[0] + r * b[1]) ** 2, (b[1] + r * b[0]) ** 2])
    phi = shapley(np.array([0.0, *alone, total]))
    np.testing.assert_allclose(phi, [(alone[0] + total - alone[1]) / 2, (alone[1] + total - alone[0]) / 2], atol=1e-15)


def test_a_coalition_has_a_bit_for_each_member() -> None:
    players = ["ehr", "genotype", "biomarker"]
    assert [coalition(m, players) for m in ([], ["ehr"], ["biomarker"], ["biomarker", "ehr"])] == [0, 1, 4, 5]


@pytest.mark.parametrize("shape", [(3,), (1,), (0,), ()])
def test_coalitions_must_be_complete(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"not those of all 2\^M"):
        shapley(np.zeros(shape))
