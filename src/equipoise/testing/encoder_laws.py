"""The laws of encoders, checked on every option of the room; inherit `EncoderLaws` and override `options` to check your own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.assemble import bound_lipschitz
from equipoise.contract.make import make
from equipoise.contract.packed import lengths, segment_sum
from equipoise.contract.tensors import Events, Part, Spec, Vector
from equipoise.encoder import Encoder
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.testing.discovery import options
from equipoise.testing.lipschitz import largest_ratio, settle_spectral_norms
from equipoise.testing.network_laws import (
    check_gradients,
    check_noise_is_seeded,
    check_penalty,
    check_state_round_trip,
    check_training_reduces,
    seeded,
)
from equipoise.testing.parts import random_part, row_tokens, taken, unobserved_changed

WIDTH, SIZE, ABSENT = 8, 9, (0, 4)


class EncoderLaws:
    """Each law takes ``node``, a config node; one test per option."""

    @classmethod
    def options(cls) -> dict[str, dict[str, Any]]:
        """Name -> config node."""
        return options("encoder")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        nodes = self.options()
        metafunc.parametrize("node", list(nodes.values()), ids=list(nodes))

    def _made(self, node: dict[str, Any], *, seed: int = 0) -> tuple[Encoder, Part, Spec]:
        module, _, name = str(node["_target_"]).rpartition(".")
        kind = getattr(__import__(module, fromlist=[name]), name).accepts
        part, spec = random_part(kind, size=SIZE, seed=1, absent=ABSENT)
        with seeded(seed):
            encoder = make(node, spec=spec, d_model=WIDTH)
        return encoder.eval(), part, spec

    def _pooled(self, encoder: Encoder, part: Part) -> Tensor:
        tokens = encoder(part)
        return segment_sum(tokens.h, tokens.offsets)

    def test_absent_rows_have_no_token_and_present_rows_have_one_at_least(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        tokens = encoder(part)
        assert tokens.h.shape == (int(tokens.offsets[-1]), WIDTH)
        assert tokens.h.dtype == torch.float32
        assert tokens.offsets.shape == (SIZE + 1,)
        assert torch.isfinite(tokens.h).all()
        for row, count in enumerate(lengths(tokens.offsets).tolist()):
            assert (count == 0) == (row in ABSENT)

    def test_tokens_of_a_row_are_the_same_alone_and_in_any_batch(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        together = encoder(part)
        for rows in ([r] for r in range(SIZE)):
            torch.testing.assert_close(row_tokens(encoder(taken(part, rows)), 0), row_tokens(together, rows[0]), rtol=1e-5, atol=1e-5)
        order = [7, 4, 1, 8, 0, 2, 2, 5]
        mixed = encoder(taken(part, order))
        for i, row in enumerate(order):
            torch.testing.assert_close(row_tokens(mixed, i), row_tokens(together, row), rtol=1e-5, atol=1e-5)

    def test_unobserved_values_change_nothing(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        torch.testing.assert_close(encoder(unobserved_changed(part)).h, encoder(part).h, rtol=0, atol=0)

    def test_observed_values_change_the_tokens(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        other = (
            replace(part, value=part.value + part.observed)
            if isinstance(part, Events | Vector)
            else random_part(type(part), size=SIZE, seed=2, absent=ABSENT)[0]
        )
        assert (encoder(other).h - encoder(part).h).abs().max().item() > 1e-4

    def test_events_are_embedded_once_and_their_values_are_read_in_no_other_way(self, node: dict[str, Any]) -> None:
        """Explanations lead a path through the output of `EventEmbedding`, which must lie in the part's order."""
        encoder, part, _ = self._made(node)
        if not isinstance(part, Events):
            return
        embedding = next(m for m in encoder.modules() if isinstance(m, EventEmbedding))
        calls: list[tuple[Any, ...]] = []
        hook = embedding.register_forward_pre_hook(lambda module, inputs: calls.append(inputs))
        h = encoder(part).h
        hook.remove()
        assert len(calls) == 1
        assert all(torch.equal(a, b) for a, b in zip(calls[0], (part.code, part.value, part.observed), strict=True))
        vectors = embedding(part.code, part.value, part.observed)
        hook = embedding.register_forward_hook(lambda module, inputs, output: vectors)
        torch.testing.assert_close(encoder(replace(part, value=part.value + 1.0)).h, h, rtol=0, atol=0)
        hook.remove()

    def test_a_declared_lipschitz_constant_holds_once_spectral_norms_are_one(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        if encoder.lipschitz is None:
            return
        assert isinstance(part, Vector), "this law knows how far apart vectors are, and no other part"
        bound_lipschitz(encoder)
        settle_spectral_norms(encoder, part)
        # Power iteration comes to a singular value from below.
        assert largest_ratio(encoder, part) <= encoder.lipschitz * 1.001

    def test_gradients_reach_every_parameter(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        with seeded(3):
            direction = torch.randn(SIZE, WIDTH)
        check_gradients(encoder, lambda: (self._pooled(encoder, part) * direction).sum())

    def test_gradients_of_unobserved_garbage_are_finite(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        check_gradients(encoder, lambda: self._pooled(encoder, unobserved_changed(part)).sin().sum())

    def test_a_batch_without_any_present_row_gives_no_token(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        tokens = encoder(taken(part, list(ABSENT)))
        assert tokens.h.shape == (0, WIDTH)
        assert tokens.offsets.tolist() == [0, 0, 0]

    def test_every_weight_has_a_prior(self, node: dict[str, Any]) -> None:
        encoder, _, _ = self._made(node)
        check_penalty(encoder, encoder.penalty)

    def test_saved_weights_give_equal_tokens(self, node: dict[str, Any]) -> None:
        made, part, _ = self._made(node)
        other, _, _ = self._made(node, seed=99)
        check_state_round_trip(made, other, lambda encoder: self._pooled(encoder, part))  # type: ignore[arg-type]

    def test_two_steps_reduce_a_toy_loss(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        with seeded(4):
            target = torch.randn(SIZE)
        check_training_reduces(encoder, lambda: self._pooled(encoder, part), target)

    def test_noise_comes_from_the_seeded_generator_only(self, node: dict[str, Any]) -> None:
        encoder, part, _ = self._made(node)
        check_noise_is_seeded(encoder, lambda: encoder(part).h)
