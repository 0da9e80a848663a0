"""A continuous outcome with outliers: Student's t, so that one wild value moves the mean little."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, observed_rows, refuse_unsupported, standard_scale
from equipoise.task.spread import ContinuousTask


@final
class StudentTTask(ContinuousTask):
    """y = centre + scale * (m + sigma * t_df), with centre and scale the most likely ones of the train rows for that t.

    The loss is that of (y - centre) / scale. Stated are the mean centre + scale * m and the variance (scale sigma)^2 df / (df - 2), sized on select
    rows as `RegressionTask` does; scores that take a forecast for a normal one (CRPS in the trial) see its mean and variance, not its tails.

    Args:
        target: a continuous target.
        df: degrees of freedom > 2; 4 resists outliers, 30 is nearly normal.
        heteroscedastic: False: one log(sigma), the task's own parameter (K = 1). True: the head gives it for each row (K = 2).
        log_sigma_scale: > 0, prior of the task's own log(sigma) ~ N(0, log_sigma_scale^2).

    Source: Lange, Little and Taylor (1989), eqs. 1 (model), 6 (EM for the start) and appendix B (information).
    """

    log_sigma: nn.Parameter | None

    def __init__(self, *, target: str, df: float, heteroscedastic: bool, log_sigma_scale: float) -> None:
        super().__init__(target=target)
        if not df > 2:
            raise UserError(f"df of the task on {target!r}", expected="above 2: with fewer there is no variance to state", found=f"{df:g}", mend="raise df")
        self.df, self.heteroscedastic, self.log_sigma_scale = float(df), heteroscedastic, float(log_sigma_scale)
        self.register_parameter("log_sigma", None if heteroscedastic else nn.Parameter(torch.zeros(())))
        self.centre, self.scale = math.nan, math.nan

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("continuous",))
        outcome, weight = rows["outcome"].to_numpy(), rows["weight"].to_numpy()
        mean, sd = standard_scale(self.target, outcome, weight)
        self.centre, self.scale = _most_likely(outcome, weight, self.df, mean, sd)

    @property
    def n_params(self) -> int:
        return 2 if self.heteroscedastic else 1

    def start(self) -> Tensor:
        return torch.zeros(self.n_params)

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log likelihood of the standardised outcome, (B,)."""
        outcome = torch.where(target.observed, target.outcome, self.centre)
        refuse_unsupported(self.target, torch.isfinite(outcome), target.observed, "a finite number")
        log_sigma = self._log_sigma(draws.value)
        residual = ((outcome - self.centre) / self.scale - draws.value[..., 0]) * torch.exp(-log_sigma)
        constant = math.lgamma(self.df / 2) - math.lgamma((self.df + 1) / 2) + 0.5 * math.log(math.pi * self.df)
        # log(1 + r^2 / df) without squaring what may be large.
        tail = torch.logaddexp(torch.zeros_like(residual), 2 * torch.log(residual.abs().clamp(min=1e-12)) - math.log(self.df))
        nll = constant + log_sigma + 0.5 * (self.df + 1) * tail
        return nll.mean(0) * target.weight * target.observed

    def answer(self, draws: Draws) -> Answer:
        value = draws.value.double()
        mean = self.centre + self.scale * value[..., :1]
        variance = self.scale**2 * self.df / (self.df - 2) * torch.exp(2 * (self._log_sigma(value) + self.log_shift.to(value)))
        return Answer(labels=("",), mean=mean, variance=variance[..., None].expand_as(mean), form=("variance",))

    def hessian(self, params: Tensor) -> Tensor:
        """Fisher information: (df + 1) / ((df + 3) sigma^2) in the mean, 2 df / (df + 3) in log(sigma) where that is a parameter."""
        precision = ((self.df + 1) / (self.df + 3) * torch.exp(-2 * self._log_sigma(params))).expand(params.shape[:-1])
        diagonal = [precision, torch.full_like(precision, 2 * self.df / (self.df + 3))] if self.heteroscedastic else [precision]
        return torch.diag_embed(torch.stack(diagonal, -1))

    def penalty(self) -> Tensor:
        """log(sigma)^2 / (2 log_sigma_scale^2)."""
        return torch.zeros(()) if self.log_sigma is None else self.log_sigma.square() / (2 * self.log_sigma_scale**2)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "centre": self.centre, "scale": self.scale}

    def load_state(self, state: dict[str, Any]) -> None:
        self.centre, self.scale = float(state["centre"]), float(state["scale"])
        super().load_state(state)

    def _log_sigma(self, value: Tensor) -> Tensor:
        return value[..., 1] if self.log_sigma is None else self.log_sigma.to(value)


def _most_likely(outcome: np.ndarray, weight: np.ndarray, df: float, centre: float, scale: float) -> tuple[float, float]:
    """Location and scale of a t with these degrees of freedom, by EM from mean and standard deviation."""
    least = 1e-6 * scale  # where more than half of the rows are equal, the likelihood has no maximum
    for _ in range(500):
        u = weight * (df + 1) / (df + np.square((outcome - centre) / scale))
        moved = float(np.average(outcome, weights=u))
        sized = max(float(np.sqrt((u * np.square(outcome - moved)).sum() / weight.sum())), least)
        done = abs(moved - centre) + abs(sized - scale) < 1e-9 * scale
        centre, scale = moved, sized
        if done:
            break
    return centre, scale
