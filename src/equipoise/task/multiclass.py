"""Which of several classes: categorical, one logit a class."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, Form, Task, observed_rows, refuse_one_class, refuse_unsupported


@final
class MulticlassTask(Task):
    """P(class c | z) = softmax(logits)_c. All K logits are free; the head's prior makes them unique.

    Args:
        target: a multiclass target.
    """

    kind = "multiclass"

    def __init__(self, *, target: str) -> None:
        super().__init__(target=target)
        self.classes: tuple[str, ...] = ()
        self.shares: tuple[float, ...] = ()

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("multiclass",))
        outcome, weight = rows["outcome"].to_numpy(), rows["weight"].to_numpy()
        if not train.classes:
            raise UserError(f"Target {self.target!r} names no classes", mend="build the cohort again: a multiclass target lists its classes")
        support = torch.tensor(np.isin(outcome, np.arange(len(train.classes))))
        refuse_unsupported(self.target, support, torch.tensor(True), f"a class number from 0 to {len(train.classes) - 1}")
        counts = np.bincount(outcome.astype(np.int64), minlength=len(train.classes))
        refuse_one_class(self.target, dict(zip(train.classes, counts.tolist(), strict=True)))
        # Half a row is added to every class, so that one which the train rows lack starts rare and not impossible.
        mass = np.bincount(outcome.astype(np.int64), weights=weight, minlength=len(train.classes)) + 0.5
        self.classes, self.shares = tuple(train.classes), tuple((mass / mass.sum()).tolist())

    @property
    def n_params(self) -> int:
        return len(self.classes)

    def start(self) -> Tensor:
        return torch.log(torch.tensor(self.shares))

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Categorical negative log likelihood, (B,)."""
        outcome = torch.where(target.observed, target.outcome, 0.0)
        inside = (outcome == outcome.round()) & (outcome >= 0) & (outcome < self.n_params)
        refuse_unsupported(self.target, inside, target.observed, f"a class number from 0 to {self.n_params - 1}")
        logits = draws.value.movedim(-1, 1)
        nll = F.cross_entropy(logits, outcome.long().expand(logits.shape[0], -1), reduction="none").mean(0)
        return nll * target.weight * target.observed

    def answer(self, draws: Draws) -> Answer:
        p = torch.softmax(draws.value.double(), -1)
        form: list[Form] = ["entropy"] * self.n_params
        return Answer(labels=self.classes, mean=p, variance=p * (1 - p), form=tuple(form), exclusive=True)

    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        return Question(task=name, target=self.target, kind="multiclass", evidences=evidences, classes=self.classes)

    def hessian(self, params: Tensor) -> Tensor:
        """diag(p) - p p^T."""
        p = torch.softmax(params, -1)
        return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]

    def state(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "shares": list(self.shares)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.classes, self.shares = tuple(state["classes"]), tuple(state["shares"])
