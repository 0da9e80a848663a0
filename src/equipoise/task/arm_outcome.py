"""What a task on a treatment's effect takes an arm's outcome to be: its parameters, its likelihood and its mean in the outcome's unit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, final

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.tensors import Target
from equipoise.task import Form, normal_nll, refuse_one_class, refuse_unsupported, standard_scale
from equipoise.task.follow_up import FollowUp


class ArmOutcome(nn.Module, ABC):
    """The same kind of outcome in both arms, P parameters an arm.

    Args:
        target: the target's name, for errors.

    ``base`` holds the parameters that predict each arm's base rate, 2 x P; ``sd`` is the size of an error in the outcome's unit.
    """

    kind: ClassVar[str]
    form: ClassVar[Form]

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target, self.sd = target, 1.0
        self.base: tuple[tuple[float, ...], ...] = ((0.0,), (0.0,))

    @property
    def n_params(self) -> int:
        """P."""
        return len(self.base[0])

    @property
    def horizons_days(self) -> tuple[float, ...]:
        """The horizon of a time to event, else none."""
        return ()

    @abstractmethod
    def learn(self, rows: pl.DataFrame) -> Self:
        """Reads base rates and scale from the train rows' outcomes; both arms occur.

        Raises:
            UserError: the outcome is not of this kind, or nothing can be learnt from it.
        """

    @abstractmethod
    def read(self, target: Target, used: Tensor) -> Tensor | FollowUp:
        """The outcomes of a batch where ``used``, placeholders elsewhere.

        Raises:
            UserError: an outcome is outside the likelihood's support.
        """

    @abstractmethod
    def nll(self, arm: Tensor, outcome: Tensor | FollowUp) -> Tensor:
        """Negative log likelihood (S, B), nats, of what `read` gave, from the received arm's parameters (S, B, P)."""

    @abstractmethod
    def mean(self, arm: Tensor) -> Tensor:
        """(..., P) -> (...): the probability, or the mean in the outcome's unit."""

    def direction(self, arms: Tensor) -> Tensor:
        """Where the parameters of both arms (..., 2, P) move to in targeted regularisation, of their shape, for an arm received by everybody.

        A residual times it is the influence of a row's outcome on the mean: 1 where the likelihood's residual is the outcome less its mean.
        """
        return torch.ones_like(arms)

    def variance(self, mean: Tensor) -> Tensor:
        """Of the outcome given the parameters, of the mean's shape."""
        return mean * (1 - mean)

    def penalty(self) -> Tensor:
        """Negative log prior of the outcome's own parameters, (), nats."""
        return torch.zeros(())

    def state(self) -> dict[str, Any]:
        """Plain values: what `learn` learnt."""
        return {"kind": self.kind, "base": [list(b) for b in self.base], "sd": self.sd}

    def load(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        self.base, self.sd = tuple(tuple(float(x) for x in b) for b in state["base"]), float(state["sd"])
        return self


@final
class BinaryArm(ArmOutcome):
    """P(outcome = 1) = sigmoid(logit), P = 1."""

    kind, form = "binary", "entropy"

    def learn(self, rows: pl.DataFrame) -> Self:
        outcome, weight, treatment = (rows[name].to_numpy() for name in ("outcome", "weight", "treatment"))
        refuse_unsupported(self.target, torch.tensor(np.isin(outcome, (0.0, 1.0))), torch.tensor(True), "0 or 1")
        refuse_one_class(self.target, {"0": int((outcome == 0).sum()), "1": int((outcome == 1).sum())})
        arms = [treatment == a for a in (0, 1)]
        self.base = tuple((log_odds(float((weight * outcome)[arm].sum()), float((weight * (1 - outcome))[arm].sum())),) for arm in arms)
        return self

    def read(self, target: Target, used: Tensor) -> Tensor:
        outcome = torch.where(used, target.outcome, 0.0)
        refuse_unsupported(self.target, (outcome == 0) | (outcome == 1), used, "0 or 1")
        return outcome

    def nll(self, arm: Tensor, outcome: Tensor | FollowUp) -> Tensor:
        assert isinstance(outcome, Tensor)
        return F.binary_cross_entropy_with_logits(arm[..., 0], outcome.to(arm).expand_as(arm[..., 0]), reduction="none")

    def mean(self, arm: Tensor) -> Tensor:
        return torch.sigmoid(arm[..., 0])


@final
class ContinuousArm(ArmOutcome):
    """Normal with a standardised mean, P = 1, and one log(sigma) for both arms, prior N(0, log_sigma_scale^2).

    Args:
        target: the target's name.
        log_sigma_scale: > 0.
    """

    kind, form = "continuous", "variance"

    def __init__(self, target: str, log_sigma_scale: float) -> None:
        super().__init__(target)
        self.log_sigma_scale, self.centre = float(log_sigma_scale), 0.0
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def learn(self, rows: pl.DataFrame) -> Self:
        outcome, weight, treatment = (rows[name].to_numpy() for name in ("outcome", "weight", "treatment"))
        self.centre, self.sd = standard_scale(self.target, outcome, weight)
        arms = [treatment == a for a in (0, 1)]
        self.base = tuple((float(np.average((outcome[arm] - self.centre) / self.sd, weights=weight[arm])),) for arm in arms)
        return self

    def read(self, target: Target, used: Tensor) -> Tensor:
        outcome = torch.where(used, target.outcome, self.centre)
        refuse_unsupported(self.target, torch.isfinite(outcome), used, "a finite number")
        return outcome

    def nll(self, arm: Tensor, outcome: Tensor | FollowUp) -> Tensor:
        assert isinstance(outcome, Tensor)
        return normal_nll((outcome.to(arm) - self.centre) / self.sd, arm[..., 0], self.log_sigma)

    def mean(self, arm: Tensor) -> Tensor:
        return self.centre + self.sd * arm[..., 0]

    def variance(self, mean: Tensor) -> Tensor:
        return (self.sd**2 * torch.exp(2 * self.log_sigma.double())).expand_as(mean)

    def penalty(self) -> Tensor:
        return self.log_sigma.square() / (2 * self.log_sigma_scale**2)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "centre": self.centre}

    def load(self, state: dict[str, Any]) -> Self:
        self.centre = float(state["centre"])
        return super().load(state)


def log_odds(positive: float, negative: float) -> float:
    """Log odds with half a row added to either side."""
    return math.log((positive + 0.5) / (negative + 0.5))
