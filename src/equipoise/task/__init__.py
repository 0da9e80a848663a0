"""Tasks: the question. Target, likelihood, loss, what is reported. A task knows no head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.cohort.draft import TargetTable
from equipoise.contract.question import Question, TargetKind
from equipoise.contract.tensors import Draws, Target


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
    form: tuple[Literal["entropy", "variance"], ...]
    exclusive: bool = False


class Task(nn.Module, ABC):
    """One question about one cohort target.

    Args:
        target: the cohort target's name.

    `setup` is called once with the train rows' outcomes before the head is made; what it learns (classes, mean, scale, base rates) lies in
    buffers or `state`, so a loaded model needs no cohort.
    """

    kind: ClassVar[TargetKind]

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

    def state(self) -> dict[str, Any]:
        """What `setup` learnt and no buffer holds: plain values only."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""

    def propensity(self, draws: Draws) -> Tensor | None:
        """P(treated | z) (S, B), where the task models it."""
        return None


def observed_share(outcome: np.ndarray) -> float:
    """Share of outcomes that are not NaN."""
    return float(np.mean(~np.isnan(outcome))) if outcome.size else 0.0
