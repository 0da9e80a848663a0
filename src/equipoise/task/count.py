"""How often something happens to a row: Poisson, or negative binomial where counts vary more than that."""

from __future__ import annotations

import math
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, observed_rows, refuse_unsupported, standard_scale
from equipoise.task.spread import ContinuousTask

LEAST_DISPERSION = 0.01
"""Dispersion at the start, at least: that of counts which vary as a Poisson's has no logarithm."""


@final
class CountTask(ContinuousTask):
    """y in 0, 1, 2, ... with mean mu = exp(l) (K = 1); variance mu (poisson) or mu + alpha mu^2 (negative_binomial, one alpha for all rows).

    Every row is taken to be watched equally long: a target carries no exposure. Mean and variance are stated in events, the variance sized on select
    rows as `RegressionTask` does (for a Poisson that is a quasi-Poisson variance); scores that take a forecast for a normal one (CRPS in the trial)
    see those two and not the counts' skewness.

    Args:
        target: a continuous target that holds counts.
        distribution: "poisson" or "negative_binomial".
        log_dispersion_scale: > 0, prior of log(alpha / the train rows' moment estimate) ~ N(0, log_dispersion_scale^2); negative_binomial only.

    Source: Cameron and Trivedi (2013), sections 3.2 and 3.3 (NB2).
    """

    log_dispersion: nn.Parameter | None

    def __init__(self, *, target: str, distribution: Literal["poisson", "negative_binomial"], log_dispersion_scale: float) -> None:
        super().__init__(target=target)
        if distribution not in ("poisson", "negative_binomial"):
            raise UserError(
                f"distribution of the task on {target!r}", expected="poisson or negative_binomial", found=str(distribution), mend="set distribution of the task"
            )
        self.log_dispersion_scale = float(log_dispersion_scale)
        self.register_parameter("log_dispersion", nn.Parameter(torch.zeros(())) if distribution == "negative_binomial" else None)
        self.log_mean, self.base_dispersion = 0.0, 1.0

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("continuous",))
        outcome, weight = rows["outcome"].to_numpy(), rows["weight"].to_numpy()
        refuse_unsupported(
            self.target, torch.tensor(np.isfinite(outcome) & (outcome >= 0) & (outcome == np.round(outcome))), torch.tensor(True), "counts 0, 1, 2, ..."
        )
        mean, sd = standard_scale(self.target, outcome, weight)
        self.log_mean, self.base_dispersion = math.log(mean), max((sd**2 - mean) / mean**2, LEAST_DISPERSION)

    @property
    def n_params(self) -> int:
        return 1

    def start(self) -> Tensor:
        return torch.tensor([self.log_mean])

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log likelihood of the count, (B,)."""
        y = torch.where(target.observed, target.outcome, 0.0)
        refuse_unsupported(self.target, torch.isfinite(y) & (y >= 0) & (y == torch.round(y)), target.observed, "counts 0, 1, 2, ...")
        y, log_mean = y.to(draws.value), draws.value[..., 0]
        if self.log_dispersion is None:
            nll = torch.exp(log_mean) - y * log_mean + torch.lgamma(y + 1)
        else:
            # r = 1 / alpha failures; P(success) = mu / (r + mu)
            log_r = -(self.log_dispersion + math.log(self.base_dispersion))
            r = torch.exp(log_r)
            nll = torch.lgamma(r) + torch.lgamma(y + 1) - torch.lgamma(y + r) + r * F.softplus(log_mean - log_r) + y * F.softplus(log_r - log_mean)
        return nll.mean(0) * target.weight * target.observed

    def answer(self, draws: Draws) -> Answer:
        mean = torch.exp(draws.value.double())
        variance = (mean + self._dispersion() * mean.square()) * torch.exp(2 * self.log_shift.double())
        return Answer(labels=("",), mean=mean, variance=variance, form=("variance",))

    def hessian(self, params: Tensor) -> Tensor:
        """Fisher information mu / (1 + alpha mu)."""
        mean = torch.exp(params)
        return (mean / (1 + self._dispersion().to(mean) * mean))[..., None]

    def penalty(self) -> Tensor:
        """log(alpha / start)^2 / (2 log_dispersion_scale^2); none for a Poisson."""
        return torch.zeros(()) if self.log_dispersion is None else self.log_dispersion.square() / (2 * self.log_dispersion_scale**2)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "log_mean": self.log_mean, "base_dispersion": self.base_dispersion}

    def load_state(self, state: dict[str, Any]) -> None:
        self.log_mean, self.base_dispersion = float(state["log_mean"]), float(state["base_dispersion"])
        super().load_state(state)

    def _dispersion(self) -> Tensor:
        """alpha, f64 (), 0 for a Poisson."""
        if self.log_dispersion is None:
            return self.log_shift.new_zeros((), dtype=torch.float64)
        return torch.exp(self.log_dispersion.double()) * self.base_dispersion
