"""The synthetic cohort as a source: whole, reproducible, within its laws; one dial moves one mechanism."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.build import build_cohort, cohort_hash
from equipoise.cohort.draft import ColumnStore, Draft, EventStore, GenotypeStore
from equipoise.cohort.generator.dials import EVIDENCES
from equipoise.cohort.roles import check_disjoint
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.tables import ROLES, ROWS, TARGET
from synthetic_source import PRESETS, SMALL, synthetic


@pytest.fixture(scope="module")
def draft() -> Draft:
    return synthetic(n=2000).draft()


@pytest.fixture(scope="module")
def base() -> Draft:
    return synthetic("synthetic", *SMALL).draft()


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, pl.DataFrame) and isinstance(b, pl.DataFrame):
        return a.equals(b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if dataclasses.is_dataclass(a) and dataclasses.is_dataclass(b):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return a == b


def test_two_thousand_people_are_drawn_in_seconds_of_processor_time() -> None:
    started = time.process_time()
    synthetic(n=2000).draft()
    assert time.process_time() - started < 15  # about 1.5 on an idle core


def test_a_draft_has_every_evidence_and_every_target_row_aligned(draft: Draft) -> None:
    n = 2000
    assert tuple(draft.stores) == EVIDENCES
    assert draft.present.shape == (n, 5)
    assert draft.rows.columns == list(ROWS)
    assert draft.rows["subject_id"].n_unique() == n
    assert draft.rows["site"].n_unique() >= 6
    kinds = {name: t.kind for name, t in draft.targets.items()}
    assert kinds == {
        "outcome": "binary",
        "survival": "time_to_event",
        "response": "treatment_effect",
        "severity": "multiclass",
        "biomarker_future": "continuous",
    }
    for target in draft.targets.values():
        assert target.table.columns == list(TARGET)
        assert target.table.height == n
        assert target.table.null_count().sum_horizontal()[0] == 0
        observed = target.table.filter(pl.col("observed"))
        assert observed["outcome"].is_not_nan().all()
    assert len(draft.targets["severity"].classes) == 3
    assert draft.targets["severity"].table["outcome"].n_unique() == 3
    assert 0.17 < draft.targets["outcome"].table["outcome"].mean() < 0.23


def test_absent_evidence_has_no_content_and_present_evidence_has(draft: Draft) -> None:
    present = dict(zip(EVIDENCES, draft.present.T, strict=True))
    ehr, genotype = draft.stores["ehr"], draft.stores["genotype"]
    assert isinstance(ehr, EventStore)
    assert isinstance(genotype, GenotypeStore)
    assert (ehr.stop[~present["ehr"]] == ehr.start[~present["ehr"]]).all()
    assert np.array_equal(genotype.index >= 0, present["genotype"])
    assert genotype.packed.shape == (present["genotype"].sum(), 250)
    for name in ("biomarker", "lifestyle", "clinical"):
        store = draft.stores[name]
        assert isinstance(store, ColumnStore)
        assert np.isnan(store.number[~present[name]]).all()
        assert (store.category[~present[name]] == -1).all()
        assert np.isfinite(store.number[present[name]]).mean() > 0.9
        for j, column in enumerate(store.categories):
            assert set(np.unique(store.category[present[name], j]).tolist()) <= set(range(-1, len(column.levels)))


def test_events_are_sorted_never_late_and_at_most_sixty_on_average(draft: Draft) -> None:
    ehr = draft.stores["ehr"]
    assert isinstance(ehr, EventStore)
    length = ehr.stop - ehr.start
    row = np.repeat(np.arange(length.size), length)
    assert length.sum() == ehr.code.size
    assert (ehr.time_us <= ehr.time_of_row_us[row]).all()
    assert (ehr.time_us >= ehr.time_of_row_us[row] - 1096 * 86_400_000_000).all()
    inside = np.diff(row) == 0
    assert (np.diff(ehr.time_us)[inside] >= 0).all()
    assert 20 < length[draft.present[:, 0]].mean() <= 60
    valued = np.array([u != "" for u in ehr.units])[ehr.code]
    assert np.array_equal(np.isfinite(ehr.value), valued)


def test_roles_and_folds_keep_households_and_sibships_whole(draft: Draft) -> None:
    cluster = draft.rows["cluster"].to_numpy()
    split = Split.from_roles(draft.rows["role"].to_numpy())
    check_disjoint(cluster, split)
    assert set(draft.rows["role"].unique()) == set(ROLES)
    assert abs(split.held_out.size / 2000 - 0.25) < 0.02
    assert draft.folds is not None
    joined = draft.folds.join(draft.rows.select("row_id", "cluster"), on="row_id")
    assert joined.group_by("cluster").agg(pl.col("fold").n_unique())["fold"].max() == 1
    sizes = joined.group_by("fold").len()["len"]
    assert sizes.len() == 5
    assert sizes.min() > 300
    assert draft.rows.group_by("cluster").len()["len"].max() in (2, 3)


def test_the_same_seed_gives_the_same_draft_and_another_seed_another() -> None:
    a, b, c = (synthetic("synthetic", *SMALL, seed=s).draft() for s in (5, 5, 6))
    assert same(a, b)
    assert not same(a.targets["outcome"].table, c.targets["outcome"].table)
    assert not same(a.stores["genotype"], c.stores["genotype"])


@pytest.mark.parametrize(
    ("dial", "moves"),
    [
        ("ehr.miscoding=0", {"ehr"}),
        ("ehr.delay_days=0", {"ehr"}),
        ("ehr.informative_visits=0", {"ehr"}),
        ("biomarker.noise=0", {"biomarker"}),
        ("biomarker.batch=0", {"biomarker"}),
        ("biomarker.unit_mix=0.2", {"biomarker"}),
        ("lifestyle.recall_error=0", {"lifestyle", "response"}),  # the prescriber reads the questionnaire
        ("genome.missing_calls=0", {"genotype"}),
        ("presence.ehr.share=1.0", {"ehr"}),
        ("outcome.censoring=0", {"survival"}),
        ("outcome.delayed_entry=0", {"survival"}),
        ("outcome.death=0", {"survival", "outcome"}),
        ("outcome.interaction=0", {"outcome", "survival", "severity", "response"}),
        ("treatment.effect=none", {"response"}),
        ("treatment.measured=0", {"response"}),
    ],
)
def test_a_dial_moves_its_mechanism_and_leaves_the_draws_of_the_others(dial: str, moves: set[str], base: Draft) -> None:
    moved = synthetic("synthetic", *SMALL, dial).draft()
    changed = {e for e in EVIDENCES if not same(base.stores[e], moved.stores[e])}
    changed |= {t for t in base.targets if not same(base.targets[t], moved.targets[t])}
    assert changed == moves


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_composes_drafts_and_has_its_own_fingerprint(preset: str) -> None:
    source, base = synthetic(preset, *SMALL), synthetic("synthetic", *SMALL)
    assert cohort_hash(source.fingerprint()) != cohort_hash(base.fingerprint())
    assert source.draft().rows.height == 300


def test_a_built_cohort_and_its_truth_lie_apart(tmp_path: Path) -> None:
    source = synthetic("synthetic", *SMALL, n=60)
    cohort = build_cohort(source, tmp_path / "cohorts", truth_dir=tmp_path / "truth")
    assert cohort.size == 60
    assert (tmp_path / "truth" / cohort.hash / "truth.json").is_file()
    assert not [p for p in (tmp_path / "cohorts").rglob("*") if "truth" in p.name or "best_risk" in p.name]


@pytest.mark.parametrize(
    ("dial", "named"),
    [
        ("state.heritability=0.95", "cohort.state.heritability"),
        ("state.age=0.95", r"age\^2"),
        ("people.sites=3", "cohort.people.sites"),
        ("genome.fst=[0.001,0.05,0.1]", "cohort.genome.fst"),
        ("genome.min_maf=0.39", "common enough"),
        ("presence.ehr.mechanism=mxar", "mechanism"),
        ("presence.ehr.share=1.2", "share"),
        ("treatment.effect=by_moonlight", "treatment.effect"),
        ("treatment.size=0.3", "treatment.size"),
        ("outcome.weights=[1,2]", "outcome.weights"),
        ("split=weather", "cohort.split"),
        ("shares.trian=0.1", "cohort.shares names the role 'trian'"),
        ("n=3", "cohort.n"),
    ],
)
def test_a_dial_out_of_range_is_named(dial: str, named: str) -> None:
    small = [s for s in SMALL if s.split("=")[0] != dial.split("=")[0]]
    with pytest.raises(UserError, match=named):
        synthetic("synthetic", *small, dial).draft()


@pytest.mark.parametrize(("preset", "by"), [("stress_shift", "site"), ("stress_calendar", "prediction_time")])
def test_a_shifted_split_holds_out_whole_sites_or_the_latest_rows(preset: str, by: str) -> None:
    rows = synthetic(preset, *SMALL, n=1500).draft().rows
    held_out = rows["role"] == "held_out"
    assert 0.2 < held_out.mean() < 0.5
    if by == "site":
        assert not set(rows.filter(held_out)["site"]) & set(rows.filter(~held_out)["site"])
    else:
        assert rows.filter(held_out)[by].min() > rows.filter(~held_out)[by].max()


def test_a_calendar_shift_raises_the_later_base_rate() -> None:
    draft = synthetic("stress_calendar", *SMALL, "outcome.calendar_shift=1.5", n=3000).draft()
    outcome = draft.targets["outcome"].table["outcome"]
    held_out = draft.rows["role"] == "held_out"
    assert outcome.filter(held_out).mean() > outcome.filter(~held_out).mean() + 0.1


def test_the_published_score_ranks_but_is_miscalibrated_and_missing_where_its_inputs_are(draft: Draft) -> None:
    score, outcome = draft.scores["published"], draft.targets["outcome"].table["outcome"].to_numpy()
    known = np.isfinite(score)
    biomarker = draft.present[:, EVIDENCES.index("biomarker")]
    assert not known[~biomarker].any()
    assert known[biomarker].mean() > 0.9
    assert score[known].mean() > outcome[known].mean() + 0.05
    assert score[known & (outcome == 1)].mean() > score[known & (outcome == 0)].mean() + 0.1


def test_values_below_the_detection_limit_stand_at_the_limit_and_mixed_units_far_outside() -> None:
    source = synthetic("synthetic", *SMALL, "biomarker.below_detection=0.4", "biomarker.unit_mix=0.2", n=1000)
    store = source.draft().stores["biomarker"]
    assert isinstance(store, ColumnStore)
    names = [c.name for c in store.numbers]
    crp, ldl = (store.number[:, names.index(x)] for x in ("crp", "ldl"))
    crp, ldl = crp[np.isfinite(crp)], ldl[np.isfinite(ldl)]
    assert abs((crp == crp.min()).mean() - 0.4) < 0.06
    assert abs((ldl > 25).mean() - 0.2) < 0.05
    assert ((ldl < 12) | (ldl > 25)).all()


def test_contacts_rise_with_the_state_only_when_visits_are_informative() -> None:
    def slope(dial: str) -> float:
        source = synthetic("synthetic", *SMALL, dial, "ehr.delay_days=0", n=2000)
        world = source._world
        count = np.bincount(world.record.person, minlength=2000)
        return float(np.polyfit(world.z[:, 2], count, 1)[0] / count.mean())

    assert abs(slope("ehr.informative_visits=0")) < 0.02
    assert 0.2 < slope("ehr.informative_visits=0.35") < 0.45


def test_presence_follows_its_mechanism_and_its_share() -> None:
    def present(mechanism: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        source = synthetic("synthetic", *SMALL, f"presence.ehr={{share: 0.6, mechanism: {mechanism}, strength: 1.5}}", n=4000)
        world = source._world
        return world.has("ehr"), world.people.age, world.z[:, 2] - world.dials.state.mean(world.people)

    for mechanism, by_age, by_state in (("mcar", False, False), ("mar", True, False), ("mnar", True, True)):
        has, age, hidden = present(mechanism)
        assert abs(has.mean() - 0.6) < 0.03
        assert (abs(np.corrcoef(has, age)[0, 1]) > 0.08) == by_age, mechanism
        assert (abs(np.corrcoef(has, hidden)[0, 1]) > 0.08) == by_state, mechanism
