from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import f_oneway, pearsonr

from equipoise.cohort.draft import GenotypeStore, TargetTable
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.errors import UserError
from equipoise.modality.association import association, martingale_residual, outcome_scores
from equipoise.modality.calls import SWAPPED, allele_counts, pack, unpack
from equipoise.modality.genotype import Genotype
from equipoise.modality.variants import match_variants
from equipoise.testing.cohorts import tiny_draft

RNG = np.random.default_rng(11)


def _frozen(draft, folder: Path) -> Cohort:
    return freeze(draft, folder, folder.name, {})


def _view(**changed: Any) -> Genotype:
    asked = {"min_maf": 0.0, "screen": None, "landmarks": 0, "genes": None, "scores": None, "components": 0, "min_found": 0.5}
    return Genotype(evidence="genotype", **(asked | changed))


def _fitted(cohort: Cohort, target: str = "outcome", **asked: Any) -> Genotype:
    view = _view(**asked)
    view.fit(cohort, cohort.rows_in("train"), cohort.target(target))
    return view


def _calls(view: Genotype, cohort: Cohort) -> np.ndarray:
    part = view.open(cohort)(np.arange(cohort.size))
    return unpack(part.packed.numpy(), part.n_variants)


def _changed(draft, call: np.ndarray, variants: pl.DataFrame, folder: Path) -> Cohort:
    draft.stores["genotype"] = GenotypeStore(pack(call), draft.stores["genotype"].index, variants)
    return _frozen(draft, folder)


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(0, 5), st.integers(1, 13)), elements=st.integers(0, 3)))
def test_packing_calls_and_unpacking_them_gives_them_back(call: np.ndarray) -> None:
    packed = pack(call)
    assert packed.shape == (call.shape[0], -(-call.shape[1] // 4))
    np.testing.assert_array_equal(unpack(packed, call.shape[1]), call)


def test_allele_moments_leave_missing_calls_out() -> None:
    call = RNG.integers(0, 4, (50, 9)).astype(np.uint8)
    copies = np.array([2, np.nan, 1, 0])[call]
    counts = allele_counts(pack(call), np.arange(50), 9)
    np.testing.assert_allclose(counts.mean, np.nanmean(copies, 0))
    np.testing.assert_allclose(counts.sd, np.nanstd(copies, 0))
    np.testing.assert_allclose(counts.maf, np.minimum(np.nanmean(copies, 0) / 2, 1 - np.nanmean(copies, 0) / 2))


def test_association_is_the_squared_correlation_or_the_correlation_ratio() -> None:
    call = RNG.choice(np.array([0, 2, 3], np.uint8), (80, 12))
    copies = np.array([2, np.nan, 1, 0])[call]
    packed, line = pack(call), np.arange(80)
    counts = allele_counts(packed, line, 12)
    y = copies[:, 3] + RNG.normal(size=80)
    found = association(packed, line, counts, y[:, None])
    np.testing.assert_allclose(found, [pearsonr(copies[:, v], y)[0] ** 2 for v in range(12)], rtol=1e-4, atol=1e-7)
    group = RNG.integers(0, 4, 80)
    found = association(packed, line, counts, (group[:, None] == np.arange(4)).astype(float))
    f = np.array([f_oneway(*[copies[group == g, v] for g in range(4)]).statistic for v in range(12)])
    np.testing.assert_allclose(found / (1 - found) * (80 - 4) / 3, f, rtol=1e-3)


def test_martingale_residuals_sum_to_zero_and_equal_the_counting_process_form() -> None:
    time, event = RNG.integers(1, 15, 60).astype(float), RNG.random(60) < 0.6
    expected = [event[i] - sum(event[j] / np.sum(time >= time[j]) for j in range(60) if time[j] <= time[i]) for i in range(60)]
    np.testing.assert_allclose(martingale_residual(time, event), expected)
    assert abs(sum(expected)) < 1e-9


@pytest.mark.parametrize("target", ["outcome", "severity", "weight", "survival", "response"])
def test_outcome_scores_exist_for_every_kind_of_target_and_skip_missing_outcomes(target: str) -> None:
    draft = tiny_draft(n=60, seed=2)
    score, place = outcome_scores(draft.targets[target], np.arange(10, 50))
    observed = draft.targets[target].table["observed"].to_numpy()[10:50]
    assert place.tolist() == np.flatnonzero(observed).tolist()
    assert score.shape[0] == place.size
    assert np.isfinite(score).all()


@pytest.mark.parametrize("kind", ["binary", "multiclass", "continuous"])
def test_screening_finds_the_causal_variants_in_the_train_rows(kind: str, tmp_path: Path) -> None:
    draft = tiny_draft(n=400, seed=4, n_variants=203)
    store = draft.stores["genotype"]
    copies = np.array([2.0, np.nan, 1.0, 0.0])[unpack(store.packed, 203)][store.index]
    copies[store.index < 0] = np.nan
    causal = np.array([17, 60, 188])
    signal = np.nan_to_num(copies[:, causal] - np.nanmean(copies[:, causal], 0)) @ np.array([1.0, -1.0, 1.0])
    signal += 0.2 * RNG.normal(size=signal.size)
    outcome = {"continuous": signal, "binary": (signal > 0).astype(float), "multiclass": np.digitize(signal, (-0.6, 0.6)).astype(float)}[kind]
    table = draft.targets["weight"].table.with_columns(outcome=outcome, observed=pl.lit(True))
    draft.targets["weight"] = TargetTable(kind, table, classes=("a", "b", "c") if kind == "multiclass" else ())
    cohort = _frozen(draft, tmp_path / "a")
    view = _fitted(cohort, "weight", screen=8)
    assert view.spec.n_variants == 8
    kept = [int(v[2:]) for v in view.state()["variants"]["variant_id"].split("\n")]
    assert set(causal.tolist()) <= set(kept)
    assert kept == sorted(kept)
    np.testing.assert_array_equal(_calls(view, cohort), _calls(_fitted(cohort), cohort)[:, kept])


def test_rare_variants_are_left_out_and_none_left_is_refused(tmp_path: Path) -> None:
    cohort = _frozen(tiny_draft(n=80, seed=4), tmp_path / "a")
    everything, common = _fitted(cohort), _fitted(cohort, min_maf=0.2)
    maf = np.minimum(everything.spec.mean / 2, 1 - everything.spec.mean / 2)
    assert common.spec.n_variants == int((maf >= 0.2).sum()) < everything.spec.n_variants
    assert everything.spec.sd[0] == 0
    with pytest.raises(UserError, match="minor allele frequency"):
        _fitted(cohort, min_maf=0.51)


def test_screening_without_an_outcome_is_refused(tmp_path: Path) -> None:
    cohort = _frozen(tiny_draft(n=60, seed=4), tmp_path / "a")
    with pytest.raises(UserError, match="there is no outcome"):
        _view(screen=3).fit(cohort, cohort.rows_in("train"), None)


def test_the_view_keeps_the_calls_of_train_people_and_of_no_others(tmp_path: Path) -> None:
    draft = tiny_draft(n=120, seed=4)
    cohort = _frozen(draft, tmp_path / "a")
    view = _fitted(cohort, min_maf=0.1, landmarks=10_000)
    part = view.open(cohort)(cohort.rows_in("train"))
    there = draft.stores["genotype"].index[cohort.rows_in("train")[part.rows.numpy()]] >= 0
    expected = np.unique(unpack(part.packed.numpy()[there], part.n_variants), axis=0)
    kept = view.spec.landmarks
    np.testing.assert_array_equal(np.unique(unpack(kept, view.spec.n_variants), axis=0), expected)
    few, again = (_fitted(cohort, min_maf=0.1, landmarks=7).spec.landmarks for _ in range(2))
    assert few.shape == (7, kept.shape[1])
    np.testing.assert_array_equal(few, again)
    assert {bytes(x) for x in few} <= {bytes(x) for x in kept}
    other = _view(min_maf=0.1, landmarks=10_000)
    other.load_state(view.state())
    np.testing.assert_array_equal(other.spec.landmarks, kept)
    assert _fitted(cohort).spec.landmarks is None


def test_a_new_cohort_with_swapped_shuffled_and_missing_variants_reads_the_same_calls(tmp_path: Path) -> None:
    draft = tiny_draft(n=60, seed=8)
    cohort = _frozen(draft, tmp_path / "a")
    view = _fitted(cohort)
    before = _calls(view, cohort)
    store = draft.stores["genotype"]
    call = unpack(store.packed, 37)
    swap = np.arange(37) % 3 == 0
    call = np.where(swap, SWAPPED[call], call)
    variants = store.variants.with_columns(
        counted_allele=pl.when(pl.Series(swap)).then("other_allele").otherwise("counted_allele"),
        other_allele=pl.when(pl.Series(swap)).then("counted_allele").otherwise("other_allele"),
        chromosome="chr" + pl.col("chromosome"),
    )
    order = RNG.permutation(37)[:30]
    new = _changed(draft, call[:, order], variants[order], tmp_path / "b")
    reader = view.open(new)
    kept = np.isin(np.arange(37), order)
    assert reader.notes["missing_variants"] == 7
    assert reader.notes["flipped_variants"] == int((swap & kept).sum())
    after = _calls(view, new)
    np.testing.assert_array_equal(after[:, kept], before[:, kept])
    assert (after[:, ~kept] == 1).all()


VARIANTS = pl.DataFrame(
    {
        "chromosome": ["1", "1", "2", "X", "1"],
        "variant_id": ["rs1", "rs2", "rs3", "rs4", "rs5"],
        "position": [100, 200, 100, 300, 400],
        "counted_allele": ["A", "C", "AT", "A", "A"],
        "other_allele": ["G", "T", "A", "C", "T"],
    }
)


def test_variants_on_the_opposite_strand_match_and_are_told() -> None:
    there = VARIANTS.with_columns(counted_allele=pl.Series(["T", "A", "AT", "T", "A"]), other_allele=pl.Series(["C", "G", "A", "G", "T"]))
    match = match_variants(VARIANTS, there)
    assert match.place.tolist() == [0, 1, 2, 3, 4]
    assert match.opposite.tolist() == [True, True, False, True, False]
    assert match.swapped.tolist() == [False, True, False, False, False]


def test_variants_of_another_build_match_by_name_and_other_alleles_never_match() -> None:
    moved = VARIANTS.with_columns(position=pl.col("position") + 5000)
    assert match_variants(VARIANTS, moved).place.tolist() == [0, 1, 2, 3, 4]
    other = moved.with_columns(counted_allele=pl.Series(["C", "C", "AT", "A", "G"]))
    assert match_variants(VARIANTS, other).place.tolist() == [-1, 1, 2, 3, -1]
    renamed = VARIANTS.with_columns(variant_id=pl.lit("."))
    assert match_variants(VARIANTS, renamed).place.tolist() == [0, 1, 2, 3, 4]


def test_an_allele_that_nobody_in_the_file_has_does_not_prevent_a_match() -> None:
    there = VARIANTS.with_columns(counted_allele=pl.Series(["0", "C", "AT", "C", "."]))
    there = there.with_columns(other_allele=pl.Series(["G", "T", "A", "0", "G"]))
    match = match_variants(VARIANTS, there)
    assert match.place.tolist() == [0, 1, 2, 3, -1]
    assert match.swapped.tolist() == [False, False, False, True, False]


def test_of_two_variants_at_one_place_the_one_with_the_same_alleles_is_taken() -> None:
    twice = pl.concat([VARIANTS.with_columns(counted_allele=pl.lit("G"), other_allele=pl.lit("C")), VARIANTS])
    assert match_variants(VARIANTS, twice).place.tolist() == [5, 6, 7, 8, 9]
