"""Cox's partial likelihood of one cause in a batch, and the baseline hazard that it leaves open."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.task.follow_up import FollowUp


def log_partial_likelihood(eta: Tensor, follow_up: FollowUp, cause: int, *, efron: bool) -> Tensor:
    """Each row's part of the log partial likelihood, without its own weight, (S, B); 0 for rows without an event of the cause.

    Row i with an event at t, one of d such rows D(t): eta_i - mean_{l<d} log(R(t) - l/d T(t)), with R(t) the sum of w_j exp(eta_j) over the rows at
    risk (entry < t <= time) and T(t) that over D(t); Breslow's form has l = 0. Weights have mean 1 over the batch, which moves R by a constant.
    Sum over rows of w_i times it is the weighted log partial likelihood. Costs (events x rows) numbers a draw.

    Args:
        eta: f32 or f64 (S, B), log relative hazards.
        follow_up: of the batch.
        cause: 1..C; others count as censored.
        efron: Efron's treatment of ties, else Breslow's.

    Source: Cox (1975), eq. 8; Efron (1977), section 6; Breslow (1974), eq. 5; weights as in R's survival (Therneau and Grambsch 2000, section 7.1).
    """
    happened = (follow_up.event == cause) & (follow_up.weight > 0)
    rows = torch.nonzero(happened)[:, 0]
    if not len(rows):
        return torch.zeros_like(eta)
    at_risk, tied = _risk_sets(follow_up, rows, happened)
    level = (eta + torch.log(_mass(follow_up)).to(eta))[:, None, :]
    denominator = torch.logsumexp(level.masked_fill(~at_risk, -torch.inf), -1)
    if efron:
        share, group = _place_in_tie(tied, rows)
        among_tied = torch.logsumexp(level.masked_fill(~tied, -torch.inf), -1)
        denominator = (denominator + torch.log1p(-share.to(eta) * torch.exp(among_tied - denominator))) @ group.to(eta).T
    return torch.zeros_like(eta).index_copy(1, rows, eta[:, rows] - denominator)


def baseline_increments(relative: Tensor, follow_up: FollowUp, cause: int, *, efron: bool) -> tuple[Tensor, Tensor]:
    """Event times (T,), increasing, and the baseline hazard's step at each, f64 (T,): sum over the tied of w / (R(t) - l/d T(t)).

    Args:
        relative: f64 (B,), relative hazards exp(eta), where there are draws their mean, so that as many events are expected as happened.
        follow_up: of all train rows; memory grows with rows, not with rows x events.
        cause: 1..C.
        efron: as in the partial likelihood.

    Source: Breslow (1972), discussion of Cox; Therneau and Grambsch (2000), eq. 10.5, for Efron's form.
    """
    weight = follow_up.weight.double()
    happened = (follow_up.event == cause) & (weight > 0)
    times, tie = torch.unique(follow_up.time[happened], return_inverse=True)
    mass = weight * relative
    # Who entered by time zero was there from the start, also for an event at time zero.
    late = follow_up.entry > 0
    at_risk = _sum_from(follow_up.time, mass, times) - _sum_from(follow_up.entry[late], mass[late], times)
    n_tied, sums = torch.bincount(tie), mass.new_zeros(2, len(times))
    sums.index_add_(1, tie, torch.stack([mass[happened], weight[happened]]))
    # Rounding must not leave fewer at risk than have the event.
    at_risk = torch.maximum(at_risk, sums[0])
    order = torch.argsort(tie, stable=True)
    rank = torch.arange(len(tie), device=tie.device) - (torch.cumsum(n_tied, 0) - n_tied)[tie[order]]
    share = rank / n_tied[tie[order]] if efron else mass.new_zeros(len(tie))
    each = (sums[1] / n_tied)[tie[order]] / (at_risk[tie[order]] - share * sums[0][tie[order]])
    return times, mass.new_zeros(len(times)).index_add_(0, tie[order], each.double())


def _risk_sets(follow_up: FollowUp, rows: Tensor, happened: Tensor) -> tuple[Tensor, Tensor]:
    """Who is at risk at each event row's time, and who has the event then, bool (E, B)."""
    at = follow_up.time[rows, None]
    entered = (follow_up.entry < at) | (follow_up.entry == 0)
    tied = happened & (follow_up.time == at)
    return (follow_up.weight > 0) & (follow_up.time >= at) & entered | tied, tied


def _place_in_tie(tied: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """l/d of each event row, (E,), and the matrix that takes the mean over its tie, (E, E)."""
    before = torch.arange(tied.shape[1], device=rows.device) < rows[:, None]
    n_tied = tied.sum(1)
    return (tied & before).sum(1) / n_tied, tied[:, rows] / n_tied[:, None]


def _mass(follow_up: FollowUp) -> Tensor:
    return follow_up.weight / (follow_up.weight.sum() / (follow_up.weight > 0).sum())


def _sum_from(at: Tensor, mass: Tensor, times: Tensor) -> Tensor:
    """Sum of the mass at or after each time, f64 (T,)."""
    order = torch.argsort(at)
    total = torch.cat([torch.flip(torch.cumsum(torch.flip(mass[order], [0]), 0), [0]), mass.new_zeros(1)])
    return total[torch.searchsorted(at[order].contiguous(), times.contiguous())]
