"""What calibrate rows teach about a joint forecast: recalibration, and conformal intervals and sets on rows that took no part in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import numpy as np

from equipoise.calibration import Calibration
from equipoise.calibration.none import NoCalibration
from equipoise.cohort.frozen import Cohort
from equipoise.conformal import Conformal, Held, Stated
from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.uncertainty import predictive_interval

P = TypeVar("P", Calibration, Conformal)


@dataclass(frozen=True)
class Fitted(Generic[P]):
    """One part a task, fitted, and the config node that made them; empty for none."""

    node: dict[str, Any] = field(default_factory=dict)
    by_task: dict[str, P] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return {"node": self.node, "fitted": {task: part.state() for task, part in self.by_task.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        made = {task: make(state["node"]) for task in state["fitted"]}
        for task, part in made.items():
            part.load_state(state["fitted"][task])
        return cls(dict(state["node"]), made)


def check_conformal(node: Mapping[str, Any], kinds: Mapping[str, str], n_calibrate: int) -> None:
    """Refuses a conformal option that could do nothing.

    Args:
        node: config node.
        kinds: of the questions, by task.
        n_calibrate: calibrate rows.

    Raises:
        UserError: it answers none of these questions, or there are no calibrate rows.
    """
    made: Conformal = make(node)
    if not made.kinds:
        return
    asked = ", ".join(f"{task} ({kind})" for task, kind in kinds.items())
    if not set(made.kinds) & set(kinds.values()):
        raise UserError(
            "The conformal option answers none of the tasks",
            expected=f"a {' or '.join(made.kinds)} outcome",
            found=asked,
            mend="choose another, or conformal=none",
        )
    if not n_calibrate:
        raise UserError("A conformal option needs calibrate rows", found="none", mend="give rows the role calibrate, or choose conformal=none")


def halves(node: Mapping[str, Any], calibration: Mapping[str, Any], cluster: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which rows serve recalibration and which the conformal option, bool (n,) each: half of the clusters each, all of them where there is only one use.

    A row that has moved the risk is no new row for the set around it.
    """
    every = np.ones(cluster.size, dtype=bool)
    if not make(node).kinds:
        return every, ~every
    if isinstance(make(calibration), NoCalibration):
        return every, every
    names, number = np.unique(cluster, return_inverse=True)
    chosen = numpy_stream("conformal", seed).permutation(names.size) < names.size // 2
    return chosen[number], ~chosen[number]


def groups_by(by: str, cohort: Cohort, rows: np.ndarray, evidences: tuple[str, ...], present: np.ndarray) -> np.ndarray:
    """Each row's group, str (n,): its site, the evidences that it has, or one for all."""
    match by:
        case "site":
            return cohort.rows["site"].fill_null("").to_numpy()[rows].astype(str)
        case "missing":
            return np.array(["+".join(e for e, has in zip(evidences, row, strict=True) if has) for row in present], dtype=str)
        case _:
            return np.full(rows.size, "all")


def stated(question: Question, columns: Mapping[str, np.ndarray], mean: np.ndarray, variance: np.ndarray, level: float) -> Stated:
    """What a joint forecast says of rows.

    Args:
        question: asked.
        columns: risk and total, f64 (n, L).
        mean: f64 (S, n, L), the draws' means after recalibration; variance: f64 (S, n, L), theirs.
        level: of the predictive interval of a continuous outcome.
    """
    nothing = np.full(columns["risk"].shape, np.nan)
    if question.kind != "continuous":
        return Stated(columns["risk"], nothing, nothing, nothing)
    own = predictive_interval(mean, variance, level)
    return Stated(columns["risk"], columns["total"], own.lo, own.hi)


def columns_of(held: Held, question: Question) -> dict[str, np.ndarray]:
    """Columns of the predictions table; the interval of a continuous outcome takes the place of the credible one of its mean."""
    if question.kind == "continuous":
        return {"lo": held.lo, "hi": held.hi}
    return {"set_event": held.event, "set_no_event": held.no_event, "time_lo_days": held.time_lo_days}


def said_of(conformal: Conformal) -> dict[str, Any]:
    """For the predictions' manifest: kind, level, what it is of, groups, and what is to be said."""
    within = {"": "", "site": " within each site", "missing": " within each pattern of evidences"}[conformal.by]
    return {
        "kind": "conformal",
        "level": conformal.level,
        "of": f"the outcome of a new row{within}, over draws of calibrate rows; not given this patient",
        "by": conformal.by,
        "note": conformal.note,
    }
