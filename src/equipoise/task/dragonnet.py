"""The effect of a treatment by DragonNet: two branches and the propensity, held together by targeted regularisation."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.task.arms import ArmsTask, treatment_nll


@final
class DragonNetTask(ArmsTask):
    """`TreatmentEffectTask`'s parameters (K = 2 P + 1), and one number epsilon that moves both arms by the propensity e: the arms answered are

        mu1 + epsilon d1 / e,  mu0 - epsilon d0 / (1 - e),   e clipped to [clip, 1 - clip],

    on the scale of the parameters: d = 1 for a continuous outcome and for the logit of a binary one. For a time to event the parameters are logits
    of hazards, and d of each is what a residual there does to the risk by the horizon, over the share not censored before (`hazards.influence`,
    `arm_hazards`), at the hazards of the moment.

    Loss: the outcome's negative log likelihood in the received arm, plus propensity_weight times the treatment's, plus targeted_weight times the
    outcome's with the moved arms. Where epsilon is at its minimum, the residuals of the moved arms are orthogonal to d (a - e) / (e (1 - e)), so the
    mean effect equals the doubly robust (AIPW) estimate on the same rows and nuisances: it stays right where either the arms or the propensity are.
    For a time to event, where d follows the hazards, this is a first step towards it, right for small moves.

    Args:
        target: a target with treatment 0 or 1; its outcome is binary, continuous or a time to event.
        propensity_weight: >= 0.
        targeted_weight: >= 0; 0: epsilon stays 0 and this is `TreatmentEffectTask`.
        clip: in (0, 0.5), of e inside epsilon's direction.
        epsilon_scale: > 0, prior of epsilon ~ N(0, epsilon_scale^2).
        log_sigma_scale: > 0, prior of log(sigma) ~ N(0, log_sigma_scale^2); continuous outcomes only.
        horizon_days: > 0, of a time to event; otherwise null.
        n_intervals: J >= 1, of a time to event.

    Source: Shi, Blei and Veitch (2019), eqs. 2.2 and 3.2; van der Laan and Rose (2011), section 5.2, for binary outcomes, Moore and van der Laan (2009)
    for times.
    """

    def __init__(
        self,
        *,
        target: str,
        propensity_weight: float,
        targeted_weight: float,
        clip: float,
        epsilon_scale: float,
        log_sigma_scale: float,
        horizon_days: float | None,
        n_intervals: int,
    ) -> None:
        super().__init__(target=target, log_sigma_scale=log_sigma_scale, horizon_days=horizon_days, n_intervals=n_intervals)
        if not 0 < clip < 0.5:
            raise UserError(f"clip of the task on {target!r}", expected="between 0 and 0.5", found=f"{clip:g}", mend="set clip of the task")
        self.propensity_weight, self.targeted_weight = float(propensity_weight), float(targeted_weight)
        self.clip, self.epsilon_scale = float(clip), float(epsilon_scale)
        self.epsilon = nn.Parameter(torch.zeros(()))

    @property
    def n_params(self) -> int:
        return 2 * self.outcome.n_params + 1

    def start(self) -> Tensor:
        return torch.tensor([*self.flat_base(), self.treated_log_odds])

    def arms_of(self, value: Tensor) -> Tensor:
        arms, e = self.flat_arms(value[..., :-1]), torch.sigmoid(value[..., -1]).clamp(self.clip, 1 - self.clip)
        inverse = torch.stack([-1 / (1 - e), 1 / e], -1)[..., None]
        return arms + self.epsilon.to(value) * inverse * self.outcome.direction(arms)

    def propensity_logit(self, value: Tensor) -> Tensor:
        return value[..., -1]

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """The outcome's likelihood in the received arm, the treatment's, and the outcome's with the moved arms, (B,); 0 without outcome or treatment."""
        received, value = self.received(target), draws.value
        nll = self.outcome_nll(self.flat_arms(value[..., :-1]), received) + self.propensity_weight * treatment_nll(value[..., -1], received)
        nll = nll + self.targeted_weight * self.outcome_nll(self.arms_of(value), received)
        return nll.mean(0) * target.weight * received.used

    def penalty(self) -> Tensor:
        """Of log(sigma), and epsilon^2 / (2 epsilon_scale^2)."""
        return super().penalty() + self.epsilon.square() / (2 * self.epsilon_scale**2)
