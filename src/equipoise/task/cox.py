"""Time to the first of several competing events: Cox's proportional hazards, one relative hazard for each cause."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.task.follow_up import FollowUp, HorizonTask
from equipoise.task.partial_likelihood import baseline_increments, log_partial_likelihood

STEPS = 200
"""Times at which the baseline hazard is kept, besides the horizons. Exact at each of them; with competing causes the rest is an error below 1e-4."""


@final
class CoxTask(HorizonTask):
    """Cause-specific hazards lambda_c(t | z) = lambda_0c(t) exp(eta_c), learnt by the partial likelihood among the rows of a batch (K = C).

    Loss of a row with an event of cause c: -log of its share in the relative hazards of those at risk in the batch, plus a_c^2 / 2, where a_c is
    the batch's mean eta_c. The partial likelihood cannot see the level of eta, and without the second term the draws of a Bayesian head would differ
    in level as much as their prior does. It is the quadratic form of the Poisson likelihood of the number of events, so the level is as uncertain as
    that number makes it. With all rows in one batch it leaves the maximum where it is; small batches shrink eta (10 % with 16 rows, 2.5 % with 64:
    `test_cox.py`), which recalibration undoes. Rows censored before the batch's first event teach nothing: a batch should hold some events.

    `fit` reads the baseline hazards off all train rows, once for all draws; before it they are those of equal risks (Nelson and Aalen). Risk of
    cause 1 by h: F(h) = sum over steps up to h of S(t-) (1 - exp(-dL)) dL_1 / dL, S(t) = exp(-L(t)), L(t) = sum_c Lambda_0c(t) exp(eta_c); with one
    cause 1 - exp(-L(h)).

    Args:
        target: a time-to-event target.
        ties: "efron" or "breslow", for partial likelihood and baseline alike.
        horizons_days: as in `HorizonTask`.

    Source: Cox (1975); Kvamme, Borgan and Scheel (2019), eq. 4 (risk sets within batches); Cheng, Fine and Wei (1998), eq. 3 (the incidence); the
    level term is ours.
    """

    batch_loss: ClassVar[bool] = True
    times: Tensor
    hazards: Tensor

    def __init__(self, *, target: str, ties: Literal["efron", "breslow"], horizons_days: list[float] | None) -> None:
        super().__init__(target=target, horizons_days=horizons_days)
        if ties not in ("efron", "breslow"):
            raise UserError(f"ties of the task on {target!r}", expected="efron or breslow", found=str(ties), mend="set ties of the task")
        self.efron = ties == "efron"
        self.register_buffer("times", torch.zeros(1), persistent=False)
        self.register_buffer("hazards", torch.zeros(1, 1, dtype=torch.float64), persistent=False)

    def learn(self, train: FollowUp) -> None:
        self._keep(train, torch.ones(len(train.time), self.n_causes, dtype=torch.float64))

    @property
    def n_params(self) -> int:
        return self.n_causes

    def start(self) -> Tensor:
        return torch.zeros(self.n_causes)

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log partial likelihood in the batch, (B,)."""
        follow_up = self.follow_up(target)
        mass = follow_up.weight / follow_up.weight.sum().clamp(min=torch.finfo(torch.float32).tiny)
        loss = draws.value[..., 0] * 0.0
        for c in range(self.n_causes):
            eta, happened = draws.value[..., c], follow_up.event == c + 1
            level = (eta * mass).sum(-1, keepdim=True)
            loss = loss - log_partial_likelihood(eta, follow_up, c + 1, efron=self.efron) + 0.5 * level.square() * happened
        return loss.mean(0) * follow_up.weight

    def fit(self, draws: Draws, target: Target) -> None:
        """Reads the baseline hazards off these rows, with the mean relative hazard of each over its draws."""
        self._keep(self.follow_up(target), torch.exp(draws.value.double()).mean(0))

    def cumulative_incidence(self, draws: Draws) -> Tensor:
        """Cumulative incidence of cause 1 at every horizon, f64 (S, B, H)."""
        relative = torch.exp(draws.value.double())
        horizons = torch.tensor(self.horizons_days, device=self.times.device)
        at = torch.searchsorted(self.times, horizons, right=True)
        known = torch.cat([self.hazards.new_zeros(len(self.hazards), 1), self.hazards], 1)
        if self.n_causes == 1:
            return -torch.expm1(-relative * known[0, at])
        before, steps = relative @ known[:, :-1], relative @ known.diff(dim=1)
        share = relative[..., :1] * known[0].diff() / steps.clamp(min=torch.finfo(torch.float64).tiny)
        happens = torch.exp(-before) * -torch.expm1(-steps) * share
        return torch.cat([torch.zeros_like(happens[..., :1]), happens.cumsum(-1)], -1)[..., at]

    def state(self) -> dict[str, Any]:
        return {**super().state(), "times": self.times.tolist(), "hazards": self.hazards.tolist()}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.times = torch.tensor(state["times"], dtype=torch.float32, device=self.times.device)
        self.hazards = torch.tensor(state["hazards"], dtype=torch.float64, device=self.times.device)

    def _keep(self, train: FollowUp, relative: Tensor) -> None:
        """Cumulative baseline hazards (C, T) at event times, thinned to `STEPS` of them and the last one before each horizon."""
        steps = [baseline_increments(relative[:, c], train, c + 1, efron=self.efron) for c in range(self.n_causes)]
        times = torch.unique(torch.cat([at for at, _ in steps]))
        if len(times) > STEPS:
            thinned = torch.linspace(0, len(times) - 1, STEPS).round().long()
            horizons = torch.searchsorted(times, torch.tensor(self.horizons_days), right=True) - 1
            times = times[torch.unique(torch.cat([thinned, horizons.clamp(min=0)]))]
        self.times = times.contiguous()
        self.hazards = torch.stack([_sum_to(times, at, step) for at, step in steps])


def _sum_to(times: Tensor, at: Tensor, step: Tensor) -> Tensor:
    """Sum of the steps up to each time, f64 (T,)."""
    total = torch.cat([step.new_zeros(1), step.cumsum(0)])
    return total[torch.searchsorted(at.contiguous(), times.contiguous(), right=True)]
