"""Quantiles of a continuous outcome that cannot cross, and the mean and variance of the distribution through them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, observed_rows, refuse_unsupported, standard_scale
from equipoise.task.spread import ContinuousTask

LEAST_GAP = 1e-3
"""Standard deviations between neighbouring quantiles at the start, at least."""


@final
class QuantileTask(ContinuousTask):
    """Quantiles q_1 < ... < q_K of y at given levels, on the train rows' standard scale.

    The level nearest one half has q = v; from there each neighbour lies softplus(v_j) further out, so no two cross. Loss: the mean over levels of the
    asymmetric Laplace likelihood, (y - q)(level - [y < q]) / b + log b - log(level (1 - level)): the pinball loss with a scale b that is learnt, so
    that it stands beside priors in nats. It finds quantiles whatever the distribution; it is no density of y, so the select loss compares quantile
    networks with each other only.

    Mean and variance are those of y = g(Z), Z standard normal, with g through (z(level), q) by straight lines, the outermost continued: exact for a
    normal y whatever the levels, and what the tails beyond the outermost level are taken to be. The variance is then sized on select rows.

    Args:
        target: a continuous target.
        levels: at least two, increasing, in (0, 1).
        log_scale_scale: > 0, prior of log(b / the base rate's b) ~ N(0, log_scale_scale^2).

    Source: Koenker and Bassett (1978), eq. 3.1; Yu and Moyeed (2001), eq. 4 (working likelihood); the distribution through the quantiles is ours.
    """

    def __init__(self, *, target: str, levels: list[float], log_scale_scale: float) -> None:
        super().__init__(target=target)
        if len(levels) < 2 or not all(0 < a < b < 1 for a, b in itertools.pairwise(levels)):
            found = ", ".join(f"{level:g}" for level in levels) or "none"
            raise UserError(f"levels of the task on {target!r}", expected="at least two, increasing, between 0 and 1", found=found, mend="correct levels")
        self.levels, self.log_scale_scale = tuple(map(float, levels)), float(log_scale_scale)
        self.middle = int(np.abs(np.array(levels) - 0.5).argmin())
        self.mean_weights, self.square_weights = normal_moments(self.levels)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.mean, self.sd, self.base, self.base_scale = math.nan, math.nan, (0.0,) * len(levels), 1.0

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("continuous",))
        outcome, weight = rows["outcome"].to_numpy(), rows["weight"].to_numpy()
        self.mean, self.sd = standard_scale(self.target, outcome, weight)
        y = (outcome - self.mean) / self.sd
        order = np.argsort(y)
        share = np.cumsum(weight[order]) / weight.sum()
        q = y[order][np.searchsorted(share, self.levels).clip(max=len(y) - 1)]
        gaps = np.maximum(np.diff(q), LEAST_GAP)
        raised = gaps + np.log(-np.expm1(-gaps))  # the inverse of softplus
        self.base = (*raised[: self.middle].tolist(), float(q[self.middle]), *raised[self.middle :].tolist())
        above = y[:, None] - q
        pinball = np.where(above >= 0, np.array(self.levels), np.array(self.levels) - 1) * above
        self.base_scale = float(np.average(pinball.mean(1), weights=weight))

    @property
    def n_params(self) -> int:
        return len(self.levels)

    def start(self) -> Tensor:
        return torch.tensor(self.base)

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Mean over levels of the asymmetric Laplace working likelihood, (B,)."""
        outcome = torch.where(target.observed, target.outcome, self.mean)
        refuse_unsupported(self.target, torch.isfinite(outcome), target.observed, "a finite number")
        level = torch.tensor(self.levels, dtype=draws.value.dtype, device=draws.value.device)
        above = ((outcome - self.mean) / self.sd)[:, None] - self._standard(draws.value)
        pinball = torch.maximum(level * above, (level - 1) * above).mean(-1)
        log_scale = self.log_scale + math.log(self.base_scale)
        nll = pinball * torch.exp(-log_scale) + log_scale - torch.log(level * (1 - level)).mean()
        return nll.mean(0) * target.weight * target.observed

    def hessian(self, params: Tensor) -> Tensor:
        """Mean over levels of the working likelihood's expected curvature, level (1 - level) / b^2, taken back through the gaps between quantiles.

        The pinball loss itself is made of straight lines: the curvature that it shows at a sample says nothing of how well a quantile is known.
        """
        level = torch.tensor(self.levels, dtype=params.dtype, device=params.device)
        b = self.base_scale * torch.exp(self.log_scale.detach().to(params))
        by_value = self._slopes(params)
        return torch.einsum("k,bki,bkj->bij", level * (1 - level) / (b**2 * len(level)), by_value, by_value)

    def quantiles(self, draws: Draws) -> Tensor:
        """The quantiles in the outcome's unit, f64 (S, B, K)."""
        return self.mean + self.sd * self._standard(draws.value.double())

    def answer(self, draws: Draws) -> Answer:
        q = self._standard(draws.value.double())
        mean = (q * self.mean_weights.to(q)).sum(-1, keepdim=True)
        centred = q - mean
        variance = ((centred @ self.square_weights.to(q)) * centred).sum(-1, keepdim=True).clamp(min=0.0) * torch.exp(2 * self.log_shift.to(q))
        return Answer(labels=("",), mean=self.mean + self.sd * mean, variance=self.sd**2 * variance, form=("variance",))

    def penalty(self) -> Tensor:
        """log(b / base)^2 / (2 log_scale_scale^2)."""
        return self.log_scale.square() / (2 * self.log_scale_scale**2)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "mean": self.mean, "sd": self.sd, "base": list(self.base), "base_scale": self.base_scale}

    def load_state(self, state: dict[str, Any]) -> None:
        self.mean, self.sd, self.base_scale = float(state["mean"]), float(state["sd"]), float(state["base_scale"])
        self.base = tuple(state["base"])
        super().load_state(state)

    def _standard(self, value: Tensor) -> Tensor:
        """Standardised quantiles (S, B, K)."""
        centre, gaps = value[..., self.middle : self.middle + 1], F.softplus(value)
        below = centre - gaps[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, centre, centre + gaps[..., self.middle + 1 :].cumsum(-1)], -1)

    def _slopes(self, params: Tensor) -> Tensor:
        """Derivatives (B, K, K) of `_standard`'s quantiles by the parameters (B, K)."""
        place, rate = torch.arange(len(self.levels), device=params.device), torch.sigmoid(params)[:, None, :]
        outer, own, m = place[:, None], place[None, :], self.middle
        above, below = (own > m) & (own <= outer), (own < m) & (own >= outer)
        return torch.where(above, rate, 0.0) - torch.where(below, rate, 0.0) + (own == m).to(params)


def normal_moments(levels: Sequence[float]) -> tuple[Tensor, Tensor]:
    """w f64 (K,) and M f64 (K, K) with E g(Z) = w q and E g(Z)^2 = q M q, g the straight lines through (z(level), q), continued at both ends.

    g = sum_j q_j hat_j(Z), and the integrals of 1, z and z^2 against the normal density over each segment are closed forms.

    Source: ours.
    """
    z = ndtri(np.asarray(levels, dtype=np.float64))
    edges = np.array([-np.inf, *z[1:-1], np.inf])
    w, m = np.zeros(len(z)), np.zeros((len(z), len(z)))
    for j in range(len(z) - 1):
        a, b = edges[j], edges[j + 1]
        at = np.exp(-0.5 * np.square([a, b])) / math.sqrt(2 * math.pi)
        i0, i1 = ndtr(b) - ndtr(a), at[0] - at[1]
        i2 = i0 + (a * at[0] if np.isfinite(a) else 0.0) - (b * at[1] if np.isfinite(b) else 0.0)
        # hat_{j+1} = (Z - z_j) / gap and hat_j = 1 - hat_{j+1} on this segment
        gap = z[j + 1] - z[j]
        right = (i1 - z[j] * i0) / gap
        both = (i2 - 2 * z[j] * i1 + z[j] ** 2 * i0) / gap**2
        w[j : j + 2] += (i0 - right, right)
        m[j : j + 2, j : j + 2] += [[i0 - 2 * right + both, right - both], [right - both, both]]
    return torch.from_numpy(w), torch.from_numpy(m)
