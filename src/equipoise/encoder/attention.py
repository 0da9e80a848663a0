"""Attention within the rows of a packed batch, by the way that the device and the number type allow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.packed import lengths, offsets_of, segment_index

varlen_attn: Any = None
with suppress(ImportError):  # torch >= 2.10
    from torch.nn.attention import varlen

    varlen_attn = varlen.varlen_attn


class Within(ABC):
    """How the tokens of one batch lie: made once, used by every block. Each row's tokens see each other and nobody else's.

    Args:
        offsets: i64 (P+1,): row p owns tokens ``offsets[p]:offsets[p+1]``, one at least.
    """

    def __init__(self, offsets: Tensor) -> None:
        self._offsets = offsets

    def enter(self, x: Tensor) -> Tensor:
        """The tokens (N, D) in the order that `attend` takes them in."""
        return x

    def leave(self, x: Tensor) -> Tensor:
        """The tokens (N, D) in the batch's order again."""
        return x

    def last(self, x: Tensor) -> Tensor:
        """The last token of every row, (P, D) in the batch's order, of tokens in the order of `attend`."""
        return x.index_select(0, self._offsets[1:] - 1)

    @abstractmethod
    def attend(self, qkv: Tensor, n_heads: int) -> Tensor:
        """``softmax(q k' / sqrt(d)) v`` in each row and head, (N, D) of queries, keys and values (N, 3 D)."""


@final
class Runs(Within):
    """Rows are ordered by length, so rows of one length are one call: fast on CPU, right everywhere, one launch for each length on a GPU."""

    def __init__(self, offsets: Tensor) -> None:
        super().__init__(offsets)
        count = lengths(offsets)
        self._by_length = torch.argsort(count, stable=True)
        self._sorted = offsets_of(count[self._by_length])
        start = torch.empty_like(count)
        start[self._by_length] = self._sorted[:-1]
        row = segment_index(offsets)
        self._place = start[row] + torch.arange(row.shape[0], device=offsets.device) - offsets[row]
        length, n = torch.unique_consecutive(lengths(self._sorted), return_counts=True)
        self._runs = list(zip(n.tolist(), length.tolist(), strict=True))

    def enter(self, x: Tensor) -> Tensor:
        return torch.empty_like(x).index_copy(0, self._place, x)

    def leave(self, x: Tensor) -> Tensor:
        return x[self._place]

    def last(self, x: Tensor) -> Tensor:
        return torch.empty_like(x[: self._by_length.shape[0]]).index_copy(0, self._by_length, x[self._sorted[1:] - 1])

    def attend(self, qkv: Tensor, n_heads: int) -> Tensor:
        # One split, and not slices: the gradient of each slice would be a whole tensor of zeros around it.
        parts = qkv.split([n * length for n, length in self._runs])
        attended = [self._attend(part, n, n_heads) for part, (n, _) in zip(parts, self._runs, strict=True)]
        return torch.cat(attended) if attended else qkv[:, : qkv.shape[1] // 3]

    def _attend(self, qkv: Tensor, n: int, n_heads: int) -> Tensor:
        """n rows of equal length, (n * length, D) of (n * length, 3 D)."""
        d_model = qkv.shape[1] // 3
        q, k, v = qkv.reshape(n, -1, 3, n_heads, d_model // n_heads).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, d_model)


@final
class Varlen(Within):
    """Flash attention that reads the rows' offsets: nothing is ordered, padded or asked of the device. Half precision on a GPU.

    Args:
        offsets: see `Within`.
        longest: tokens of the longest row, or more.

    Source: Dao (2023), FlashAttention-2, in torch's own form for rows of differing length.
    """

    def __init__(self, offsets: Tensor, longest: int) -> None:
        super().__init__(offsets)
        self._cumulative, self._longest = offsets.to(torch.int32), longest

    def attend(self, qkv: Tensor, n_heads: int) -> Tensor:
        q, k, v = qkv.reshape(qkv.shape[0], 3, n_heads, -1).unbind(1)
        out: Tensor = varlen_attn(q, k, v, self._cumulative, self._cumulative, self._longest, self._longest)
        return out.flatten(1)


@final
class Padded(Within):
    """Rows are padded to the longest for the attention alone: right for every number type and without a question to the device.

    Args:
        offsets: see `Within`.
        longest: tokens of the longest row, or more.
        n_tokens: N.
    """

    def __init__(self, offsets: Tensor, longest: int, n_tokens: int) -> None:
        super().__init__(offsets)
        row = segment_index(offsets, n_tokens)
        at = torch.arange(longest, device=offsets.device)
        self._place = row * longest + torch.arange(n_tokens, device=offsets.device) - offsets[row]
        self._real = (at < lengths(offsets)[:, None])[:, None, None, :]

    def attend(self, qkv: Tensor, n_heads: int) -> Tensor:
        n_rows, longest, width = self._real.shape[0], self._real.shape[-1], qkv.shape[1]
        spread = qkv.new_zeros((n_rows * longest, width)).index_copy(0, self._place, qkv)
        q, k, v = spread.reshape(n_rows, longest, 3, n_heads, -1).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self._real).transpose(1, 2).reshape(n_rows * longest, width // 3)
        return out.index_select(0, self._place)


def within(offsets: Tensor, x: Tensor, *, d_head: int, longest: int | None) -> Within:
    """`Varlen` for half precision on a GPU that has it, `Padded` on other GPUs, `Runs` elsewhere and for a batch without rows.

    Args:
        offsets: i64 (P+1,), of tokens.
        x: (N, D), the tokens; their device and number type decide, the latter unless autocast is on.
        d_head: width of a head.
        longest: tokens of the longest row, or more; None = not known, and asked of the device.
    """
    if x.device.type != "cuda" or offsets.shape[0] == 1:
        return Runs(offsets)
    if longest is None:
        longest = int(lengths(offsets).max())
    autocast = torch.is_autocast_enabled("cuda")
    dtype = torch.get_autocast_dtype("cuda") if autocast else x.dtype
    if flash(dtype, d_head, torch.cuda.get_device_capability(x.device)):
        return Varlen(offsets, longest)
    return Padded(offsets, longest, x.shape[0])


def flash(dtype: torch.dtype, d_head: int, capability: tuple[int, int]) -> bool:
    """Whether torch's flash attention for rows of differing length takes this number type and width of a head on a GPU of this compute capability."""
    return varlen_attn is not None and dtype in (torch.bfloat16, torch.float16) and d_head % 8 == 0 and d_head <= 256 and capability >= (8, 0)
