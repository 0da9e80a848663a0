"""Discrete hazards of competing causes: their likelihood and the cumulative incidence, from logits that stand interval by interval."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.task.follow_up import FollowUp
from equipoise.task.intervals import interval_of, passed_of


def hazard_nll(value: Tensor, follow_up: FollowUp, edges: Tensor, n_causes: int) -> Tensor:
    """Negative log likelihood of the discrete hazards, (S, B), nats, without analysis weights (see `time_to_event.TimeToEventTask`).

    Args:
        value: (S, B, J C), logits l_jc.
        follow_up: of B rows.
        edges: f32 (J + 1,), days.
        n_causes: C.
    """
    exposure, interval, happened = history(follow_up, edges)
    log_none, log_hazard = log_hazards(value, n_causes)
    cause = (follow_up.event - 1).clamp(min=0)
    at_event = torch.where(happened, log_hazard[:, follow_up.rows, interval, cause], 0.0)
    return -((exposure * log_none).sum(-1) + at_event)


def incidence(value: Tensor, edges: Tensor, n_causes: int, horizons_days: tuple[float, ...]) -> Tensor:
    """Cumulative incidence of cause 1 at every horizon, f64 (..., H), linear within an interval, constant beyond the last.

    Args:
        value: (..., J C), logits.
        edges: (J + 1,), days.
        n_causes: C.
        horizons_days: H of them.
    """
    log_none, log_hazard = log_hazards(value.double(), n_causes)
    survived = torch.exp(torch.cumsum(log_none, -1) - log_none)
    happens = survived * torch.exp(log_hazard[..., 0])
    horizons = torch.tensor(horizons_days, dtype=torch.float64, device=edges.device)
    return happens @ passed_of(horizons, edges.double()).T


def influence(value: Tensor, edges: Tensor, n_causes: int, horizon_days: float) -> Tensor:
    """How the residuals of every interval and cause bear on the incidence F of cause 1 by the horizon t, (..., J C), of value's shape:

        1(c = 1) - (F(t) - F(t_j)) / S(t_j)

    where the interval ends before t; S is event-free survival. The incidence by t moves by this times a residual (events less hazard) of whoever is
    at risk in the interval. With one cause it is S(t) / S(t_j). An interval that holds t counts in part, later ones not at all.

    Source: Moore and van der Laan (2009) for one cause; Rytgaard and van der Laan (2022) for several.
    """
    log_none, log_hazard = log_hazards(value, n_causes)
    passed = passed_of(torch.tensor([horizon_days], dtype=value.dtype, device=value.device), edges.to(value))[0]
    none, happens = log_none.exp(), log_hazard[..., 0].exp() * passed
    # (F(t) - F(t_j)) / S(t_j), backwards: a quotient of tiny numbers would lose it where hardly anybody survives.
    later = [torch.zeros_like(none[..., 0])]
    for j in range(len(passed) - 1, 0, -1):
        later.append(happens[..., j] + none[..., j] * later[-1])
    moved = -torch.stack(later[::-1], -1)[..., None].repeat_interleave(n_causes, -1)
    moved[..., 0] = moved[..., 0] + passed
    return moved.flatten(-2)


def log_hazards(value: Tensor, n_causes: int) -> tuple[Tensor, Tensor]:
    """log(1 - h_j), (..., J), and log h_jc, (..., J, C)."""
    logits = value.reshape(*value.shape[:-1], value.shape[-1] // n_causes, n_causes)
    padded = torch.cat([torch.zeros_like(logits[..., :1]), logits], -1)
    log_p = torch.log_softmax(padded, -1)
    return log_p[..., 0], log_p[..., 1:]


def history(follow_up: FollowUp, edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Exposures e (B, J), zero in and after the interval of an event; that interval's number (B,); whether an event happened by t_J (B,)."""
    left, right = edges[:-1], edges[1:]
    share = (torch.minimum(follow_up.time[:, None], right) - torch.maximum(follow_up.entry[:, None], left)).clamp(min=0) / (right - left)
    interval, happened = interval_of(follow_up, edges)
    in_event = happened[:, None] & (torch.arange(len(right), device=right.device) == interval[:, None])
    return torch.where(in_event, 0.0, share), interval, happened


def base_logits(train: FollowUp, edges: Tensor, n_causes: int) -> Tensor:
    """log(events / event-free exposure) of each interval and cause, half a row added to both; interval-major, f32 (J C,)."""
    exposure, interval, happened = history(train, edges)
    weight = train.weight.double()
    events = torch.zeros(len(edges) - 1, n_causes, dtype=torch.float64)
    events.index_put_((interval[happened], train.event[happened] - 1), weight[happened], accumulate=True)
    free = (exposure.double() * weight[:, None]).sum(0)
    return torch.log((events + 0.5) / (free[:, None] + 0.5)).flatten().float()
