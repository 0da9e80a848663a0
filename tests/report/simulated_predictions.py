"""Predictions tables of every kind, drawn from a known truth: what the trial gets from a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

MODELS = {"equipoise": 0.25, "linear": 0.9, "boosting": 1.4}  # how much noise lies on the truth
CLASSES = ("black", "brown", "white")


def _frame(model: str, scenario: str, target: str, n: int, **columns: Any) -> pl.DataFrame:
    ids = {"model": model, "task": "risk", "scenario": scenario, "repeat": 0, "fold": 0, "subject_id": [f"s{i:05d}" for i in range(n)], "target": target}
    return pl.DataFrame(ids | columns | {"cluster": [f"c{i // 2}" for i in range(n)]})


def _arms() -> list[tuple[str, str, float]]:
    return [*[(m, "all", noise) for m, noise in MODELS.items()], ("equipoise", "masked:genotype", 0.8)]


def _expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def binary(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1.5, 1.2, n)
    y = (rng.random(n) < _expit(truth)).astype(float)
    made = []
    for model, scenario, noise in _arms():
        risk = _expit(truth + rng.normal(0, noise, n))
        width = {"lo": risk * 0.8, "hi": np.minimum(risk * 1.2, 1), "epistemic": 0.01 * risk, "aleatoric": risk * (1 - risk)}
        made.append(_frame(model, scenario, "", n, risk=risk, outcome=y, **(width if model == "equipoise" else {})))
    return pl.concat(made, how="diagonal")


def continuous(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.normal(22, 3, n)
    y = truth + rng.normal(0, 1.5, n)
    made = [
        _frame(m, s, "", n, risk=22 + (truth - 22) / (1 + noise**2 / 3) + rng.normal(0, noise, n), outcome=y, total=np.full(n, 2.2 + noise**2))
        for m, s, noise in _arms()
    ]
    # Five folds of a cross-validation in one repeat: clusters stay whole.
    return pl.concat([f.with_columns(fold=pl.Series(np.arange(n) // 2 % 5)) for f in made])


def multiclass(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 1.5, (n, 3))
    y = np.argmax(score + rng.gumbel(size=(n, 3)), axis=1)
    made = []
    for model, scenario, noise in _arms():
        e = np.exp(score + rng.normal(0, noise, (n, 3)))
        risk = e / e.sum(1, keepdims=True)
        made += [_frame(model, scenario, c, n, risk=risk[:, k], outcome=(y == k).astype(float)) for k, c in enumerate(CLASSES)]
    return pl.concat(made)


def time_to_event(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rate = np.exp(rng.normal(-6.5, 0.9, n))
    event_days, censor_days = rng.exponential(1 / rate), rng.uniform(200, 900, n)
    time, event = np.minimum(event_days, censor_days), (event_days <= censor_days).astype(np.int64)
    made = []
    for model, scenario, noise in _arms():
        seen = rate * np.exp(rng.normal(0, noise, n))
        for horizon in (180.0, 365.0):
            status = np.where((time <= horizon) & (event == 1), 1.0, np.where(time > horizon, 0.0, np.nan))
            made.append(
                _frame(model, scenario, f"h={horizon:g}", n, risk=1 - np.exp(-seen * horizon), outcome=status, time_days=time, event=event, entry_days=0.0)
            )
    return pl.concat(made)


def treatment_effect(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    base, effect = rng.normal(0, 1, n), rng.normal(0.4, 0.5, n)
    propensity = _expit(0.5 * base)
    treated = (rng.random(n) < propensity).astype(np.int64)
    y = base + treated * effect + rng.normal(0, 0.7, n)
    made = []
    for model, scenario, noise in _arms():
        mu0 = base + rng.normal(0, noise / 2, n)
        mu1 = mu0 + effect + rng.normal(0, noise / 2, n)
        for target, risk, arm in (("mu0", mu0, 0), ("mu1", mu1, 1), ("effect", mu1 - mu0, None)):
            outcome = np.full(n, np.nan) if arm is None else np.where(treated == arm, y, np.nan)
            made.append(
                _frame(model, scenario, target, n, risk=risk, outcome=outcome, treatment=treated, propensity=propensity, total=np.full(n, 0.5 + noise**2 / 4))
            )
    return pl.concat(made)


KINDS = {f.__name__: f for f in (binary, continuous, multiclass, time_to_event, treatment_effect)}
