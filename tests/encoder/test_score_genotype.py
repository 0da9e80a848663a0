"""Fixed scores against dense sums."""

import numpy as np
import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import GenotypesSpec
from equipoise.encoder.score_genotype import ScoreGenotype
from genotypes_for_tests import drawn_copies, moments, part_of, standardised

COPIES = drawn_copies(30, 23, seed=2)
WEIGHTS = np.random.default_rng(0).normal(size=(3, 23)).astype(np.float32)
SPEC = GenotypesSpec(23, *moments(COPIES), scores=WEIGHTS)


@pytest.mark.parametrize("one_token", [True, False])
def test_tokens_equal_those_of_dense_scores_with_missing_calls_at_the_mean(one_token: bool) -> None:
    torch.manual_seed(0)
    encoder = ScoreGenotype(spec=SPEC, d_model=4, one_token=one_token, prior_scale=1.0, lr_scale=1.0)
    score, a = standardised(COPIES, SPEC) @ WEIGHTS.T.astype(float), encoder.a.detach().double().numpy()
    tokens = encoder(part_of(COPIES))
    assert tokens.offsets.diff().tolist() == [1 if one_token else 3] * 30
    expected = score @ a if one_token else (score[:, :, None] * a + encoder.place.detach().double().numpy()).reshape(-1, 4)
    np.testing.assert_allclose(tokens.h.detach().numpy(), expected, atol=2e-5)


def test_the_weights_of_the_scores_are_not_learnt() -> None:
    encoder = ScoreGenotype(spec=SPEC, d_model=4, one_token=True, prior_scale=1.0, lr_scale=1.0)
    assert {n: tuple(p.shape) for n, p in encoder.named_parameters()} == {"a": (3, 4)}


def test_a_view_without_scores_is_refused() -> None:
    with pytest.raises(UserError, match=r"modality\.genotype\.components=4"):
        ScoreGenotype(spec=GenotypesSpec(23, *moments(COPIES)), d_model=4, one_token=True, prior_scale=1.0, lr_scale=1.0)
