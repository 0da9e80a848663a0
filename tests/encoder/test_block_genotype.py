"""The block encoder against a loop over its blocks, and against a truth in which neighbours interact."""

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import GenotypesSpec
from equipoise.encoder.block_genotype import BlockGenotype
from equipoise.encoder.linear_genotype import LinearGenotype
from equipoise.encoder.variant_blocks import variant_blocks
from genotypes_for_tests import drawn_copies, moments, part_of, standardised


def _variants(n_variants: int, *, known: bool = True) -> pl.DataFrame:
    """Two chromosomes, interleaved, a variant every 10 kilobases."""
    number = np.arange(n_variants)
    return pl.DataFrame({"chromosome": (1 + number % 2).astype(str).tolist(), "position": (number * 10_000 + 1 if known else number * 0).tolist()})


def _spec(copies: np.ndarray) -> GenotypesSpec:
    return GenotypesSpec(copies.shape[1], *moments(copies), variants=_variants(copies.shape[1]))


def _encoder(spec: GenotypesSpec, d_model: int = 4, **changed: float) -> BlockGenotype:
    torch.manual_seed(0)
    values = {"block_kilobases": 100.0, "block_variants": 64, "d_block": 3, "prior_scale": 1.0, "lr_scale": 1.0} | changed
    return BlockGenotype(spec=spec, d_model=d_model, **values)


def test_blocks_hold_every_variant_once_and_keep_to_chromosome_length_and_number() -> None:
    variants = _variants(101).sample(fraction=1, shuffle=True, seed=3)
    blocks = variant_blocks(variants, kilobases=100, most=4)
    inside = [b[b < 101] for b in blocks]
    assert sorted(np.concatenate(inside).tolist()) == list(range(101))
    assert max(len(b) for b in inside) == 4
    for block in inside:
        own = variants[block.tolist()]
        assert own["chromosome"].n_unique() == 1
        assert own["position"].is_sorted()
        assert own["position"].max() - own["position"].min() < 100_000
    longer = variant_blocks(variants, kilobases=100, most=64)
    assert {int((b < 101).sum()) for b in longer} == {5, 1}  # 20 kilobases apart on a chromosome; the last block of the first is what is left


def test_without_places_variants_are_divided_by_number_in_their_order() -> None:
    blocks = variant_blocks(_variants(10, known=False), kilobases=1, most=3)
    assert blocks.tolist() == [[0, 2, 4], [6, 8, 10], [1, 3, 5], [7, 9, 10]]
    mixed = pl.DataFrame({"chromosome": ["1"] * 4, "position": [0, 300, None, 200]})
    assert variant_blocks(mixed, kilobases=1, most=3).tolist() == [[0, 2], [3, 1]]


def test_tokens_equal_a_loop_over_blocks_of_dense_standardised_calls() -> None:
    copies = drawn_copies(30, 33, seed=1)
    spec = _spec(copies)
    encoder = _encoder(spec)
    x, u = standardised(copies, spec), encoder.u.detach().double().numpy()
    f = []
    for block in variant_blocks(spec.variants, kilobases=100, most=64):
        own = block[block < 33]
        f.append(x[:, own] @ u[own] / np.sqrt(own.size))
    f = np.stack(f, 1)
    np.testing.assert_allclose(encoder.features(part_of(copies).packed).detach().numpy(), f, atol=1e-5)
    inputs = np.concatenate([f, f / (1 + np.exp(-f))], 2).reshape(30, -1)
    expected = inputs @ encoder.readout.weight.detach().double().numpy().T
    np.testing.assert_allclose(encoder(part_of(copies)).h.detach().numpy(), expected, atol=1e-5)


def test_features_have_the_prior_standard_deviation_whatever_the_block_s_length() -> None:
    copies = drawn_copies(400, 41, seed=1, missing=0.0)
    copies[:, -1] = copies[:, 0]
    encoder = _encoder(_spec(copies), d_block=400)
    sd = encoder.features(part_of(copies).packed).square().mean((0, 2)).sqrt()
    np.testing.assert_allclose(sd.detach().numpy(), 1.0, rtol=0.1)


def _held_out_r(encoder: torch.nn.Module, lr: float, copies: np.ndarray, y: np.ndarray, n: int) -> float:
    part, target = part_of(copies[:n]), torch.from_numpy(y[:n]).float()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=lr)
    for _ in range(300):
        loss = (encoder(part).h[:, 0] - target).square().sum() / (2 * 0.3) + encoder.penalty()
        optimizer.zero_grad()
        (loss / n).backward()
        optimizer.step()
    return float(np.corrcoef(encoder(part_of(copies[n:])).h[:, 0].detach().numpy(), y[n:])[0, 1])


def test_neighbours_that_interact_are_learnt_where_an_additive_model_sees_nothing() -> None:
    rng = np.random.default_rng(3)
    copies = drawn_copies(1600, 40, seed=3, missing=0.0)
    spec = _spec(copies[:800])
    x = standardised(copies, spec)
    signal = x[:, 4] * x[:, 6] - x[:, 13] * x[:, 15]  # neighbours on the first and on the second chromosome
    y = signal / signal.std() * np.sqrt(0.7) + np.sqrt(0.3) * rng.normal(size=1600)
    block = _held_out_r(_encoder(spec, d_model=1, d_block=4), 0.02, copies, y, 800)
    torch.manual_seed(0)
    additive = _held_out_r(LinearGenotype(spec=spec, d_model=1, n_scores=1, prior_scale=0.5, lr_scale=1.0), 0.02, copies, y, 800)
    assert block > 0.5
    assert additive < 0.2


@pytest.mark.parametrize("change", [{"block_kilobases": 0.0}, {"block_variants": 0}, {"d_block": 0}])
def test_sizes_that_are_not_above_zero_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(change))):
        _encoder(_spec(drawn_copies(9, 33, seed=1)), **change)


def test_a_spec_that_does_not_know_its_variants_is_refused() -> None:
    with pytest.raises(UserError, match="where variants are"):
        _encoder(GenotypesSpec(33, *moments(drawn_copies(9, 33, seed=1))))
