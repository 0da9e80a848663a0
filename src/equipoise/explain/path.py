"""The straight path from a baseline to a row, in what the encoders read: numbers, embedded events and categories, tokens of a genome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import ALL_MISSING, Batch, Events, Genotypes, Part, Tokens, Vector
from equipoise.encoder.categories import Categories
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.network import Network


class Path:
    """One network's inputs at a share alpha of the way; after a backward pass `moved` is what each input adds, to first order, for alpha from 0 to 1.

    Baselines: a number is at its train mean (0 on the view's scale), an event has an unknown code and no value, a category is missing (level 0), every
    call of a genome is missing. (A vector of 0 would be no event, but a layer norm jumps there, and a path must not.) What is observed and which
    evidence is present stay as they are: an attribution is about content, not presence.

    Args:
        network: in evaluation mode.
        batch: the rows.

    Raises:
        UserError: an encoder of events has no `EventEmbedding`, so there is no path through it.
    """

    def __init__(self, network: Network, batch: Batch) -> None:
        self.network, self.batch = network, batch
        self._leaf: dict[str, Tensor] = {}
        self._span: dict[str, Tensor] = {}
        for view, part in batch.parts.items():
            if isinstance(part, Events) and _inside(network, view, EventEmbedding) is None:
                raise UserError(f"The encoder of view {view!r} reads events in a way that cannot be explained", mend="explain a model with another encoder")

    @contextmanager
    def at(self, alpha: float) -> Iterator[Batch]:
        """The batch at alpha, while the hooks that move embeddings and tokens are there."""
        self._leaf, self._span, hooks = {}, {}, []
        parts: dict[str, Part] = {}
        for view, part in self.batch.parts.items():
            parts[view] = part
            if isinstance(part, Vector):
                parts[view] = replace(part, value=self._placed(view, torch.zeros_like(part.value), part.value, alpha))
                if (found := _inside(self.network, view, Categories)) is not None:
                    hooks.append(found.register_forward_hook(self._mover(f"{view}|category", alpha)))
            elif isinstance(part, Events):
                embedding = _inside(self.network, view, EventEmbedding)
                assert embedding is not None
                hooks.append(embedding.register_forward_hook(self._mover(view, alpha)))
            elif isinstance(part, Genotypes):
                hooks.append(self.network.encoders[view].register_forward_hook(self._token_mover(view, part, alpha)))
        try:
            yield replace(self.batch, parts=parts)
        finally:
            for hook in hooks:
                hook.remove()

    def moved(self) -> dict[str, Tensor]:
        """Gradient times way for each input, in its own shape; 0 for one that nothing depends on."""
        return {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad * self._span[name] for name, leaf in self._leaf.items()}

    def gradients(self) -> dict[str, Tensor]:
        """Gradient of each input, likewise."""
        return {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in self._leaf.items()}

    def _placed(self, name: str, start: Tensor, end: Tensor, alpha: float) -> Tensor:
        leaf = (start + alpha * (end - start)).detach().requires_grad_()
        self._leaf[name], self._span[name] = leaf, (end - start).detach()
        return leaf

    def _mover(self, name: str, alpha: float) -> Any:
        def move(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            if isinstance(module, Categories):
                if module.table is None:
                    return output
                start = module.table(torch.zeros_like(inputs[0]) + module.first).flatten(1)
            else:
                assert isinstance(module, EventEmbedding)
                start = module.code(torch.zeros_like(inputs[0]))
            return self._placed(name, start, output, alpha)

        return move

    def _token_mover(self, view: str, part: Genotypes, alpha: float) -> Any:
        def move(module: nn.Module, inputs: tuple[Any, ...], output: Tokens) -> Tokens:
            if self._span.get(view) is not None or inputs[0] is not part:
                return output  # the call below, which asks for the baseline
            self._span[view] = output.h
            start: Tokens = module(replace(part, packed=torch.full_like(part.packed, ALL_MISSING)))
            return replace(output, h=self._placed(view, start.h, output.h, alpha))

        return move


def _inside(network: Network, view: str, kind: type[nn.Module]) -> nn.Module | None:
    """The encoder's first part of a kind."""
    return next((m for m in network.encoders[view].modules() if isinstance(m, kind)), None)
