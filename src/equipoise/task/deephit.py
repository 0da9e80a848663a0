"""Time to the first of several competing events: the joint probabilities of interval and cause, and a ranking (DeepHit)."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.task.follow_up import FollowUp
from equipoise.task.intervals import IntervalTask, edges_of, interval_of, passed_of


@final
class DeepHitTask(IntervalTask):
    """P(cause c in interval j | z) = p_jc, a softmax over J C logits and one of 0 for "nothing by t_J" (K = J C, interval by interval).

    Intervals are those of `TimeToEventTask`; within one, incidence is linear. Likelihood: p_kc of an event of cause c in interval k, or the
    probability of no event up to censoring, both given no event up to entry; what comes after t_J is cut off there.

    Ranking, added to a row i with an event of cause c at s_i: rank_weight * mean over the batch's rows j of A_ij exp(-(F_c(s_i | i) - F_c(s_i | j)) /
    sigma), A_ij = 1 where j is followed at s_i and has nothing until later (or is censored on that day). A pair in wrong order costs more than
    one in right order earns, so the ranking draws risks together: on a known truth (`test_deephit.py`) the calibration slope was 1.4 at rank_weight
    0.2 and 2.0 at 1, with sigma 0.1. Risks are those of the likelihood only at rank_weight = 0; with a ranking, recalibrate. Select rows are scored without it.

    Args:
        target: a time-to-event target.
        n_intervals: J >= 1; fewer where event times are tied.
        rank_weight: >= 0, of the ranking beside the likelihood.
        sigma: > 0, the difference of incidences at which a pair in right order has mostly lost its say.
        horizons_days: as in `HorizonTask`.

    Source: Lee et al. (2018), section 3.2 (L1, L2); the mean over pairs as in Kvamme and Borgan (2021), section 5; partial intervals and entry are ours.
    """

    batch_loss: ClassVar[bool] = True

    def __init__(self, *, target: str, n_intervals: int, rank_weight: float, sigma: float, horizons_days: list[float] | None) -> None:
        super().__init__(target=target, n_intervals=n_intervals, horizons_days=horizons_days)
        if not (rank_weight >= 0 and sigma > 0):
            raise UserError(
                f"Ranking of the task on {target!r}", expected="rank_weight >= 0 and sigma > 0", found=f"{rank_weight:g} and {sigma:g}", mend="correct them"
            )
        self.rank_weight, self.sigma = float(rank_weight), float(sigma)

    def learn(self, train: FollowUp) -> None:
        self.edges = edges_of(train, self.n_intervals)
        self.base = tuple(self._most_likely(train).tolist())

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log likelihood and ranking, (B,)."""
        follow_up = self.follow_up(target)
        log_p, log_beyond = self._log_p(draws.value)
        loss = self._nll(log_p, log_beyond, follow_up)
        if self.rank_weight > 0:
            loss = loss + self.rank_weight * self._ranking(log_p, follow_up)
        return loss.mean(0) * follow_up.weight

    def score(self, draws: Draws, target: Target) -> Tensor:
        """Negative log likelihood alone, (B,)."""
        follow_up = self.follow_up(target)
        return self._nll(*self._log_p(draws.value), follow_up).mean(0) * follow_up.weight

    def cumulative_incidence(self, draws: Draws) -> Tensor:
        """Cumulative incidence of cause 1 at every horizon, f64 (S, B, H)."""
        horizons = torch.tensor(self.horizons_days, dtype=torch.float64, device=self.edges.device)
        return torch.exp(self._log_p(draws.value.double())[0][..., 0]) @ passed_of(horizons, self.edges.double()).T

    def _log_p(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """log p_jc, (S, B, J, C), and the log probability of nothing by t_J, (S, B)."""
        log_p = torch.log_softmax(torch.cat([value, torch.zeros_like(value[..., :1])], -1), -1)
        return log_p[..., :-1].reshape(*value.shape[:-1], len(self.edges) - 1, self.n_causes), log_p[..., -1]

    def _nll(self, log_p: Tensor, log_beyond: Tensor, follow_up: FollowUp) -> Tensor:
        """(S, B)."""
        any_cause = torch.logsumexp(log_p, -1)
        interval, happened = interval_of(follow_up, self.edges)
        at_event = log_p[:, follow_up.rows, interval, (follow_up.event - 1).clamp(min=0)]
        ended = torch.where(happened, at_event, self._log_survival(any_cause, log_beyond, follow_up.time))
        return self._log_survival(any_cause, log_beyond, follow_up.entry) - ended

    def _log_survival(self, any_cause: Tensor, log_beyond: Tensor, time: Tensor) -> Tensor:
        """log P(nothing up to each row's time), (S, B)."""
        after = 1 - passed_of(time, self.edges)
        return torch.logsumexp(torch.cat([any_cause + torch.log(after), log_beyond[..., None]], -1), -1)

    def _ranking(self, log_p: Tensor, follow_up: FollowUp) -> Tensor:
        """Each event row's mean over pairs, (S, B)."""
        time, seen = follow_up.time, follow_up.weight > 0
        rows = torch.nonzero(interval_of(follow_up, self.edges)[1] & seen)[:, 0]
        if not len(rows):
            return torch.zeros_like(log_p[..., 0, 0])
        later = (time > time[rows, None]) | (time == time[rows, None]) & (follow_up.event == 0)
        pairs = seen & later & ((follow_up.entry < time[rows, None]) | (follow_up.entry == 0))
        p = torch.exp(log_p)[..., follow_up.event[rows] - 1]
        incidence = torch.einsum("ej,sbje->seb", passed_of(time[rows], self.edges).to(p), p)
        own = incidence[:, torch.arange(len(rows)), rows]
        # Rows that make no pair are taken out before the exponential, whose gradient they would spoil.
        gap = torch.where(pairs, own[..., None] - incidence, 0.0)
        mass = pairs * follow_up.weight / follow_up.weight.sum()
        return torch.zeros_like(log_p[..., 0, 0]).index_copy(1, rows, (mass * torch.exp(-gap / self.sigma)).sum(-1))

    def _most_likely(self, train: FollowUp) -> Tensor:
        """The logits that fit the train rows best if all are alike, with half a row in every cell, f32 (K,)."""
        interval, happened = interval_of(train, self.edges)
        cell = (interval * self.n_causes + train.event - 1)[happened]
        count = torch.full((self.n_params,), 0.5, dtype=torch.float64).index_add_(0, cell, train.weight[happened].double())
        rest = max(float(train.weight.sum()) - float(count.sum()), 0.5)
        logits = torch.log(count / rest).requires_grad_()
        optimizer = torch.optim.LBFGS([logits], max_iter=25, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            log_p, log_beyond = self._log_p(logits[None, None].expand(1, len(train.time), -1))
            half = 0.5 * (log_p[0, 0].sum() + log_beyond[0, 0])
            loss = ((self._nll(log_p, log_beyond, train)[0] * train.weight).sum() - half) / len(train.time)
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)
        return logits.detach().float()
