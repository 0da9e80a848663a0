"""Roles: whole clusters, shares, strata, folds, and the laws that refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.outcomes import check_events, event_counts, strata_of
from equipoise.cohort.roles import assign_roles, check_disjoint, fold_split, folds_of, inner_folds
from equipoise.cohort.split import Split
from equipoise.cohort.targets import target_table
from equipoise.contract.errors import UserError
from equipoise.contract.tables import ROLES
from equipoise.testing.cohorts import tiny_cohort

SHARES = {"train": 0.6, "select": 0.1, "calibrate": 0.1, "held_out": 0.2}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=20, max_size=200), st.integers(0, 1000))
@example([0] * 17 + [1, 2, 3], 0)
def test_a_cluster_never_straddles_roles_and_no_role_stays_empty(sizes: list[int], seed: int) -> None:
    cluster = np.array(sizes)
    if np.unique(cluster).size < 4:
        with pytest.raises(UserError, match="cannot be divided into 4 roles"):
            assign_roles(cluster, SHARES, seed)
        return
    role = assign_roles(cluster, SHARES, seed)
    assert all(np.unique(role[cluster == c]).size == 1 for c in np.unique(cluster))
    assert set(role.tolist()) == set(ROLES)
    check_disjoint(cluster, Split.from_roles(role))


def test_shares_and_strata_are_met_for_single_subjects_and_for_families() -> None:
    rng = np.random.default_rng(0)
    outcome = (rng.random(4000) < 0.05).astype(int)
    for cluster in (np.arange(4000), rng.integers(0, 600, 4000)):
        role = assign_roles(cluster, SHARES, 3, outcome)
        for name, share in SHARES.items():
            assert abs((role == name).mean() - share) < 0.01
            assert abs((role[outcome == 1] == name).mean() - share) < 0.03


def test_roles_depend_on_the_seed_and_on_nothing_else() -> None:
    cluster = np.arange(300) // 3
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    one = assign_roles(cluster, SHARES, 5)
    np.random.seed(2)  # noqa: NPY002
    assert (assign_roles(cluster, SHARES, 5) == one).all()
    assert (assign_roles(cluster, SHARES, 6) != one).any()


def test_every_cluster_has_its_chance_of_every_role() -> None:
    cluster = np.repeat(np.arange(30), [12] + [2] * 29)
    held_out = [(assign_roles(cluster, {"train": 0.7, "held_out": 0.3}, seed)[0] == "held_out") for seed in range(300)]
    assert 0.1 < np.mean(held_out) < 0.5


def test_fold_splits_hold_every_row_out_once_and_keep_the_law(tmp_path: Path) -> None:
    cohort = tiny_cohort(tmp_path / "c", n=200)
    held_out = []
    for fold in folds_of(cohort, 1):
        split = fold_split(cohort, 1, fold, select_share=0.2, calibrate_share=0.1, seed=0)
        check_disjoint(cohort.rows["cluster"].to_numpy(), split)
        held_out.append(split.held_out)
        everything = np.concatenate([split.rows(r) for r in ROLES])
        assert np.array_equal(np.sort(everything), np.arange(200))
        outer = 200 - split.held_out.size
        assert abs(split.select.size / outer - 0.2) < 0.05
        assert abs(split.calibrate.size / outer - 0.1) < 0.05
    assert np.array_equal(np.sort(np.concatenate(held_out)), np.arange(200))
    without = fold_split(cohort, 1, 0, select_share=0.2, calibrate_share=0.0, seed=0)
    assert without.calibrate.size == 0
    with pytest.raises(UserError, match="no fold 9 in repeat 1"):
        fold_split(cohort, 1, 9, select_share=0.2, calibrate_share=0.0, seed=0)
    with pytest.raises(UserError, match="together below 1"):
        fold_split(cohort, 1, 0, select_share=0.6, calibrate_share=0.4, seed=0)


def test_inner_folds_check_every_row_once_and_keep_clusters_whole() -> None:
    rng = np.random.default_rng(0)
    cluster = np.array([f"F{i}" for i in rng.integers(0, 40, 500)])
    rows = rng.choice(500, 300, replace=False)
    made = inner_folds(cluster, rows, 4, seed=2)
    assert np.array_equal(np.sort(np.concatenate([check for _, check in made])), np.sort(rows))
    for fit, check in made:
        assert not set(cluster[fit]) & set(cluster[check])
        assert np.array_equal(np.sort(np.concatenate([fit, check])), np.sort(rows))
        assert 50 < check.size < 100
    with pytest.raises(UserError, match="at least 2 clusters"):
        inner_folds(np.zeros(9), np.arange(9), 3, seed=0)


def test_a_cluster_in_two_roles_breaks_the_law() -> None:
    split = Split.from_roles(np.array(["train", "held_out", "select", "train"]))
    with pytest.raises(UserError, match="1 clusters serve both train and held_out"):
        check_disjoint(np.array(["a", "a", "b", "c"]), split)


def test_wrong_shares_are_named() -> None:
    for shares in ({}, {"train": -1.0, "held_out": 2.0}, {"train": float("nan")}, {"train": 0.0}):
        with pytest.raises(UserError, match="Role shares"):
            assign_roles(np.arange(9), shares, 0)


def binary(outcome: list[float]) -> TargetTable:
    return TargetTable("binary", target_table(np.array(outcome, float)))


def test_too_few_events_are_refused_with_their_count() -> None:
    role = np.array(["train"] * 50 + ["held_out"] * 50)
    rare = binary([1.0] * 7 + [0.0] * 43 + [1.0] * 20 + [0.0] * 30)
    with pytest.raises(UserError, match=r"target 'died' has 7 of kind 'event' among the 50 train rows.*at least 10"):
        check_events(rare, Split.from_roles(role), min_train=10, min_held_out=5, of="target 'died'")
    check_events(rare, Split.from_roles(role), min_train=7, min_held_out=5)
    common = binary([1.0] * 47 + [0.0] * 3 + [1.0] * 20 + [0.0] * 30)
    with pytest.raises(UserError, match="3 of kind 'no event'"):
        check_events(common, Split.from_roles(role), min_train=10, min_held_out=5)
    none_held_out = binary([1.0] * 20 + [0.0] * 80)
    with pytest.raises(UserError, match="0 of kind 'event' among the 50 held_out rows"):
        check_events(none_held_out, Split.from_roles(role), min_train=10, min_held_out=5)
    check_events(none_held_out, Split.from_roles(np.array(["train"] * 100)), min_train=10, min_held_out=5)


def test_select_rows_without_an_event_are_refused() -> None:
    role = np.array(["train"] * 40 + ["select"] * 20 + ["held_out"] * 40)
    few = binary([1.0] * 20 + [0.0] * 20 + [0.0] * 20 + [1.0] * 20 + [0.0] * 20)
    with pytest.raises(UserError, match=r"0 of kind 'event' among the 20 select rows.*at least 1.*stratify the division") as refused:
        check_events(few, Split.from_roles(role), min_train=10, min_held_out=5)
    assert "min_events_select" not in str(refused.value)
    one = binary([1.0] * 20 + [0.0] * 20 + [1.0] + [0.0] * 19 + [1.0] * 20 + [0.0] * 20)
    check_events(one, Split.from_roles(role), min_train=10, min_held_out=5)
    with pytest.raises(UserError, match="has 1 of kind 'event' among the 20 select rows"):
        check_events(one, Split.from_roles(role), min_train=10, min_held_out=5, min_select=2)
    check_events(few, Split.from_roles(np.where(role == "select", "calibrate", role)), min_train=10, min_held_out=5)
    of_one_class = TargetTable("multiclass", target_table(np.array([0.0, 1.0] * 20 + [0.0] * 20 + [0.0, 1.0] * 20)), classes=("a", "b"))
    with pytest.raises(UserError, match=r"Too few classes among the select rows.*give select rows a larger share"):
        check_events(of_one_class, Split.from_roles(role), min_train=10, min_held_out=5)


def test_select_rows_of_every_fold_get_their_share_of_rare_events(tmp_path: Path) -> None:
    cohort = tiny_cohort(tmp_path / "c", n=400)
    assert cohort.folds is not None
    rare = np.zeros(400)
    rare[np.unique(cohort.rows["cluster"].to_numpy(), return_index=True)[1][::14]] = 1  # events in clusters of their own
    target, events = binary(rare.tolist()), int(rare.sum())
    lacking = {True: 0, False: 0}
    for fold in folds_of(cohort, 0):
        for seed in range(6):
            for stratified in lacking:
                stratum = strata_of(target) if stratified else None
                split = fold_split(cohort, 0, fold, select_share=0.15, calibrate_share=0.0, seed=seed, stratum=stratum)
                share = rare[split.select].sum() / max(rare[split.train].sum() + rare[split.select].sum(), 1)
                lacking[stratified] += int(not 0.05 <= share <= 0.25)
    assert events >= 10
    assert lacking[True] == 0
    assert lacking[False] > 0


def test_a_class_that_occurs_once_in_training_is_refused() -> None:
    outcome = np.array([0.0] * 30 + [1.0] * 30 + [2.0] * 2)
    role = np.array((["train"] * 20 + ["held_out"] * 10) * 2 + ["train", "held_out"])
    target = TargetTable("multiclass", target_table(outcome), classes=("a", "b", "rare"))
    with pytest.raises(UserError, match="1 train rows of class 'rare'"):
        check_events(target, Split.from_roles(role), min_train=10, min_held_out=5)


def test_outcomes_are_counted_by_their_kind(tmp_path: Path) -> None:
    cohort = tiny_cohort(tmp_path / "c", n=200)
    everyone = np.arange(200)
    for name in cohort.manifest["targets"]:
        target = cohort.target(name)
        counts = event_counts(target, everyone)
        assert sum(counts.values()) == target.table["observed"].sum()
        assert ((strata_of(target) >= 0) == target.table["observed"].to_numpy()).all()
    assert set(event_counts(cohort.target("survival"), everyone)) == {"event", "censored"}
    assert set(event_counts(cohort.target("response"), everyone)) == {"treatment 0", "treatment 1"}
    quarters = strata_of(cohort.target("weight"))
    assert np.ptp(np.bincount(quarters[quarters >= 0])) <= 1
