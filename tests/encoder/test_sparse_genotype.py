"""The sparse encoder against its prior's density and against a known truth of few causal variants."""

import numpy as np
import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import GenotypesSpec
from equipoise.encoder import Encoder
from equipoise.encoder.linear_genotype import LinearGenotype
from equipoise.encoder.sparse_genotype import SparseGenotype
from genotypes_for_tests import drawn_copies, moments, part_of, standardised


def _spec(copies: np.ndarray) -> GenotypesSpec:
    return GenotypesSpec(copies.shape[1], *moments(copies))


def test_scores_equal_those_of_dense_standardised_calls_with_missing_ones_at_the_mean() -> None:
    copies = drawn_copies(40, 33, seed=1)
    spec = _spec(copies)
    encoder = SparseGenotype(spec=spec, d_model=5, n_scores=3, prior_scale=0.2, lr_scale=1.0)
    h = encoder(part_of(copies)).h.detach().numpy()
    np.testing.assert_allclose(h[:, :3], standardised(copies, spec) @ encoder.u.detach().double().numpy().T * 0.2, atol=1e-5)
    assert (h[:, 3:] == 0).all()


def test_its_penalty_is_the_cauchy_density_up_to_a_constant() -> None:
    encoder = SparseGenotype(spec=_spec(drawn_copies(9, 33, seed=1)), d_model=2, n_scores=2, prior_scale=0.2, lr_scale=1.0)
    effect = 0.2 * encoder.u.detach()
    cauchy = torch.distributions.Cauchy(0.0, 0.2)
    expected = (cauchy.log_prob(torch.zeros_like(effect)) - cauchy.log_prob(effect)).sum()
    torch.testing.assert_close(encoder.penalty().detach(), expected, rtol=1e-4, atol=1e-4)


def _held_out_r(encoder: Encoder, lr: float, copies: np.ndarray, y: np.ndarray, n: int, noise: float) -> float:
    """Full-batch Adam on the first n people; correlation of score and outcome among the others."""
    part, target = part_of(copies[:n]), torch.from_numpy(y[:n] - y[:n].mean()).float()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=lr)
    for _ in range(250):
        loss = (encoder(part).h[:, 0] - target).square().sum() / (2 * noise) + encoder.penalty()
        optimizer.zero_grad()
        (loss / n).backward()
        optimizer.step()
    return float(np.corrcoef(encoder(part_of(copies[n:])).h[:, 0].detach().numpy(), y[n:])[0, 1])


def simulated(seed: int, n: int = 400, n_variants: int = 2000, n_causal: int = 3, heritability: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Copies of 2 n people, outcomes of variance about 1, and the true score."""
    rng = np.random.default_rng(seed)
    copies = drawn_copies(2 * n, n_variants, seed=seed, missing=0.0)
    causal = rng.choice(n_variants - 1, n_causal, replace=False)
    score = standardised(copies, _spec(copies))[:, causal] @ rng.choice([-1.0, 1.0], n_causal) / np.sqrt(n_causal)
    return copies, np.sqrt(heritability) * score + np.sqrt(1 - heritability) * rng.normal(size=2 * n), score


def test_with_three_causal_variants_of_two_thousand_it_beats_the_gaussian_prior() -> None:
    copies, y, score = simulated(seed=0)
    torch.manual_seed(0)
    sparse = SparseGenotype(spec=_spec(copies[:400]), d_model=1, n_scores=1, prior_scale=0.01, lr_scale=1.0)
    dense = LinearGenotype(spec=_spec(copies[:400]), d_model=1, n_scores=1, prior_scale=0.7, lr_scale=1.0)
    ours, theirs = (_held_out_r(e, lr, copies, y, 400, 0.5) for e, lr in ((sparse, 0.3), (dense, 0.03)))
    assert ours > np.corrcoef(score[400:], y[400:])[0, 1] - 0.03
    assert ours > theirs + 0.2
    # The noise is in small effects, the signal in three that are hardly shrunk.
    effect = np.sort(np.abs(0.01 * sparse.u.detach().numpy()[0]))
    assert (effect[-3:] > 0.25).all()
    assert effect[-4] < 0.1


@pytest.mark.parametrize(("n_scores", "prior_scale", "said"), [(0, 1.0, "n_scores"), (9, 1.0, "n_scores"), (1, 0.0, "prior_scale")])
def test_what_does_not_fit_is_refused(n_scores: int, prior_scale: float, said: str) -> None:
    with pytest.raises(UserError, match=said):
        SparseGenotype(spec=_spec(drawn_copies(9, 33, seed=1)), d_model=8, n_scores=n_scores, prior_scale=prior_scale, lr_scale=1.0)
