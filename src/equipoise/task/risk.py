"""Risk of a binary outcome: Bernoulli, one logit."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, Task, observed_rows, refuse_one_class, refuse_unsupported


@final
class RiskTask(Task):
    """P(outcome = 1 | z) = sigmoid(logit).

    With a class weight w the positives' likelihood counts w times. The logit that is learnt is then logit(p) + log(w), so log(w) is subtracted
    again wherever a risk leaves the task: weights may help the optimisation, they never change what the risks mean.

    Args:
        target: a binary target.
        class_weight: w > 0, or None for 1.

    Source: King and Zeng (2001), eq. 7 (prior correction).
    """

    kind = "binary"

    def __init__(self, *, target: str, class_weight: float | None) -> None:
        super().__init__(target=target)
        if class_weight is not None and not class_weight > 0:
            raise UserError(
                f"class_weight of the task on {target!r}", expected="a number above 0, or null", found=f"{class_weight:g}", mend="set task.risk.class_weight"
            )
        self.log_weight = 0.0 if class_weight is None else math.log(class_weight)
        self.prevalence = math.nan

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("binary",))
        outcome, weight = rows["outcome"].to_numpy(), rows["weight"].to_numpy()
        refuse_unsupported(self.target, torch.tensor((outcome == 0) | (outcome == 1)), torch.tensor(True), "0 or 1")
        refuse_one_class(self.target, {"0": int((outcome == 0).sum()), "1": int((outcome == 1).sum())})
        self.prevalence = float((weight * outcome).sum() / weight.sum())

    @property
    def n_params(self) -> int:
        return 1

    def start(self) -> Tensor:
        return torch.tensor([math.log(self.prevalence / (1 - self.prevalence)) + self.log_weight])

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """w^y times the Bernoulli negative log likelihood, (B,)."""
        outcome = torch.where(target.observed, target.outcome, 0.0)
        refuse_unsupported(self.target, (outcome == 0) | (outcome == 1), target.observed, "0 or 1")
        logit = draws.value[..., 0]
        nll = F.binary_cross_entropy_with_logits(logit, outcome.expand_as(logit), reduction="none").mean(0)
        return nll * torch.exp(self.log_weight * outcome) * target.weight * target.observed

    def answer(self, draws: Draws) -> Answer:
        risk = torch.sigmoid(draws.value.double() - self.log_weight)
        return Answer(labels=("",), mean=risk, variance=risk * (1 - risk), form=("entropy",))

    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        return Question(task=name, target=self.target, kind="binary", evidences=evidences)

    def hessian(self, params: Tensor) -> Tensor:
        """q(1-q) (1 + (w-1)p) with q the learnt and p the corrected probability; p(1-p) without a class weight."""
        learnt, risk = torch.sigmoid(params), torch.sigmoid(params - self.log_weight)
        return (learnt * (1 - learnt) * (1 + (math.exp(self.log_weight) - 1) * risk))[..., None]

    def state(self) -> dict[str, Any]:
        return {"prevalence": self.prevalence}

    def load_state(self, state: dict[str, Any]) -> None:
        self.prevalence = float(state["prevalence"])
