"""Agreement of the optimism bootstrap with rms::validate (values frozen in optimism.json, made by make_optimism.R)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from equipoise.stats.logistic import logistic_fit, logistic_risk
from equipoise.stats.optimism import optimism_corrected
from equipoise.stats.recalibration import calibration_slope
from equipoise.stats.roc import auroc
from equipoise.stats.scores import brier

pytestmark = pytest.mark.reference
MEASURES = {
    "dxy": lambda risk, y: 2 * float(auroc(risk, y)) - 1,
    "brier": lambda risk, y: float(brier(risk, y).mean()),
    "slope": lambda risk, y: float(calibration_slope(risk, y)),
}


@pytest.mark.parametrize("name", list(MEASURES))
def test_optimism_of_a_logistic_model_equals_rms_validate_on_its_resamples(name: str) -> None:
    r = json.loads((Path(__file__).parent / "optimism.json").read_text())
    x, y, measure = np.array(r["x"]), np.array(r["y"]), MEASURES[name]

    def of_model(made_on: np.ndarray, judged_on: np.ndarray) -> float:
        b = logistic_fit(x[made_on], y[made_on], ridge=1e-12)
        return measure(logistic_risk(x[judged_on], b), y[judged_on])

    rows = np.arange(y.size)
    pairs = [(of_model(i, i), of_model(i, rows)) for i in np.array(r["index"])]
    made = optimism_corrected(of_model(rows, rows), *np.array(pairs).T)
    theirs = r[name]
    tolerance = {"abs": 1e-5} if name != "dxy" else {"abs": 1e-9}  # lrm stops its iterations earlier
    assert made.apparent == pytest.approx(theirs[0], **tolerance)
    assert made.optimism == pytest.approx(theirs[3], **tolerance)
    assert made.corrected == pytest.approx(theirs[4], **tolerance)
