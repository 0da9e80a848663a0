"""Given and random roles and folds, clusters and relatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.evidence import Asked
from equipoise.cohort.lookup import Lookup, Relatives
from equipoise.cohort.splits import UNPLACED, GivenFolds, GivenRoles, RandomFolds, RandomRoles
from equipoise.cohort.targets import target_table
from equipoise.contract.errors import UserError
from equipoise.contract.tables import TIME

N = 120
IDS = [f"P{i:03d}" for i in range(N)]
ASKED = Asked(pl.Series(IDS), pl.Series([None] * N, dtype=TIME), "str")
ALONE = np.array(IDS)
PAIRS = np.array([f"F{i // 2}" for i in range(N)])
TARGETS = {"died": TargetTable("binary", target_table((np.arange(N) % 5 == 0).astype(float)))}
DIVIDE = {"train": "train", "tuning": {"select": 0.5, "calibrate": 0.5}, "held_out": "held_out", "dropped": None}


def given(folder: Path, split: list[str], **more: Any) -> GivenRoles:
    pl.DataFrame({"id": IDS[: len(split)], "split": split}).write_parquet(folder / "s.parquet")
    return GivenRoles(path=str(folder / "s.parquet"), id="id", column="split", **{"divide": DIVIDE, **more})


def test_tuning_is_divided_by_cluster_and_stratum_and_the_rest_is_kept(tmp_path: Path) -> None:
    split = ["train"] * 60 + ["tuning"] * 40 + ["held_out"] * 10 + ["dropped"] * 6
    role, counts = given(tmp_path, split, stratum="died").assign(ASKED, PAIRS, TARGETS)
    assert (role[:60] == "train").all()
    assert (role[100:110] == "held_out").all()
    assert (role[110:] == UNPLACED).all()
    assert sorted(np.unique(role[60:100], return_counts=True)[1].tolist()) == [20, 20]
    assert all(np.unique(role[f == PAIRS]).size == 1 for f in np.unique(PAIRS))
    assert (role[60:100][np.arange(60, 100) % 5 == 0] == "select").sum() == 4
    assert counts["without"] == 4
    again, _ = given(tmp_path, split, stratum="died").assign(ASKED, PAIRS, TARGETS)
    other, _ = given(tmp_path, split, stratum="died", seed=1).assign(ASKED, PAIRS, TARGETS)
    assert (again == role).all()
    assert (other != role).any()


def test_splits_that_say_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 1 splits that .*Found: 'validation'.*divide"):
        given(tmp_path, ["train"] * 60 + ["validation"] * 60).assign(ASKED, ALONE, TARGETS)
    with pytest.raises(UserError, match="1 clusters lie in two splits"):
        given(tmp_path, ["train"] * 61 + ["held_out"] * 59).assign(ASKED, PAIRS, TARGETS)
    with pytest.raises(UserError, match=r"divide\.train names the role 'training'"):
        given(tmp_path, ["train"] * N, divide={"train": "training"}).assign(ASKED, ALONE, TARGETS)
    with pytest.raises(UserError, match=r"Stratum 'weight' is no target.*died"):
        given(tmp_path, ["train"] * N, stratum="weight").assign(ASKED, ALONE, TARGETS)


def test_random_roles_meet_their_shares_by_stratum() -> None:
    role, _ = RandomRoles(shares={"train": 3, "held_out": 1}, stratum="died", seed=2).assign(ASKED, ALONE, TARGETS)
    died = np.arange(N) % 5 == 0
    assert [(role[m] == "held_out").sum() for m in (died, ~died)] == [6, 24]
    with pytest.raises(UserError, match=r"cohort\.roles\.shares\.train is -1"):
        RandomRoles(shares={"train": -1, "held_out": 1}).assign(ASKED, ALONE, TARGETS)


def test_given_folds_hold_each_row_out_once_a_repeat(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": IDS * 2, "repeat": [0] * N + [1] * N, "fold": [i // 2 % 3 for i in range(N)] + [i // 2 % 5 for i in range(N)]})
    table.write_parquet(tmp_path / "f.parquet")
    source = GivenFolds(path=str(tmp_path / "f.parquet"), id="id", fold="fold", repeat="repeat")
    folds, counts = source.lay(ASKED, PAIRS, TARGETS)
    assert folds.height == 2 * N
    assert folds.filter(pl.col("repeat") == 1)["fold"].to_list() == [i // 2 % 5 for i in range(N)]
    assert (counts["repeats"], counts["rows_without_fold"]) == (2, 0)
    with pytest.raises(UserError, match="clusters lie in two folds"):
        source.lay(ASKED, np.array([f"F{i // 4}" for i in range(N)]), TARGETS)
    table.head(N - 5).write_parquet(tmp_path / "f.parquet")
    assert source.lay(ASKED, PAIRS, TARGETS)[1]["rows_without_fold"] == 5
    pl.concat([table, table.head(2)]).write_parquet(tmp_path / "f.parquet")
    with pytest.raises(UserError, match="4 lines hold a subject out twice"):
        source.lay(ASKED, PAIRS, TARGETS)


def test_folds_with_a_line_a_part_take_the_part_that_is_held_out(tmp_path: Path) -> None:
    lines = [(IDS[i], f, "val" if i % 5 == f else "train") for f in range(5) for i in range(N)]
    pl.DataFrame(lines, schema=["case", "fold", "part"], orient="row").write_csv(tmp_path / "f.csv")
    keys = {"path": str(tmp_path / "f.csv"), "id": "case", "fold": "fold", "part": "part"}
    folds, _ = GivenFolds(**keys, held_out="val").lay(ASKED, ALONE, TARGETS)
    assert folds["fold"].to_list() == [i % 5 for i in range(N)]
    with pytest.raises(UserError, match=r"No line of .* has part = 'test'"):
        GivenFolds(**keys, held_out="test").lay(ASKED, ALONE, TARGETS)


def test_random_folds_keep_clusters_and_differ_between_repeats() -> None:
    folds, _ = RandomFolds(folds=4, repeats=2, stratum="died", seed=0).lay(ASKED, PAIRS, TARGETS)
    one, two = (folds.filter(pl.col("repeat") == r)["fold"].to_numpy() for r in (0, 1))
    assert (one[::2] == one[1::2]).all()
    assert (one != two).any()
    assert sorted(np.bincount(one).tolist()) == [30, 30, 30, 30]
    with pytest.raises(UserError, match="at least 2 folds"):
        RandomFolds(folds=1).lay(ASKED, ALONE, TARGETS)


def test_relatives_from_the_bound_on_are_one_cluster(tmp_path: Path) -> None:
    pairs = [("P000", "P010", 0.25), ("P010", "P020", 0.0442), ("P030", "P031", 0.044), ("P040", "elsewhere", 0.5)]
    pl.DataFrame(pairs, schema=["ID1", "ID2", "KINSHIP"], orient="row").write_csv(tmp_path / "king.tsv", separator="\t")
    source = Relatives(path=str(tmp_path / "king.tsv"), first="ID1", second="ID2", kinship="KINSHIP")
    cluster, counted = source.join(ALONE, ASKED)
    assert counted == 2
    assert cluster[[0, 10, 20]].tolist() == ["P000"] * 3
    assert np.unique(cluster).size == N - 2
    families, _ = source.join(PAIRS, ASKED)
    assert set(families[[0, 1, 10, 11, 20, 21]].tolist()) == {"F0"}


def test_a_looked_up_column_is_text_or_number_by_row(tmp_path: Path) -> None:
    pl.DataFrame({"id": IDS[:50], "score": [float(i) for i in range(49)] + [None], "family": [f"f{i // 2}" for i in range(50)]}).write_csv(tmp_path / "t.csv")
    numbers = Lookup(path=str(tmp_path / "t.csv"), id="id", column="score").numbers(ASKED, "cohort.scores.s")
    np.testing.assert_array_equal(numbers[:50], [*range(49), np.nan])
    assert np.isnan(numbers[50:]).all()
    assert Lookup(path=str(tmp_path / "t.csv"), id="id", column="family").texts(ASKED, "cohort.clusters").null_count() == 70
    with pytest.raises(UserError, match=r"has no column 'sofa', which cohort\.scores\.s names"):
        Lookup(path=str(tmp_path / "t.csv"), id="id", column="sofa").numbers(ASKED, "cohort.scores.s")
