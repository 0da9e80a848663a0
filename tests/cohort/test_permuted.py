"""Placebos: content changes places among people, within role and stratum; who has the evidence stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.permuted import FEWEST, permutation, permuted
from equipoise.cohort.split import Split
from equipoise.contract.tables import ROLES
from equipoise.modality.clinical import Clinical
from equipoise.modality.ehr import Ehr
from equipoise.modality.ehr_summary import EhrSummary
from equipoise.modality.genotype import Genotype
from equipoise.testing.cohorts import tiny_cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("permuted") / "cohort", n=400)


def source_of(cohort: Cohort, evidence: str, *strata: np.ndarray, counter: int = 0) -> np.ndarray:
    roles = [Split.of(cohort).rows(r) for r in ROLES]
    return permutation(cohort.present_in(evidence), cohort.rows["subject_id"].to_numpy(), roles, strata, counters=(counter,))


def coded(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def test_content_never_leaves_its_role_and_only_those_with_it_pass_it_on(cohort: Cohort) -> None:
    source, present, role = source_of(cohort, "genotype"), cohort.present_in("genotype"), cohort.rows["role"].to_numpy()
    assert (role[source] == role).all()
    assert (source[~present] == np.flatnonzero(~present)).all()
    assert present[source[present]].all()


def test_nobody_keeps_their_own_and_everybodys_is_passed_on(cohort: Cohort) -> None:
    source, present, subject = source_of(cohort, "clinical"), cohort.present_in("clinical"), cohort.rows["subject_id"].to_numpy()
    assert (subject[source[present]] != subject[present]).all()
    assert set(subject[source[present]]) == set(subject[present])


def test_all_rows_of_a_subject_get_the_rows_of_one_other_in_order(cohort: Cohort) -> None:
    source, present, subject = source_of(cohort, "clinical"), cohort.present_in("clinical"), cohort.rows["subject_id"].to_numpy()
    several = [s for s in set(subject[present]) if (present & (subject == s)).sum() > 1]
    assert several
    for s in several:
        rows = np.flatnonzero(present & (subject == s))
        givers = np.flatnonzero(present & (subject == subject[source[rows[0]]]))
        assert (source[rows] == givers[np.arange(rows.size) % givers.size]).all()


def test_strata_are_kept_where_they_are_large_enough_and_the_last_named_goes_first(cohort: Cohort) -> None:
    site = coded(cohort.rows["site"].to_numpy())
    fine = np.arange(cohort.size) % 3
    present, subject, role = cohort.present_in("biomarker"), cohort.rows["subject_id"].to_numpy(), cohort.rows["role"].to_numpy()
    source = source_of(cohort, "biomarker", site, fine)
    for r in ROLES:
        for s in range(3):
            here = present & (role == r) & (site == s)
            for f in range(3):
                cell = here & (fine == f)
                if np.unique(subject[cell]).size >= FEWEST:
                    assert (fine[source[cell]] == f).all()
                    assert (site[source[cell]] == s).all()
    by_site_alone = source_of(cohort, "biomarker", site, np.arange(cohort.size))  # no stratum of one is kept
    large = [r for r in ROLES if min(np.unique(subject[present & (role == r) & (site == s)]).size for s in range(3)) >= FEWEST]
    assert large
    for r in large:
        here = present & (role == r)
        assert (site[by_site_alone[here]] == site[here]).all()
        assert (by_site_alone[here] != np.flatnonzero(here)).all()


def test_the_permutation_is_a_function_of_its_counters(cohort: Cohort) -> None:
    assert (source_of(cohort, "genotype") == source_of(cohort, "genotype")).all()
    assert (source_of(cohort, "genotype") != source_of(cohort, "genotype", counter=1)).any()


def test_a_lone_subject_keeps_their_own() -> None:
    present = np.array([True, True, False])
    assert permutation(present, np.array(["a", "a", "b"]), [np.arange(3)], [], counters=()).tolist() == [0, 1, 2]


@pytest.mark.parametrize("evidence", ["ehr", "genotype", "clinical"])
def test_every_view_of_an_evidence_reads_its_sources_content(cohort: Cohort, evidence: str) -> None:
    source = source_of(cohort, evidence)
    changed = permuted(cohort, evidence, source)
    assert changed.hash != cohort.hash
    assert (changed.present_in(evidence) == cohort.present_in(evidence)).all()
    scaled = {"winsorise": None, "log_skewness": None}
    views = {
        "ehr": [
            Ehr(evidence="ehr", min_count=1, max_events=50, conversions={}, **scaled),
            EhrSummary(evidence="ehr", min_rows=1, statistics=["last", "count"], max_codes=None, halves=False, n_bins=4, **scaled),
        ],
        "genotype": [Genotype(evidence="genotype", min_maf=0.0, screen=None, landmarks=0, genes=None, scores=None, components=0, min_found=0.5)],
        "clinical": [Clinical(evidence="clinical", columns=None, transform="standardise", n_bins=4, conversions={}, **scaled)],
    }[evidence]
    rows = np.flatnonzero(cohort.present_in(evidence))[:60]
    for view in views:
        view.fit(cohort, np.arange(cohort.size))
        moved, given = view.open(changed)(rows), view.open(cohort)(source[rows])
        for name, value in vars(given).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(moved, name), value), (view, name)
        own = view.open(cohort)(rows)
        assert any(isinstance(v, torch.Tensor) and not torch.equal(v, getattr(own, k)) for k, v in vars(moved).items())


def test_other_evidences_and_outcomes_stay(cohort: Cohort) -> None:
    changed = permuted(cohort, "genotype", source_of(cohort, "genotype"))
    assert (np.nan_to_num(changed.store("biomarker").number) == np.nan_to_num(cohort.store("biomarker").number)).all()
    assert changed.target("outcome").table.equals(cohort.target("outcome").table)
