"""Fusions: tokens of any subset of the views -> one vector a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from equipoise.contract.tensors import Tokens


class Fusion(nn.Module, ABC):
    """Joins the views' tokens.

    A final class takes from `assemble` the keywords ``views`` (dict view name -> column of its evidence in ``present``), ``n_evidences`` (M)
    and ``d_model``; all others stand in its yaml. Laws: absent content changes nothing; any subset works; the empty one gives a learned, finite z.

    z is best what a non-linear map left, without a linear one behind it: the head's own would make one map of the two, and training leaves such a
    pair a single direction, with nothing for a last layer to be unsure of.
    """

    d_out: int
    is_sum: ClassVar[bool] = False
    """Whether z is a sum of what the views say, so that a head may take its entries for parameters."""
    keeps_entries: bool = False
    """Whether that is a sum of the tokens themselves, entry by entry."""

    @abstractmethod
    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        """Fuses.

        Args:
            tokens: by view name, each for all B rows.
            present: bool (B, M). Where False, the views of that evidence count as absent whatever their tokens hold.

        Returns:
            z f32 (B, d_out).
        """

    @abstractmethod
    def penalty(self) -> Tensor:
        """Negative log prior of its weights, (), in nats."""

    def fit(self, tokens: dict[str, Tokens], present: Tensor, nll: Callable[[Tensor], Tensor]) -> None:
        """After training, where there are select rows: fits what train rows cannot tell, such as how far each view is to be believed. The default does
        nothing.

        Args:
            tokens: of the select rows, no gradient.
            present: bool (n, M), likewise.
            nll: z f32 (n, d_out) -> sum of the select rows' negative log likelihoods by the trained head and tasks, (), nats.
        """
