"""The effect of a treatment learnt apart from the outcome's level: DR- and R-learner."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.stats.pseudo_outcomes import EffectLoss
from equipoise.task.arms import ArmsTask, treatment_nll


@final
class EffectLearnerTask(ArmsTask):
    """Effect tau(z) by least squares on a pseudo-outcome, beside both arms' outcome and the propensity (K = 2 P + 2: arms, propensity, tau / sd).

    Loss: the outcome's and the treatment's negative log likelihoods, plus effect_weight * w (pseudo - tau)^2 / (2 sd^2), with
        dr: pseudo = mu1 - mu0 + (a - e) / (e (1 - e)) (y - mu_a),  w = 1
        r:  pseudo = (y - m) / (a - e), m = (1 - e) mu0 + e mu1,    w = (a - e)^2
    mu and e of a row are cross-fitted: from regressions on other people's rows, apart from this network (package `nuisance`), which puts the
    pseudo-outcomes into `Target`; rows without one teach the outcome and the propensity alone. Of a time to event, y is the status at the horizon,
    weighted for censoring. ``effect`` is tau; mu1 - mu0 may differ from it, for it is smoothed less.

    Args:
        target: a target with treatment 0 or 1; its outcome is binary, continuous or a time to event.
        learner: "dr" or "r".
        propensity_weight: > 0, of the treatment's likelihood.
        effect_weight: > 0, of the effect's squared error.
        log_sigma_scale: > 0, prior of log(sigma) ~ N(0, log_sigma_scale^2); continuous outcomes only.
        horizon_days: > 0, by which risks are compared; a time to event needs one, other outcomes have none (None).
        n_intervals: J >= 1, of a time to event; fewer where event times are tied.

    Source: Kennedy (2023), eq. 2 and algorithm 1 (DR); Nie and Wager (2021), eq. 4 (R).
    """

    def __init__(
        self,
        *,
        target: str,
        learner: EffectLoss,
        propensity_weight: float,
        effect_weight: float,
        log_sigma_scale: float,
        horizon_days: float | None,
        n_intervals: int,
    ) -> None:
        super().__init__(target=target, log_sigma_scale=log_sigma_scale, horizon_days=horizon_days, n_intervals=n_intervals)
        if learner not in ("dr", "r"):
            raise UserError(f"learner of the task on {target!r}", expected="dr or r", found=str(learner), mend="correct it")
        self.learns_from = learner
        self.propensity_weight, self.effect_weight = float(propensity_weight), float(effect_weight)

    @property
    def n_params(self) -> int:
        return 2 * self.outcome.n_params + 2

    def start(self) -> Tensor:
        mu = self.outcome.mean(torch.tensor(self.base))
        return torch.tensor([*self.flat_base(), self.treated_log_odds, float((mu[1] - mu[0]).detach() / self.sd)])

    def arms_of(self, value: Tensor) -> Tensor:
        return self.flat_arms(value[..., :-2])

    def propensity_logit(self, value: Tensor) -> Tensor:
        return value[..., -2]

    def effect_of(self, value: Tensor) -> Tensor:
        return self.sd * value[..., -1]

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Likelihoods of outcome and treatment, and the effect's weighted squared error, (B,); 0 without outcome or treatment."""
        received, value = self.received(target), draws.value
        nll = self.outcome_nll(self.arms_of(value), received) + self.propensity_weight * treatment_nll(self.propensity_logit(value), received)
        known = torch.isfinite(target.pseudo)
        gap = (torch.where(known, target.pseudo, 0.0) - self.effect_of(value)) / self.sd
        loss = nll + self.effect_weight * 0.5 * (target.pseudo_weight * known) * gap.square()
        return loss.mean(0) * target.weight * received.used
