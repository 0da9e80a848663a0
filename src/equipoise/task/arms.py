"""What all tasks on a treatment's effect share: two arms and a propensity read from the rows, the answer, overlap, and how effects are judged."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tensors import Draws, Target
from equipoise.stats.pseudo_outcomes import EffectLoss
from equipoise.task import Answer, Task, observed_rows, refuse_unsupported
from equipoise.task.arm_hazards import HazardArm
from equipoise.task.arm_outcome import ArmOutcome, BinaryArm, ContinuousArm, log_odds
from equipoise.task.follow_up import FollowUp

log = logging.getLogger("equipoise.task")

OVERLAP = 0.05
"""A propensity nearer to 0 or 1 than this is one for which the other arm is hardly ever seen (Crump et al. 2009 drop beyond 0.1)."""
FEW = 0.02
"""Share of train rows without overlap from which there is a warning."""


@dataclass(frozen=True)
class Arms:
    """Who received what, each (B,): ``treated`` i64 and ``outcome`` where ``used`` (outcome and treatment known), placeholders elsewhere."""

    used: Tensor
    treated: Tensor
    outcome: Tensor | FollowUp


class ArmsTask(Task):
    """Both potential outcomes and the propensity: mu0, mu1, effect.

    An arm's outcome is a logit if binary, a standardised mean with one log(sigma) of the task if continuous, and discrete hazards if it is a time to
    event (see `arm_outcome`, `arm_hazards`); then mu is the risk of cause 1 by ``horizon_days``, and the effect a difference of risks. P(treated | z)
    is a logit. An effect is identified only where treatment is as good as random given the inputs, and both arms occur for such people; `fit` warns
    where the propensities of train rows say that they do not.

    Effects are chosen on select rows by the distance of the mean effect from pseudo-outcomes (see `score`), and never by the fit of the outcome.

    Args:
        target: a target with treatment 0 or 1; its outcome is binary, continuous or a time to event.
        log_sigma_scale: > 0, prior of log(sigma) ~ N(0, log_sigma_scale^2); continuous outcomes only.
        horizon_days: > 0; a time to event needs one, other outcomes have none.
        n_intervals: J >= 1, of a time to event.
    """

    kind = "treatment_effect"
    joint_score = True
    learns_from: EffectLoss | None = None
    """The pseudo-outcomes of train rows that it learns from; None: it needs none."""

    def __init__(self, *, target: str, log_sigma_scale: float, horizon_days: float | None, n_intervals: int) -> None:
        super().__init__(target=target)
        self.log_sigma_scale, self.horizon_days, self.n_intervals = float(log_sigma_scale), horizon_days, n_intervals
        if horizon_days is not None and not (math.isfinite(horizon_days) and horizon_days > 0):
            raise UserError(
                f"horizon_days of the task on {target!r}", expected="a number of days above 0, or null", found=f"{horizon_days:g}", mend="correct it"
            )
        self.outcome: ArmOutcome = self._outcome("binary")
        self.treated_log_odds = 0.0

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("treatment_effect", "binary", "continuous"))
        _refuse_arms(self.target, rows["treatment"].to_numpy())
        rows = rows.filter(rows["treatment"] >= 0)
        self.adopt(self._outcome(self._kind_of(train.kind, rows)).learn(rows))
        weight, treated = rows["weight"].to_numpy(), rows["treatment"].to_numpy() == 1
        self.treated_log_odds = log_odds(float(weight[treated].sum()), float(weight[~treated].sum()))

    def adopt(self, outcome: ArmOutcome) -> None:
        """Takes over an outcome that has learnt, or was loaded."""
        self.outcome = outcome

    @abstractmethod
    def arms_of(self, value: Tensor) -> Tensor:
        """Both arms' parameters, (S, B, 2, P), as answered."""

    @abstractmethod
    def propensity_logit(self, value: Tensor) -> Tensor:
        """The logit of P(treated | z), (S, B)."""

    @property
    def base(self) -> tuple[tuple[float, ...], ...]:
        """Each arm's parameters that predict its base rate, 2 x P."""
        return self.outcome.base

    @property
    def sd(self) -> float:
        """The size of an error in the outcome's unit: the outcome's standard deviation, 1 for a probability."""
        return self.outcome.sd

    def flat_arms(self, value: Tensor) -> Tensor:
        """The first 2 P parameters as arms, (S, B, 2, P)."""
        return value.reshape(*value.shape[:-1], 2, self.outcome.n_params)

    def flat_base(self) -> list[float]:
        """Base rates of the first arm, then of the second, 2 P numbers."""
        return [x for arm in self.base for x in arm]

    def effect_of(self, value: Tensor) -> Tensor:
        """The effect in the outcome's unit, (S, B); the difference of both arms unless a task learns it apart."""
        mu = self.outcome.mean(self.arms_of(value))
        return mu[..., 1] - mu[..., 0]

    def received(self, target: Target) -> Arms:
        """Who received what.

        Raises:
            UserError: a treatment or an outcome is outside the likelihood's support.
        """
        used = target.observed & (target.treatment >= 0)
        refuse_unsupported(self.target, target.treatment <= 1, used, "treatment 0 or 1")
        return Arms(used, torch.where(used, target.treatment, 0), self.outcome.read(target, used))

    def outcome_nll(self, arms: Tensor, received: Arms) -> Tensor:
        """Negative log likelihood of the outcome in the received arm, (S, B), from both arms' parameters (S, B, 2, P)."""
        return self.outcome.nll(torch.where((received.treated == 1)[:, None], arms[..., 1, :], arms[..., 0, :]), received.outcome)

    def scored(self, target: Target) -> Tensor:
        return target.observed & (target.treatment >= 0) & torch.isfinite(target.pseudo)

    def score(self, draws: Draws, target: Target) -> Tensor:
        """The R- or DR-loss of the mean effect: w (pseudo - effect)^2 / (2 sd^2), (B,); 0 in rows without a pseudo-outcome.

        Pseudo-outcomes of select rows rest on nuisances fitted apart from this network, on train rows: its own would turn the loss into the fit of the
        outcome, which does not choose between effects well. Draws are averaged first: what is predicted is their mean.

        Source: Nie and Wager (2021), eq. 4; Kennedy (2023), section 3; Schuler et al. (2018) and Mahajan et al. (2024), section 3.2, for choosing by it.
        """
        known = self.scored(target)
        gap = (torch.where(known, target.pseudo, 0.0) - self.effect_of(draws.value).mean(0)) / self.sd
        return 0.5 * target.pseudo_weight * gap.square() * target.weight * known

    def answer(self, draws: Draws) -> Answer:
        """Labels mu0, mu1, effect.

        The within-draw variance of ``effect`` is NaN, hence its aleatoric and total parts are "not estimated": how much one person's two outcomes
        differ depends on their correlation, which no data can show (Holland 1986). Its epistemic part, between draws, is estimated.
        """
        value = draws.value.double()
        mu, effect = self.outcome.mean(self.arms_of(value)), self.effect_of(value)[..., None]
        variance, form = torch.cat([self.outcome.variance(mu), torch.full_like(effect, math.nan)], -1), self.outcome.form
        return Answer(labels=("mu0", "mu1", "effect"), mean=torch.cat([mu, effect], -1), variance=variance, form=(form, form, "variance"))

    def propensity(self, draws: Draws) -> Tensor:
        return torch.sigmoid(self.propensity_logit(draws.value).double())

    def fit(self, draws: Draws, target: Target) -> None:
        """Warns, with the count, where train rows have propensities near 0 or 1: for such people one arm is hardly seen, and no effect is."""
        warn_of_overlap(self.target, self.propensity(draws).mean(0)[self.received(target).used].cpu().numpy(), "the network's")

    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        return Question(task=name, target=self.target, kind="treatment_effect", evidences=evidences, horizons_days=self.outcome.horizons_days)

    def penalty(self) -> Tensor:
        """log(sigma)^2 / (2 log_sigma_scale^2) for a continuous outcome."""
        return self.outcome.penalty()

    def state(self) -> dict[str, Any]:
        return {"outcome": self.outcome.state(), "treated_log_odds": self.treated_log_odds}

    def load_state(self, state: dict[str, Any]) -> None:
        self.adopt(self._outcome(str(state["outcome"]["kind"])).load(state["outcome"]))
        self.treated_log_odds = float(state["treated_log_odds"])

    def _outcome(self, kind: str) -> ArmOutcome:
        if kind == "time_to_event":
            assert self.horizon_days is not None
            return HazardArm(self.target, self.horizon_days, self.n_intervals)
        return BinaryArm(self.target) if kind == "binary" else ContinuousArm(self.target, self.log_sigma_scale)

    def _kind_of(self, kind: str, rows: pl.DataFrame) -> str:
        """Which outcome the train rows have: a time to event is one where there are times.

        Raises:
            UserError: a time to event lacks a horizon, or another outcome has one.
        """
        if timed := is_timed(rows):
            if self.horizon_days is None:
                raise UserError(
                    f"The task on {self.target!r} has no horizon, and the outcome is a time to event",
                    expected="the day by which the risks under both treatments are compared",
                    mend="set horizon_days of the task, e.g. 365",
                )
        elif self.horizon_days is not None:
            raise UserError(
                f"The task on {self.target!r} has a horizon, and the outcome has no times",
                expected="a target of kind treatment_effect with time and event",
                mend="set horizon_days to null, or give the target its columns time and event",
            )
        if timed:
            return "time_to_event"
        binary = kind == "binary" or (kind == "treatment_effect" and bool(np.isin(rows["outcome"].to_numpy(), (0.0, 1.0)).all()))
        return "binary" if binary else "continuous"


def is_timed(rows: pl.DataFrame) -> bool:
    """Whether these rows of a target are followed in time."""
    return bool((rows["event"] >= 0).any())


def treatment_nll(logit: Tensor, received: Arms) -> Tensor:
    """Negative log likelihood of the treatment, of the logit's shape."""
    return F.binary_cross_entropy_with_logits(logit, received.treated.to(logit).expand_as(logit), reduction="none")


def warn_of_overlap(target: str, propensity: np.ndarray, whose: str) -> int:
    """How many of these propensities, f64 (n,), lie near 0 or 1; a warning with the count where they are more than a few."""
    without = int(((propensity < OVERLAP) | (propensity > 1 - OVERLAP)).sum())
    if without > FEW * len(propensity):
        log.warning(
            "target %s: %d of %d train rows have a propensity (%s) below %g or above %g: for such people one arm is hardly seen, and their effects rest "
            "on the model's form (restrict the cohort to people who could have had either)",
            target,
            without,
            len(propensity),
            whose,
            OVERLAP,
            1 - OVERLAP,
        )
    return without


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
