"""KL divergence of Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_kl(log_ratio: Tensor, shift: Tensor) -> Tensor:
    """Sum of KL(N(m, s^2) || N(m0, s0^2)), (), nats: ``0.5 * (ratio - 1 - log ratio + shift^2)``.

    Args:
        log_ratio: log(s^2 / s0^2).
        shift: (m - m0) / s0.
    """
    # expm1(x) - x, not ratio - 1 - log(ratio): it does not round below zero.
    return 0.5 * (torch.expm1(log_ratio) - log_ratio + shift.square()).sum()
