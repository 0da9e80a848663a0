"""Functions of many weightings at once against the plain function on the rows of each resample, with enough rows for several blocks of everything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit

from equipoise.stats import pairs
from equipoise.stats.bootstrap import ClusterBootstrap
from equipoise.stats.concordance import harrell_c, uno_c
from equipoise.stats.ipcw import ipcw_brier
from equipoise.stats.recalibration import calibration_in_the_large, calibration_slope
from equipoise.stats.roc import auroc, average_precision
from equipoise.stats.survival import aalen_johansen, censoring_before, censoring_survival, kaplan_meier
from equipoise.stats.weighting import in_cache

N = 1500


def drawn(tied: bool, causes: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    truth = rng.normal(-1, 1.2, N)
    time, event = rng.exponential(6 * np.exp(-truth)), rng.integers(0, causes + 1, N)
    risk = expit(truth + rng.normal(0, 0.7, N))
    if tied:
        time, risk = np.ceil(time), np.round(risk, 2)
    return {"risk": np.clip(risk, 0.01, 0.99), "time": time, "event": event, "y": (rng.random(N) < expit(truth)).astype(float)}


OF_ROWS: dict[str, Callable[..., np.ndarray]] = {
    "auroc": lambda d, k, **o: auroc(d["risk"][k], d["y"][k], **o),
    "average_precision": lambda d, k, **o: average_precision(d["risk"][k], d["y"][k], **o),
    "slope": lambda d, k, **o: calibration_slope(d["risk"][k], d["y"][k], **o),
    "in_the_large": lambda d, k, **o: calibration_in_the_large(d["risk"][k], d["y"][k], **o),
    "harrell": lambda d, k, **o: harrell_c(d["risk"][k], d["time"][k], d["event"][k], **o),
    "uno": lambda d, k, **o: uno_c(d["risk"][k], d["time"][k], d["event"][k], 9.0, **o),
    "brier": lambda d, k, **o: ipcw_brier(d["risk"][k], d["time"][k], d["event"][k], 9.0, **o),
    "kaplan_meier": lambda d, k, **o: kaplan_meier(d["time"][k], d["event"][k], **o).at(np.array([5.0]))[..., 0],
    "aalen_johansen": lambda d, k, **o: aalen_johansen(d["time"][k], d["event"][k], 1, **o).at(np.array([5.0]))[..., 0],
}


@pytest.mark.parametrize("name", OF_ROWS)
@pytest.mark.parametrize("tied", [True, False])
def test_a_block_of_resamples_gives_what_the_repeated_rows_of_each_give(name: str, tied: bool) -> None:
    d, of = drawn(tied), OF_ROWS[name]
    w = ClusterBootstrap(np.arange(N), 5, 1).block(range(5))
    together = of(d, np.arange(N), weight=w)
    for value, times in zip(together, w.astype(int), strict=True):
        assert float(value) == pytest.approx(float(of(d, np.repeat(np.arange(N), times))), abs=1e-10)


def harrell_by_matrix(d: dict[str, np.ndarray], w: np.ndarray) -> float:
    """All pairs at once, one cause."""
    risk, time, event = d["risk"], d["time"], d["event"]
    later = (time[None] > time[:, None]) | ((time[None] == time[:, None]) & (event == 0)[None])
    weight = w[:, None] * w[None] * (later & (event == 1)[:, None])
    return float((weight * ((risk[None] < risk[:, None]) + 0.5 * (risk[None] == risk[:, None]))).sum() / weight.sum())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_pairs_counted_by_blocks_are_all_pairs(tied: bool, whole: bool) -> None:
    """With whole weights in float32, with others in float64."""
    d, rng = drawn(tied, causes=1), np.random.default_rng(2)
    w = rng.integers(0, 4, (3, N)).astype(float) if whole else rng.exponential(1.0, (3, N))
    found = harrell_c(d["risk"], d["time"], d["event"], weight=w)
    np.testing.assert_allclose(found, [harrell_by_matrix(d, row) for row in w], atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [1, 191, 192, 193, 384, 500])
def test_pairs_do_not_depend_on_where_blocks_end(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    d = {k: v[:n] for k, v in drawn(True).items()}
    w = np.random.default_rng(n).integers(0, 3, (4, n)).astype(float)
    found = harrell_c(d["risk"], d["time"], d["event"], weight=w)
    monkeypatch.setattr(pairs, "_BLOCK", 7)
    monkeypatch.setattr(pairs, "_TOGETHER", 3)
    np.testing.assert_array_equal(harrell_c(d["risk"], d["time"], d["event"], weight=w), found)


def test_censoring_before_is_the_step_functions_left_limit() -> None:
    d, at = drawn(True), np.array([0.5, 3.0, 8.0])
    w = np.random.default_rng(0).integers(0, 3, (2, 3, N)).astype(float)
    np.testing.assert_array_equal(censoring_before(d["time"], d["event"], at, w), censoring_survival(d["time"], d["event"], weight=w).before(at))


def test_in_cache_keeps_the_axes_of_the_weights() -> None:
    w = np.arange(2 * 3 * 300_000, dtype=float).reshape(2, 3, 300_000)
    np.testing.assert_array_equal(in_cache(lambda x: x.sum(-1), w), w.sum(-1))
    assert in_cache(lambda x: x[:, :2], w[0, 0]).shape == (2,)
