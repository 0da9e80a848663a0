from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equipoise.assemble import fit_views
from equipoise.batches import Batches, evidences_of, only_at, open_views, target_tensors
from equipoise.cohort.draft import Draft
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Batch, Events, Genotypes, Part, Vector
from equipoise.data import BatchOrder, CohortData, FetchRows, dropout_of, epoch_batches, evidence_dropout
from equipoise.modality import View
from equipoise.testing.cohorts import tiny_cohort, tiny_draft
from small_config import small_config

VIEWS = ("ehr", "ehr_summary", "genotype", "biomarker", "clinical")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("data") / "cohort")


@pytest.fixture(scope="module")
def views(cohort: Cohort) -> dict[str, View]:
    return fit_views(small_config(views=VIEWS), cohort, cohort.rows_in("train"))


def batches_of(views: dict[str, View], cohort: Cohort, hidden: frozenset[str] = frozenset()) -> Batches:
    targets = {"risk": cohort.target("outcome"), "time_to_event": cohort.target("survival")}
    return Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets, hidden=hidden)


def data_of(batches: Batches, cohort: Cohort, *, workers: int = 0, start: tuple[int, int] = (0, 0), dropout: float = 0.4) -> CohortData:
    data = CohortData(
        FetchRows(batches, dropout=dropout_of(dropout, batches.evidences), seed=3),
        cohort.rows_in("train"),
        cohort.rows_in("select"),
        batch_size=16,
        select_batch_size=5,
        seed=3,
        num_workers=workers,
        pin_memory=False,
    )
    data.start_at(*start)
    return data


def epochs_of(data: CohortData, n: int) -> list[list[Batch]]:
    loader = data.train_dataloader()
    kept = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*use of fork\(\) may lead to deadlocks.*")
        for epoch in range(n):
            loader.sampler.set_epoch(epoch)
            kept.append(list(loader))
    return kept


def same(a: Batch, b: Batch) -> bool:
    def tensors(batch: Batch) -> list[torch.Tensor]:
        named = {**batch.parts, **batch.targets}
        inside = [v for name in sorted(named) for _, v in sorted(vars(named[name]).items()) if isinstance(v, torch.Tensor)]
        return [batch.row_id, batch.present, *inside]

    ours, theirs = tensors(a), tensors(b)
    return len(ours) == len(theirs) and all(
        x.dtype == y.dtype and torch.equal(torch.nan_to_num(x), torch.nan_to_num(y)) for x, y in zip(ours, theirs, strict=True)
    )


@given(n=st.integers(1, 200), batch_size=st.integers(1, 64), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_an_epoch_holds_every_row_once_in_batches_of_nearly_equal_size(n: int, batch_size: int, seed: int, epoch: int) -> None:
    rows = np.arange(1000, 1000 + n)
    parts = epoch_batches(rows, batch_size, seed, epoch)
    assert sorted(np.concatenate(parts).tolist()) == rows.tolist()
    sizes = [p.size for p in parts]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == len(BatchOrder(rows, batch_size, seed))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    rows = np.arange(100)
    orders = {(s, e): tuple(np.concatenate(epoch_batches(rows, 16, s, e)).tolist()) for s in (0, 1) for e in (0, 1)}
    assert len(set(orders.values())) == 4
    assert orders[0, 1] == tuple(np.concatenate(epoch_batches(rows, 16, 0, 1)).tolist())


@given(data=st.data(), p=st.lists(st.floats(0, 0.99), min_size=3, max_size=3), seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_evidence_dropout_never_takes_everything_from_a_row_that_has_something(data: st.DataObject, p: list[float], seed: int, epoch: int) -> None:
    present = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30)))
    rows = np.array(data.draw(st.lists(st.integers(0, len(present) - 1), min_size=1, max_size=20)))
    keep = evidence_dropout(present, rows, np.array(p), ("a", "b", "c"), seed, epoch)
    assert ((present[rows] & keep).any(1) == present[rows].any(1)).all()
    # A row's fate does not depend on the rows beside it.
    for i, row in enumerate(rows):
        assert (evidence_dropout(present, np.array([row]), np.array(p), ("a", "b", "c"), seed, epoch)[0] == keep[i]).all()


def test_evidence_dropout_has_its_probabilities_and_changes_with_the_epoch() -> None:
    present = np.ones((20_000, 3), dtype=bool)
    rows = np.arange(20_000)
    p = np.array([0.5, 0.1, 0.0])
    keep = evidence_dropout(present, rows, p, ("a", "b", "c"), 0, 0)
    # The third is never dropped, so nothing is ever given back and the rates are p themselves (4 standard errors).
    assert np.abs((~keep).mean(0) - p).max() < 4 * np.sqrt(0.25 / 20_000)
    assert keep[:, 2].all()
    other = evidence_dropout(present, rows, p, ("a", "b", "c"), 0, 1)
    assert 0.4 < (keep[:, 0] != other[:, 0]).mean() < 0.6
    # An evidence keeps its own stream when another is added.
    alone = evidence_dropout(present[:, :2], rows, p[[0, 2]], ("a", "c"), 0, 0)
    assert (alone[:, 0] == keep[:, 0]).all()


def test_what_is_given_back_to_a_bare_row_is_shared_evenly() -> None:
    present = np.ones((30_000, 2), dtype=bool)
    keep = evidence_dropout(present, np.arange(30_000), np.array([0.9, 0.9]), ("a", "b"), 0, 0)
    only = keep.sum(1) == 1
    assert abs(keep[only, 0].mean() - 0.5) < 0.02


def test_dropout_is_one_number_or_one_for_each_evidence() -> None:
    assert dropout_of(0.2, ("a", "b")).tolist() == [0.2, 0.2]
    assert dropout_of({"b": 0.3}, ("a", "b")).tolist() == [0.0, 0.3]
    with pytest.raises(UserError, match=r"names x.*a, b"):
        dropout_of({"x": 0.3}, ("a", "b"))
    with pytest.raises(UserError, match="probabilities"):
        dropout_of(1.0, ("a",))


def test_dropped_and_hidden_evidences_are_not_in_the_parts_at_all(cohort: Cohort, views: dict[str, View]) -> None:
    batches = batches_of(views, cohort)
    rows = np.arange(40)
    keep = np.ones((40, 4), dtype=bool)
    keep[::2, 0] = False  # ehr
    batch = batches(rows, keep)
    assert not batch.present[::2, 0].any()
    for view in ("ehr", "ehr_summary"):
        assert not set(batch.parts[view].rows.tolist()) & set(range(0, 40, 2))
    hidden = batches_of(views, cohort, hidden=frozenset({"ehr"}))
    batch = hidden(rows)
    assert not batch.present[:, 0].any()
    assert not hidden.present[:, 0].any()
    assert batch.parts["ehr"].rows.numel() == batch.parts["ehr_summary"].rows.numel() == 0
    assert batch.present[:, 1:].equal(torch.from_numpy(cohort.present[rows][:, [1, 2, 4]]))


def test_targets_come_in_batch_order_with_defaults_filled(cohort: Cohort, views: dict[str, View]) -> None:
    rows = np.array([7, 3, 3, 90])
    batch = batches_of(views, cohort)(rows)
    table = cohort.target("survival").table[rows]
    target = batch.targets["time_to_event"]
    assert target.event.tolist() == table["event"].to_list()
    assert target.time_days.numpy() == pytest.approx(table["time_days"].to_numpy(), rel=1e-6)
    assert target.treatment.tolist() == [-1] * 4
    assert target.pseudo.isnan().all()
    assert batch.row_id.tolist() == rows.tolist()


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(cohort: Cohort, views: dict[str, View], workers: int) -> None:
    batches = batches_of(views, cohort)
    alone, helped = (epochs_of(data_of(batches, cohort, workers=w), 2) for w in (0, workers))
    assert [len(e) for e in alone] == [len(e) for e in helped]
    assert all(same(a, b) for x, y in zip(alone, helped, strict=True) for a, b in zip(x, y, strict=True))


def test_starting_inside_an_epoch_passes_over_what_is_done_and_then_goes_on_as_ever(cohort: Cohort, views: dict[str, View]) -> None:
    batches = batches_of(views, cohort)
    whole = epochs_of(data_of(batches, cohort), 3)
    later = epochs_of(data_of(batches, cohort, start=(1, 2)), 2)
    assert [len(e) for e in later] == [len(whole[1]), len(whole[2])]
    assert [b.size for b in later[0][:2]] == [0, 0]
    assert all(same(a, b) for a, b in zip(later[0][2:], whole[1][2:], strict=True))
    assert all(same(a, b) for a, b in zip(later[1], whole[2], strict=True))


def test_selection_sees_every_select_row_in_order_with_nothing_dropped(cohort: Cohort, views: dict[str, View]) -> None:
    data = data_of(batches_of(views, cohort), cohort, dropout=0.9)
    seen = [b for loader in data.val_dataloader() for b in loader]
    rows = torch.cat([b.row_id for b in seen]).numpy()
    assert rows.tolist() == cohort.rows_in("select").tolist()
    assert (torch.cat([b.present for b in seen]).numpy() == cohort.present[rows][:, [0, 1, 2, 4]]).all()


def without(draft: Draft, evidence: str) -> Draft:
    column = list(draft.stores).index(evidence)
    draft.present = np.delete(draft.present, column, axis=1)
    del draft.stores[evidence]
    return draft


@pytest.mark.parametrize(("evidence", "view", "part"), [("ehr", "ehr", Events), ("biomarker", "biomarker", Vector), ("genotype", "genotype", Genotypes)])
def test_a_cohort_that_lacks_an_evidence_has_it_absent_everywhere(
    views: dict[str, View], cohort: Cohort, tmp_path: Path, evidence: str, view: str, part: type[Part]
) -> None:
    poorer = freeze(without(tiny_draft(n=30), evidence), tmp_path / "poorer", "poorer", {})
    readers = open_views(views, poorer)
    assert readers[view].notes == {"missing_evidence": evidence}
    batches = Batches(readers, {k: v.evidence for k, v in views.items()}, evidences_of(views), targets={})
    made, usual = batches(np.arange(9)), batches_of(views, cohort)(np.arange(9))
    assert isinstance(made.parts[view], part)
    assert made.parts[view].size == 9
    assert made.parts[view].rows.numel() == 0
    assert not made.present[:, evidences_of(views).index(evidence)].any()
    ours, theirs = vars(made.parts[view]), vars(usual.parts[view])
    for name, value in theirs.items():
        if isinstance(value, torch.Tensor):
            assert ours[name].dtype == value.dtype, name
            assert ours[name].shape[1:] == value.shape[1:], name


def test_blinding_keeps_the_rows_that_may_be_seen(cohort: Cohort) -> None:
    rows = np.array([4, 9])
    blind = only_at(cohort.target("survival"), rows)
    whole = cohort.target("survival").table
    assert blind.table[rows].equals(whole[rows])
    assert blind.table.schema == whole.schema
    others = blind.table.filter(~pl.Series(np.isin(np.arange(cohort.size), rows)))
    assert not others["observed"].any()
    assert others["time_days"].is_nan().all()
    assert not target_tensors(blind).observed[np.setdiff1d(np.arange(cohort.size), rows)].any()
