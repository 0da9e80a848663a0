"""The ensemble that shares matrices, against its members written out one by one and against a plain perceptron."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian
from equipoise.contract.tensors import Vector
from equipoise.encoder.mlp import Mlp
from equipoise.encoder.tabm import TabM
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_part

COMMON = {"d_model": 4, "hidden": [7, 6], "d_category": 3, "dropout": 0.0, "prior_scale": 2.0, "lr_scale": 1.0}


def _made(*, k: int = 3, output: str = "members", moved: bool = True) -> tuple[TabM, Vector]:
    part, spec = random_part(Vector, size=6, seed=4, absent=(2,))
    with seeded(1):
        encoder = TabM(spec=spec, n_members=k, output=output, scaling_scale=0.5, **COMMON).eval()
        if moved:
            for layer in encoder.layers:
                for scaling in (layer.scale_in, layer.scale_out, layer.bias):
                    torch.nn.init.normal_(scaling, mean=1.0, std=0.3)
    return encoder, part


def _inputs(encoder: TabM, part: Vector) -> Tensor:
    return torch.cat([part.value * part.observed, part.observed.float(), encoder.categories(part.category)], 1)


def test_each_members_token_is_that_of_a_perceptron_with_its_own_rank_one_matrix() -> None:
    encoder, part = _made()
    expected = []
    for i in range(3):
        h = _inputs(encoder, part)
        for at, layer in enumerate(encoder.layers):
            own = layer.weight * torch.outer(layer.scale_out[i], layer.sign[i] * layer.scale_in[i])
            h = F.linear(F.silu(h) if at else h, own, layer.bias[i])
        expected.append(h)
    tokens = encoder(part)
    torch.testing.assert_close(tokens.h, torch.stack(expected, 1).flatten(0, 1), rtol=1e-5, atol=1e-5)
    assert tokens.offsets.tolist() == [0, 3, 6, 6, 9, 12, 15]


def test_the_mean_is_that_of_the_members() -> None:
    (members, part), (mean, _) = _made(), _made(output="mean")
    torch.testing.assert_close(mean(part).h, members(part).h.reshape(5, 3, 4).mean(1))


def test_one_member_whose_signs_are_folded_into_the_matrix_is_the_perceptron_of_mlp() -> None:
    encoder, part = _made(k=1, moved=False)
    plain = Mlp(spec=random_part(Vector, size=6, seed=4)[1], **COMMON).eval()
    with torch.no_grad():
        plain.categories.table.weight.copy_(encoder.categories.table.weight)
        for layer, linear in zip(encoder.layers, plain.perceptron[::3], strict=True):
            linear.weight.copy_(layer.weight * layer.sign)
            linear.bias.copy_(layer.bias[0])
    torch.testing.assert_close(encoder(part).h, plain(part).h, rtol=1e-5, atol=1e-6)


def test_members_differ_at_the_start_by_the_signs_alone() -> None:
    encoder, part = _made(k=8, moved=False)
    first = encoder.layers[0]
    assert set(first.sign.unique().tolist()) == {-1.0, 1.0}
    assert torch.unique(first.sign, dim=0).shape[0] == 8
    assert all((layer.sign == 1).all() for layer in encoder.layers[1:])
    h = encoder(part).h.reshape(5, 8, 4)
    assert (h.std(1) > 1e-3).all()
    first.sign.fill_(1.0)
    assert (encoder(part).h.reshape(5, 8, 4).std(1) < 1e-6).all()


def test_the_prior_of_a_scaling_stands_around_its_start() -> None:
    encoder, _ = _made(moved=False)
    at_start = encoder.penalty().item()
    with torch.no_grad():
        encoder.layers[1].scale_in[2, 4] += 0.7
    assert encoder.penalty().item() - at_start == pytest.approx(0.7**2 / (2 * 0.5**2), rel=1e-3)
    expected = sum(gaussian(layer.weight, 2.0, layer.weight.shape[1]) + gaussian(layer.bias, 2.0, 1) for layer in encoder.layers)
    assert at_start == pytest.approx((expected + gaussian(encoder.categories.table.weight, 2.0, 3)).item(), rel=1e-5)


def test_a_further_member_adds_scalings_and_biases_and_no_matrix() -> None:
    count = {k: sum(p.numel() for p in _made(k=k)[0].parameters()) for k in (1, 16)}
    assert count[16] - count[1] == 15 * sum(a + 2 * b for a, b in ((16, 7), (7, 6), (6, 4)))


@pytest.mark.parametrize(("wrong", "named"), [({"n_members": 0}, "n_members is 0"), ({"output": "all"}, "Output 'all'")])
def test_a_shape_that_does_not_fit_is_refused(wrong: dict[str, object], named: str) -> None:
    _, spec = random_part(Vector, size=2, seed=1)
    with pytest.raises(UserError, match=named):
        TabM(**{"spec": spec, "n_members": 2, "output": "mean", "scaling_scale": 1.0, **COMMON, **wrong})
