"""Any rows in any batches are the rows of the one big batch: whatever is absent, empty, permuted or dropped, and however the batches are cut."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.assemble import assemble, fit_views
from equipoise.batches import Batches, evidences_of, open_views
from equipoise.cohort.draft import ColumnStore, Draft, EventStore, GenotypeStore, Store
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.tensors import ALL_MISSING, Batch, Events, Genotypes, Vector
from equipoise.modality import View
from equipoise.network import Network
from equipoise.testing.cohorts import EVIDENCES, tiny_cohort, tiny_draft
from equipoise.testing.parts import contents
from small_config import small_config

VIEWS = {"ehr": Events, "ehr_summary": Vector, "genotype": Genotypes, "biomarker": Vector, "clinical": Vector}
N = 20
NOTHING, EMPTY, FULL = range(3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, View], Network]:
    """Views and a network fitted to other people."""
    config = small_config(views=tuple(VIEWS), tasks=("risk", "time_to_event"))
    cohort = tiny_cohort(tmp_path_factory.mktemp("packed") / "cohort")
    views = fit_views(config, cohort, cohort.rows_in("train"))
    return views, assemble(config, views, targets_of(cohort), seed=0).eval()


def targets_of(cohort: Cohort) -> dict[str, object]:
    return {"risk": cohort.target("outcome"), "time_to_event": cohort.target("survival")}


@st.composite
def people(draw: st.DrawFn) -> np.ndarray:
    """What each of N rows has of each evidence, i64 (N, M): nothing, an empty record, or something."""
    return np.array(draw(st.lists(st.lists(st.sampled_from((NOTHING, EMPTY, FULL)), min_size=5, max_size=5), min_size=N, max_size=N)))


@st.composite
def cut(draw: st.DrawFn) -> list[list[int]]:
    """A permutation of the rows in batches of 1 to N rows."""
    order = draw(st.permutations(range(N)))
    ends = [*sorted(draw(st.sets(st.integers(1, N - 1)))), N]
    return [order[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def draft_of(has: np.ndarray, seed: int) -> Draft:
    draft = tiny_draft(n=N, seed=seed)
    draft.present[:] = has != NOTHING
    for column, store in enumerate(draft.stores.values()):
        _empty(store, has[:, column] == NOTHING, has[:, column] == EMPTY)
    return draft


def _empty(store: Store, absent: np.ndarray, empty: np.ndarray) -> None:
    match store:
        case EventStore():
            store.stop[absent | empty] = store.start[absent | empty]
        case ColumnStore():
            store.number[absent | empty], store.category[absent | empty] = np.nan, -1
        case GenotypeStore():
            store.packed = np.concatenate([store.packed, np.full_like(store.packed[:1], ALL_MISSING)])
            store.index[:] = np.where(absent, -1, np.where(empty, len(store.packed) - 1, np.arange(N) % (len(store.packed) - 1)))


def batches_of(views: dict[str, View], cohort: Cohort) -> Batches:
    return Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets_of(cohort))  # type: ignore[arg-type]


@settings(max_examples=25)
@given(has=people(), batches=cut(), seed=st.integers(0, 3), data=st.data())
def test_rows_are_the_same_in_whatever_batch_they_come(
    trained: tuple[dict[str, View], Network], has: np.ndarray, batches: list[list[int]], seed: int, data: st.DataObject
) -> None:
    views, network = trained
    keep = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=N, max_size=N)))
    with tempfile.TemporaryDirectory() as folder:
        make = batches_of(views, freeze(draft_of(has, seed), Path(folder) / "cohort", "x", {}))
        for kept in (None, keep):
            big = make(np.arange(N), kept)
            assert_holds(big, has, np.ones_like(keep) if kept is None else kept, make)
            with torch.no_grad():
                z = network.encode(big)
                for rows in batches:
                    small = make(np.array(rows), None if kept is None else kept[rows])
                    assert_rows(small, big, rows)
                    torch.testing.assert_close(network.encode(small), z[rows], rtol=1e-4, atol=1e-5)


def assert_holds(big: Batch, has: np.ndarray, keep: np.ndarray, make: Batches) -> None:
    """The big batch itself holds who is there, and an empty record as a present row without content."""
    for view, kind in VIEWS.items():
        column = make.column[view]
        own = has[:, EVIDENCES.index(make.evidences[column])]
        part = big.parts[view]
        assert type(part) is kind
        assert part.rows.tolist() == np.flatnonzero((own != NOTHING) & keep[:, column]).tolist()
        assert (big.present[:, column].numpy() == ((own != NOTHING) & keep[:, column])).all()
        if isinstance(part, Events):
            assert part.offsets.diff()[torch.from_numpy(own[part.rows.numpy()] == EMPTY)].sum() == 0


def assert_rows(small: Batch, big: Batch, rows: list[int]) -> None:
    assert small.size == len(rows)
    assert small.row_id.tolist() == rows
    assert torch.equal(small.present, big.present[rows])
    for view, part in small.parts.items():
        whole = contents(big.parts[view])
        assert part.size == len(rows)
        assert contents(part) == {i: whole[r] for i, r in enumerate(rows) if r in whole}
    for task, target in small.targets.items():
        for name, value in vars(target).items():
            torch.testing.assert_close(value, vars(big.targets[task])[name][rows], rtol=0, atol=0, equal_nan=True)
