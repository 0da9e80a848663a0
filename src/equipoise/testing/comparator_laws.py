"""Laws of comparators. A package with one of its own inherits `ComparatorLaws` and overrides the fixture ``node``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.draft import ColumnStore, Draft, EventStore, GenotypeStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.comparator import Comparator, Forecast
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.testing.cohorts import EVIDENCES, tiny_draft
from equipoise.testing.discovery import options

QUESTIONS = {
    "binary": Question("t", "outcome", "binary", EVIDENCES),
    "multiclass": Question("t", "severity", "multiclass", EVIDENCES, classes=("mild", "moderate", "severe")),
    "continuous": Question("t", "weight", "continuous", EVIDENCES),
    "time_to_event": Question("t", "survival", "time_to_event", EVIDENCES, horizons_days=(400.0, 150.0)),
    "treatment_effect": Question("t", "response", "treatment_effect", EVIDENCES),
}
FAST = {"max_rounds": 20, "max_leaf_nodes": [4], "members": 1, "folds": 2, "min_rows": 5, "penalties": [1.0, 0.1]}
"""Settings that only cost time here, where a part has them."""
SCORE = "published"


@dataclass(frozen=True)
class Fitted:
    """A comparator fitted on the train rows of the laws' cohort, and its forecast of all rows."""

    comparator: Comparator
    cohort: Cohort
    question: Question
    forecast: Forecast


class ComparatorLaws:
    """Cohort rows -> forecasts: from the given rows only, row by row, never from hidden content, the same every time, on any cohort."""

    @pytest.fixture(params=sorted(options("comparator")))
    def node(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """The config node of one comparator."""
        return options("comparator")[request.param]

    @pytest.fixture(params=sorted(QUESTIONS))
    def question(self, request: pytest.FixtureRequest) -> Question:
        return QUESTIONS[request.param]

    @pytest.fixture
    def fitted(self, node: dict[str, Any], question: Question) -> Fitted:
        found = _fitted(json.dumps(node), question)
        if isinstance(found, str):
            assert len(found) > 10  # a reason that a report can print
            pytest.skip(f"does not apply: {found}")
        return found

    def test_forecasts_have_the_questions_labels_and_support(self, fitted: Fitted) -> None:
        risk, total, kind = fitted.forecast.risk, fitted.forecast.total, fitted.question.kind
        assert risk.shape == (fitted.cohort.size, len(fitted.question.labels))
        assert risk.dtype == np.float64
        known = risk[~np.isnan(risk).any(axis=1)]
        assert len(known) > 0.5 * len(risk)
        if kind in ("binary", "multiclass", "time_to_event"):
            assert ((known > 0) & (known < 1)).all()
        if kind == "multiclass":
            np.testing.assert_allclose(known.sum(axis=1), 1)
        if kind == "time_to_event":  # the later horizon stands first
            assert (known[:, 0] >= known[:, 1]).all()
        if kind == "treatment_effect":
            np.testing.assert_allclose(known[:, 2], known[:, 1] - known[:, 0])
        if total is not None:
            assert kind == "continuous"
            assert (total[~np.isnan(risk)] > 0).all()

    def test_a_row_abstains_in_all_its_labels_or_in_none(self, fitted: Fitted) -> None:
        gone = np.isnan(fitted.forecast.risk)
        assert (gone.all(axis=1) == gone.any(axis=1)).all()
        assert not np.isinf(fitted.forecast.risk).any()

    def test_other_rows_than_the_given_teach_nothing_and_a_second_fit_is_the_same(self, node: dict[str, Any], fitted: Fitted) -> None:
        poisoned = _cohort(_poison_other_rows)
        again = _made(node)
        again.fit(poisoned, poisoned.rows_in("train"), fitted.question)
        _same(again.predict(fitted.cohort, np.arange(fitted.cohort.size)), fitted.forecast, exact=True)

    def test_permuting_rows_permutes_the_forecast_and_a_row_alone_gets_the_same(self, fitted: Fitted) -> None:
        order = np.random.default_rng(0).permutation(fitted.cohort.size)
        made = fitted.comparator.predict(fitted.cohort, order)
        _same(made, _rows(fitted.forecast, order))
        for row in (0, 1, 7):
            _same(fitted.comparator.predict(fitted.cohort, np.array([row])), _rows(fitted.forecast, np.array([row])))

    def test_no_rows_give_an_empty_forecast(self, fitted: Fitted) -> None:
        assert fitted.comparator.predict(fitted.cohort, np.zeros(0, np.int64)).risk.shape == (0, len(fitted.question.labels))

    @pytest.mark.parametrize("evidence", EVIDENCES)
    def test_the_content_of_a_hidden_evidence_changes_nothing(self, fitted: Fitted, evidence: str) -> None:
        rows = np.arange(fitted.cohort.size)
        hidden = frozenset({evidence})
        clean = fitted.comparator.predict(fitted.cohort, rows, hidden)
        _same(fitted.comparator.predict(_cohort(_poison_evidence, evidence), rows, hidden), clean, exact=True)
        _same(fitted.comparator.predict(_cohort(_without_evidence, evidence), rows), clean, exact=True)

    def test_columns_codes_and_variants_are_found_by_name_in_another_cohort(self, fitted: Fitted) -> None:
        shuffled = _cohort(_rearrange)
        _same(fitted.comparator.predict(shuffled, np.arange(shuffled.size)), fitted.forecast)

    def test_a_cohort_that_lacks_columns_codes_and_scores_still_gets_forecasts(self, fitted: Fitted) -> None:
        poor = _cohort(_impoverish)
        risk = fitted.comparator.predict(poor, np.arange(poor.size)).risk
        assert np.isfinite(risk).all() or np.isnan(risk).all()

    def test_notes_are_plain_and_small(self, fitted: Fitted) -> None:
        assert len(json.dumps(fitted.comparator.notes())) < 5_000


def _made(node: dict[str, Any]) -> Comparator:
    settings: dict[str, Any] = {k: v for k, v in FAST.items() if k in node}
    if "score" in node:
        settings["score"] = SCORE
    made = make({**node, **settings})
    assert isinstance(made, Comparator)
    return made


@cache
def _fitted(node: str, question: Question) -> Fitted | str:
    cohort, made = _cohort(_as_it_is), _made(json.loads(node))
    if (why_not := made.applies(cohort, question)) is not None:
        return why_not
    made.fit(cohort, cohort.rows_in("train"), question)
    return Fitted(made, cohort, question, made.predict(cohort, np.arange(cohort.size)))


@cache
def _cohort(change: Callable[..., None], *words: str) -> Cohort:
    draft = tiny_draft(n=160, seed=3)
    change(draft, *words)
    return freeze(draft, Path(mkdtemp(prefix="laws-")) / "cohort", f"{change.__name__}-{'-'.join(words)}", {})


def _as_it_is(draft: Draft) -> None:
    pass


def _poison_other_rows(draft: Draft) -> None:
    """Everything that no train row may use: others' content and outcomes, and events after the prediction times."""
    other = (draft.rows["role"] != "train").to_numpy()
    for store in draft.stores.values():
        match store:
            case EventStore():
                used = np.zeros(len(store.code), dtype=bool)
                for row in np.flatnonzero(~other):
                    used[store.start[row] : store.stop[row]] = True
                store.value[~used], store.code[~used] = 1e9, 7
            case ColumnStore():
                store.number[other], store.category[other] = 1e9, 0
            case GenotypeStore():
                lines = np.setdiff1d(np.arange(len(store.packed)), store.index[~other])
                store.packed[lines] = 0b10100010
    for target in draft.targets.values():
        table = target.table
        outcome = pl.when(pl.Series(other)).then(0.0).otherwise(pl.col("outcome"))
        event = pl.when(pl.Series(other)).then(pl.min_horizontal(pl.col("event"), pl.lit(1))).otherwise(pl.col("event"))
        target.table = table.with_columns(outcome.alias("outcome"), event.alias("event"), observed=pl.col("observed") | pl.Series(other))
    for score in draft.scores.values():
        score[other] = 1e9


def _poison_evidence(draft: Draft, evidence: str) -> None:
    store = draft.stores[evidence]
    draft.present[:, EVIDENCES.index(evidence)] = True
    match store:
        case EventStore():
            store.value[:] = 1e9
        case ColumnStore():
            store.number[:], store.category[:] = 1e9, 0
        case GenotypeStore():
            store.packed[:], store.index[:] = 0b10100010, 0


def _without_evidence(draft: Draft, evidence: str) -> None:
    draft.present = np.delete(draft.present, EVIDENCES.index(evidence), axis=1)
    del draft.stores[evidence]


def _rearrange(draft: Draft) -> None:
    """The same content under another order of codes, columns, levels and variants; every third variant counts the other allele."""
    for store in draft.stores.values():
        match store:
            case EventStore():
                last = len(store.codes) - 1
                store.codes, store.units, store.code = store.codes[::-1], store.units[::-1], (last - store.code).astype(np.int32)
            case ColumnStore():
                store.numbers, store.number = store.numbers[::-1], store.number[:, ::-1]
                for j, column in enumerate(store.categories):
                    known = store.category[:, j] >= 0
                    store.category[known, j] = len(column.levels) - 1 - store.category[known, j]
                store.categories = tuple(type(c)(c.name, c.kind, c.unit, c.levels[::-1]) for c in store.categories)
            case GenotypeStore():
                _rearrange_variants(store)


def _rearrange_variants(store: GenotypeStore) -> None:
    from equipoise.testing.cohorts import pack_calls

    n = store.variants.height
    code = np.stack([(store.packed >> shift) & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(len(store.packed), -1)[:, :n]
    swap = np.arange(n) % 3 == 0
    code = np.where(swap & ((code == 0) | (code == 3)), 3 - code, code)
    store.packed = pack_calls(code[:, ::-1].astype(np.uint8))
    counted, other = pl.col("counted_allele"), pl.col("other_allele")
    flip = pl.Series(swap)
    store.variants = store.variants.with_columns(
        counted_allele=pl.when(flip).then(other).otherwise(counted), other_allele=pl.when(flip).then(counted).otherwise(other)
    ).reverse()


def _impoverish(draft: Draft) -> None:
    draft.scores.clear()
    _without_evidence(draft, "biomarker")
    for store in draft.stores.values():
        match store:
            case EventStore():
                store.codes = tuple(f"foreign//{i}" for i in range(len(store.codes)))
            case ColumnStore():
                store.numbers, store.number = store.numbers[:1], store.number[:, :1]
                store.categories, store.category = (), store.category[:, :0]
            case GenotypeStore():
                store.variants = store.variants.with_columns(variant_id=pl.lit("x") + pl.col("variant_id"))


def _rows(forecast: Forecast, rows: np.ndarray) -> Forecast:
    return Forecast(forecast.risk[rows], None if forecast.total is None else forecast.total[rows])


def _same(a: Forecast, b: Forecast, *, exact: bool = False) -> None:
    tolerance = 0.0 if exact else 1e-9
    np.testing.assert_allclose(a.risk, b.risk, rtol=tolerance, atol=tolerance)
    assert (a.total is None) == (b.total is None)
    if a.total is not None and b.total is not None:
        np.testing.assert_allclose(a.total, b.total, rtol=tolerance, atol=tolerance)
