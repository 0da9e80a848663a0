"""The laws of views, checked on every option of the room; inherit `ViewLaws` and override `options` or `draft` to check your own."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import ColumnStore, Draft, EventStore, GenotypeStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.tensors import ALL_MISSING, Events, Genotypes, Part, Vector
from equipoise.modality import View
from equipoise.testing.cohorts import EVIDENCES, tiny_cohort, tiny_draft
from equipoise.testing.discovery import options
from equipoise.testing.parts import contents


class ViewLaws:
    """Each law takes ``node``, a config node; one test per option."""

    @classmethod
    def options(cls) -> dict[str, dict[str, Any]]:
        """Name -> config node, without encoder; where the laws' cohort lacks the evidence, one of the kind that the view reads stands in."""
        nodes = {name: {k: v for k, v in node.items() if k not in ("defaults", "encoder")} for name, node in options("modality").items()}
        return {name: node if node["evidence"] in EVIDENCES else node | {"evidence": _readable(node)} for name, node in nodes.items()}

    def draft(self) -> Draft:
        """A cohort that every option finds its evidence in."""
        return tiny_draft(n=80, seed=3)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        nodes = self.options()
        metafunc.parametrize("node", list(nodes.values()), ids=list(nodes))

    def _fitted(self, node: dict[str, Any], cohort: Cohort) -> View:
        view = make(node)
        view.fit(cohort, cohort.rows_in("train"), cohort.target("outcome"))
        return view

    def test_only_train_rows_are_looked_at_when_fitting(self, node: dict[str, Any], tmp_path: Path) -> None:
        draft = self.draft()
        clean = self._fitted(node, _frozen(draft, tmp_path / "clean"))
        _spoil(draft, (draft.rows["role"] != "train").to_numpy())
        _same(self._fitted(node, _frozen(draft, tmp_path / "spoilt")).state(), clean.state())

    def test_train_rows_are_looked_at_when_fitting(self, node: dict[str, Any], tmp_path: Path) -> None:
        draft = self.draft()
        clean = self._fitted(node, _frozen(draft, tmp_path / "clean"))
        _spoil(draft, (draft.rows["role"] == "train").to_numpy())
        with pytest.raises(AssertionError):
            _same(self._fitted(node, _frozen(draft, tmp_path / "spoilt")).state(), clean.state())

    def test_nothing_after_the_prediction_time_is_seen(self, node: dict[str, Any], tmp_path: Path) -> None:
        draft = self.draft()
        clean = _frozen(draft, tmp_path / "clean")
        for store in draft.stores.values():
            if isinstance(store, EventStore):
                _spoil_events(store, _used(store, np.zeros(store.start.size, bool)))
        spoilt = _frozen(draft, tmp_path / "spoilt")
        views = self._fitted(node, clean), self._fitted(node, spoilt)
        _same(views[0].state(), views[1].state())
        rows = np.arange(clean.size)
        parts = [view.open(cohort)(rows) for view, cohort in zip(views, (clean, spoilt), strict=True)]
        assert contents(parts[0]) == contents(parts[1])
        if isinstance(parts[0], Events):
            assert (parts[0].time_days >= 0).all()
            assert (parts[0].time_days[~parts[0].timed] == 0).all()

    def test_permuting_rows_permutes_the_part(self, node: dict[str, Any], tmp_path: Path) -> None:
        cohort = _frozen(self.draft(), tmp_path / "cohort")
        reader = self._fitted(node, cohort).open(cohort)
        whole = contents(reader(np.arange(cohort.size)))
        order = np.random.default_rng(0).permutation(cohort.size)[:50]
        assert contents(reader(order)) == {i: whole[r] for i, r in enumerate(order.tolist()) if r in whole}
        for row in range(cohort.size):
            assert contents(reader(np.array([row]))) == ({0: whole[row]} if row in whole else {})

    def test_the_part_holds_the_rows_that_are_present_and_kept(self, node: dict[str, Any], tmp_path: Path) -> None:
        cohort = _frozen(self.draft(), tmp_path / "cohort")
        view = self._fitted(node, cohort)
        reader = view.open(cohort)
        np.testing.assert_array_equal(reader.present, cohort.present_in(view.evidence))
        rows = np.arange(cohort.size)[::-1].copy()
        keep = np.arange(cohort.size) % 3 > 0
        part = reader(rows, keep)
        assert type(part) is view.part
        assert part.size == cohort.size
        assert part.rows.tolist() == np.flatnonzero(reader.present[rows] & keep).tolist()
        _check_layout(part, view)
        empty = reader(rows, np.zeros(cohort.size, bool))
        assert empty.rows.shape == (0,)
        _check_layout(empty, view)

    def test_present_without_content_is_still_present(self, node: dict[str, Any], tmp_path: Path) -> None:
        draft = self.draft()
        cohort = _frozen(draft, tmp_path / "cohort")
        view = self._fitted(node, cohort)
        for store in draft.stores.values():
            _emptied(store)
        bare = _frozen(draft, tmp_path / "bare")
        part = view.open(bare)(np.arange(bare.size))
        assert part.rows.tolist() == np.flatnonzero(bare.present_in(view.evidence)).tolist()
        _check_layout(part, view)
        assert _content(part) <= _content(view.open(cohort)(np.arange(cohort.size))) / 2

    def test_the_state_is_plain_and_loads_with_weights_only(self, node: dict[str, Any], tmp_path: Path) -> None:
        cohort = _frozen(self.draft(), tmp_path / "cohort")
        view = self._fitted(node, cohort)
        file = io.BytesIO()
        torch.save(view.state(), file)
        file.seek(0)
        other: View = make(node)
        other.load_state(torch.load(file, weights_only=True))
        _same(other.state(), view.state())
        _same(vars(other.spec), vars(view.spec))
        rows = np.arange(cohort.size)
        assert contents(other.open(cohort)(rows)) == contents(view.open(cohort)(rows))

    def test_a_subset_of_people_reads_as_in_the_whole_cohort(self, node: dict[str, Any], tmp_path: Path) -> None:
        draft = self.draft()
        cohort = _frozen(draft, tmp_path / "cohort")
        view = self._fitted(node, cohort)
        whole = contents(view.open(cohort)(np.arange(cohort.size)))
        some = np.arange(5, 60, 7)
        fewer = _frozen(_some(draft, some), tmp_path / "fewer")
        assert contents(view.open(fewer)(np.arange(some.size))) == {i: whole[r] for i, r in enumerate(some.tolist()) if r in whole}


def _readable(node: dict[str, Any]) -> str:
    """The first evidence of `tiny_draft` that the view can be fitted on."""
    with TemporaryDirectory() as folder:
        cohort = tiny_cohort(Path(folder) / "cohort", n=200)
        for evidence in EVIDENCES:
            with suppress(UserError):
                make(node | {"evidence": evidence}).fit(cohort, cohort.rows_in("train"), cohort.target("outcome"))
                return evidence
    raise AssertionError(f"no evidence of {', '.join(EVIDENCES)} can be read by {node['_target_']}")


def _frozen(draft: Draft, folder: Path) -> Cohort:
    return freeze(draft, folder, folder.name, {})


def _same(a: Any, b: Any) -> None:
    """Asserts that two nests of plain values, arrays and tensors are equal, NaN to NaN."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a:
            _same(a[k], b[k])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            _same(x, y)
    elif isinstance(a, torch.Tensor | np.ndarray):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    elif isinstance(a, pl.DataFrame):
        assert a.equals(b)
    else:
        assert a == b


def _spoil(draft: Draft, rows: np.ndarray) -> None:
    """Other contents, another meaning, for these rows (bool (n,)) and for nobody else."""
    for store in draft.stores.values():
        match store:
            case EventStore():
                _spoil_events(store, _used(store, ~rows))
            case ColumnStore():
                store.number[rows] = np.where(np.isnan(store.number[rows]), 7e5, -9e5 * (1 + np.abs(store.number[rows])))
                store.category[rows] = 0
            case GenotypeStore():
                line = np.unique(store.index[rows & (store.index >= 0)])
                store.packed[line] = ~store.packed[line]
    for target in draft.targets.values():
        outcome = target.table["outcome"].to_numpy().copy()
        outcome[rows] = np.where(np.isnan(outcome[rows]), np.nan, 1 - outcome[rows])
        target.table = target.table.with_columns(outcome=outcome)


def _used(store: EventStore, rows: np.ndarray) -> np.ndarray:
    """bool (E,): events that these rows may use; of all rows where none is chosen."""
    used = np.zeros(store.code.size, bool)
    for r in np.flatnonzero(rows) if rows.any() else range(rows.size):
        used[store.start[r] : store.stop[r]] = True
    return used


def _spoil_events(store: EventStore, untouched: np.ndarray) -> None:
    store.code[~untouched] = (store.code[~untouched] + 3) % len(store.codes)
    store.value[~untouched] = 5e4


def _emptied(store: EventStore | ColumnStore | GenotypeStore) -> None:
    match store:
        case EventStore():
            store.stop = store.start.copy()
        case ColumnStore():
            store.number[:], store.category[:] = np.nan, -1
        case GenotypeStore():
            store.packed[:] = ALL_MISSING


def _content(part: Part) -> int:
    """How many things are known."""
    match part:
        case Events():
            return int(part.code.shape[0])
        case Vector():
            return int(part.observed.sum() + (part.category > 0).sum())
        case Genotypes():
            return sum(call.count(b"\0") + call.count(b"\2") + call.count(b"\3") for held in contents(part).values() for call in held)
    raise TypeError(type(part).__name__)


def _some(draft: Draft, rows: np.ndarray) -> Draft:
    """The draft of these rows alone; stores keep whatever these rows do not point to."""
    stores: dict[str, EventStore | ColumnStore | GenotypeStore] = {}
    for name, s in draft.stores.items():
        match s:
            case EventStore():
                stores[name] = EventStore(s.codes, s.units, s.code, s.value, s.time_us, s.start[rows], s.stop[rows], s.time_of_row_us[rows])
            case ColumnStore():
                stores[name] = ColumnStore(s.numbers, s.categories, s.number[rows], s.category[rows])
            case GenotypeStore():
                stores[name] = GenotypeStore(s.packed, s.index[rows], s.variants)
    return Draft(rows=draft.rows[rows].with_columns(row_id=np.arange(rows.size)), present=draft.present[rows], stores=stores, targets={})


def _check_layout(part: Part, view: View) -> None:
    """Shapes and dtypes as `contract.tensors` says, and ranges as the spec says."""
    n = part.rows.shape[0]
    spec: Any = view.spec
    assert part.rows.dtype == torch.int64
    match part:
        case Events():
            e = int(part.offsets[-1])
            for field, dtype in (
                ("code", torch.int32),
                ("value", torch.float32),
                ("observed", torch.bool),
                ("time_days", torch.float32),
                ("timed", torch.bool),
            ):
                assert (getattr(part, field).dtype, getattr(part, field).shape) == (dtype, (e,)), field
            assert (part.offsets.dtype, part.offsets.shape) == (torch.int64, (n + 1,))
            assert ((part.code >= 0) & (part.code < spec.n_codes)).all()
            assert (part.value[~part.observed] == 0).all()
            assert not part.observed[part.code == 0].any()
        case Vector():
            assert (part.value.dtype, part.value.shape) == (torch.float32, (n, spec.n_values))
            assert (part.observed.dtype, part.observed.shape) == (torch.bool, (n, spec.n_values))
            assert (part.category.dtype, part.category.shape) == (torch.int32, (n, len(spec.cardinalities)))
            assert (part.value[~part.observed] == 0).all()
            assert ((part.category >= 0) & (part.category < torch.tensor(spec.cardinalities))).all()
            assert spec.edges.shape[0] == spec.n_values
            assert (np.diff(spec.edges, axis=1) >= 0).all()
        case Genotypes():
            assert (part.packed.dtype, part.packed.shape) == (torch.uint8, (n, -(-spec.n_variants // 4)))
            assert part.n_variants == spec.n_variants == spec.mean.size == spec.sd.size
