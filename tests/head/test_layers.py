from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import generator
from equipoise.head.layers import linear_draws, linear_layers
from equipoise.head.noise import DrawNoise


def test_draws_in_one_product_are_those_of_a_loop() -> None:
    h, weight = torch.randn(5, 4, generator=generator(0)), torch.randn(3, 2, 5, generator=generator(1))
    expected = torch.stack([F.linear(h, w[:, :-1], w[:, -1]) for w in weight])
    assert torch.allclose(linear_draws(h, weight), expected, atol=1e-6)


def test_output_starts_at_the_base_rate_with_small_weights() -> None:
    start = torch.tensor([-2.0, 1.0])
    hidden, out = linear_layers(256, 1, start)
    assert torch.equal(out.bias.detach(), start)
    assert 0.08 < float(out.weight.detach().std()) * 16 < 0.12
    assert 0.95 < float(hidden[0].weight.detach().std()) * 16 < 1.05


def test_kept_noise_answers_only_the_same_question() -> None:
    noise, like = DrawNoise(), torch.zeros(1)

    def fresh(seed: int, n_draws: int, size: int) -> Tensor:
        return torch.stack([torch.randn(size, generator=generator(stream_seed("draw", seed, s))) for s in range(n_draws)])

    for asked in ((1, 3, 4), (1, 3, 4), (1, 5, 4), (2, 5, 4), (2, 5, 3)):
        assert torch.equal(noise(*asked, like), fresh(*asked))
    assert noise(2, 5, 3, like.double()).dtype == torch.float64
