"""The laws of pretexts, checked on every option of the room; inherit `PretextLaws` and override `options` to check your own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.contract.counter import numpy_stream
from equipoise.contract.make import make
from equipoise.contract.packed import offsets_of, segment_index
from equipoise.contract.tensors import EventsSpec, Future
from equipoise.pretext import Pretext
from equipoise.testing.discovery import options
from equipoise.testing.network_laws import check_gradients, check_penalty, check_state_round_trip, seeded

WIDTH, N_CODES = 8, 7


def random_future(n: int, seed: int, *, n_codes: int = N_CODES) -> Future:
    """n rows, some with nothing to come, some with several events of one time, some with a code more than once; times from minutes to years."""
    rng = numpy_stream("random-future", n, seed)
    followed = rng.exponential(400.0, n).astype(np.float32) + 0.01
    days = [np.sort(rng.choice(f * rng.random(4).astype(np.float32) ** 3 + np.float32(1e-6), k)) for f, k in zip(followed, rng.integers(0, 7, n), strict=True)]
    days = [np.minimum(d, f) for d, f in zip(days, followed, strict=True)]
    flat = np.concatenate([np.zeros(0, np.float32), *days]).astype(np.float32)
    return Future(
        code=torch.from_numpy(rng.integers(0, n_codes, flat.size).astype(np.int32)),
        days=torch.from_numpy(flat),
        offsets=offsets_of(torch.tensor([d.size for d in days], dtype=torch.int64)),
        followed_days=torch.from_numpy(followed),
    )


def rows_of(future: Future, rows: list[int]) -> Future:
    """These rows, in this order."""
    at = [torch.arange(int(future.offsets[r]), int(future.offsets[r + 1])) for r in rows]
    event = torch.cat([torch.zeros(0, dtype=torch.int64), *at])
    return Future(future.code[event], future.days[event], offsets_of(torch.tensor([a.numel() for a in at])), future.followed_days[rows])


class PretextLaws:
    """Each law takes ``node``, a config node; one test per option."""

    @classmethod
    def options(cls) -> dict[str, dict[str, Any]]:
        """Name -> config node."""
        return options("pretext")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        nodes = self.options()
        metafunc.parametrize("node", list(nodes.values()), ids=list(nodes))

    def _made(self, node: dict[str, Any], *, seed: int = 0) -> tuple[Pretext, Tensor, Future]:
        with seeded(seed):
            made: Pretext = make(node, spec=EventsSpec(N_CODES), d_model=WIDTH)
        with seeded(1):
            z = torch.randn(12, WIDTH)
        made.setup(random_future(200, 3))
        return made, z, random_future(12, 1)

    def test_a_rows_loss_is_finite_and_its_own(self, node: dict[str, Any]) -> None:
        pretext, z, future = self._made(node)
        together = pretext(z, future)
        assert together.shape == (12,)
        assert torch.isfinite(together).all()
        for row in range(12):
            torch.testing.assert_close(pretext(z[row : row + 1], rows_of(future, [row]))[0], together[row])
        order = [7, 3, 3, 0, 11]
        torch.testing.assert_close(pretext(z[order], rows_of(future, order)), together[order])

    def test_the_order_of_events_of_one_time_says_nothing(self, node: dict[str, Any]) -> None:
        pretext, z, future = self._made(node)
        row, place = segment_index(future.offsets, future.code.shape[0]).numpy(), np.arange(future.code.shape[0])
        turned = torch.from_numpy(np.lexsort((-place, future.days.numpy(), row)))
        assert not torch.equal(future.code[turned], future.code)
        torch.testing.assert_close(pretext(z, replace(future, code=future.code[turned], days=future.days[turned])), pretext(z, future), rtol=0, atol=0)

    def test_the_vector_0_says_the_base_rates_which_are_the_best_that_no_vector_can_say(self, node: dict[str, Any]) -> None:
        pretext, _, _ = self._made(node)
        future, nothing = random_future(200, 3), torch.zeros(200, WIDTH)
        pretext.requires_grad_(False)
        here = float(pretext(nothing, future).mean())
        for name, base in pretext.named_buffers():
            if not name.startswith("base"):
                continue
            for step in (-0.3, 0.3):
                base.add_(step)
                assert float(pretext(nothing, future).mean()) > here, name
                base.sub_(step)

    def test_gradients_reach_every_parameter_and_the_vectors(self, node: dict[str, Any]) -> None:
        pretext, z, future = self._made(node)
        z.requires_grad_()
        check_gradients(pretext, lambda: pretext(z, future).sum())
        assert z.grad is not None
        assert (z.grad != 0).any(1).all()

    def test_every_weight_has_a_prior(self, node: dict[str, Any]) -> None:
        pretext, _, _ = self._made(node)
        check_penalty(pretext, pretext.penalty)

    def test_saved_weights_and_base_rates_give_an_equal_loss(self, node: dict[str, Any]) -> None:
        made, z, future = self._made(node)
        with seeded(9):
            other: Pretext = make(node, spec=EventsSpec(N_CODES), d_model=WIDTH)
        check_state_round_trip(made, other, lambda pretext: pretext(z, future))

    def test_rows_with_nothing_to_come_and_a_batch_of_none_serve(self, node: dict[str, Any]) -> None:
        pretext, z, future = self._made(node)
        silent = Future(future.code[:0], future.days[:0], torch.zeros(13, dtype=torch.int64), future.followed_days)
        pretext.setup(silent)
        loss = pretext(z, silent)
        assert torch.isfinite(loss).all()
        assert (loss > 0).all(), "the longer nothing comes, the less likely that was"
        assert pretext(z[:0], rows_of(future, [])).shape == (0,)
