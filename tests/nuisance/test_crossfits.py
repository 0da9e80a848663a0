"""Pseudo-outcomes of a cohort: from other clusters' rows, never from those that will be judged; known propensities; what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.retargeted import retargeted
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.fit import resampled_rows
from equipoise.nuisance import CrossFits
from equipoise.nuisance.regressions import Regressions
from equipoise.stats.pseudo_outcomes import PseudoOutcomes
from nuisance.effect_cohorts import columns_cohort, config_of, effect_target, settings

N = 300


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, a, y: outcome x0 + a (1 + x0) + noise, treatment by x0."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 3))
    a = (rng.random(N) < 1 / (1 + np.exp(-x[:, 0]))).astype(np.int64)
    return x, a, x[:, 0] + a * (1 + x[:, 0]) + 0.5 * rng.standard_normal(N)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    x, a, y = world()
    return columns_cohort(tmp_path_factory.mktemp("effects") / "c", x, {"effect": effect_target(y, a)}, a_cluster=3)


def made(cohort: Cohort, folder: Path, config: dict[str, Any], split: Split | None = None) -> PseudoOutcomes:
    (one,) = CrossFits(cohort).of(config, split or Split.of(cohort), folder)().values()
    return one


def changed(cohort: Cohort, rows: np.ndarray, **values: pl.Expr) -> Cohort:
    """The cohort with other outcomes in these rows."""
    target = cohort.target("effect")
    mask = pl.lit(pl.Series(np.isin(np.arange(cohort.size), rows)))
    table = target.table.with_columns(pl.when(mask).then(v).otherwise(pl.col(k)).alias(k) for k, v in values.items())
    return retargeted(cohort, {"effect": replace(target, table=table)})


def test_train_and_select_rows_have_them_and_no_others(cohort: Cohort, tmp_path: Path) -> None:
    split = Split.of(cohort)
    for task, rows in {"effect_learner": [*split.train, *split.select], "treatment_effect": split.select, "tarnet": split.select}.items():
        assert set(np.flatnonzero(made(cohort, tmp_path, config_of(task)).known)) == set(rows), task


def test_rows_that_will_be_judged_say_nothing_and_select_rows_nothing_of_train_rows(cohort: Cohort, tmp_path: Path) -> None:
    split, config = Split.of(cohort), config_of()
    before = made(cohort, tmp_path, config)
    other = {"outcome": 100 - pl.col("outcome"), "treatment": 1 - pl.col("treatment")}
    for rows in (split.calibrate, split.held_out):
        after = made(changed(cohort, rows, **other), tmp_path, config)
        assert np.array_equal(after.value, before.value, equal_nan=True)
    after = made(changed(cohort, split.select, **other), tmp_path, config)
    assert np.array_equal(after.value[split.train], before.value[split.train])


def test_nobodys_nuisances_come_from_rows_of_the_same_cluster(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    read = Regressions.read

    def spied(self: Regressions, rows: np.ndarray) -> Any:
        seen.append((self.rows, rows))
        return read(self, rows)

    monkeypatch.setattr(Regressions, "read", spied)
    made(cohort, tmp_path, config_of())
    cluster, split = cohort.rows["cluster"].to_numpy(), Split.of(cohort)
    assert len(seen) == 6
    for fitted, rows in seen:
        assert not set(cluster[fitted]) & set(cluster[rows])
        assert set(fitted) <= set(split.train)
    assert sorted(np.concatenate([rows for _, rows in seen[:5]])) == sorted(split.train)
    assert np.array_equal(seen[5][1], split.select)


def test_a_rows_own_outcome_moves_its_residual_alone(cohort: Cohort, tmp_path: Path) -> None:
    """The DR score of a row rises by delta (a - e)/(e (1 - e)), with e as before: its nuisances do not know its outcome."""
    row, config = np.array([3]), config_of(nuisance=settings(propensity=0.5))
    before, after = (made(c, tmp_path, config).value[3] for c in (cohort, changed(cohort, row, outcome=pl.col("outcome") + 1.0)))
    arm = int(cohort.target("effect").table["treatment"][3])
    assert after - before == pytest.approx(2.0 if arm else -2.0)


def test_a_known_propensity_is_used_as_it_is(cohort: Cohort, tmp_path: Path) -> None:
    split = Split.of(cohort)
    one = made(cohort, tmp_path, config_of(nuisance=settings(propensity=0.75, select_by="r")))
    record = json.loads((tmp_path / "nuisance.json").read_text())["effect_learner"]
    assert record["known_propensity"] == 0.75
    assert "treated" not in record["estimators"]
    treated = cohort.target("effect").table["treatment"].to_numpy()[split.select]
    assert one.weight[split.select] == pytest.approx((treated - 0.75) ** 2)
    # A wrong one is believed: it is declared.
    assert not np.allclose(one.value[split.select], made(cohort, tmp_path, config_of(nuisance=settings(propensity=0.5))).value[split.select])


@pytest.mark.slow
def test_the_record_says_what_was_done(cohort: Cohort, tmp_path: Path) -> None:
    made(cohort, tmp_path, config_of(nuisance=settings(("linear", "boosting"), clip=0.3)))
    record = json.loads((tmp_path / "nuisance.json").read_text())["effect_learner"]
    assert (record["learns_from"], record["selected_by"], record["folds"]) == ("dr", "r", 5)
    assert set(record["estimators"]) == {"treated", "treated_outcome", "untreated_outcome"}
    assert all(sum(found.values()) == 6 and set(found) <= {"linear", "boosting"} for found in record["estimators"].values())
    assert record["clipped"] > 0
    assert (record["train_rows"], record["select_rows"]) == (Split.of(cohort).train.size, Split.of(cohort).select.size)
    assert "p1" not in json.dumps(record)


def test_the_estimator_of_least_inner_loss_is_taken(tmp_path: Path) -> None:
    """Trees follow a step and a line does not; of a straight line the line is better."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (900, 2))
    a = rng.integers(0, 2, 900)
    chosen = {}
    for name, mean in {"step": 4.0 * (np.abs(x[:, 0]) < 1), "line": 2 * x[:, 0] + x[:, 1]}.items():
        own = columns_cohort(tmp_path / name, x, {"effect": effect_target(mean + 0.3 * rng.standard_normal(900), a)})
        made(own, tmp_path, config_of("treatment_effect", nuisance=settings(("linear", "boosting"))))
        chosen[name] = json.loads((tmp_path / "nuisance.json").read_text())["treatment_effect"]["estimators"]
    assert chosen["step"]["treated_outcome"] == chosen["step"]["untreated_outcome"] == {"boosting": 1}
    assert chosen["line"]["treated_outcome"] == chosen["line"]["untreated_outcome"] == {"linear": 1}


def test_the_same_rows_and_settings_are_regressed_once(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crossfits, split, config = CrossFits(cohort), Split.of(cohort), config_of()
    first = crossfits.of(config, split, tmp_path / "a")()["effect_learner"]
    monkeypatch.setattr(Regressions, "fit", None)
    assert crossfits.of(config, split, tmp_path / "b")()["effect_learner"] is first
    assert (tmp_path / "a" / "nuisance.json").read_bytes() == (tmp_path / "b" / "nuisance.json").read_bytes()
    with pytest.raises(TypeError):
        crossfits.of(config, replace(split, train=split.train[3:]), tmp_path / "c")()


def test_nothing_is_made_for_tasks_that_need_none(cohort: Cohort, tmp_path: Path) -> None:
    from small_config import small_config

    assert CrossFits(cohort).of(small_config(views=("biomarker",)), Split.of(cohort), tmp_path)() == {}
    assert not (tmp_path / "nuisance.json").exists()


def test_it_is_the_same_whatever_order_and_repeats_of_drawn_rows(cohort: Cohort, tmp_path: Path) -> None:
    split = Split.of(cohort)
    drawn = resampled_rows(split.train, cohort.rows["cluster"].to_numpy(), "test", 0)
    assert np.unique(drawn).size < drawn.size
    one = made(cohort, tmp_path, config_of(), replace(split, train=drawn))
    two = made(cohort, tmp_path, config_of(), replace(split, train=drawn[::-1]))
    assert set(np.flatnonzero(one.known)) == {*drawn, *split.select}
    assert np.array_equal(one.value, two.value, equal_nan=True)
    # A cluster that was drawn twice teaches twice.
    assert not np.array_equal(one.value, made(cohort, tmp_path, config_of(), replace(split, train=np.unique(drawn))).value, equal_nan=True)


def odd(tmp_path: Path, target: TargetTable, name: str = "odd", **values: Any) -> PseudoOutcomes:
    own = columns_cohort(tmp_path / name, world()[0], {"effect": target}, a_cluster=3)
    return made(own, tmp_path, config_of(nuisance=settings(("linear", "boosting"), folds=3), **values))


def test_rows_without_outcome_or_treatment_have_none(tmp_path: Path) -> None:
    _, a, y = world()
    y[:20], a[20:40] = np.nan, -1
    one = odd(tmp_path, effect_target(y, a))
    assert not one.known[:40].any()
    assert one.known[40:240].all()


def test_one_class_in_an_arm_and_weights_give_finite_numbers(tmp_path: Path) -> None:
    _, a, y = world()
    binary = np.where(a == 1, 1.0, y > 1)
    one = odd(tmp_path, effect_target(binary, a, weight=np.linspace(0.1, 5, N)))
    assert np.isfinite(one.value[:240]).all()
    assert np.abs(one.value[:240]).max() < 2 / 0.05


def test_an_arm_that_is_empty_or_in_one_cluster_is_refused_with_the_counts(tmp_path: Path) -> None:
    _, a, y = world()
    with pytest.raises(UserError, match=r"treatment 0: \d+, treatment 1: 0"):
        odd(tmp_path, effect_target(y, np.zeros_like(a)), "none")
    with pytest.raises(UserError, match=r"treatment 0: \d+, treatment 1: 0"):
        odd(tmp_path, effect_target(y, (np.arange(N) < 3).astype(np.int64)), "one")


@pytest.mark.slow
def test_lack_of_overlap_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x, _, y = world()
    a = (x[:, 0] + 0.1 * np.random.default_rng(0).standard_normal(N) > 0).astype(np.int64)
    one = odd(tmp_path, effect_target(y, a))
    assert np.isfinite(one.value[:240]).all()
    assert "hardly seen" in caplog.text
    assert "p1" not in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [("folds", 1), ("select_by", "nll"), ("propensity", 1.0), ("propensity", -0.1), ("clip", 0.5), ("censoring_truncation", 0.5), ("estimators", {})],
)
def test_impossible_settings_are_refused_before_anything_is_fitted(cohort: Cohort, tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"nuisance\.{key} has a wrong value"):
        CrossFits(cohort).of(config_of(nuisance=settings(**{key: value})), Split.of(cohort), tmp_path)


def test_an_estimator_whose_loss_is_not_known_cannot_be_chosen_among_several(cohort: Cohort, tmp_path: Path) -> None:
    node = settings()
    node["estimators"] |= {"prevalence": {"_target_": "equipoise.comparator.prevalence.Prevalence", "name": "prevalence", "required": False, "seed": 0}}
    with pytest.raises(UserError, match="says nothing of its loss"):
        made(cohort, tmp_path, config_of(nuisance=node))
