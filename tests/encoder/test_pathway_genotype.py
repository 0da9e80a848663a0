"""The pathway encoder against dense masked layers, and against a truth in which one gene acts by its burden."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import GenotypesSpec
from equipoise.encoder.pathway_genotype import PathwayGenotype
from genotypes_for_tests import drawn_copies, moments, part_of, standardised

# Variant 2 lies in two genes; gene "a" in two pathways; "d" in none; variants behind 9 in no gene.
LINES = [(0, "a", "p"), (1, "a", "p"), (2, "a", "p"), (0, "a", "q"), (1, "a", "q"), (2, "a", "q"), (2, "b", "q"), (5, "b", "q"), (9, "c", "p"), (8, "d", None)]
GENES = pl.DataFrame(LINES, schema={"variant": pl.Int64, "gene": pl.String, "pathway": pl.String}, orient="row")
COPIES = drawn_copies(30, 23, seed=2)
SPEC = GenotypesSpec(23, *moments(COPIES), genes=GENES)


def _encoder(spec: GenotypesSpec = SPEC, **changed: Any) -> PathwayGenotype:
    torch.manual_seed(0)
    return PathwayGenotype(spec=spec, **({"d_model": 4, "level": "gene", "one_token": False, "prior_scale": 1.0, "lr_scale": 1.0} | changed))


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def _dense(encoder: PathwayGenotype, level: str) -> np.ndarray:
    """Scores (P, T, 2) by dense weights times the mask that the annotation is."""
    values = {k: v.detach().double().numpy() for k, v in encoder.named_parameters()}
    pairs = sorted({(g, v) for v, g, p in LINES if level == "gene" or p})
    genes = sorted({g for g, _ in pairs})
    weight = np.zeros((23, len(genes)))
    for u, (g, v) in zip(values["u"], pairs, strict=True):
        weight[v, genes.index(g)] = u
    score = standardised(COPIES, SPEC) @ weight / np.sqrt((weight != 0).sum(0))
    if level == "pathway":
        links = sorted({(p, g) for _, g, p in LINES if p})
        mask = np.zeros((2 * len(genes), 2))
        for w, (p, g) in zip(values["w"], links, strict=True):
            mask[[genes.index(g), len(genes) + genes.index(g)], "pq".index(p)] = w
        score = np.concatenate([score, _silu(score)], 1) @ mask / np.sqrt((mask != 0).sum(0))
    return np.stack([score, _silu(score)], 2)


@pytest.mark.parametrize("level", ["gene", "pathway"])
def test_tokens_equal_those_of_dense_masked_layers(level: str) -> None:
    encoder = _encoder(level=level)
    score = _dense(encoder, level)
    assert encoder.names == (["a", "b", "c", "d"] if level == "gene" else ["p", "q"])
    tokens = encoder(part_of(COPIES))
    assert tokens.offsets.diff().tolist() == [len(encoder.names)] * 30
    readout, place = encoder.readout.detach().double().numpy(), encoder.place.detach().double().numpy()
    expected = np.einsum("ptc,tcd->ptd", score, readout) + place
    np.testing.assert_allclose(tokens.h.detach().numpy().reshape(30, -1, 4), expected, atol=1e-5)
    one = _encoder(level=level, one_token=True)
    expected = np.einsum("ptc,tcd->pd", _dense(one, level), one.readout.detach().double().numpy()) / np.sqrt(len(one.names))
    np.testing.assert_allclose(one(part_of(COPIES)).h.detach().numpy(), expected, atol=1e-5)


def test_a_variant_in_no_gene_and_of_pathways_a_gene_in_none_change_nothing() -> None:
    other = COPIES.copy()
    other[:, 11:20] = 2 - other[:, 11:20]
    torch.testing.assert_close(_encoder()(part_of(other)).h, _encoder()(part_of(COPIES)).h, rtol=0, atol=0)
    other[:, 8] = 2 - other[:, 8]
    assert not torch.equal(_encoder()(part_of(other)).h, _encoder()(part_of(COPIES)).h)
    torch.testing.assert_close(_encoder(level="pathway")(part_of(other)).h, _encoder(level="pathway")(part_of(COPIES)).h, rtol=0, atol=0)


def test_entries_have_the_prior_standard_deviation_whatever_the_number_of_inputs() -> None:
    copies = drawn_copies(500, 23, seed=3, missing=0.0)
    encoder = _encoder(GenotypesSpec(23, *moments(copies), genes=GENES))
    square = torch.zeros(4)
    for seed in range(300):
        torch.nn.init.normal_(encoder.u, generator=torch.Generator().manual_seed(seed))
        square += encoder.genes(part_of(copies).packed).square().mean(1).detach() / 300
    np.testing.assert_allclose(square.sqrt(), 1.0, rtol=0.15)


def test_a_gene_that_acts_beyond_a_threshold_is_learnt_from_its_annotation() -> None:
    rng = np.random.default_rng(4)
    copies = drawn_copies(1000, 300, seed=4, missing=0.0)
    genes = pl.DataFrame({"variant": np.arange(300), "gene": [f"gene{v // 10:02d}" for v in range(300)], "pathway": [None] * 300})
    spec = GenotypesSpec(300, *moments(copies[:500]), genes=genes.cast({"pathway": pl.String}))
    burden = standardised(copies, spec)[:, 70:80].sum(1) / np.sqrt(10)
    y = np.maximum(burden, 0.0) / 0.58 * np.sqrt(0.6) + np.sqrt(0.4) * rng.normal(size=1000)
    encoder, target = _encoder(spec, d_model=1, one_token=True, prior_scale=0.5), torch.from_numpy(y[:500] - y[:500].mean()).float()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.02)
    for _ in range(250):
        loss = (encoder(part_of(copies[:500])).h[:, 0] - target).square().sum() / (2 * 0.4) + encoder.penalty()
        optimizer.zero_grad()
        (loss / 500).backward()
        optimizer.step()
    assert np.corrcoef(encoder(part_of(copies[500:])).h[:, 0].detach().numpy(), y[500:])[0, 1] > 0.55  # an additive model reaches .31, the truth .73
    strength = encoder.readout.detach().square().sum((1, 2)).sqrt()
    assert encoder.names[int(strength.argmax())] == "gene07"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"level": "exon"}, "gene or pathway"),
        ({"spec": replace(SPEC, genes=None)}, r"modality\.genotype\.genes=FILE"),
        ({"spec": replace(SPEC, genes=GENES.filter(pl.col("gene") == "d")), "level": "pathway"}, "no pathways"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        _encoder(**changed)
