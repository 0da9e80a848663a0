"""Linear layers with GELU between them and the fan-in prior of their weights: what heads share around their last layer."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.head import OUTPUT_GAIN


def linear_layers(d_in: int, layers: int, start: Tensor) -> tuple[nn.ModuleList, nn.Linear]:
    """Hidden layers, each d_in wide, and an output layer whose bias starts at ``start``, its weights near 0.

    Args:
        d_in: width of z.
        layers: number of hidden layers >= 0.
        start: f32 (K,).
    """
    hidden = nn.ModuleList(nn.Linear(d_in, d_in) for _ in range(layers))
    out = nn.Linear(d_in, len(start))
    for layer in _linear(hidden):
        nn.init.normal_(layer.weight, std=1 / math.sqrt(d_in))
        nn.init.zeros_(layer.bias)
    nn.init.normal_(out.weight, std=OUTPUT_GAIN / math.sqrt(d_in))
    with torch.no_grad():
        out.bias.copy_(start)
    return hidden, out


def features(hidden: nn.ModuleList, z: Tensor) -> Tensor:
    """z (B, d_in) behind all hidden layers, (B, d_in)."""
    for layer in hidden:
        z = F.gelu(layer(z))
    return z


def hidden_penalty(hidden: nn.ModuleList, prior_scale: float, bias_scale: float) -> Tensor:
    """Negative log prior of hidden layers, (), nats: w ~ N(0, prior_scale^2 / fan-in), b ~ N(0, bias_scale^2)."""
    total = torch.zeros(())
    for layer in _linear(hidden):
        total = total + layer.weight.square().sum() * layer.in_features / (2 * prior_scale**2) + layer.bias.square().sum() / (2 * bias_scale**2)
    return total


def output_penalty(out: nn.Linear, start: Tensor, prior_scale: float, bias_scale: float) -> Tensor:
    """Negative log prior of an output layer, (), nats: w ~ N(0, prior_scale^2 / fan-in), b ~ N(start, bias_scale^2)."""
    return (out.bias - start).square().sum() / (2 * bias_scale**2) + out.weight.square().sum() * out.in_features / (2 * prior_scale**2)


def linear_draws(h: Tensor, weight: Tensor) -> Tensor:
    """Outputs (S, B, K) of S weight samples (S, K, F + 1), the last column the bias, for rows (B, F): one matrix product for all draws."""
    flat = weight.flatten(0, 1)
    return F.linear(h, flat[:, :-1], flat[:, -1]).unflatten(1, weight.shape[:2]).movedim(1, 0)


def _linear(hidden: nn.ModuleList) -> Iterator[nn.Linear]:
    return (layer for layer in hidden if isinstance(layer, nn.Linear))
