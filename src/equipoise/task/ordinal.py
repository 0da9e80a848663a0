"""Which of several ordered classes: one score, and thresholds in order (cumulative logits)."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, Form, Task, observed_rows, refuse_one_class, refuse_unsupported


@final
class OrdinalTask(Task):
    """P(class <= k | z) = sigmoid(t_k - l) with one score l a row (K = 1) and thresholds t_1 < ... < t_{C-1} shared by all rows.

    The odds of being above any threshold are multiplied by the same exp(l) (proportional odds). Thresholds are the task's own parameters: t_1 and the
    logs of the gaps, each started at the train rows' shares and with a normal prior around them. Classes are in the target's order: declare it
    (``classes:`` of the cohort's target), or they are sorted by name. The answer is that of a multiclass question.

    Args:
        target: a multiclass target whose classes are in order.
        threshold_scale: > 0, prior standard deviation of t_1 and of each log gap around the start.

    Source: McCullagh (1980), eq. 2.1.
    """

    kind = "multiclass"
    base: Tensor
    moved: nn.Parameter

    def __init__(self, *, target: str, threshold_scale: float) -> None:
        super().__init__(target=target)
        self.threshold_scale = float(threshold_scale)
        self.load_state({"classes": ["0", "1", "2"], "thresholds": [-1.0, 1.0]})

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("multiclass",))
        outcome, weight = rows["outcome"].to_numpy(), rows["weight"].to_numpy()
        n = len(train.classes)
        if n < 2:
            raise UserError(f"Target {self.target!r} names no classes", mend="build the cohort again: a multiclass target lists its classes")
        refuse_unsupported(self.target, torch.tensor(np.isin(outcome, np.arange(n))), torch.tensor(True), f"a class number from 0 to {n - 1}")
        counts = np.bincount(outcome.astype(np.int64), minlength=n)
        refuse_one_class(self.target, dict(zip(train.classes, counts.tolist(), strict=True)))
        # Half a row is added to every class, so that one which the train rows lack starts rare and not impossible.
        share = np.bincount(outcome.astype(np.int64), weights=weight, minlength=n) + 0.5
        below = np.cumsum(share / share.sum())[:-1]
        self.load_state({"classes": list(train.classes), "thresholds": np.log(below / (1 - below)).tolist()})

    @property
    def n_params(self) -> int:
        return 1

    def start(self) -> Tensor:
        return torch.zeros(1)

    def thresholds(self) -> Tensor:
        """t_1 < ... < t_{C-1}, (C-1,)."""
        first, gaps = self.base[:1] + self.moved[:1], self.base.diff() * torch.exp(self.moved[1:])
        return torch.cat([first, first + gaps.cumsum(0)])

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log probability of the class, (B,)."""
        outcome = torch.where(target.observed, target.outcome, 0.0)
        inside = (outcome == outcome.round()) & (outcome >= 0) & (outcome < len(self.classes))
        refuse_unsupported(self.target, inside, target.observed, f"a class number from 0 to {len(self.classes) - 1}")
        log_p = self._log_p(draws.value)
        nll = -log_p.gather(-1, outcome.long().expand(log_p.shape[0], -1)[..., None])[..., 0].mean(0)
        return nll * target.weight * target.observed

    def answer(self, draws: Draws) -> Answer:
        p = torch.exp(self._log_p(draws.value.double()))
        form: list[Form] = ["entropy"] * len(self.classes)
        return Answer(labels=self.classes, mean=p, variance=p * (1 - p), form=tuple(form), exclusive=True)

    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        return Question(task=name, target=self.target, kind="multiclass", evidences=evidences, classes=self.classes)

    def hessian(self, params: Tensor) -> Tensor:
        """Fisher information sum_k (dp_k/dl)^2 / p_k, with dp_k/dl = p_k (s_k + s_{k-1} - 1) and s_k = P(class <= k)."""
        log_p = self._log_p(params)
        below = torch.sigmoid(self.thresholds().to(params) - params)
        sides = F.pad(below, (0, 1), value=1.0) + F.pad(below, (1, 0), value=0.0) - 1
        return (torch.exp(log_p) * sides.square()).sum(-1)[..., None, None]

    def penalty(self) -> Tensor:
        """Squared moves of the thresholds from their start over 2 threshold_scale^2."""
        return self.moved.square().sum() / (2 * self.threshold_scale**2)

    def state(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "thresholds": self.base.tolist()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.classes: tuple[str, ...] = tuple(state["classes"])
        self.register_buffer("base", torch.tensor(state["thresholds"], dtype=torch.float32), persistent=False)
        self.moved = nn.Parameter(torch.zeros(len(self.classes) - 1))

    def _log_p(self, value: Tensor) -> Tensor:
        """log P(class k), (S, B, C): log(sigmoid(b) - sigmoid(a)) = log sigmoid(b) + log sigmoid(-a) + log(1 - exp(a - b)), exact in both tails."""
        at = self.thresholds().to(value) - value
        gaps = torch.log(-torch.expm1(-self.thresholds().to(value).diff()))
        return F.pad(F.logsigmoid(at), (0, 1)) + F.pad(F.logsigmoid(-at), (1, 0)) + F.pad(gaps, (1, 1))
