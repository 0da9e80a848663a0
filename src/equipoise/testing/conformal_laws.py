"""Laws of conformal options. A package with one of its own inherits `ConformalLaws` and overrides the fixture ``pair``, or ``node`` and ``question``."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from equipoise.conformal import Conformal, Held, Stated
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.testing.calibration_laws import QUESTIONS, sample_risks
from equipoise.testing.discovery import options


def _pairs() -> list[tuple[str, str]]:
    made = {name: make(node) for name, node in options("conformal").items()}
    return [(name, kind) for name, conformal in sorted(made.items()) for kind in conformal.kinds]


class ConformalLaws:
    """Stated predictions -> what holds the outcome, for every kind of question that the option answers."""

    @pytest.fixture(params=_pairs(), ids=lambda p: "-".join(p))
    def pair(self, request: pytest.FixtureRequest) -> tuple[str, str]:
        """An option and a kind of question that it answers."""
        return request.param

    @pytest.fixture
    def node(self, pair: tuple[str, str]) -> dict[str, Any]:
        """The option's config node."""
        return options("conformal")[pair[0]]

    @pytest.fixture
    def question(self, pair: tuple[str, str]) -> Question:
        return QUESTIONS[pair[1]]

    @pytest.fixture
    def fitted(self, node: dict[str, Any], question: Question) -> Conformal:
        made = make(node)
        assert isinstance(made, Conformal)
        told, outcome, observed = sample(question)
        made.fit(question, told, outcome, observed, np.arange(len(observed)), _group(len(observed)))
        return made

    def test_the_input_is_left_alone_and_something_is_stated_where_there_is_a_prediction(self, fitted: Conformal, question: Question) -> None:
        told, _, observed = sample(question)
        for f in fields(told):
            getattr(told, f.name)[0] = np.nan
        before = told.risk.copy()
        held = fitted.apply(told, _group(len(observed)))
        told_of = np.isfinite(np.stack([getattr(held, f.name) for f in fields(held)])).any(axis=(0, 2))
        assert told_of.tolist() == [False] + [True] * (len(observed) - 1)
        assert np.array_equal(before, told.risk, equal_nan=True)

    def test_a_rows_answer_is_its_own(self, fitted: Conformal, question: Question) -> None:
        told, _, observed = sample(question)
        group = _group(len(observed))
        every, some = fitted.apply(told, group), np.array([3, 77, 5])
        same(fitted.apply(told.take(some), group[some]), Held(**{f.name: getattr(every, f.name)[some] for f in fields(every)}))

    def test_rows_without_outcome_change_nothing(self, node: dict[str, Any], fitted: Conformal, question: Question) -> None:
        told, outcome, observed = sample(question)
        more, gone = make(node), np.concatenate([np.arange(len(observed)), np.arange(40)])
        seen = np.concatenate([observed, np.zeros(40, bool)])
        y = outcome[gone].copy()
        y[len(observed) :] = np.nan
        more.fit(question, told.take(gone), y, seen, gone, _group(len(gone)))
        same(more.apply(told, _group(len(observed))), fitted.apply(told, _group(len(observed))))

    def test_what_was_saved_comes_back(self, node: dict[str, Any], fitted: Conformal, question: Question) -> None:
        fresh = make(node)
        fresh.load_state(json.loads(json.dumps(fitted.state(), allow_nan=False)))
        told, _, observed = sample(question)
        same(fresh.apply(told, _group(len(observed))), fitted.apply(told, _group(len(observed))))
        assert fresh.note == fitted.note

    def test_an_unknown_group_has_none(self, fitted: Conformal, question: Question) -> None:
        told, _, observed = sample(question)
        held = fitted.apply(told, np.full(len(observed), "another"))
        assert all(np.isnan(getattr(held, f.name)).all() for f in fields(held))

    def test_no_rows_give_none(self, node: dict[str, Any], fitted: Conformal, question: Question) -> None:
        told, outcome, observed = sample(question)
        empty = make(node)
        empty.fit(question, told, outcome, np.zeros_like(observed), np.arange(len(observed)), _group(len(observed)))
        held = empty.apply(told, _group(len(observed)))
        assert all(np.isnan(getattr(held, f.name)).all() for f in fields(held))


def sample(question: Question) -> tuple[Stated, np.ndarray, np.ndarray]:
    """What a model says of `sample_risks`, with a spread and an interval of a continuous outcome."""
    risk, outcome, observed = sample_risks(question)
    nothing = np.full(risk.shape, np.nan)
    if question.kind != "continuous":
        return Stated(risk, nothing, nothing, nothing), outcome, observed
    return Stated(risk, np.full(risk.shape, 4.0), risk - 2, risk + 2), outcome, observed


def same(one: Held, other: Held) -> None:
    """Equal in every number, NaN where the other is."""
    for f in fields(one):
        np.testing.assert_array_equal(getattr(one, f.name), getattr(other, f.name))


def _group(n: int) -> np.ndarray:
    return np.where(np.arange(n) % 3 == 0, "a", "b")
