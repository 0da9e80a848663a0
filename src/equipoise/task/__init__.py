"""Tasks: the question. Target, likelihood, loss, what is reported. A task knows no head."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question, TargetKind
from equipoise.contract.tensors import Draws, Target

Form = Literal["entropy", "variance"]


@dataclass(frozen=True)
class Answer:
    """What a task makes of draws: for each label of the question a mean and a within-draw variance.

    Args:
        labels: L values of the predictions table's ``target`` column.
        mean: (S, B, L): per draw the probability, or the mean of the outcome in its unit.
        variance: (S, B, L): per draw the variance of the outcome given the draw (p(1-p) for a probability).
        form: per label "entropy" (nats) or "variance" (squared units): how total = aleatoric + epistemic is written.
        exclusive: the labels are classes that sum to one, so their entropy is joint.
    """

    labels: tuple[str, ...]
    mean: Tensor
    variance: Tensor
    form: tuple[Form, ...]
    exclusive: bool = False


class Task(nn.Module, ABC):
    """One question about one cohort target.

    Args:
        target: the cohort target's name.

    `setup` is called once with the train rows' outcomes before the head is made; what it learns (classes, mean, scale, base rates) lies in
    buffers or `state`, so a loaded model needs no cohort.
    """

    kind: ClassVar[TargetKind]
    batch_loss: ClassVar[bool] = False
    """Whether a row's loss depends on the other rows of its batch (Cox, rankings)."""
    joint_score: ClassVar[bool] = False
    """Whether `score` judges the mean over draws; else each draw by itself, as a negative log likelihood."""

    def __init__(self, *, target: str) -> None:
        super().__init__()
        self.target = target

    @abstractmethod
    def setup(self, train: TargetTable) -> None:
        """Reads base rates, classes and scales from the train rows' outcomes.

        Raises:
            UserError: the target's kind does not fit, or nothing can be learnt (no observed outcome, one class only), with the counts.
        """

    @property
    @abstractmethod
    def n_params(self) -> int:
        """K, after `setup`."""

    @abstractmethod
    def start(self) -> Tensor:
        """f32 (K,): the parameters that predict the base rate; the head's bias starts here."""

    @abstractmethod
    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log likelihood, (B,), nats, mean over draws, times ``target.weight``; 0 where the outcome is not observed.

        Raises:
            UserError: the outcomes are outside the likelihood's support.
        """

    def score(self, draws: Draws, target: Target) -> Tensor:
        """What chooses between networks on select rows, shaped as `loss`; the default is the loss.

        A task whose loss has terms that help training and judge nothing (a ranking, a regularisation, a treatment's likelihood) leaves them out.
        """
        return self.loss(draws, target)

    def scored(self, target: Target) -> Tensor:
        """Which rows `score` judges, bool (B,)."""
        return target.observed

    @abstractmethod
    def answer(self, draws: Draws) -> Answer:
        """Draws in the reader's terms and units."""

    @abstractmethod
    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        """What is asked, for comparators and the trial; after `setup`."""

    def hessian(self, params: Tensor) -> Tensor:
        """Expected Hessian of the negative log likelihood in the parameters (B, K) -> (B, K, K), for Laplace heads."""
        raise NotImplementedError(f"{type(self).__name__} gives no Hessian")

    def penalty(self) -> Tensor:
        """Negative log prior of the task's own parameters, (), nats; none by default."""
        return torch.zeros(())

    def fit(self, draws: Draws, target: Target) -> None:
        """After training: what a likelihood leaves open (e.g. a Cox baseline hazard). The default does nothing."""

    def fit_spread(self, draws: Draws, target: Target) -> None:
        """After `fit`, on the member's select rows: sizes the spread of a continuous outcome by errors that training did not make small.

        The default does nothing: a probability's spread follows from itself.
        """

    def state(self) -> dict[str, Any]:
        """What `setup` learnt and no buffer holds: plain values only."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""

    def propensity(self, draws: Draws) -> Tensor | None:
        """P(treated | z) (S, B), where the task models it."""
        return None


def observed_rows(train: TargetTable, target: str, kinds: tuple[str, ...]) -> pl.DataFrame:
    """The train rows whose outcome is observed.

    Args:
        train: the train rows' outcomes.
        target: the target's name, for the error.
        kinds: the kinds of outcome that the task can read.

    Raises:
        UserError: the outcome is of another kind, or none is observed.
    """
    if train.kind not in kinds:
        raise UserError(
            f"Target {target!r} is of kind {train.kind!r}", expected=" or ".join(map(repr, kinds)), mend="choose the task that fits it, or another target"
        )
    rows = train.table.filter(pl.col("observed"))
    if rows.is_empty():
        raise UserError(
            f"Target {target!r} has no observed outcome in the train rows",
            expected="at least one",
            found=f"0 of {train.table.height} rows",
            mend="check the labels' file and the roles, or choose another target",
        )
    return rows


def refuse_one_class(target: str, counts: dict[str, int]) -> None:
    """Raises UserError, with the counts, where fewer than two classes occur in the train rows."""
    if sum(n > 0 for n in counts.values()) < 2:
        raise UserError(
            f"Target {target!r} has one class only in the train rows",
            expected="at least two",
            found=", ".join(f"{name}: {n}" for name, n in counts.items()),
            mend="take more rows into the train role, or choose a target that varies",
        )


def refuse_unsupported(target: str, inside: Tensor, observed: Tensor, expected: str) -> None:
    """Raises UserError where an observed outcome is outside the likelihood's support.

    Args:
        target: the target's name.
        inside: bool (B,), whether each outcome is supported.
        observed: bool (B,).
        expected: the support, in words.
    """
    n_outside = int((~inside & observed).sum())
    if n_outside:
        raise UserError(
            f"Target {target!r} has outcomes that its task cannot have",
            expected=expected,
            found=f"{n_outside} rows with others",
            mend="correct the labels' file",
        )


def standard_scale(target: str, outcome: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation of a continuous outcome's observed train rows.

    Raises:
        UserError: an outcome is not finite, or they do not vary.
    """
    refuse_unsupported(target, torch.tensor(np.isfinite(outcome)), torch.tensor(True), "a finite number")
    mean = float(np.average(outcome, weights=weight))
    sd = float(np.sqrt(np.average((outcome - mean) ** 2, weights=weight)))
    if np.ptp(outcome) == 0:
        raise UserError(
            f"Target {target!r} does not vary in the train rows",
            expected="at least two different values",
            found=f"one value in {outcome.size} rows",
            mend="take more rows into the train role, or choose another target",
        )
    return mean, sd


def normal_nll(y: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """-log N(y; mean, exp(log_sigma)^2), nats; arguments broadcast."""
    return 0.5 * ((y - mean) * torch.exp(-log_sigma)).square() + log_sigma + 0.5 * math.log(2 * math.pi)
