"""The claim about the way of making a model: intervals over training sets too, against a simulation of training and evaluated samples."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from trial.simulated_predictions import judged, protocol, table


def trained(n: int, luck: float, gain: float, seed: int, k: int = 8) -> pl.DataFrame:
    """Continuous outcomes with unit noise; two means that are off by a common line, the model's less by what it gains; every training sample is luckier
    or less so for the model: ``luck`` is the standard deviation of its squared error over training samples."""
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=n), rng.normal(size=n)
    own = 0.4 - gain + luck * rng.normal()

    def risks(off: float) -> np.ndarray:
        return x + np.sign(off) * np.sqrt(abs(off))

    made = {"equipoise": risks(max(own, 0.0)), "linear": risks(0.4)}
    for i in range(k):
        made |= {f"equipoise|resampled:{i}": risks(max(own + luck * rng.normal(), 0.0)), f"linear|resampled:{i}": risks(0.4)}
    return table(made, x + noise, total=np.ones(n))


def test_luck_in_training_is_claimed_of_the_model_and_not_of_the_way() -> None:
    """The way gains nothing on average; where a training sample was lucky the fitted model is truly better, and only a claim about it is right."""
    lucky = trained(4000, luck=0.1, gain=0.0, seed=3)
    about_model = judged(lucky, "continuous", protocol=protocol(primary="rmse"))
    found = about_model["way"]["linear"]
    assert found["trainings"] == 8
    assert found["way"]["lo"] < found["model"]["lo"] < found["gain"] < found["model"]["hi"] < found["way"]["hi"]
    assert found["way"]["se"] == pytest.approx(np.hypot(found["model"]["se"], found["sd_over_trainings"]))


@pytest.mark.slow
def test_claims_about_the_way_keep_their_error_and_those_about_models_do_not() -> None:
    claims = {"model": 0, "way": 0}
    runs = 200
    for seed in range(runs):
        made = trained(1500, luck=0.08, gain=0.0, seed=seed)
        for about in claims:
            found = judged(made, "continuous", protocol=protocol(primary="rmse", endpoints=["rmse"], about=about, n_bootstrap=100))
            claims[about] += found["verdict"] == "demonstrated gain"
    assert claims["model"] / runs > 0.2
    assert claims["way"] / runs <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / runs)


def test_a_gain_of_the_way_is_found_and_said() -> None:
    found = judged(trained(4000, luck=0.02, gain=0.3, seed=1), "continuous", protocol=protocol(primary="rmse", about="way"))
    assert found["verdict"] == "demonstrated gain"
    assert "about this way of making a model" in found["verdict_detail"]["sentence"]


def test_without_trainings_there_is_no_verdict_about_the_way() -> None:
    plain = trained(400, luck=0.0, gain=0.2, seed=1).filter(pl.col("scenario") == "all")
    assert judged(plain, "continuous", protocol=protocol(about="way"))["verdict"] == "not evaluable"
    assert judged(plain, "continuous")["way"] == {}
    few = trained(400, luck=0.0, gain=0.2, seed=1, k=4)
    assert judged(few, "continuous", protocol=protocol(about="way"))["verdict"] == "not evaluable"


def test_trainings_are_no_scenarios_of_the_page() -> None:
    assert judged(trained(400, luck=0.1, gain=0.0, seed=1), "continuous")["scenarios"] == {}


def test_probabilities_are_widened_too() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(-1, 1, 2000)
    y = (rng.random(2000) < expit(truth)).astype(float)
    made = {"equipoise": expit(truth + 0.2 * rng.normal(size=2000)), "linear": expit(truth + rng.normal(size=2000))}
    for k in range(6):
        made |= {f"equipoise|resampled:{k}": expit(truth + 0.2 * rng.normal(size=2000)), f"linear|resampled:{k}": expit(truth + rng.normal(size=2000))}
    found = judged(table(made, y), protocol=protocol(about="way"))
    assert found["verdict"] == "demonstrated gain"
    assert found["verdict_detail"]["net_benefit"]["not_inferior"]
