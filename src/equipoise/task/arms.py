"""What all tasks on a treatment's effect share: two arms and a propensity read from the rows, the answer, overlap, and how effects are judged."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, Form, Task, normal_nll, observed_rows, refuse_one_class, refuse_unsupported, standard_scale

log = logging.getLogger("equipoise.task")

OVERLAP = 0.05
"""A propensity nearer to 0 or 1 than this is one for which the other arm is hardly ever seen (Crump et al. 2009 drop beyond 0.1)."""
FEW = 0.02
"""Share of train rows without overlap from which `fit` warns."""


@dataclass(frozen=True)
class Arms:
    """Who received what, each (B,): ``treated`` i64 and ``outcome`` f32 where ``used`` (outcome and treatment known), placeholders elsewhere."""

    used: Tensor
    treated: Tensor
    outcome: Tensor


class ArmsTask(Task):
    """Both potential outcomes and the propensity: mu0, mu1, effect.

    The first three parameters are each arm's outcome (logit if binary, standardised mean with one log(sigma) of the task if continuous) and the logit
    of P(treated | z). An effect is identified only where treatment is as good as random given the inputs, and both arms occur for such people;
    `fit` warns where the propensities of train rows say that they do not.

    Args:
        target: a target with treatment 0 or 1; its outcome is binary or continuous.
        log_sigma_scale: > 0, prior of log(sigma) ~ N(0, log_sigma_scale^2); continuous outcomes only.
    """

    kind = "treatment_effect"
    log_sigma: nn.Parameter | None

    def __init__(self, *, target: str, log_sigma_scale: float) -> None:
        super().__init__(target=target)
        self.log_sigma_scale = float(log_sigma_scale)
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

    @abstractmethod
    def arms_of(self, value: Tensor) -> Tensor:
        """Both arms' outcome on the scale of the parameters, (S, B, 2), as answered."""

    def effect_of(self, value: Tensor) -> Tensor:
        """The effect in the outcome's unit, (S, B); the difference of both arms unless a task learns it apart."""
        mu = self.in_unit(self.arms_of(value))
        return mu[..., 1] - mu[..., 0]

    def in_unit(self, arms: Tensor) -> Tensor:
        """Outcome's mean in its unit, or its probability."""
        return torch.sigmoid(arms) if self.log_sigma is None else self.mean + self.sd * arms

    def received(self, target: Target) -> Arms:
        """Who received what.

        Raises:
            UserError: a treatment or an outcome is outside the likelihood's support.
        """
        used = target.observed & (target.treatment >= 0)
        refuse_unsupported(self.target, target.treatment <= 1, used, "treatment 0 or 1")
        outcome = torch.where(used, target.outcome, self.mean)
        supported = (outcome == 0) | (outcome == 1) if self.log_sigma is None else torch.isfinite(outcome)
        refuse_unsupported(self.target, supported, used, "0 or 1" if self.log_sigma is None else "a finite number")
        return Arms(used, torch.where(used, target.treatment, 0), outcome)

    def outcome_nll(self, arms: Tensor, received: Arms) -> Tensor:
        """Negative log likelihood of the outcome in the received arm, (S, B), from both arms' parameters (S, B, 2)."""
        arm = torch.where(received.treated == 1, arms[..., 1], arms[..., 0])
        if self.log_sigma is None:
            return F.binary_cross_entropy_with_logits(arm, received.outcome.to(arm).expand_as(arm), reduction="none")
        return normal_nll((received.outcome.to(arm) - self.mean) / self.sd, arm, self.log_sigma)

    def score(self, draws: Draws, target: Target) -> Tensor:
        """The DR-loss where select rows carry pseudo-outcomes: (pseudo - effect)^2 / (2 sd^2), (B,); 0 in rows without one.

        ``pseudo`` is then a doubly robust score whose nuisances were fitted apart from this network: its own would turn the loss into the fit of the
        outcome. Without any, the fit of the outcome in the received arm has to serve, which does not choose between effects well.

        Source: Kennedy (2023), section 3; Mahajan et al. (2024), section 3.2, for choosing by it.
        """
        received = self.received(target)
        known = received.used & torch.isfinite(target.pseudo)
        if not bool(known.any()):
            return self.outcome_nll(self.arms_of(draws.value), received).mean(0) * target.weight * received.used
        gap = (torch.where(known, target.pseudo, 0.0) - self.effect_of(draws.value)) / self.sd
        return 0.5 * gap.square().mean(0) * target.weight * known

    def answer(self, draws: Draws) -> Answer:
        """Labels mu0, mu1, effect.

        The within-draw variance of ``effect`` is NaN, hence its aleatoric and total parts are "not estimated": how much one person's two outcomes
        differ depends on their correlation, which no data can show (Holland 1986). Its epistemic part, between draws, is estimated.
        """
        value = draws.value.double()
        mu, effect = self.in_unit(self.arms_of(value)), self.effect_of(value)[..., None]
        variance = mu * (1 - mu) if self.log_sigma is None else (self.sd**2 * torch.exp(2 * self.log_sigma.double())).expand_as(mu)
        form: Form = "entropy" if self.log_sigma is None else "variance"
        variance = torch.cat([variance, torch.full_like(effect, math.nan)], -1)
        return Answer(labels=("mu0", "mu1", "effect"), mean=torch.cat([mu, effect], -1), variance=variance, form=(form, form, "variance"))

    def propensity(self, draws: Draws) -> Tensor:
        return torch.sigmoid(draws.value[..., 2].double())

    def fit(self, draws: Draws, target: Target) -> None:
        """Warns, with the count, where train rows have propensities near 0 or 1: for such people one arm is hardly seen, and no effect is."""
        propensity = self.propensity(draws).mean(0)[self.received(target).used]
        without = int(((propensity < OVERLAP) | (propensity > 1 - OVERLAP)).sum())
        if without > FEW * len(propensity):
            log.warning(
                "target %s: %d of %d train rows have a propensity below %g or above %g: for such people one arm is hardly seen, and their effects rest "
                "on the model's form (restrict the cohort to people who could have had either)",
                self.target,
                without,
                len(propensity),
                OVERLAP,
                1 - OVERLAP,
            )

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


def treatment_nll(logit: Tensor, received: Arms) -> Tensor:
    """Negative log likelihood of the treatment, of the logit's shape."""
    return F.binary_cross_entropy_with_logits(logit, received.treated.to(logit).expand_as(logit), reduction="none")


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
