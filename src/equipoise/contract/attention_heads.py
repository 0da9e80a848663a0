"""How many attention heads share a width."""

from __future__ import annotations

from equipoise.contract.errors import UserError


def checked_heads(d_model: int, n_heads: int, part: str) -> int:
    """``n_heads``.

    Raises:
        UserError: it does not divide ``d_model``.
    """
    if d_model % n_heads:
        raise UserError(f"d_model {d_model} is not divisible by the {part}'s n_heads {n_heads}", mend="change one of them")
    return n_heads
