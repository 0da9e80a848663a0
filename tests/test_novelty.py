"""How far a row lies from the train rows: the distance, the share of rows that lie nearer, and what it sees that a risk's entropy does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from equipoise.cohort.draft import ColumnStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.cohort.split import Split
from equipoise.learner.train import train_member
from equipoise.novelty import Novelty
from equipoise.predict import ABSTAIN_NOVEL, Ensemble
from equipoise.stats.roc import auroc
from equipoise.testing.cohorts import tiny_draft
from small_config import small_config


def fitted(seed: int = 0) -> tuple[Novelty, torch.Tensor]:
    torch.manual_seed(seed)
    mix = torch.randn(4, 4)
    made, z = Novelty(4), torch.randn(900, 4) @ mix + 3
    made.fit(z[:500], z[500:])
    return made, z


def test_the_distance_is_mahalanobis_with_a_shrunken_covariance() -> None:
    made, z = fitted()
    x = z[:500].double().numpy()
    moved = z.double().numpy() - x.mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", moved, np.linalg.inv(ledoit_wolf(x)[0]), moved))
    np.testing.assert_allclose(made.distance(z).numpy(), expected, rtol=1e-4)


def test_the_share_is_that_of_reference_rows_which_lie_nearer() -> None:
    made, z = fitted()
    distance = made.distance(z).numpy()
    nearer = (distance[500:][None] < distance[:, None]).mean(1)
    np.testing.assert_allclose(made(z).numpy(), nearer, atol=5e-3)
    assert float(made(z[:1] + 100)) == 1.0
    assert float(made(z[:500].mean(0, keepdim=True))) == 0.0


def test_too_few_rows_leave_it_unknown_and_a_dead_unit_is_not_infinitely_far() -> None:
    made = Novelty(3)
    made.fit(torch.randn(10, 3), torch.randn(200, 3))
    assert not made.known
    assert torch.isnan(made(torch.randn(5, 3))).all()
    z = torch.randn(300, 3)
    z[:, 2] = 0.5
    made.fit(z, torch.cat([z[:50], z[:50] + torch.tensor([0.0, 0.0, 1e-7])]))
    assert made.known
    assert float(made(z + torch.tensor([0.0, 0.0, 1e-7])).mean()) < 0.7


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, Cohort, Path]:
    """A cohort, the same people with biomarkers ten standard deviations off, and a model that saw the first."""
    usual, other = (tiny_draft(n=400, seed=3) for _ in range(2))
    store = other.stores["biomarker"]
    assert isinstance(store, ColumnStore)
    store.number += 10 * np.nanstd(store.number, axis=0)
    home = tmp_path_factory.mktemp("novel")
    cohort, shifted = freeze(usual, home / "a", "a", {}), freeze(other, home / "b", "b", {})
    config = small_config(views=("biomarker",), head="variational", learner__max_epochs=4)
    return cohort, shifted, train_member(config, cohort, Split.of(cohort), seed=0, folder=home / "m", loggers=[])


def test_a_far_shift_is_seen_where_entropy_does_not_see_it(world: tuple[Cohort, Cohort, Path]) -> None:
    cohort, shifted, path = world
    rows = cohort.rows_in("held_out")
    tables = [Ensemble.of([path]).predict(c, rows, draws=32).table.drop_nulls("risk") for c in (cohort, shifted)]
    foreign = np.concatenate([np.full(t.height, i) for i, t in enumerate(tables)])
    novelty, entropy = (np.concatenate([t[c].to_numpy() for t in tables]) for c in ("novelty", "total"))
    assert float(auroc(novelty, foreign)) > 0.95
    assert float(auroc(entropy, foreign)) < float(auroc(novelty, foreign))
    # The rows it was not fitted to are as near as others of their kind.
    assert 0.3 < tables[0]["novelty"].mean() < 0.7  # type: ignore[operator]


def test_rows_that_are_too_novel_get_no_answer_where_asked(world: tuple[Cohort, Cohort, Path]) -> None:
    _, shifted, path = world
    rows = np.arange(100)
    every = Ensemble.of([path]).predict(shifted, rows, draws=32)
    made = Ensemble.of([path]).predict(shifted, rows, draws=32, abstain_novelty=0.99)
    novel = (every.table["novelty"] >= 0.99).fill_null(value=False)
    assert novel.sum() > 50
    assert (made.table["abstain_reason"] == ABSTAIN_NOVEL).fill_null(value=False).equals(novel)
    assert made.table.filter(novel)["risk"].null_count() == novel.sum()
    assert made.table.filter(~novel)["risk"].equals(every.table.filter(~novel)["risk"])
    assert made.manifest["abstained"] == made.table["abstain_reason"].count()
