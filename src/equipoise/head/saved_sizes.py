"""Buffers whose sizes are known when a head is fitted, and not when it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


def take_saved_sizes(module: nn.Module, buffers: Sequence[str], state_dict: Mapping[str, Any], prefix: str) -> None:
    """Makes room for what a state holds; for ``_load_from_state_dict``, before torch compares sizes.

    Args:
        module: whose buffers.
        buffers: their names.
        state_dict, prefix: as torch gives them.
    """
    for name in buffers:
        if (saved := state_dict.get(prefix + name)) is not None:
            setattr(module, name, getattr(module, name).new_zeros(saved.shape))
