"""Many perceptrons for little more than the price of one: they share their matrices and differ by scalings of inputs and outputs."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.categories import Categories
from equipoise.encoder.one_token import tokens_each


@final
class TabM(Encoder):
    """k members, each a perceptron of ``[value * observed, observed, category vectors]`` with layers ``s_i * (W (r_i * x)) + b_i``.

    W is shared, ``r_i``, ``s_i`` and ``b_i`` are member i's own, so its matrix is W times a rank-1 pattern. ``r_i`` of the first layer starts at
    random signs, all else equal: scalings at 1, biases at one draw for all members.

    What comes out is a representation, the members' tokens or their mean, and never k predictions: one head reads it and one loss trains it.
    TabM proper trains each member on a loss of its own. Members here are therefore an averaging of features; they are
    **not** draws of a head, and their spread is no uncertainty. For that, see the heads and `members` (a deep ensemble).

    Args:
        spec: of the view.
        d_model: D.
        n_members: k.
        hidden: widths of the hidden layers.
        d_category: width of a category's vector.
        output: "mean" gives one token a row, the mean of the members'; "members" gives k tokens a row.
        dropout: of the hidden units, each member's own.
        prior_scale: of matrices and biases, see `contract.prior`.
        scaling_scale: prior standard deviation of the scalings around where they start (1, or the first layer's signs).
        lr_scale: what the learning rate is multiplied with for this part; wide inputs need less.

    Source: Gorishniy, Kotelnikov and Babenko (2025), TabM; the layer is Wen, Tran and Ba (2020), BatchEnsemble. That members share the head is ours.
    """

    accepts = Vector

    def __init__(
        self,
        *,
        spec: VectorSpec,
        d_model: int,
        n_members: int,
        hidden: list[int],
        d_category: int,
        output: str,
        dropout: float,
        prior_scale: float,
        scaling_scale: float,
        lr_scale: float,
    ) -> None:
        super().__init__()
        if n_members < 1:
            raise UserError(f"n_members is {n_members}", expected="1 or more", mend="raise the encoder's n_members")
        if output not in ("mean", "members"):
            raise UserError(f"Output {output!r} of the encoder tabm", expected="mean or members")
        self.lr_scale = lr_scale
        self._output, self._n_members = output, n_members
        self._prior_scale, self._scaling_scale = prior_scale, scaling_scale
        self.categories = Categories(spec.cardinalities, d_category)
        widths = [2 * spec.n_values + self.categories.d_out, *hidden, d_model]
        self.layers = nn.ModuleList([_Layer(n_members, a, b, signs=i == 0) for i, (a, b) in enumerate(pairwise(widths))])
        self.activation, self.dropout = nn.SiLU(), nn.Dropout(dropout)

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        observed = part.observed.to(torch.float32)
        x = torch.cat([part.value.masked_fill(~part.observed, 0.0), observed, self.categories(part.category)], 1)
        h: Tensor = self.layers[0](x[:, None])
        for layer in self.layers[1:]:
            h = layer(self.dropout(self.activation(h)))
        if self._output == "mean":
            h = h.mean(1, keepdim=True)
        return tokens_each(h, part)

    def penalty(self) -> Tensor:
        own = sum((layer.penalty(self._prior_scale, self._scaling_scale) for layer in self.layers), torch.zeros(()))  # type: ignore[operator]
        return of_layers(self, self._prior_scale) + own


class _Layer(nn.Module):
    """``s_i * (W (sign_i * r_i * x_i)) + b_i`` for every member i, (P, k, d_out) of (P, k, d_in) or (P, 1, d_in)."""

    sign: Tensor

    def __init__(self, n_members: int, d_in: int, d_out: int, *, signs: bool) -> None:
        super().__init__()
        bound = 1 / sqrt(max(d_in, 1))
        self.weight = nn.Parameter(torch.empty(d_out, d_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(1, d_out).uniform_(-bound, bound).repeat(n_members, 1))
        # Fixed signs beside scalings that start at 1: one prior for all scalings, and it does not pull a sign towards the other one.
        self.register_buffer("sign", torch.randint(0, 2, (n_members, d_in)) * 2.0 - 1 if signs else torch.ones(n_members, d_in))
        self.scale_in, self.scale_out = nn.Parameter(torch.ones(n_members, d_in)), nn.Parameter(torch.ones(n_members, d_out))

    def forward(self, x: Tensor) -> Tensor:
        return (x * (self.sign * self.scale_in)) @ self.weight.T * self.scale_out + self.bias

    def penalty(self, prior_scale: float, scaling_scale: float) -> Tensor:
        shared = gaussian(self.weight, prior_scale, self.weight.shape[1]) + gaussian(self.bias, prior_scale, 1)
        return shared + gaussian(self.scale_in - 1, scaling_scale, 1) + gaussian(self.scale_out - 1, scaling_scale, 1)
