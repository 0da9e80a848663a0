"""A transformer over a row's columns: one token a column, so that columns meet in pairs from the first block on."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.attention_heads import checked_heads
from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.categories import Categories
from equipoise.encoder.one_token import tokens_each


@final
class FtTransformer(Encoder):
    """Pre-norm transformer over a learned summary token and one token a column.

    An observed number is ``b_f + x w_f``, one that was not observed ``m_f``; a category is ``b_c`` plus its level's vector, level 0 for missing.
    Every present row has all its columns' tokens, so attention is dense and needs no mask. Its cost grows with the square of the
    number of columns: it is meant for tens to some hundreds.

    Args:
        spec: of the view.
        d_model: D, divisible by n_heads.
        n_layers: blocks.
        n_heads: attention heads.
        feedforward: width of the gated feed-forward layer, in multiples of D.
        output: "summary" gives one token a row, "sequence" the summary and every column's.
        dropout: after attention and inside the feed-forward layer.
        prior_scale: see `contract.prior`.
        lr_scale: what the learning rate is multiplied with for this part.

    Source: Gorishniy, Rubachev, Khrulkov and Babenko (2021), section 3.3; the vector of a number that was not observed is ours.
    """

    accepts = Vector

    def __init__(
        self,
        *,
        spec: VectorSpec,
        d_model: int,
        n_layers: int,
        n_heads: int,
        feedforward: float,
        output: str,
        dropout: float,
        prior_scale: float,
        lr_scale: float,
    ) -> None:
        super().__init__()
        if output not in ("summary", "sequence"):
            raise UserError(f"Output {output!r} of the encoder ft_transformer", expected="summary or sequence")
        self.lr_scale = lr_scale
        self._output, self._prior_scale, self._d_model = output, prior_scale, d_model
        self.summary = _vectors(1, d_model)
        self.weight, self.missing = _vectors(spec.n_values, d_model), _vectors(spec.n_values, d_model)
        self.bias = _vectors(spec.n_values + len(spec.cardinalities), d_model)
        self.categories = Categories(spec.cardinalities, d_model)
        # No norm before the first attention: what the tokens say of the columns would lose its size.
        self.blocks = nn.ModuleList([_Block(d_model, n_heads, int(feedforward * d_model), dropout, norm=i > 0) for i in range(n_layers)])
        self.norm = nn.LayerNorm(d_model)

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        x = self._tokens(part)
        for i, block in enumerate(self.blocks):
            # The last block asks for nothing that is thrown away.
            x = block(x, 1 if self._output == "summary" and i == len(self.blocks) - 1 else x.shape[1])
        x = self.norm(x[:, :1] if self._output == "summary" else x)
        return tokens_each(x, part)

    def penalty(self) -> Tensor:
        own = sum((gaussian(w, self._prior_scale, self._d_model) for w in (self.summary, self.weight, self.missing, self.bias)), torch.zeros(()))
        return of_layers(self, self._prior_scale) + own

    def _tokens(self, part: Vector) -> Tensor:
        """(P, 1 + F + C, D): the summary, the numbers, the categories."""
        n_rows, n_values = part.value.shape
        value = part.value.masked_fill(~part.observed, 0.0)[..., None]
        number = torch.where(part.observed[..., None], self.bias[:n_values] + value * self.weight, self.missing)
        category = self.categories(part.category).reshape(*part.category.shape, self._d_model)
        return torch.cat([self.summary.expand(n_rows, 1, -1), number, category + self.bias[n_values:]], 1)


class _Block(nn.Module):
    """Attention, then ``W2 (relu(g) * v)`` with ``g, v = W1 x``, each normed before and added."""

    def __init__(self, d_model: int, n_heads: int, d_feedforward: int, dropout: float, *, norm: bool) -> None:
        super().__init__()
        self._n_heads = checked_heads(d_model, n_heads, "ft_transformer")
        self.before_attention = nn.LayerNorm(d_model) if norm else nn.Identity()
        self.before_feedforward = nn.LayerNorm(d_model)
        self.query, self.key_value, self.project = nn.Linear(d_model, d_model), nn.Linear(d_model, 2 * d_model), nn.Linear(d_model, d_model)
        self.widen, self.narrow = nn.Linear(d_model, 2 * d_feedforward), nn.Linear(d_feedforward, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, n_out: int) -> Tensor:
        """The first n_out tokens, (P, n_out, D) of (P, T, D)."""
        seen = self.before_attention(x)
        x = x[:, :n_out] + self.dropout(self.project(self._attend(self.query(seen[:, :n_out]), self.key_value(seen))))
        gate, value = self.widen(self.before_feedforward(x)).chunk(2, -1)
        return x + self.narrow(self.dropout(gate.relu() * value))

    def _attend(self, query: Tensor, key_value: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (self._n_heads, -1)).transpose(1, 2) for t in (query, *key_value.chunk(2, -1)))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _vectors(n: int, width: int) -> nn.Parameter:
    """n vectors of expected length 1."""
    return nn.Parameter(torch.randn(n, width) * width**-0.5)
