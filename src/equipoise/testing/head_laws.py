"""Laws of heads. A package with a head of its own inherits `HeadLaws` and overrides the fixture ``node`` with its config node."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.make import make
from equipoise.contract.tensors import generator
from equipoise.head import Head
from equipoise.testing.discovery import options

D_IN = 6
BIAS = torch.tensor([-1.0, 0.5, 2.0])


class HeadLaws:
    """z -> draws and a KL; a point head has S = 1; draw s is one weight sample or mask shared by all rows, from (seed, s) alone."""

    @pytest.fixture(params=sorted(options("head")))
    def node(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """The config node of one head."""
        return options("head")[request.param]

    @pytest.fixture
    def head(self, node: dict[str, Any]) -> Head:
        return new_head(node, seed=1)

    @pytest.fixture
    def z(self) -> Tensor:
        return torch.randn(7, D_IN, generator=generator(3))

    def test_draws_have_the_asked_number_or_one_for_a_point_head(self, head: Head, z: Tensor) -> None:
        value = head(z, n_draws=4, seed=0).value
        assert value.shape[1:] == (7, 3)
        assert value.shape[0] in (1, 4)
        assert value.dtype == torch.float32
        if value.shape[0] == 1:
            assert head.kl() == 0
            assert head.train_draws == 1

    def test_more_draws_extend_fewer_and_depend_on_the_seed(self, head: Head, z: Tensor) -> None:
        few, many = head(z, n_draws=2, seed=5).value, head(z, n_draws=30, seed=5).value
        # Products of other sizes round otherwise.
        assert torch.allclose(few, many[: len(few)], rtol=1e-5, atol=1e-5)
        assert torch.equal(many, head(z, n_draws=30, seed=5).value)
        if len(many) > 1:
            assert not torch.allclose(many, head(z, n_draws=30, seed=6).value)
            # Masks of few inputs may coincide, weight samples never do.
            assert torch.unique(many[:, 0, 0]).numel() >= (5 if hasattr(head, "rate") else len(many))

    def test_a_draw_is_one_weight_sample_shared_by_all_rows(self, head: Head, z: Tensor) -> None:
        together = head(z, n_draws=3, seed=2).value
        twice = head(torch.cat([z, z]), n_draws=3, seed=2).value
        assert torch.allclose(twice[:, :7], twice[:, 7:], atol=1e-5)
        for row in range(7):
            assert torch.allclose(head(z[row : row + 1], n_draws=3, seed=2).value[:, 0], together[:, row], atol=1e-5)

    def test_what_fit_makes_is_under_the_same_laws(self, node: dict[str, Any], z: Tensor) -> None:
        head, fresh = new_head(node, seed=1), new_head(node, seed=2)
        two_steps(head, z)
        before, bounded = head(z, n_draws=3, seed=4).value, bool(head.kl() > 0)
        fit_on_signs(head, z)
        after = head(z, n_draws=3, seed=4).value
        if type(head).fit is Head.fit:
            assert torch.equal(before, after)
            return
        assert len(after) == 3
        assert (head.kl() > 0) == bounded
        self.test_more_draws_extend_fewer_and_depend_on_the_seed(head, z)
        self.test_a_draw_is_one_weight_sample_shared_by_all_rows(head, z)
        self.test_an_empty_batch_gives_empty_draws(head, z)
        self.test_drawing_leaves_the_global_random_stream_alone(head, z)
        fresh.load_state_dict(saved_and_loaded(head))
        assert torch.equal(fresh(z, n_draws=3, seed=4).value, after)
        head.train()
        assert len(head(z, n_draws=3, seed=4).value) in (1, 3)

    def test_training_is_a_function_of_the_seed_and_its_gradients_reach_every_parameter(self, head: Head, z: Tensor) -> None:
        head.train()
        before = torch.get_rng_state()
        value = head(z, n_draws=head.train_draws, seed=4).value
        assert value.shape == (head.train_draws, 7, 3)
        assert torch.equal(value, head(z, n_draws=head.train_draws, seed=4).value)
        assert torch.equal(before, torch.get_rng_state())
        (value.square().sum() + head.kl() + head.penalty()).backward()
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert (parameter.grad != 0).any(), name

    def test_an_empty_batch_gives_empty_draws(self, head: Head, z: Tensor) -> None:
        assert head(z[:0], n_draws=2, seed=0).value.shape[1:] == (0, 3)

    def test_kl_and_penalty_are_finite_scalars_and_kl_is_not_negative(self, head: Head) -> None:
        for value in (head.kl(), head.penalty()):
            assert value.shape == ()
            assert torch.isfinite(value)
        assert head.kl() >= 0

    def test_it_starts_near_the_base_rate(self, head: Head, z: Tensor) -> None:
        value = head(torch.zeros_like(z), n_draws=64, seed=0).value.mean(0)
        assert torch.allclose(value, BIAS.expand_as(value), atol=0.1)

    def test_gradients_reach_every_parameter_and_what_lies_before(self, head: Head, z: Tensor) -> None:
        z.requires_grad_()
        (head(z, n_draws=2, seed=0).value.square().sum() + head.kl() + head.penalty()).backward()
        assert z.grad is not None
        assert (z.grad != 0).any(dim=1).all()
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert (parameter.grad != 0).any(), name

    def test_all_parameters_exist_before_the_first_forward(self, node: dict[str, Any], z: Tensor) -> None:
        head = new_head(node, seed=1)
        before = [(name, id(p)) for name, p in head.named_parameters()]
        head(z, n_draws=2, seed=0)
        head.kl()
        assert before
        assert before == [(name, id(p)) for name, p in head.named_parameters()]

    def test_saving_and_loading_give_equal_draws(self, node: dict[str, Any], z: Tensor) -> None:
        trained, fresh = new_head(node, seed=1), new_head(node, seed=2, bias=torch.zeros(3))
        two_steps(trained, z)
        assert not torch.equal(trained(z, n_draws=3, seed=4).value, fresh(z, n_draws=3, seed=4).value)
        fresh.load_state_dict(saved_and_loaded(trained))
        assert torch.equal(trained(z, n_draws=3, seed=4).value, fresh(z, n_draws=3, seed=4).value)
        assert torch.equal(trained.kl(), fresh.kl())
        assert torch.equal(trained.penalty(), fresh.penalty())

    def test_two_heads_in_one_process_do_not_touch_one_another(self, node: dict[str, Any], z: Tensor) -> None:
        alone, other = new_head(node, seed=1), new_head(node, seed=1)
        before = other(z, n_draws=3, seed=0).value
        two_steps(alone, z)
        assert torch.equal(before, other(z, n_draws=3, seed=0).value)
        two_steps(other, z)
        assert torch.equal(alone(z, n_draws=3, seed=0).value, other(z, n_draws=3, seed=0).value)

    def test_drawing_leaves_the_global_random_stream_alone(self, head: Head, z: Tensor) -> None:
        before = torch.get_rng_state()
        head(z, n_draws=3, seed=0)
        head.kl()
        assert torch.equal(before, torch.get_rng_state())


def new_head(node: dict[str, Any], *, seed: int, d_in: int = D_IN, bias: Tensor = BIAS) -> Head:
    """A head whose weights start from this seed, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = make(node, d_in=d_in, n_params=len(bias), bias=bias)
    assert isinstance(made, Head)
    return made.eval()


def two_steps(head: Head, z: Tensor) -> None:
    """Two optimisation steps on an arbitrary loss."""
    head.train()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for step in range(2):
        optimizer.zero_grad()
        (head(z, n_draws=head.train_draws, seed=step).value.square().mean() + (head.kl() + head.penalty()) / 100).backward()
        optimizer.step()
    head.eval()


def fit_on_signs(head: Head, z: Tensor) -> None:
    """Calls ``fit`` with K independent Bernoulli outcomes, whether a number of the row's vector is above 0."""
    outcome = (z[:, : len(BIAS)] > 0).float()

    def nll(params: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(params, outcome.to(params).expand_as(params), reduction="none").sum(-1)
        return each if each.ndim == 1 else each.mean(0)

    def hessian(params: Tensor) -> Tensor:
        p = torch.sigmoid(params)
        return torch.diag_embed(p * (1 - p))

    head.fit(z, hessian, len(z), nll)


def saved_and_loaded(head: Head) -> dict[str, Tensor]:
    """The head's state after a file."""
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    state: dict[str, Tensor] = torch.load(file, weights_only=True)
    return state
