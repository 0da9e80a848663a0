"""The effect of a treatment learnt apart from the outcome's level: DR- and R-learner."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.task.arms import Arms, ArmsTask, treatment_nll


@final
class EffectLearnerTask(ArmsTask):
    """Effect tau(z) by least squares on a pseudo-outcome, beside outcome regressions mu0, mu1 and propensity e (K = 4: mu0, mu1, e, tau / sd).

    Loss: the outcome's and the treatment's negative log likelihoods, plus effect_weight * w (pseudo - tau)^2 / (2 sd^2), with
        dr: pseudo = mu1 - mu0 + (a - e) / (e (1 - e)) (y - mu_a),  w = 1
        r:  pseudo = (y - m) / (a - e), m = (1 - e) mu0 + e mu1,    w = (a - e)^2
    A target's ``pseudo`` is used where it is given: cross-fitted, as the theory asks (for r the ratio; its w takes e from this network). Elsewhere the
    pseudo-outcome is made from this network's own mu and e, held fixed and clipped: nuisances and effect then see the same rows, and an overfitted
    outcome makes the effect too small. ``effect`` is tau; mu1 - mu0 may differ from it, for it is smoothed less.

    Args:
        target: a target with treatment 0 or 1; its outcome is binary or continuous.
        learner: "dr" or "r".
        propensity_weight: > 0, of the treatment's likelihood.
        effect_weight: > 0, of the effect's squared error.
        clip: in (0, 0.5), of e inside the pseudo-outcome.
        log_sigma_scale: > 0, prior of log(sigma) ~ N(0, log_sigma_scale^2); continuous outcomes only.

    Source: Kennedy (2023), eq. 2 and algorithm 1 (DR); Nie and Wager (2021), eq. 4 (R).
    """

    def __init__(
        self, *, target: str, learner: Literal["dr", "r"], propensity_weight: float, effect_weight: float, clip: float, log_sigma_scale: float
    ) -> None:
        super().__init__(target=target, log_sigma_scale=log_sigma_scale)
        if learner not in ("dr", "r") or not 0 < clip < 0.5:
            raise UserError(
                f"learner and clip of the task on {target!r}",
                expected="dr or r, and a clip between 0 and 0.5",
                found=f"{learner} and {clip:g}",
                mend="correct them",
            )
        self.robust, self.clip = learner == "dr", float(clip)
        self.propensity_weight, self.effect_weight = float(propensity_weight), float(effect_weight)

    @property
    def n_params(self) -> int:
        return 4

    def start(self) -> Tensor:
        mu = self.in_unit(torch.tensor(self.base[:2]))
        return torch.tensor([*self.base, float((mu[1] - mu[0]) / self.sd)])

    def arms_of(self, value: Tensor) -> Tensor:
        return value[..., :2]

    def effect_of(self, value: Tensor) -> Tensor:
        return self.sd * value[..., 3]

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Likelihoods of outcome and treatment, and the effect's weighted squared error, (B,); 0 without outcome or treatment."""
        received, value = self.received(target), draws.value
        nll = self.outcome_nll(self.arms_of(value), received) + self.propensity_weight * treatment_nll(value[..., 2], received)
        own, weight = self.pseudo(value.detach(), received)
        given = received.used & torch.isfinite(target.pseudo)
        pseudo = torch.where(given, torch.nan_to_num(target.pseudo), own)
        loss = nll + self.effect_weight * 0.5 * weight * ((pseudo - self.effect_of(value)) / self.sd).square()
        return loss.mean(0) * target.weight * received.used

    def pseudo(self, value: Tensor, received: Arms) -> tuple[Tensor, Tensor]:
        """The pseudo-outcome in the outcome's unit and its weight, each (S, B), from this network's own nuisances."""
        mu = self.in_unit(value[..., :2])
        e, a, y = torch.sigmoid(value[..., 2]).clamp(self.clip, 1 - self.clip), received.treated, received.outcome
        if self.robust:
            residual = y - torch.where(a == 1, mu[..., 1], mu[..., 0])
            return mu[..., 1] - mu[..., 0] + (a - e) / (e * (1 - e)) * residual, torch.ones_like(e)
        return (y - (1 - e) * mu[..., 0] - e * mu[..., 1]) / (a - e), (a - e).square()
