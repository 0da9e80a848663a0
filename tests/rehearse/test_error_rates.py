"""Rates of a rehearsal against known answers: models of which it is known how good they are stand in for fitted ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit

from equipoise.contract.counter import numpy_stream
from equipoise.contract.question import Question
from equipoise.predict_table import prediction_table
from equipoise.rehearse import one
from equipoise.rehearse.expected import true_gain
from equipoise.rehearse.figures import figures_of
from equipoise.rehearse.fits import Fits
from equipoise.rehearse.one import World, one_twin
from equipoise.rehearse.world import world_of
from rehearse.worlds import cohort_of, config_of

pytestmark = pytest.mark.slow
TWINS = 160


def noisy(truth: np.ndarray, size: float, counter: int) -> np.ndarray:
    return np.asarray(expit(logit(truth) + size * numpy_stream("test-noise", counter).standard_normal(truth.size)))


def rehearsed(world: World, patch: pytest.MonkeyPatch, tmp_path: Path, models: dict[str, np.ndarray]) -> dict[str, object]:
    """All twins' figures with these risks of the held-out rows in the place of fitted ones."""

    def fitted(config: object, twin: object, split: object, question: Question, folder: Path) -> Fits:
        rows = world.cohort.rows_in("held_out")
        tables = [
            prediction_table(question, world.cohort, rows, model=name, risk_raw=risk[:, None], risk=risk[:, None], role="held_out")
            for name, risk in models.items()
        ]
        return Fits(pl.concat(tables, how="diagonal_relaxed"), [m for m in models if m != "equipoise"], {}, None)

    patch.setattr(one, "fitted", fitted)
    line: dict[str, object] = figures_of([one_twin(world, i, tmp_path) for i in range(TWINS)])["by_gain"][0]
    return line


def test_verdicts_keep_their_error_rate_their_power_and_their_coverage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(config_of("rehearse.gains=[0.0]", "trial.n_bootstrap=300", "trial.net_benefit_margin_share=5.0"), cohort_of(tmp_path, n=1500))
    truth = world.risks[0.0][world.cohort.rows_in("held_out")]
    ones = np.ones(truth.size)
    other = noisy(truth, 0.6, 1)
    # Another noise of the size at which the model is exactly as good as the comparator: the edge of the null.
    size = brentq(lambda s: true_gain(world.primary, world.protocol, noisy(truth, s, 2), other, truth, ones) + 1e-9, 0.1, 2.0)
    null = rehearsed(world, monkeypatch, tmp_path, {"equipoise": noisy(truth, size, 2), "linear": other})
    error = 3 * np.sqrt(0.025 * 0.975 / TWINS)
    assert null["truly_better"]["events"] == 0  # type: ignore[index]
    assert null["claims"]["events"] == null["false"]["events"]  # type: ignore[index]
    assert null["claims"]["value"] <= 0.025 + error  # type: ignore[index]
    assert abs(null["coverage"]["linear"]["value"] - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / TWINS) + 0.01  # type: ignore[index]

    worse = noisy(truth, 1.2, 3)
    gain = rehearsed(world, monkeypatch, tmp_path, {"equipoise": truth, "linear": worse})
    expected = true_gain(world.primary, world.protocol, truth, worse, truth, ones)
    assert gain["mean_true_gain"] == pytest.approx(expected)
    assert gain["truly_better"]["value"] == 1.0
    assert gain["false"]["events"] == 0
    # The formula's 80 % gain and the counted power agree on which side of 80 % this gain lies.
    assert (gain["claims"]["value"] > 0.8) == (expected > gain["mean_smallest"])  # type: ignore[index,operator]
