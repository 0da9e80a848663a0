"""A continuous outcome: Gaussian, its standard deviation shared by all rows or predicted for each."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor, nn

from equipoise.cohort.draft import TargetTable
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, normal_nll, observed_rows, refuse_unsupported, standard_scale
from equipoise.task.spread import ContinuousTask


@final
class RegressionTask(ContinuousTask):
    """y ~ N(mean + sd * m, (sd * sigma)^2) with mean and sd of the train rows, so that m and log(sigma) are of order one whatever the unit.

    The loss is that of the standardised outcome: log(sd) nats less than in the outcome's unit.

    Args:
        target: a continuous target.
        heteroscedastic: False: one log(sigma), learnt as the task's own parameter (K = 1). True: the head gives it for each row (K = 2).
        log_sigma_scale: > 0, prior of the task's own log(sigma) ~ N(0, log_sigma_scale^2).

    Source: ours; the heteroscedastic form is that of Nix and Weigend (1994), eq. 3.
    """

    log_sigma: nn.Parameter | None

    def __init__(self, *, target: str, heteroscedastic: bool, log_sigma_scale: float) -> None:
        super().__init__(target=target)
        self.heteroscedastic, self.log_sigma_scale = heteroscedastic, float(log_sigma_scale)
        self.register_parameter("log_sigma", None if heteroscedastic else nn.Parameter(torch.zeros(())))
        self.mean, self.sd = math.nan, math.nan

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("continuous",))
        self.mean, self.sd = standard_scale(self.target, rows["outcome"].to_numpy(), rows["weight"].to_numpy())

    @property
    def n_params(self) -> int:
        return 2 if self.heteroscedastic else 1

    def start(self) -> Tensor:
        return torch.zeros(self.n_params)

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Gaussian negative log likelihood of the standardised outcome, (B,)."""
        outcome = torch.where(target.observed, target.outcome, self.mean)
        refuse_unsupported(self.target, torch.isfinite(outcome), target.observed, "a finite number")
        nll = normal_nll((outcome - self.mean) / self.sd, draws.value[..., 0], self._log_sigma(draws.value))
        return nll.mean(0) * target.weight * target.observed

    def answer(self, draws: Draws) -> Answer:
        value = draws.value.double()
        mean = self.mean + self.sd * value[..., :1]
        variance = self.sd**2 * torch.exp(2 * self._log_sigma(value))[..., None].expand_as(mean)
        return Answer(labels=("",), mean=mean, variance=variance, form=("variance",))

    def hessian(self, params: Tensor) -> Tensor:
        """1 / sigma^2 in the mean, and 2 in log(sigma) where that is a parameter: the Fisher information of the normal."""
        precision = torch.exp(-2 * self._log_sigma(params)).expand(params.shape[:-1])
        diagonal = [precision, torch.full_like(precision, 2.0)] if self.heteroscedastic else [precision]
        return torch.diag_embed(torch.stack(diagonal, -1))

    def penalty(self) -> Tensor:
        """log(sigma)^2 / (2 log_sigma_scale^2)."""
        return torch.zeros(()) if self.log_sigma is None else self.log_sigma.square() / (2 * self.log_sigma_scale**2)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "mean": self.mean, "sd": self.sd}

    def load_state(self, state: dict[str, Any]) -> None:
        self.mean, self.sd = float(state["mean"]), float(state["sd"])
        super().load_state(state)

    def _log_sigma(self, value: Tensor) -> Tensor:
        return (value[..., 1] if self.log_sigma is None else self.log_sigma.to(value)) + self.log_shift.to(value)
