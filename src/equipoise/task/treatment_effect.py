"""The effect of a treatment: one branch an arm, and the propensity."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from equipoise.contract.tensors import Draws, Target
from equipoise.task.arms import ArmsTask, treatment_nll


@final
class TreatmentEffectTask(ArmsTask):
    """Both potential outcomes and the propensity from one z: mu0, mu1, effect = mu1 - mu0.

    K = 2 P + 1: the outcome's P parameters without and with treatment (binary: a logit; continuous: a standardised mean, with one log(sigma) of the
    task; time to event: logits of discrete hazards, J intervals of each cause), and the logit of P(treated | z). The loss is the outcome's negative
    log likelihood in the arm that was received, plus ``propensity_weight`` times the treatment's. It estimates an effect only where treatment is as
    good as random given the inputs, and both arms occur for such people.

    This is TARNet with branches as deep as the head's last layer: linear. `DragonNetTask` adds the targeted regularisation.

    Args:
        target: a target with treatment 0 or 1; its outcome is binary, continuous or a time to event.
        propensity_weight: >= 0.
        log_sigma_scale: > 0, prior of log(sigma) ~ N(0, log_sigma_scale^2); continuous outcomes only.
        horizon_days: > 0, by which risks are compared; a time to event needs one, other outcomes have none (None).
        n_intervals: J >= 1, of a time to event; fewer where event times are tied.

    Source: Shalit et al. (2017), section 4 (two branches); Shi et al. (2019), eq. 2.2 (propensity from the same z).
    """

    def __init__(self, *, target: str, propensity_weight: float, log_sigma_scale: float, horizon_days: float | None, n_intervals: int) -> None:
        super().__init__(target=target, log_sigma_scale=log_sigma_scale, horizon_days=horizon_days, n_intervals=n_intervals)
        self.propensity_weight = float(propensity_weight)

    @property
    def n_params(self) -> int:
        return 2 * self.outcome.n_params + 1

    def start(self) -> Tensor:
        return torch.tensor([*self.flat_base(), self.treated_log_odds])

    def arms_of(self, value: Tensor) -> Tensor:
        return self.flat_arms(value[..., :-1])

    def propensity_logit(self, value: Tensor) -> Tensor:
        return value[..., -1]

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Outcome's negative log likelihood in the received arm + propensity_weight * treatment's, (B,); 0 without outcome or treatment."""
        received = self.received(target)
        nll = self.outcome_nll(self.arms_of(draws.value), received) + self.propensity_weight * treatment_nll(self.propensity_logit(draws.value), received)
        return nll.mean(0) * target.weight * received.used
