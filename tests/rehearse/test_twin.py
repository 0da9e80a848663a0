"""A twin has the cohort's rows, whole clusters within their roles, and no outcome but the drawn ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from equipoise.cohort.draft import ColumnStore, EventStore
from equipoise.cohort.roles import check_disjoint
from equipoise.contract.errors import UserError
from equipoise.contract.tables import ROLES
from equipoise.rehearse.twin import draw_rows, twin_of
from rehearse.worlds import cohort_of


def test_whole_clusters_are_drawn_within_their_roles(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path)
    draw = draw_rows(cohort, 0, 3)
    own, role = cohort.rows["cluster"].to_numpy(), cohort.rows["role"].to_numpy()
    check_disjoint(draw.cluster, draw.split)
    for name in ("train", "select", "calibrate"):
        rows = draw.at[draw.split.rows(name)]
        assert set(role[rows]) == {name}
        assert np.unique(draw.cluster[draw.split.rows(name)]).size == np.unique(own[cohort.rows_in(name)]).size
        for c in np.unique(draw.cluster[draw.split.rows(name)]):
            member = np.sort(draw.at[draw.cluster == c])
            assert np.array_equal(member, np.flatnonzero(own == own[member[0]]))
    assert np.array_equal(draw.at[draw.split.held_out], cohort.rows_in("held_out"))
    assert set(draw.judged) <= set(range(draw.split.held_out.size))
    assert np.unique(draw.at[draw.split.train]).size < draw.split.train.size  # with replacement


def test_every_cluster_is_drawn_equally_often(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path)
    rows = np.concatenate([draw_rows(cohort, 1, i).judged for i in range(2000)])
    mean = np.bincount(rows) / 2000
    assert np.abs(mean - 1).max() < 5 / np.sqrt(2000)


def test_features_are_the_rows_own_and_the_outcomes_are_the_drawn_ones(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path)
    draw = draw_rows(cohort, 0, 0)
    n = draw.at.size
    y = np.arange(n) % 2.0
    twin = twin_of(cohort, "outcome", draw, y, np.ones(n, bool), "name")
    for evidence in cohort.evidences:
        assert np.array_equal(twin.present_in(evidence), np.asarray(cohort.present_in(evidence))[draw.at])
    columns, whole = twin.store("clinical"), cohort.store("clinical")
    assert isinstance(columns, ColumnStore)
    assert isinstance(whole, ColumnStore)
    assert np.array_equal(columns.number, whole.number[draw.at], equal_nan=True)
    events, record = twin.store("ehr"), cohort.store("ehr")
    assert isinstance(events, EventStore)
    assert isinstance(record, EventStore)
    assert np.array_equal(events.start, record.start[draw.at])
    assert np.array_equal(events.code, record.code)
    assert np.array_equal(twin.scores["published"], cohort.scores["published"][draw.at], equal_nan=True)
    assert np.array_equal(twin.target("outcome").table["outcome"].to_numpy(), y)
    assert [twin.rows_in(r).size for r in ROLES] == [draw.split.rows(r).size for r in ROLES]
    with pytest.raises(UserError, match="severity"):
        twin.target("severity")
