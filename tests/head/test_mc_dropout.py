from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import generator
from equipoise.head.mc_dropout import McDropoutHead


def dropout(d_in: int = 64, layers: int = 0, rate: float = 0.25, n_params: int = 2) -> McDropoutHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return McDropoutHead(
            d_in=d_in, n_params=n_params, bias=torch.linspace(-1, 1, n_params), layers=layers, rate=rate, prior_scale=0.8, bias_scale=3.0, train_draws=1
        ).eval()


def masks(head: McDropoutHead, n_draws: int) -> torch.Tensor:
    """Masks (S, d_in) of a linear head, read off from basis vectors."""
    with torch.no_grad():
        head.out.weight.fill_(1.0)
        head.out.bias.zero_()
        return head(torch.eye(head.out.in_features), n_draws=n_draws, seed=3).value[..., 0]


def test_masks_keep_the_declared_share_and_the_mean() -> None:
    mask = masks(dropout(), 500)
    kept = mask > 0
    assert torch.allclose(mask[kept], torch.tensor(1 / 0.75))
    assert abs(float(kept.float().mean()) - 0.75) < 4 * math.sqrt(0.75 * 0.25 / mask.numel())
    assert (kept.float().mean(0) - 0.75).abs().max() < 5 * math.sqrt(0.75 * 0.25 / 500)


def test_a_draw_is_one_mask_for_every_layers_inputs() -> None:
    head, z = dropout(layers=1), torch.randn(9, 64, generator=generator(0))
    value = head(z, n_draws=4, seed=7).value
    noise = head._noise(7, 4, 128, z)
    for s in range(4):
        first, second = (noise[s] > torch.special.ndtri(torch.tensor(0.25))).float().div(0.75).split(64)
        h = F.gelu(F.linear(z * first, head.hidden[0].weight, head.hidden[0].bias))
        assert torch.allclose(value[s], F.linear(h * second, head.out.weight, head.out.bias), atol=1e-5)


def test_in_training_rows_have_masks_of_their_own() -> None:
    head, z = dropout(), torch.randn(1, 64, generator=generator(0)).expand(20, 64)
    assert torch.unique(head(z, n_draws=1, seed=0).value[0, :, 0].detach()).numel() == 1
    assert torch.unique(head.train()(z, n_draws=1, seed=0).value[0, :, 0].detach()).numel() == 20


def test_the_penalty_is_the_mean_over_masks_of_the_masked_weights_prior() -> None:
    head = dropout(d_in=5, layers=1, rate=0.3)
    weights = [(head.hidden[0].weight, head.hidden[0].bias, torch.zeros(5)), (head.out.weight, head.out.bias, head.start)]
    expected = torch.zeros(4000)
    for i, (w, b, start) in enumerate(weights):
        mask = (torch.rand(4000, 1, 5, generator=generator(i)) > 0.3).float() / 0.7
        expected += ((w * mask) ** 2).sum((1, 2)).detach() * 5 / (2 * 0.8**2) + float(((b - start) ** 2).sum().detach()) / 18
    assert abs(float(expected.mean()) - float(head.penalty().detach())) < 4 * float(expected.std()) / math.sqrt(4000)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_without_masks_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match=r"head\.rate.*between 0 and 1"):
        dropout(rate=rate)
