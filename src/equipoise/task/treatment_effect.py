"""The effect of a treatment: one branch an arm, and the propensity."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, Form, Task, normal_nll, observed_rows, refuse_one_class, refuse_unsupported, standard_scale


@final
class TreatmentEffectTask(Task):
    """Both potential outcomes and the propensity from one z: mu0, mu1, effect = mu1 - mu0.

    K = 3: the outcome's logit (binary) or standardised mean (continuous, with one log(sigma) of the task) without and with treatment, and the
    logit of P(treated | z). The loss is the outcome's negative log likelihood in the arm that was received, plus ``propensity_weight`` times the
    treatment's. It estimates an effect only where treatment is as good as random given the inputs, and both arms occur for such people.

    Args:
        target: a target with treatment 0 or 1; its outcome is binary or continuous.
        propensity_weight: >= 0.
        log_sigma_scale: > 0, prior of log(sigma) ~ N(0, log_sigma_scale^2); continuous outcomes only.

    Source: Shalit et al. (2017), section 4 (two branches); Shi et al. (2019), eq. 2.2 (propensity from the same z).
    """

    kind = "treatment_effect"
    log_sigma: nn.Parameter | None

    def __init__(self, *, target: str, propensity_weight: float, log_sigma_scale: float) -> None:
        super().__init__(target=target)
        self.propensity_weight, self.log_sigma_scale = float(propensity_weight), float(log_sigma_scale)
        self.register_parameter("log_sigma", None)
        self.load_state({"binary": True, "mean": 0.0, "sd": 1.0, "start": [0.0, 0.0, 0.0]})

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("treatment_effect", "binary", "continuous"))
        _refuse_arms(self.target, rows["treatment"].to_numpy())
        rows = rows.filter(rows["treatment"] >= 0)
        outcome, weight, treatment = (rows[name].to_numpy() for name in ("outcome", "weight", "treatment"))
        binary = train.kind == "binary" or (train.kind == "treatment_effect" and bool(np.isin(outcome, (0.0, 1.0)).all()))
        arms = [treatment == a for a in (0, 1)]
        if binary:
            refuse_unsupported(self.target, torch.tensor(np.isin(outcome, (0.0, 1.0))), torch.tensor(True), "0 or 1")
            refuse_one_class(self.target, {"0": int((outcome == 0).sum()), "1": int((outcome == 1).sum())})
            mean, sd = 0.0, 1.0
            start = [_log_odds(float((weight * outcome)[arm].sum()), float((weight * (1 - outcome))[arm].sum())) for arm in arms]
        else:
            mean, sd = standard_scale(self.target, outcome, weight)
            start = [float(np.average((outcome[arm] - mean) / sd, weights=weight[arm])) for arm in arms]
        start.append(_log_odds(float(weight[arms[1]].sum()), float(weight[arms[0]].sum())))
        self.load_state({"binary": binary, "mean": mean, "sd": sd, "start": start})

    @property
    def n_params(self) -> int:
        return 3

    def start(self) -> Tensor:
        return torch.tensor(self.base)

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Outcome's negative log likelihood in the received arm + propensity_weight * treatment's, (B,); 0 without outcome or treatment."""
        used = target.observed & (target.treatment >= 0)
        refuse_unsupported(self.target, target.treatment <= 1, used, "treatment 0 or 1")
        treated = torch.where(used, target.treatment, 0)
        outcome = torch.where(used, target.outcome, self.mean)
        arm = torch.where(treated == 1, draws.value[..., 1], draws.value[..., 0])
        if self.log_sigma is None:
            refuse_unsupported(self.target, (outcome == 0) | (outcome == 1), used, "0 or 1")
            nll = F.binary_cross_entropy_with_logits(arm, outcome.expand_as(arm), reduction="none")
        else:
            refuse_unsupported(self.target, torch.isfinite(outcome), used, "a finite number")
            nll = normal_nll((outcome - self.mean) / self.sd, arm, self.log_sigma)
        logit = draws.value[..., 2]
        assigned = F.binary_cross_entropy_with_logits(logit, treated.to(logit).expand_as(logit), reduction="none")
        return (nll + self.propensity_weight * assigned).mean(0) * target.weight * used

    def answer(self, draws: Draws) -> Answer:
        """Labels mu0, mu1, effect.

        The within-draw variance of ``effect`` is NaN, hence its aleatoric and total parts are "not estimated": how much one person's two outcomes
        differ depends on their correlation, which no data can show (Holland 1986). Its epistemic part, between draws, is estimated.
        """
        arms = draws.value[..., :2].double()
        if self.log_sigma is None:
            mu = torch.sigmoid(arms)
            variance = mu * (1 - mu)
        else:
            mu = self.mean + self.sd * arms
            variance = (self.sd**2 * torch.exp(2 * self.log_sigma.double())).expand_as(mu)
        effect = mu[..., 1:] - mu[..., :1]
        form: Form = "entropy" if self.log_sigma is None else "variance"
        variance = torch.cat([variance, torch.full_like(effect, math.nan)], -1)
        return Answer(labels=("mu0", "mu1", "effect"), mean=torch.cat([mu, effect], -1), variance=variance, form=(form, form, "variance"))

    def propensity(self, draws: Draws) -> Tensor:
        return torch.sigmoid(draws.value[..., 2].double())

    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        return Question(task=name, target=self.target, kind="treatment_effect", evidences=evidences)

    def penalty(self) -> Tensor:
        """log(sigma)^2 / (2 log_sigma_scale^2) for a continuous outcome."""
        return torch.zeros(()) if self.log_sigma is None else self.log_sigma.square() / (2 * self.log_sigma_scale**2)

    def state(self) -> dict[str, Any]:
        return {"binary": self.log_sigma is None, "mean": self.mean, "sd": self.sd, "start": list(self.base)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.log_sigma = None if state["binary"] else nn.Parameter(torch.zeros(()))
        self.mean, self.sd = float(state["mean"]), float(state["sd"])
        self.base = tuple(float(b) for b in state["start"])


def _refuse_arms(target: str, treatment: np.ndarray) -> None:
    """Raises UserError, with the counts, unless every row has treatment 0 or 1 (or none, -1) and both occur."""
    counts = {str(a): int((treatment == a).sum()) for a in sorted({0, 1, *treatment.tolist()}) if a != -1}
    if set(counts) != {"0", "1"} or min(counts.values()) == 0:
        raise UserError(
            f"Target {target!r} does not have two treatment arms in the train rows",
            expected="treatment 0 and 1, both with observed outcomes",
            found=", ".join(f"treatment {a}: {n}" for a, n in counts.items()),
            mend="choose a target with a treatment column of 0 and 1",
        )


def _log_odds(positive: float, negative: float) -> float:
    """Log odds with half a row added to either side."""
    return math.log((positive + 0.5) / (negative + 0.5))
