"""Clusters: joined by pairs, by subject, and never divided."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.written_sources import T0, World, files, table_labels
from equipoise.cohort.build import build_cohort
from equipoise.cohort.clusters import join_clusters, join_subjects
from equipoise.cohort.draft import Draft
from equipoise.cohort.lookup import Lookup
from equipoise.cohort.source import Source
from equipoise.cohort.splits import RandomRoles
from equipoise.cohort.table import Table
from equipoise.contract.errors import UserError
from equipoise.testing.cohorts import tiny_draft


def test_chains_of_pairs_are_one_cluster() -> None:
    cluster = np.array(["d", "c", "b", "a", "e"])
    joined = join_clusters(cluster, np.array([0, 1]), np.array([1, 2]))
    assert joined.tolist() == ["b", "b", "b", "a", "e"]
    assert join_clusters(cluster, np.empty(0, np.int64), np.empty(0, np.int64)).tolist() == cluster.tolist()


def test_subjects_in_several_clusters_join_them_and_are_counted() -> None:
    subject = np.array(["p", "q", "p", "r", "q", "s"])
    cluster = np.array(["w1", "w2", "w2", "w3", "w2", "w4"])
    joined, several = join_subjects(cluster, subject)
    assert joined.tolist() == ["w1", "w1", "w1", "w3", "w1", "w4"]
    assert several == 1


def moving_people(folder: Path, n: int = 60) -> Path:
    """Two rows a subject, half a year apart; every third subject changes wards between them."""
    ids = [f"p{i}" for i in range(n) for _ in range(2)]
    times = [T0 + timedelta(days=180 * (k % 2)) for k in range(2 * n)]
    pl.DataFrame({"id": ids, "when": times, "died": [i % 4 == 0 for i in range(n) for _ in range(2)]}).write_parquet(folder / "labels.parquet")
    pl.DataFrame({"id": ids[::2], "age": np.linspace(20, 80, n)}).write_parquet(folder / "clinical.parquet")
    ward = [f"w{2 * i + (k if i % 3 == 0 else 0)}" for i in range(n) for k in range(2)]
    pl.DataFrame({"id": ids, "known": times, "ward": ward}).write_parquet(folder / "wards.parquet")
    return folder


def test_a_subject_that_moves_between_clusters_never_serves_two_roles(tmp_path: Path) -> None:
    at = moving_people(tmp_path)
    wards = Lookup(path=str(at / "wards.parquet"), id="id", column="ward", time="known")
    labels = table_labels(at / "labels.parquet", time="when")
    for seed in range(5):
        roles = RandomRoles(shares={"train": 0.4, "select": 0.2, "calibrate": 0.2, "held_out": 0.2}, seed=seed)
        source = files({"clinical": Table(path=str(at / "clinical.parquet"), id="id")}, labels, clusters=wards, roles=roles)
        cohort = build_cohort(source, tmp_path / "cohorts")
        assert cohort.rows.group_by("subject_id").agg(pl.col("role").n_unique())["role"].max() == 1
        assert cohort.rows["cluster"].n_unique() == 60
        assert cohort.manifest["counts"]["clusters"] == {"rows_without": 0, "subjects_in_several": 20}


def test_the_join_changes_the_hash_of_those_cohorts_only_that_it_may_change(tmp_path: Path) -> None:
    at = moving_people(tmp_path)
    evidence = {"clinical": Table(path=str(at / "clinical.parquet"), id="id")}
    labels = table_labels(at / "labels.parquet", time="when")
    timed, fixed = (Lookup(path=str(at / "wards.parquet"), id="id", column="ward", time=time) for time in ("known", None))
    assert "clusters_joined_by_subject" in files(evidence, labels, clusters=timed).fingerprint()
    assert "clusters_joined_by_subject" not in files(evidence, labels, clusters=fixed).fingerprint()
    assert "clusters_joined_by_subject" not in World(tmp_path).source().fingerprint()


class Straddling(Source):
    """A source of its own whose subjects lie in two clusters."""

    def fingerprint(self) -> dict[str, str]:
        return {"source": "straddling"}

    def draft(self) -> Draft:
        draft = tiny_draft(n=40)
        draft.rows = draft.rows.with_columns(subject_id=pl.lit("p"))
        return draft


def test_no_source_may_divide_a_subject(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 subjects have rows in more than one cluster"):
        build_cohort(Straddling(), tmp_path / "cohorts")
    assert not [p for p in (tmp_path / "cohorts").iterdir() if p.is_dir()]
