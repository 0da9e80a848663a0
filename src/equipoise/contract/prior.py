"""Gaussian priors of network weights: every part has its own, and no weight decay is shared by all."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gaussian(weight: Tensor, scale: float, fan_in: int) -> Tensor:
    """``fan_in * sum(w^2) / (2 scale^2)``: the negative log density of w ~ N(0, scale^2 / fan_in), up to a constant, (), in nats.

    Args:
        weight: any shape.
        scale: prior standard deviation of a sum of ``fan_in`` unit inputs.
        fan_in: inputs that are summed.

    Source: Neal (1996), priors for wide networks.

    >>> gaussian(torch.tensor([1.0, 2.0]), 1.0, 2).item()
    5.0
    """
    return weight.square().sum() * (fan_in / (2 * scale * scale))


def of_layers(module: nn.Module, scale: float) -> Tensor:
    """The prior of all of torch's own layers below a module, (), in nats.

    Matrices are scaled by fan-in; an embedding's vectors by their width, so that a vector's expected length is ``scale``; biases
    have standard deviation ``scale``, gains of a normalisation have it around 1. Parameters held directly by other modules are theirs to add.
    """
    total = torch.zeros(())
    for layer in module.modules():
        match layer:
            case nn.Linear():
                total = total + gaussian(layer.weight, scale, layer.in_features)
                if layer.bias is not None:
                    total = total + gaussian(layer.bias, scale, 1)
            case nn.Embedding():
                total = total + gaussian(layer.weight, scale, layer.embedding_dim)
            case nn.LayerNorm() if layer.elementwise_affine:
                total = total + gaussian(layer.weight - 1, scale, 1) + gaussian(layer.bias, scale, 1)
            case nn.RNNBase():
                for name, weight in layer.named_parameters():
                    total = total + gaussian(weight, scale, weight.shape[1] if name.startswith("weight") else 1)
    return total


def start_embedding(embedding: nn.Embedding) -> nn.Embedding:
    """Draws vectors of expected length 1 (torch's default grows with the width)."""
    nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)
    return embedding
