"""What encoders declare for heads that need distances kept: the bound is kept with spectral norms, and not without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from equipoise.assemble import bound_lipschitz
from equipoise.contract.tensors import Vector
from equipoise.encoder import Encoder
from equipoise.encoder.linear import Linear
from equipoise.encoder.mlp import Mlp
from equipoise.testing.lipschitz import largest_ratio, settle_spectral_norms
from equipoise.testing.parts import random_part

MADE: dict[str, tuple[type[Encoder], dict[str, Any]]] = {
    "linear": (Linear, {"missing_effects": True}),
    "linear without missing effects": (Linear, {"missing_effects": False}),
    "mlp, no hidden layer": (Mlp, {"hidden": [], "d_category": 3, "dropout": 0.2}),
    "mlp": (Mlp, {"hidden": [32, 16], "d_category": 3, "dropout": 0.2}),
}


@pytest.mark.parametrize("name", MADE)
def test_the_declared_bound_is_kept_with_spectral_norms_and_not_without(name: str) -> None:
    torch.manual_seed(0)
    kind, keywords = MADE[name]
    part, spec = random_part(Vector, size=12, seed=1)
    assert isinstance(part, Vector)
    encoder = kind(spec=spec, d_model=8, prior_scale=1.0, lr_scale=1.0, **keywords).eval()
    for layer in encoder.modules():
        if isinstance(layer, nn.Linear):
            with torch.no_grad():
                layer.weight.mul_(10.0)
    bound = encoder.lipschitz
    assert bound is not None
    assert largest_ratio(encoder, part) > bound
    bound_lipschitz(encoder)
    settle_spectral_norms(encoder, part)
    assert largest_ratio(encoder, part) <= 1.001 * bound


def test_the_slope_of_silu_is_the_mlps_for_one_layer() -> None:
    """A single path of weight 1 through one unit, at the steepest place of SiLU, reaches the declared bound but for its rounding."""
    part, spec = random_part(Vector, size=12, seed=1)
    assert isinstance(part, Vector)
    encoder = Mlp(spec=spec, d_model=1, hidden=[1], d_category=1, dropout=0.0, prior_scale=1.0, lr_scale=1.0).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        first, last = (layer for layer in encoder.modules() if isinstance(layer, nn.Linear))
        first.weight[0, 0] = last.weight[0, 0] = 1.0
        first.bias[0] = 2.39936 - part.value[0, 0]
    assert part.observed[0, 0]
    assert encoder.lipschitz is not None
    assert 0.999 * encoder.lipschitz < largest_ratio(encoder, part) <= encoder.lipschitz
