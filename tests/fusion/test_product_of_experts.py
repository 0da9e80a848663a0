"""The product of experts is the normalised product of the densities."""

import torch
from torch.distributions import Normal

from equipoise.contract.tensors import Tokens
from equipoise.fusion.product_of_experts import ProductOfExperts
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_tokens

VIEWS = {"a": 0, "b": 1, "c": 1}
SIZE, WIDTH = 6, 8
PRESENT = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0], [1, 1]], dtype=torch.bool)


def _made() -> tuple[ProductOfExperts, dict[str, Tokens]]:
    with seeded(1):
        fusion = ProductOfExperts(views=VIEWS, n_evidences=2, d_model=WIDTH, prior_scale=1.0).double()
        torch.nn.init.normal_(fusion.empty)
    tokens = {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}
    return fusion, {view: Tokens(t.h.double(), t.offsets) for view, t in tokens.items()}


def test_the_density_is_the_product_of_the_experts_densities() -> None:
    """log of the product minus log of the Gaussian given is one constant over z: torch.distributions decides."""
    fusion, tokens = _made()
    mean, precision = fusion.product(tokens, PRESENT)
    torch.testing.assert_close(fusion(tokens, PRESENT), mean, rtol=0, atol=0)
    at = torch.linspace(-5, 5, 41, dtype=torch.float64)[:, None, None]
    product = Normal(fusion.empty, torch.ones(WIDTH, dtype=torch.float64)).log_prob(at).expand(41, SIZE, WIDTH)
    for column, own_mean, own_precision in zip(VIEWS.values(), *fusion.experts(tokens, PRESENT), strict=True):
        there = PRESENT[:, column]
        own = Normal(own_mean, torch.where(there[:, None], own_precision, 1.0).rsqrt()).log_prob(at)
        product = product + torch.where(there[:, None], own, 0.0)
    difference = product - Normal(mean, precision.rsqrt()).log_prob(at)
    torch.testing.assert_close(difference, difference[:1].expand_as(difference), rtol=0, atol=1e-11)


def test_the_precision_is_the_sum_and_the_mean_is_weighted_by_it() -> None:
    fusion, tokens = _made()
    mean, precision = fusion.product(tokens, PRESENT)
    means, precisions = fusion.experts(tokens, PRESENT)
    torch.testing.assert_close(precision, 1 + sum(precisions), rtol=1e-14, atol=0)
    torch.testing.assert_close(mean * precision, fusion.empty + sum(t * m for t, m in zip(precisions, means, strict=True)), rtol=1e-12, atol=1e-12)
    assert all((own[PRESENT[:, column]] > 0).all() for own, column in zip(precisions, VIEWS.values(), strict=True))


def test_a_row_with_nothing_is_the_prior_and_fewer_views_leave_less_precision() -> None:
    fusion, tokens = _made()
    mean, precision = fusion.product(tokens, torch.zeros_like(PRESENT))
    assert torch.equal(mean, fusion.empty.expand_as(mean))
    assert (precision == 1).all()
    _, fewer = fusion.product(tokens, PRESENT & torch.tensor([True, False]))
    _, more = fusion.product(tokens, PRESENT)
    assert (more >= fewer).all()
    assert (more > fewer)[PRESENT[:, 1]].all()
