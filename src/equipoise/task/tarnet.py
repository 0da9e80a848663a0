"""The effect of a treatment by TARNet: what the head gives is shared, and each arm has a network of its own on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.prior import of_layers
from equipoise.contract.tensors import Draws, Target, generator
from equipoise.head import OUTPUT_GAIN
from equipoise.task.arm_outcome import ArmOutcome
from equipoise.task.arms import ArmsTask, treatment_nll


@final
class TarNetTask(ArmsTask):
    """The parameters are the propensity's logit and a shared representation of ``width`` numbers (K = 1 + width); arm a's P parameters are those that
    predict the train rows' mean of that arm (see `TreatmentEffectTask`) plus a network of the task's own, with ``layers`` hidden layers of GELU, on
    GELU(representation). Loss as `TreatmentEffectTask`.

    The branches have weights of the task, with prior w ~ N(0, prior_scale^2 / fan-in) and no posterior: draws of a Bayesian head pass through them,
    but how unsure the branches themselves are is not counted. All members of an ensemble start them alike.

    Args:
        target: a target with treatment 0 or 1; its outcome is binary, continuous or a time to event.
        width: >= 1, of representation and hidden layers.
        layers: >= 0, hidden layers of each branch; 0: linear on the representation.
        prior_scale: > 0, of the branches.
        propensity_weight: >= 0; 0 is TARNet as published.
        log_sigma_scale: > 0, prior of log(sigma) ~ N(0, log_sigma_scale^2); continuous outcomes only.
        horizon_days: > 0, by which risks are compared; a time to event needs one, other outcomes have none (None).
        n_intervals: J >= 1, of a time to event; fewer where event times are tied.

    Source: Shalit, Johansson and Sontag (2017), section 4 (alpha = 0).
    """

    def __init__(
        self,
        *,
        target: str,
        width: int,
        layers: int,
        prior_scale: float,
        propensity_weight: float,
        log_sigma_scale: float,
        horizon_days: float | None,
        n_intervals: int,
    ) -> None:
        super().__init__(target=target, log_sigma_scale=log_sigma_scale, horizon_days=horizon_days, n_intervals=n_intervals)
        if width < 1 or layers < 0:
            raise UserError(f"Branches of the task on {target!r}", expected="width >= 1 and layers >= 0", found=f"{width} and {layers}", mend="correct them")
        self.width, self.layers, self.prior_scale, self.propensity_weight = width, layers, float(prior_scale), float(propensity_weight)
        self.adopt(self.outcome)

    def adopt(self, outcome: ArmOutcome) -> None:
        """Branches end in as many numbers as the outcome has parameters."""
        super().adopt(outcome)
        self.branches = nn.ModuleList(_branch(self.width, self.layers, outcome.n_params, stream_seed("init", 0, a)) for a in (0, 1))

    @property
    def n_params(self) -> int:
        return 1 + self.width

    def start(self) -> Tensor:
        return torch.tensor([self.treated_log_odds, *[0.0] * self.width])

    def arms_of(self, value: Tensor) -> Tensor:
        shared = F.gelu(value[..., 1:])
        return torch.stack([shared.new_tensor(base) + _through(branch, shared) for base, branch in zip(self.base, self.branches, strict=True)], -2)

    def propensity_logit(self, value: Tensor) -> Tensor:
        return value[..., 0]

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Outcome's negative log likelihood in the received arm + propensity_weight * treatment's, (B,); 0 without outcome or treatment."""
        received = self.received(target)
        nll = self.outcome_nll(self.arms_of(draws.value), received) + self.propensity_weight * treatment_nll(self.propensity_logit(draws.value), received)
        return nll.mean(0) * target.weight * received.used

    def penalty(self) -> Tensor:
        """Of log(sigma), and of the branches' weights and biases."""
        return super().penalty() + of_layers(self.branches, self.prior_scale)


def _branch(width: int, layers: int, n_out: int, seed: int) -> nn.ModuleList:
    """Linear layers, the last of ``n_out`` outputs, drawn from a stream of their own; biases start at zero."""
    stream, made = generator(seed), nn.ModuleList([*(nn.Linear(width, width) for _ in range(layers)), nn.Linear(width, n_out)])
    for i, layer in enumerate(_linears(made)):
        nn.init.normal_(layer.weight, std=(OUTPUT_GAIN if i == layers else 1.0) / math.sqrt(width), generator=stream)
        nn.init.zeros_(layer.bias)
    return made


def _through(branch: nn.Module, shared: Tensor) -> Tensor:
    """(S, B, width) -> (S, B, P), in the dtype of what comes in."""
    *hidden, last = _linears(branch)
    for layer in hidden:
        shared = F.gelu(F.linear(shared, layer.weight.to(shared), layer.bias.to(shared)))
    return F.linear(shared, last.weight.to(shared), last.bias.to(shared))


def _linears(branch: nn.Module) -> Iterator[nn.Linear]:
    return (layer for layer in branch.children() if isinstance(layer, nn.Linear))
