"""A block of attention within rows and of a feed-forward layer."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from equipoise.encoder.attention import Within
from equipoise.encoder.event_time import turned


@final
class AttentionBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + feedforward(norm(x))``.

    Args:
        d_model: D, divisible by n_heads.
        n_heads: attention heads.
        d_feedforward: width of the feed-forward layer.
        dropout: after both.

    Source: Vaswani et al. (2017); pre-norm, Xiong et al. (2020).
    """

    def __init__(self, d_model: int, n_heads: int, d_feedforward: int, dropout: float) -> None:
        super().__init__()
        self._n_heads = n_heads
        self.before_attention, self.before_feedforward = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.project = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.feedforward = nn.Sequential(nn.Linear(d_model, d_feedforward), nn.GELU(), nn.Linear(d_feedforward, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rows: Within, turns: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(N, D) of (N, D), in the order of ``rows``; queries and keys turned by these cosines and sines, where given."""
        qkv = self.qkv(self.before_attention(x))
        if turns is not None:
            qkv = turned(qkv, self._n_heads, *turns)
        x = x + self.dropout(self.project(rows.attend(qkv, self._n_heads)))
        return x + self.dropout(self.feedforward(self.before_feedforward(x)))
