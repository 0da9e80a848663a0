"""Attention over packed tokens: each row's queries look at its own tokens, or its tokens at each other; nothing is padded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.attention_heads import checked_heads
from equipoise.contract.packed import lengths, offsets_of, segment_index, segment_softmax, segment_sum
from equipoise.contract.tensors import Tokens


@dataclass(frozen=True)
class Joined:
    """The tokens of several views, row by row.

    Args:
        h: f32 (N, D).
        offsets: i64 (B+1,).
        view: i64 (N,), which view a token is of.
    """

    h: Tensor
    offsets: Tensor
    view: Tensor

    def only(self, view: int) -> Joined:
        """The tokens of this view."""
        return self._where(self.view == view)

    def without(self, view: int) -> Joined:
        """The tokens of all views but this one."""
        return self._where(self.view != view)

    def _where(self, kept: Tensor) -> Joined:
        row = segment_index(self.offsets)[kept]
        return Joined(self.h[kept], offsets_of(torch.bincount(row, minlength=self.offsets.shape[0] - 1)), self.view[kept])


def joined(tokens: Mapping[str, Tokens], present: Tensor, views: Mapping[str, int], vector: Tensor) -> Joined:
    """All tokens of present evidences.

    Args:
        tokens: by view name, each for all B rows.
        present: bool (B, M).
        views: view name -> column of its evidence in ``present``.
        vector: f32 (views, D), row i is added to the tokens of view i.
    """
    rows, hs, which = [], [], []
    for i, (view, column) in enumerate(views.items()):
        row = segment_index(tokens[view].offsets)
        kept = present[:, column][row]
        rows.append(row[kept])
        hs.append(tokens[view].h[kept] + vector[i])
        which.append(torch.full_like(rows[-1], i))
    row = torch.cat(rows)
    order = torch.argsort(row, stable=True)
    return Joined(torch.cat(hs)[order], offsets_of(torch.bincount(row, minlength=present.shape[0])), torch.cat(which)[order])


class Round(nn.Module):
    """Pre-norm attention of each row's Q queries to its packed tokens, then a perceptron; a row without tokens attends to nothing, which is 0.

    Args:
        d_model: D, divisible by n_heads.
        n_heads: attention heads.
        d_feedforward: width of the perceptron.
        dropout: after attention and perceptron.
        part: whose mistake a wrong width is, in words.

    Source: Vaswani et al. (2017); pre-norm, Xiong et al. (2020); the packed form is ours.
    """

    def __init__(self, d_model: int, n_heads: int, d_feedforward: int, dropout: float, part: str) -> None:
        super().__init__()
        self._n_heads = checked_heads(d_model, n_heads, part)
        self.before_attention, self.before_feedforward = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.q, self.k, self.v, self.project = (nn.Linear(d_model, d_model) for _ in range(4))
        self.feedforward = nn.Sequential(nn.Linear(d_model, d_feedforward), nn.GELU(), nn.Linear(d_feedforward, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, q: Tensor, h: Tensor, offsets: Tensor) -> Tensor:
        """Queries f32 (B, Q, D) after looking at the packed tokens f32 (N, D)."""
        q = q + self.dropout(self.project(self._attend(self.before_attention(q), h, offsets)))
        return q + self.dropout(self.feedforward(self.before_feedforward(q)))

    def _attend(self, q: Tensor, h: Tensor, offsets: Tensor) -> Tensor:
        n_rows, n_queries, d_model = q.shape
        split = (self._n_heads, d_model // self._n_heads)
        asked = self.q(q).reshape(n_rows, n_queries, *split)[segment_index(offsets)]
        key, value = self.k(h).reshape(-1, 1, *split), self.v(h).reshape(-1, 1, *split)
        weight = segment_softmax((asked * key).sum(-1) / sqrt(split[1]), offsets)
        return segment_sum(weight[..., None] * value, offsets).reshape(n_rows, n_queries, d_model)


class Block(nn.Module):
    """Pre-norm self-attention within each row's packed tokens, then a perceptron: a transformer block.

    Args:
        d_model: D, divisible by n_heads.
        n_heads: attention heads.
        d_feedforward: width of the perceptron.
        dropout: after attention and perceptron.
        part: whose mistake a wrong width is, in words.

    Source: Vaswani et al. (2017); pre-norm, Xiong et al. (2020).
    """

    def __init__(self, d_model: int, n_heads: int, d_feedforward: int, dropout: float, part: str) -> None:
        super().__init__()
        self._n_heads = checked_heads(d_model, n_heads, part)
        self.before_attention, self.before_feedforward = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.project = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.feedforward = nn.Sequential(nn.Linear(d_model, d_feedforward), nn.GELU(), nn.Linear(d_feedforward, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        """Tokens f32 (N, D) after looking at those of their own row."""
        x = x + self.dropout(self.project(self._attend(self.qkv(self.before_attention(x)), offsets)))
        return x + self.dropout(self.feedforward(self.before_feedforward(x)))

    def _attend(self, qkv: Tensor, offsets: Tensor) -> Tensor:
        """Rows of one length are one dense call, so that none is padded: f32 (N, D) of (N, 3 D)."""
        length = lengths(offsets)
        order = torch.argsort(length[segment_index(offsets)], stable=True)
        size, n = torch.unique(length[length > 0], return_counts=True)
        # One split, and not slices: the gradient of each slice would be a whole tensor of zeros around it.
        parts = qkv[order].split((size * n).tolist())
        attended = [self._dense(part, rows) for part, rows in zip(parts, n.tolist(), strict=True)] if size.numel() else [qkv[:, : qkv.shape[1] // 3]]
        return torch.cat(attended)[torch.argsort(order)]

    def _dense(self, qkv: Tensor, rows: int) -> Tensor:
        d_model = qkv.shape[1] // 3
        q, k, v = qkv.reshape(rows, -1, 3, self._n_heads, d_model // self._n_heads).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, d_model)
