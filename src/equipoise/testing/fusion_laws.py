"""The laws of fusions, checked on every option of the room; inherit `FusionLaws` and override `options` to check your own."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.contract.make import make
from equipoise.contract.packed import segment_index
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.testing.discovery import options
from equipoise.testing.network_laws import (
    check_gradients,
    check_noise_is_seeded,
    check_penalty,
    check_state_round_trip,
    check_training_reduces,
    seeded,
)
from equipoise.testing.parts import random_tokens

WIDTH = 8
VIEWS = {"ehr": 0, "ehr_summary": 0, "genotype": 1, "biomarker": 2}
N_EVIDENCES = 3
PATTERNS = list(product([True, False], repeat=N_EVIDENCES))
"""Every subset of the evidences, one a row; the last row has nothing."""
SIZE = len(PATTERNS)


class FusionLaws:
    """Each law takes ``node``, a config node; one test per option."""

    @classmethod
    def options(cls) -> dict[str, dict[str, Any]]:
        """Name -> config node."""
        return options("fusion")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        nodes = self.options()
        metafunc.parametrize("node", list(nodes.values()), ids=list(nodes))

    def _made(self, node: dict[str, Any], *, seed: int = 0) -> tuple[Fusion, dict[str, Tokens], Tensor]:
        """A fusion, tokens for all rows whatever is present, and every subset of the evidences."""
        with seeded(seed):
            fusion = make(node, views=dict(VIEWS), n_evidences=N_EVIDENCES, d_model=WIDTH)
        tokens = {view: random_tokens(size=SIZE, width=WIDTH, seed=i) for i, view in enumerate(VIEWS)}
        return fusion.eval(), tokens, torch.tensor(PATTERNS)

    def _thinned(self, tokens: dict[str, Tokens], present: Tensor) -> dict[str, Tokens]:
        """The tokens that encoders give when the absent evidences were never read."""
        return {view: _rows_of(tokens[view], torch.arange(SIZE), present[:, column]) for view, column in VIEWS.items()}

    def test_any_subset_gives_a_finite_vector(self, node: dict[str, Any]) -> None:
        fusion, tokens, present = self._made(node)
        z = fusion(tokens, present)
        assert z.shape == (SIZE, fusion.d_out)
        assert z.dtype == torch.float32
        assert torch.isfinite(z).all()

    def test_absent_content_changes_nothing(self, node: dict[str, Any]) -> None:
        fusion, tokens, present = self._made(node)
        spoilt = {}
        for view, column in VIEWS.items():
            h = tokens[view].h.clone()
            h[~present[segment_index(tokens[view].offsets), column]] = float("nan")
            spoilt[view] = Tokens(h, tokens[view].offsets)
        z = fusion(tokens, present)
        torch.testing.assert_close(fusion(spoilt, present), z, rtol=0, atol=0)
        torch.testing.assert_close(fusion(self._thinned(tokens, present), present), z, rtol=1e-5, atol=1e-5)

    def test_present_content_changes_the_vector(self, node: dict[str, Any]) -> None:
        fusion, tokens, present = self._made(node)
        z = fusion(tokens, present)
        for view, column in VIEWS.items():
            other = fusion({**tokens, view: Tokens(tokens[view].h.flip(1), tokens[view].offsets)}, present)
            changed = (other - z).abs().amax(1) > 1e-6
            assert changed[present[:, column]].all(), view
            assert not changed[~present[:, column]].any(), view

    def test_rows_with_nothing_share_one_learned_vector(self, node: dict[str, Any]) -> None:
        fusion, tokens, _ = self._made(node)
        z = fusion(tokens, torch.zeros((SIZE, N_EVIDENCES), dtype=torch.bool))
        torch.testing.assert_close(z, z[:1].expand_as(z), rtol=0, atol=0)
        z.sin().sum().backward()
        assert any(p.grad is not None and bool((p.grad != 0).any()) for p in fusion.parameters())

    def test_a_row_is_fused_the_same_alone_and_in_any_batch(self, node: dict[str, Any]) -> None:
        fusion, tokens, present = self._made(node)
        z = fusion(tokens, present)
        for rows in (*([r] for r in range(SIZE)), [5, 0, 7, 0]):
            at = torch.tensor(rows)
            some = {view: _rows_of(t, at, torch.ones(SIZE, dtype=torch.bool)) for view, t in tokens.items()}
            torch.testing.assert_close(fusion(some, present[at]), z[at], rtol=1e-5, atol=1e-5)

    def test_one_view_alone_is_enough(self, node: dict[str, Any]) -> None:
        with seeded(6):
            fusion = make(node, views={"ehr": 0}, n_evidences=1, d_model=WIDTH).eval()
        tokens = random_tokens(size=SIZE, width=WIDTH, seed=7)
        z = fusion({"ehr": tokens}, torch.tensor([[r % 3 > 0] for r in range(SIZE)]))
        assert z.shape == (SIZE, fusion.d_out)
        assert torch.isfinite(z).all()
        assert ((z[1:] - z[0]).abs().amax(1) > 1e-6).tolist() == [r % 3 > 0 for r in range(1, SIZE)]

    def test_gradients_reach_every_parameter(self, node: dict[str, Any]) -> None:
        fusion, tokens, present = self._made(node)
        with seeded(3):
            direction = torch.randn(SIZE, fusion.d_out)
        check_gradients(fusion, lambda: (fusion(tokens, present) * direction).sum())

    def test_gradients_reach_the_tokens_that_are_present_and_no_others(self, node: dict[str, Any]) -> None:
        fusion, tokens, present = self._made(node)
        leaves = {view: Tokens(t.h.clone().requires_grad_(), t.offsets) for view, t in tokens.items()}
        fusion(leaves, present).sin().sum().backward()
        for view, column in VIEWS.items():
            there = present[segment_index(leaves[view].offsets), column]
            grad = leaves[view].h.grad
            assert grad is not None
            assert (grad[there].abs().sum(1) > 0).all()
            assert (grad[~there] == 0).all()

    def test_every_weight_has_a_prior(self, node: dict[str, Any]) -> None:
        fusion, _, _ = self._made(node)
        check_penalty(fusion, fusion.penalty)

    def test_saved_weights_give_equal_vectors(self, node: dict[str, Any]) -> None:
        made, tokens, present = self._made(node)
        other, _, _ = self._made(node, seed=99)
        check_state_round_trip(made, other, lambda fusion: fusion(tokens, present))

    def test_two_steps_reduce_a_toy_loss(self, node: dict[str, Any]) -> None:
        fusion, tokens, present = self._made(node)
        with seeded(4):
            target = torch.randn(SIZE)
        check_training_reduces(fusion, lambda: fusion(tokens, present), target)

    def test_noise_comes_from_the_seeded_generator_only(self, node: dict[str, Any]) -> None:
        fusion, tokens, present = self._made(node)
        check_noise_is_seeded(fusion, lambda: fusion(tokens, present))


def _rows_of(tokens: Tokens, rows: Tensor, kept: Tensor) -> Tokens:
    """The tokens of these rows in this order, none for the rows that are not kept (bool (B,), by the old row)."""
    parts = [tokens.h[int(tokens.offsets[r]) : int(tokens.offsets[r + 1])] if kept[r] else tokens.h[:0] for r in rows.tolist()]
    count = torch.tensor([0, *(p.shape[0] for p in parts)])
    return Tokens(torch.cat(parts), count.cumsum(0))
