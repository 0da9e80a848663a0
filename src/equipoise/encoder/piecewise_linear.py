"""Piecewise-linear embeddings of numbers by train quantiles, then a perceptron: thresholds and plateaus are easy, as for trees."""

from __future__ import annotations

from math import sqrt
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.categories import Categories
from equipoise.encoder.one_token import one_token_each
from equipoise.encoder.perceptron import perceptron


@final
class PiecewiseLinear(Encoder):
    """Per number ``q_j(x) = clip((x - t_j) / (t_j+1 - t_j), 0, 1)`` for the train quantiles t, and ``e_f = relu(W_f q + b_f)``, 0 where not observed.

    The token is ``perceptron([e, observed, category vectors])``. The outer bins are open. A bin without width (many equal values) is a step behind its edge.

    Args:
        spec: of the view; its edges are the quantiles.
        d_model: D.
        d_number: width of e_f.
        hidden: widths of the perceptron's hidden layers.
        d_category: width of a category's vector.
        dropout: of the hidden units.
        prior_scale: see `contract.prior`.
        lr_scale: what the learning rate is multiplied with for this part; wide inputs need less.

    Source: Gorishniy, Rubachev and Babenko (2022), equation 1 and section 3.2 (Q-LR).
    """

    accepts = Vector
    edge: Tensor
    width: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self, *, spec: VectorSpec, d_model: int, d_number: int, hidden: list[int], d_category: int, dropout: float, prior_scale: float, lr_scale: float
    ) -> None:
        super().__init__()
        self.lr_scale = lr_scale
        self._prior_scale = prior_scale
        edges = torch.tensor(spec.edges, dtype=torch.float32)
        self._n_bins = edges.shape[1] - 1
        self.register_buffer("edge", edges[:, :-1].contiguous())
        self.register_buffer("width", (edges[:, 1:] - edges[:, :-1]).clamp(min=1e-4).contiguous())
        # The first bin is open below and the last above, so that no value beyond the train range is lost.
        low, high = torch.zeros(self._n_bins), torch.ones(self._n_bins)
        low[0], high[-1] = -_OPEN, _OPEN
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        self.weight = nn.Parameter(torch.randn(spec.n_values, self._n_bins, d_number) / sqrt(self._n_bins))
        self.bias = nn.Parameter(torch.zeros(spec.n_values, d_number))
        self.categories = Categories(spec.cardinalities, d_category)
        self.perceptron = perceptron(spec.n_values * (d_number + 1) + self.categories.d_out, hidden, d_model, dropout)

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        x = part.value.masked_fill(~part.observed, 0.0)
        q = (x[..., None] - self.edge) / self.width
        e = torch.einsum("pfk,fkd->pfd", q.clamp(self.low, self.high), self.weight) + self.bias
        e = e.relu() * part.observed[..., None]
        return one_token_each(self.perceptron(torch.cat([e.flatten(1), part.observed.to(e.dtype), self.categories(part.category)], 1)), part)

    def penalty(self) -> Tensor:
        own = gaussian(self.weight, self._prior_scale, self._n_bins) + gaussian(self.bias, self._prior_scale, 1)
        return of_layers(self, self._prior_scale) + own


_OPEN = 10.0  # widths of the outer bin, beyond which a value is a matter for the data's validation and not for a slope
