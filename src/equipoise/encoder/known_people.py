"""Recognises people by their packed calls, so that what was computed of them once need not be computed again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import generator


class KnownPeople(nn.Module):
    """Finds rows of packed calls among known ones: by a sum of the bytes with random factors, then byte by byte, so a chance meeting of sums does no harm.

    Args:
        packed: u8 (m, n_bytes); bits behind the last variant do not count.
        n_variants: V.
    """

    packed: Tensor
    own_bits: Tensor
    factor: Tensor
    key: Tensor
    order: Tensor

    def __init__(self, packed: Tensor, n_variants: int) -> None:
        super().__init__()
        own_bits = torch.full((packed.shape[1],), 0xFF, dtype=torch.uint8)
        own_bits[-1] = (1 << 2 * ((n_variants - 1) % 4 + 1)) - 1
        factor = torch.randint(1 << 54, (packed.shape[1],), generator=generator(stream_seed("known-people")))
        self.register_buffer("packed", packed & own_bits, persistent=False)
        self.register_buffer("own_bits", own_bits, persistent=False)
        self.register_buffer("factor", factor, persistent=False)
        key, order = self._key(self.packed).sort(stable=True)
        self.register_buffer("key", key, persistent=False)
        self.register_buffer("order", order, persistent=False)

    def places(self, packed: Tensor) -> Tensor:
        """Which known person each row is, i64 (P,), -1 = none."""
        packed = packed & self.own_bits
        at = torch.searchsorted(self.key, self._key(packed)).clamp_max(self.key.shape[0] - 1)
        place = self.order[at]
        return torch.where((self.packed[place] == packed).all(1), place, -1)

    def _key(self, packed: Tensor) -> Tensor:
        """i64 (P,); sums go round at 2^63, which is as good."""
        return (packed.to(torch.int64) * self.factor).sum(1)
