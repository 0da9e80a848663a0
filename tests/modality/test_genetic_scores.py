"""Published weights and components against dense arithmetic, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import PCA

from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.errors import UserError
from equipoise.modality.calls import pack, unpack
from equipoise.modality.genetic_scores import ancestry_components, published_scores
from equipoise.modality.genotype import Genotype
from equipoise.testing.cohorts import tiny_draft

VARIANTS = pl.DataFrame(
    {"variant_id": ["rs1", "rs2", "rs3", "rs4", "rs5"], "counted_allele": ["A", "C", "AT", "A", "A"], "other_allele": ["G", "T", "A", "C", "T"]}
)


def _file(folder: Path, *lines: str, header: str = "variant_id,effect_allele,weight") -> Path:
    path = folder / "weights.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_weight_follows_its_allele_and_its_strand(tmp_path: Path) -> None:
    # As written; the other allele; an insertion; the opposite strand of the counted C is G, of A and C (rs4) it is T and G; A/T as written.
    path = _file(tmp_path, "rs1,a,0.5", "rs2,T,0.25", "rs3,AT,1", "rs4,G,2", "rs5,T,4")
    names, weights = published_scores(path, VARIANTS, 1.0)
    assert names == ["score"]
    assert weights.tolist() == [[0.5, -0.25, 1.0, -2.0, -4.0]]
    assert published_scores(_file(tmp_path, "rs2,G,0.25"), VARIANTS, 1.0)[1].tolist() == [[0.0, 0.25, 0.0, 0.0, 0.0]]


def test_a_file_may_hold_several_scores(tmp_path: Path) -> None:
    path = _file(tmp_path, "rs1,A,1,height", "rs2,C,2,bmi", "rs1,A,3,bmi", header="variant_id,effect_allele,weight,score")
    names, weights = published_scores(path, VARIANTS, 1.0)
    assert names == ["bmi", "height"]
    assert weights.tolist() == [[3.0, 2.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["rs1,A,1", "rs3,C,1", "rs8,A,1", "rs9,A,1"], "1 of 4; 2 variants are not in the view, 1 have other alleles"),
        (["rs1,A,1", "rs1,G,1"], "two weights in one score"),
        (["rs1,A,", "rs2,C,1"], "1 lines without one"),
        (["rs1,A,much"], "no numbers"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_with_counts(lines: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        published_scores(_file(tmp_path, *lines), VARIANTS, 0.5)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*nowhere\.csv"):
        published_scores(tmp_path / "nowhere.csv", VARIANTS, 0.5)


def test_components_of_two_populations_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    frequency = np.clip(0.5 + rng.normal(0, 0.15, (2, 150)), 0.05, 0.95)
    copies = rng.binomial(2, frequency[np.repeat([0, 1], 40)])
    packed, kept = pack(np.array([3, 2, 0], np.uint8)[copies]), np.arange(10, 150)
    variants = pl.DataFrame({"variant_id": [f"rs{v}" for v in kept], "chromosome": "1", "position": kept, "counted_allele": "A", "other_allele": "G"})
    loading = ancestry_components(packed, np.arange(80), kept, variants, 2)
    ours = (copies[:, kept] - copies[:, kept].mean(0)) @ loading.T
    theirs = PCA(2).fit_transform(copies[:, kept].astype(float))
    assert abs(np.corrcoef(ours[:, 0], theirs[:, 0])[0, 1]) > 0.99999
    assert abs(np.corrcoef(ours[:, 1], theirs[:, 1])[0, 1]) > 0.99999
    np.testing.assert_allclose(ours.std(0), 1.0, rtol=1e-6)


ASKED: dict[str, Any] = {"evidence": "genotype", "min_maf": 0.05, "screen": None, "landmarks": 0, "genes": None} | {
    "scores": None,
    "components": 0,
    "min_found": 0.5,
}


def _view(cohort: Cohort, **asked: Any) -> Genotype:
    view = Genotype(**(ASKED | asked))
    view.fit(cohort, cohort.rows_in("train"))
    return view


def test_scores_of_the_train_rows_have_mean_0_and_standard_deviation_1(tmp_path: Path) -> None:
    draft = tiny_draft(n=120, seed=4)
    store = draft.stores["genotype"]
    assert isinstance(store, GenotypeStore)
    used = store.variants.filter(pl.int_range(pl.len()) % 3 == 1)
    lines = [f"{v},{a},{w}" for v, a, w in zip(used["variant_id"], used["other_allele"], np.linspace(-1, 1, used.height), strict=True)]
    cohort = freeze(draft, tmp_path / "cohort", "cohort", {})
    path = _file(tmp_path, *lines)
    view = _view(cohort, scores=str(path), components=2)
    part = view.open(cohort)(cohort.rows_in("train"))
    spec = view.spec
    copies = np.array([2, np.nan, 1, 0])[unpack(part.packed.numpy(), spec.n_variants)]
    known = ~np.isnan(copies).all(1)
    x = np.nan_to_num((copies[known] - spec.mean) / np.where(spec.sd > 0, spec.sd, 1)) * (spec.sd > 0)
    score = x @ spec.scores.T.astype(float)
    assert score.shape[1] == 3
    np.testing.assert_allclose(score.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(score.std(0), 1.0, rtol=1e-5)
    # The file weighs the other allele, so its sum falls with the counted one's copies.
    place = {v: i for i, v in enumerate(view.state()["variants"]["variant_id"].split("\n"))}
    file = sum(
        float(w) * (2 - np.nan_to_num(copies[known, place[v]], nan=spec.mean[place[v]])) for v, _, w in (line.split(",") for line in lines) if v in place
    )
    np.testing.assert_allclose(np.corrcoef(file, score[:, 0])[0, 1], 1.0, rtol=1e-6)
    path.unlink()
    other = Genotype(**(ASKED | {"scores": str(path), "components": 2}))
    other.load_state(view.state())
    np.testing.assert_array_equal(other.spec.scores, spec.scores)


def test_a_score_that_does_not_vary_is_refused(tmp_path: Path) -> None:
    cohort = freeze(tiny_draft(n=60, seed=4), tmp_path / "cohort", "cohort", {})
    with pytest.raises(UserError, match="the same for all train rows"):
        _view(cohort, scores=str(_file(tmp_path, "rs2,A,0")))
