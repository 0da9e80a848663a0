"""A bootstrap ensemble: each member learns from whole train clusters drawn with replacement, and its draws differ by more than seeds make them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.fit import _member_splits, train_ensemble
from equipoise.testing.cohorts import tiny_cohort
from small_config import small_config


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("bootstrap") / "c", n=500)


def config(**values: object) -> dict[str, object]:
    made = small_config(views=("biomarker",), head="point", learner__max_epochs=3)
    return made | {"members": 4, "bootstrap_members": True} | values


def test_whole_clusters_are_drawn_as_often_as_there_are(cohort: Cohort) -> None:
    split, cluster = Split.of(cohort), cohort.rows["cluster"].to_numpy()
    own = list(_member_splits(config(), cohort, split, 4, "held_out"))
    times = [np.bincount(s.train, minlength=cohort.size) for s in own]
    assert not any(np.array_equal(a, b) for i, a in enumerate(times) for b in times[:i])
    for s, n in zip(own, times, strict=True):
        assert set(s.train) < set(split.train)
        assert all(len(set(n[cluster == c])) == 1 for c in np.unique(cluster[split.train]))
        assert 0.5 < len(set(s.train)) / split.train.size < 0.75
        assert np.array_equal(s.select, split.select)
    again = list(_member_splits(config(), cohort, split, 4, "held_out"))
    assert all(np.array_equal(a.train, b.train) for a, b in zip(own, again, strict=True))
    assert all(s is split for s in _member_splits(config(bootstrap_members=False), cohort, split, 4, "held_out"))


def test_members_trained_so_are_joined(cohort: Cohort, tmp_path: Path) -> None:
    split = Split.of(cohort)
    made = {b: train_ensemble(config(bootstrap_members=b), cohort, split, tmp_path / str(b), []) for b in (True, False)}
    tables = {b: e.predict(cohort, split.held_out, draws=8).table for b, e in made.items()}
    spread = {b: float(t["epistemic"].mean()) for b, t in tables.items()}  # type: ignore[arg-type]
    assert spread[True] > spread[False] > 0
