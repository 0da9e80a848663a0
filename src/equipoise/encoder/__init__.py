"""Encoders: part -> tokens. An encoder knows no modality by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from equipoise.contract.tensors import Part, Tokens


class Encoder(nn.Module, ABC):
    """Turns a part into tokens of width D.

    A final class takes the keywords ``spec`` (the fitted view's) and ``d_model`` from `assemble`; all others stand in its yaml.
    Laws: a row's tokens are the same alone and in any batch; unobserved values change nothing; gradients reach every parameter.
    """

    accepts: ClassVar[type[Part]]
    lipschitz: float | None = None
    """How many times as far apart as two rows' numbers and observed flags (Euclidean, categories equal) their tokens can lie, in evaluation mode, once its
    linear layers have spectral norm 1 (for SNGP); None where that gives no bound."""
    n_scores: int | None = None
    """How many of a token's first entries it fills, zeros behind; None: all."""

    @abstractmethod
    def forward(self, part: Part) -> Tokens:
        """Tokens for every row of the batch: none for an absent row, at least one for a present row."""

    @abstractmethod
    def penalty(self) -> Tensor:
        """Negative log prior density of its weights up to a constant, (), in nats. Divided by n_train in the loss."""
