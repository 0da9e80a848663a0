from __future__ import annotations

from typing import Any

import pytest

from equipoise.cohort.draft import TargetTable
from equipoise.task import Task
from equipoise.testing.discovery import classes, options, targets
from equipoise.testing.task_laws import TaskLaws, kind_for, sample_outcomes


class TestTasks(TaskLaws):
    """Every task with an option."""


VARIANTS = {
    "weighted risk": ("risk", {"class_weight": 5.0}),
    "heteroscedastic regression": ("regression", {"heteroscedastic": True}),
    "heteroscedastic t": ("student_t", {"heteroscedastic": True, "df": 3.0}),
    "two quantiles": ("quantile", {"levels": [0.2, 0.9]}),
    "Poisson": ("count", {"distribution": "poisson"}),
    "Breslow's ties": ("cox", {"ties": "breslow"}),
    "R-learner": ("effect_learner", {"learner": "r"}),
    "effect on a time to event, one interval": ("treatment_effect_survival", {"n_intervals": 1}),
    "one interval": ("time_to_event", {"n_intervals": 1, "horizons_days": [100.0, 400.0]}),
}


class TestTaskVariants(TaskLaws):
    """Settings that change a task's parameters."""

    @pytest.fixture(params=sorted(VARIANTS))
    def node(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        option, changed = VARIANTS[request.param]
        return {**options("task")[option], **changed}


class TestContinuousTreatmentEffect(TaskLaws):
    """A treatment's effect on a continuous outcome."""

    @pytest.fixture(params=sorted(name for name, node in options("task").items() if kind_for(node) == "treatment_effect"))
    def node(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return options("task")[request.param]

    def outcomes(self, kind: str) -> TargetTable:
        arms, continuous = sample_outcomes(kind, n=400, seed=0), sample_outcomes("continuous", n=400, seed=0)
        return TargetTable(kind, continuous.table.with_columns(arms.table["treatment"]), unit="mmHg")


def test_every_task_class_has_an_option() -> None:
    assert classes("task", Task) == targets("task")
