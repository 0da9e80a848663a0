"""A plain multilayer perceptron, used inside encoders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def perceptron(d_in: int, hidden: Sequence[int], d_out: int, dropout: float) -> nn.Sequential:
    """Linear layers with SiLU and dropout between them; one linear map when ``hidden`` is empty.

    Args:
        d_in: inputs.
        hidden: widths of the hidden layers.
        d_out: outputs.
        dropout: probability in [0, 1) that a hidden unit is dropped in training.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(d_in, width), nn.SiLU(), nn.Dropout(dropout)]
        d_in = width
    return nn.Sequential(*layers, nn.Linear(d_in, d_out))


def steepest(hidden: Sequence[int]) -> float:
    """Lipschitz constant of a `perceptron` whose linear layers have spectral norm 1, without dropout: that of SiLU for each hidden layer."""
    return _SILU ** len(hidden)


_SILU = 1.1  # its derivative is sigmoid(x) (1 + x sigmoid(-x)), at most 1.09984, where x = 2.4
