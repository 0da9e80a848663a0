"""Rankings, slopes and rules of a treatment effect in the trial: within folds, beside baseline risk, beside a guideline."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.stats.aipw import best_linear_predictor, doubly_robust_scores, effect_slope
from equipoise.stats.effect_ranking import area_interval, autoc
from equipoise.stats.policy import policy_gain
from equipoise.stats.resampled_t import nadeau_bengio
from trial.simulated_predictions import judged, protocol

N = 400


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, z, treatment, outcome: baseline x + z, effect 0.3 + x."""
    rng = np.random.default_rng(seed)
    x, z, a = rng.normal(size=N), rng.normal(size=N), rng.integers(0, 2, N)
    return x, z, a, x + z + a * (0.3 + x) + rng.normal(size=N)


def predictions(answers: dict[str, tuple[np.ndarray, np.ndarray]], a: np.ndarray, y: np.ndarray, **columns: Any) -> pl.DataFrame:
    """A table of models that state (mu0, effect), the propensity 0.5."""
    frames = []
    for model, (mu0, effect) in answers.items():
        for target, risk, arm in (("mu0", mu0, 0), ("mu1", mu0 + effect, 1), ("effect", effect, -1)):
            outcome = np.where(a == arm, y, np.nan)
            own = {"subject_id": [f"s{i}" for i in range(a.size)], "risk": risk, "outcome": outcome, "treatment": a, "total": np.ones(a.size)}
            frames.append(pl.DataFrame(own | columns).with_columns(pl.lit(model).alias("model"), pl.lit(target).alias("target")))
    return pl.concat(frames)


def scores_of(answers: dict[str, tuple[np.ndarray, np.ndarray]], a: np.ndarray, y: np.ndarray) -> np.ndarray:
    mu0, effect = (np.mean([v[k] for v in answers.values()], axis=0) for k in (0, 1))
    return doubly_robust_scores(y, a, mu0, mu0 + effect, np.full(a.size, a.mean()))


def test_one_table_of_rows_has_the_jackknifes_intervals() -> None:
    x, z, a, y = world()
    answers = {"equipoise": (x + z, 0.3 + x), "linear": (x + z, 0.3 + 0.5 * x + z)}
    line = judged(predictions(answers, a, y), kind="treatment_effect")["endpoints"]
    score = scores_of(answers, a, y)
    area, slope = area_interval(score, x, "autoc", 0.95), best_linear_predictor(score, 0.3 + x, 0.95).heterogeneity
    assert [line["autoc"][k] for k in ("value", "lo", "hi")] == pytest.approx([area.value, area.lo, area.hi])
    assert [line["effect_slope"][k] for k in ("value", "lo", "hi")] == pytest.approx([slope.value, slope.lo, slope.hi])
    assert line["autoc"]["lo"] > 0
    assert line["qini"]["lo"] > 0


def test_baseline_risk_ranks_in_the_direction_of_the_models_mean_effect() -> None:
    x, z, a, y = world()
    for sign in (1.0, -1.0):
        answers = {"equipoise": (x + z, sign * (0.3 + x)), "linear": (x + z, 0.3 + x)}
        line = judged(predictions(answers, a, y), kind="treatment_effect")["endpoints"]
        score = scores_of(answers, a, y)
        direction = np.sign((sign * (0.3 + x)).mean())
        assert line["autoc_baseline_risk"]["value"] == pytest.approx(float(autoc(score, direction * (x + z))))
        assert line["autoc_over_baseline_risk"]["value"] == pytest.approx(line["autoc"]["value"] - line["autoc_baseline_risk"]["value"])
        assert line["autoc_baseline_risk"]["better"] == ""


def test_a_guideline_is_a_model_whose_effect_has_the_sign_of_its_rule() -> None:
    x, z, a, y = world()
    guideline = np.where(z > 0, 1.0, -1.0)
    answers = {"equipoise": (x + z, 0.3 + x), "linear": (x + z, guideline)}
    found = judged(predictions(answers, a, y), kind="treatment_effect")
    score, rule = scores_of(answers, a, y), 0.3 + x > 0
    line, paired = found["endpoints"], found["comparisons"]["linear"]
    gains = {"treat_all": float(policy_gain(score, rule, 1.0)), "treat_none": float(policy_gain(score, rule, 0.0))}
    for arm, gain in gains.items():
        assert line[f"policy_value_gain@{arm}"]["value"] == pytest.approx(gain)
    assert line["policy_value_gain"]["value"] == pytest.approx(min(gains.values()))
    assert paired["policy_value_gain@treat_none"]["difference"] == pytest.approx(float(policy_gain(score, rule, guideline > 0)))
    assert paired["policy_value_gain@treat_none"]["lo"] > 0


def test_where_a_lower_outcome_is_better_everything_is_seen_from_the_other_side() -> None:
    x, z, a, y = world()
    answers = {"equipoise": (x + z, 0.3 + x), "linear": (x + z, 0.3 - 0.5 * x)}
    turned = {model: (-mu0, -effect) for model, (mu0, effect) in answers.items()}
    better = judged(predictions(answers, a, y), kind="treatment_effect")
    lower = judged(predictions(turned, a, -y), kind="treatment_effect", protocol=protocol(better_outcome="lower"))
    for name in ("autoc", "qini", "effect_slope", "policy_value_gain", "policy_value_gain@treat_all", "policy_value_gain@treat_none"):
        one, other = ([found["endpoints"][name][k] for k in ("value", "lo", "hi")] for found in (lower, better))
        assert one == pytest.approx(other), name
    assert "above 0" in better["endpoints"]["policy_value_gain"]["note"]
    assert "below 0" in lower["endpoints"]["policy_value_gain"]["note"]


def test_folds_are_judged_apart_and_a_level_of_a_fold_changes_nothing() -> None:
    """A shift of one fold's predicted effects, as different train rows give it, would move pooled ranks and slopes."""
    x, z, a, y = world()
    fold = np.arange(N) % 5
    found = []
    for shift in (0.0, 0.05):
        answers = {"equipoise": (x + z, 5 + x + shift * fold), "linear": (x + z, 5 + x - shift * fold)}
        line = judged(predictions(answers, a, y, fold=fold), kind="treatment_effect", role="cross-validation", opening=None)["endpoints"]
        found.append([line[name][k] for name in ("autoc", "qini", "effect_slope", "top_minus_bottom") for k in ("value", "lo", "hi")])
    assert found[1] == pytest.approx(found[0])
    score = scores_of(answers, a, y)
    by_fold = np.array([float(effect_slope(score[fold == f], x[fold == f])) for f in range(5)])
    expected = nadeau_bengio(by_fold, 0.25, 0.95)
    assert found[0][6:9] == pytest.approx([expected.value, expected.lo, expected.hi])
