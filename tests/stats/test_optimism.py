"""Optimism: a model of noise, whose truth is known, and the bounds of .632+."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.stats.optimism import optimism_corrected, point_632_plus


def test_noise_that_is_learnt_is_taken_back() -> None:
    corrected, apparent = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(80, 10)), rng.normal(size=80)

        def r2(made: np.ndarray, judged: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            b = np.linalg.lstsq(x[made], y[made], rcond=None)[0]
            return 1 - ((y[judged] - x[judged] @ b) ** 2).sum() / ((y[judged] - y[judged].mean()) ** 2).sum()

        rows = np.arange(80)
        drawn = [rng.integers(0, 80, 80) for _ in range(30)]
        made = optimism_corrected(r2(rows, rows), np.array([r2(d, d) for d in drawn]), np.array([r2(d, rows) for d in drawn]))
        corrected.append(made.corrected)
        apparent.append(made.apparent)
    assert np.mean(apparent) > 0.1
    assert -0.25 < np.mean(corrected) < 0.0  # R2 of a fitted noise on new rows is about -k/n = -.125


def test_resamples_without_a_value_are_left_out() -> None:
    made = optimism_corrected(0.9, np.array([0.9, np.nan]), np.array([0.8, 0.7]))
    assert (made.resamples, made.corrected) == (1, pytest.approx(0.8))
    assert np.isnan(made.se)


@pytest.mark.parametrize("none", [0.5, 0.25])
def test_632_plus_lies_between_and_leans_to_the_left_out_when_nothing_was_learnt(none: float) -> None:
    apparent = 0.9 if none == 0.5 else 0.05  # an AUROC; a Brier score
    assert point_632_plus(apparent, none, none) == pytest.approx(none)
    assert point_632_plus(apparent, apparent, none) == pytest.approx(apparent)
    middle = point_632_plus(apparent, (apparent + none) / 2, none)
    assert min(apparent, none) < middle < max(apparent, none)
    worse = none - (apparent - none) / 10
    assert point_632_plus(apparent, worse, none) == pytest.approx(none)
