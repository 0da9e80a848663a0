"""The truth of the synthetic cohort: best risks that nothing beats, nulls that are null, effects and times that are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.ensemble import HistGradientBoostingClassifier

from equipoise.cohort.build import build_cohort
from equipoise.cohort.generator.dials import EVIDENCES, all_subsets, subset_name
from equipoise.cohort.generator.ehr import N_DIAGNOSES, RecordLikelihood, draw_record
from equipoise.cohort.generator.expected import expected_scores
from equipoise.cohort.generator.outcome import event_hazard
from equipoise.cohort.generator.posterior import EXTRA, best_predictions
from equipoise.cohort.generator.world import World
from equipoise.contract.errors import UserError
from equipoise.testing.truth import Truth
from synthetic_source import SMALL, synthetic

ALONE = ("people.relatives=0", "genome.variants=60", "genome.chromosomes=4", "genome.polygenicity=1.0")
HARD = (  # every mechanism on that complicates the integral
    "presence.ehr={share: 0.7, mechanism: mnar, strength: 1.5}",
    "presence.genotype={share: 0.5, mechanism: mar, strength: 2.0}",
    "presence.biomarker={share: 0.6, mechanism: mnar, strength: 2.0}",
    "presence.lifestyle={share: 0.7, mechanism: mar, strength: 1.0}",
    "presence.clinical={share: 0.7, mechanism: mcar, strength: 1.0}",
    "people.ancestry_confounding=0.8",
    "state.deprivation=0.5",
    "outcome.site_shift=0.6",
    "outcome.calendar_shift=0.8",
    "biomarker.unit_mix=0.1",
    "biomarker.batch=0.8",
    "biomarker.below_detection=0.4",
    "ehr.delay_days=200",
    "ehr.miscoding=0.3",
)
STEP = 0.6
PAIRS = [(s, e) for s in all_subsets() for e in s]


def told(world: World) -> dict[str, np.ndarray]:
    """Functions of what is observed, by evidence: f64 (n, k), 0 where the evidence is absent; under "" what is always known."""
    n, record, drawn, people = world.size, world.record, world.biomarkers, world.people
    diagnosis = record.code < N_DIAGNOSES
    systolic = record.code == N_DIAGNOSES
    counts = [
        np.bincount(record.person[diagnosis & kind], minlength=n)
        for kind in (record.at_days > 900, record.code < 6, (record.code >= 6) & (record.code < 9), (record.code >= 9) & (record.code < 12))
    ]
    counts.append(np.bincount(record.person[systolic], weights=(record.value[systolic] - 130) / 12, minlength=n))
    measured = np.where(drawn.observed, np.maximum(drawn.x, world.dials.biomarker.limit) - drawn.offset[drawn.laboratory], 0)
    content = {
        "ehr": np.column_stack(counts),
        "genotype": np.column_stack([world.genome.score, world.genome.score**2, people.ancestry[:, 0], people.ancestry[:, 2]]),
        "biomarker": np.column_stack([measured, drawn.below[:, 0], measured[:, 0] ** 2]),
        "lifestyle": np.column_stack([world.lifestyle.report * world.lifestyle.observed, world.lifestyle.smoking == 2]),
        "clinical": np.column_stack([people.age, people.sex, people.deprivation, people.site == 0, people.site == 3, people.age**2]),
    }
    out = {e: np.where(world.has(e)[:, None], x - x.mean(axis=0), 0.0) for e, x in content.items()}
    out[""] = np.column_stack([np.ones(n), world.present])
    return out


_TOLD: dict[int, tuple[World, dict[str, np.ndarray]]] = {}


def z_scores(world: World, subset: tuple[str, ...], best: np.ndarray, only: tuple[str, ...] | None = None) -> np.ndarray:
    """sum (risk - best) g / sqrt(sum ((risk - best) g)^2) for functions g of what the subset tells; standard normal if best = E[risk | told]."""
    if id(world) not in _TOLD:
        _TOLD[id(world)] = (world, told(world))
    features = _TOLD[id(world)][1]
    g = np.column_stack([features[""], logit(best), *(features[e] for e in (subset if only is None else only))])
    product = (world.course.risk - best)[:, None] * g[:, g.std(axis=0) + (np.arange(g.shape[1]) == 0) > 0]
    return product.sum(axis=0) / np.sqrt((product**2).sum(axis=0))


@pytest.fixture(scope="module", params=["default", "hard"])
def solved(request: pytest.FixtureRequest) -> tuple[World, np.ndarray]:
    world = synthetic("synthetic", *ALONE, *(HARD if request.param == "hard" else ()), n=2000, seed=1)._world
    return world, best_predictions(world, all_subsets(), step=STEP)[0].risk


def test_nothing_observed_explains_what_the_best_risk_leaves(solved: tuple[World, np.ndarray]) -> None:
    world, best = solved
    z = np.concatenate([z_scores(world, s, best[:, i]) for i, s in enumerate(all_subsets())])
    assert z.size > 400
    assert np.abs(z).max() < 4.2
    assert np.mean(np.abs(z) > 2.5) < 0.06


def test_what_a_subset_does_not_tell_does_explain_its_rest(solved: tuple[World, np.ndarray]) -> None:
    world, best = solved
    for e in ("ehr", "biomarker", "genotype"):  # the test above has power
        without = tuple(x for x in EVIDENCES if x != e)
        assert np.abs(z_scores(world, without, best[:, all_subsets().index(without)], only=(e,))).max() > 4


def test_best_risks_are_calibrated_against_outcomes(solved: tuple[World, np.ndarray]) -> None:
    world, best = solved
    for i in range(1, best.shape[1]):
        fifth = np.searchsorted(np.quantile(best[:, i], [0.2, 0.4, 0.6, 0.8]), best[:, i])
        for k in range(5):
            q, y = best[fifth == k, i], world.course.outcome[fifth == k]
            assert abs((y - q).sum()) < 4.5 * np.sqrt((q * (1 - q)).sum()), (all_subsets()[i], k)


def test_more_evidence_never_makes_the_best_risk_worse(solved: tuple[World, np.ndarray]) -> None:
    world, best = solved
    p = world.course.risk

    def loss(subset: tuple[str, ...]) -> np.ndarray:
        q = best[:, all_subsets().index(subset)]
        return -(p * np.log(q) + (1 - p) * np.log1p(-q))

    for subset, e in PAIRS:
        gain = loss(tuple(x for x in subset if x != e)) - loss(subset)
        assert gain.mean() > -3.5 * gain.std() / np.sqrt(gain.size), (subset, e)


def test_the_numerical_error_covers_the_difference_from_a_finer_lattice() -> None:
    world = synthetic("synthetic", *ALONE, *HARD, n=50, seed=2)._world
    subsets = (("ehr", "clinical"), EVIDENCES)
    coarse, error = best_predictions(world, subsets, step=0.6)
    fine, _ = best_predictions(world, subsets, step=0.35)
    assert (np.abs(coarse.risk - fine.risk) <= error.risk + 2e-5).all()
    assert np.abs(coarse.risk - fine.risk).max() < 1e-3
    assert error.risk.max() < 5e-3


def test_the_best_risk_equals_a_brute_force_average_over_states_with_like_evidence() -> None:
    """Lifestyle and genome alone, by simulation that knows nothing of the lattice: z1 and z2 are normal given score and answers."""
    words = ("lifestyle.smoking=0", "lifestyle.item_missing=0", "people.ancestry_confounding=0", "outcome.site_shift=0", "presence.biomarker.mechanism=mcar")
    world = synthetic("synthetic", *ALONE, *words, n=50, seed=3)._world
    subset = ("genotype", "lifestyle")
    best = best_predictions(world, (subset,))[0].risk[:, 0]
    rng, dials = np.random.default_rng(0), world.dials
    loading = np.array([-0.7, 0.55, -0.65, -0.2]) * dials.lifestyle.signal
    precision = 1 + (loading**2).sum() / dials.lifestyle.sd**2
    state = dials.state
    for i in np.flatnonzero(world.has("genotype") & world.has("lifestyle"))[:10]:
        z = rng.standard_normal((200_000, 3))
        z[:, 0] = np.sqrt(state.heritability) * world.genome.score[i] + np.sqrt(1 - state.heritability) * z[:, 0]
        z[:, 1] = world.lifestyle.report[i] @ loading / dials.lifestyle.sd**2 / precision + z[:, 1] / np.sqrt(precision)
        sex = np.where(rng.random(len(z)) < 0.5, -1.0, 1.0)
        z[:, 2] = state.sex * sex + np.sqrt(1 - state.sex**2) * z[:, 2]
        risk = expit(world.base + dials.outcome.liability(z))
        assert abs(risk.mean() - best[i]) < 4.5 * risk.std() / np.sqrt(len(z)) + 1e-4


def test_the_record_likelihood_is_a_density_over_records() -> None:
    """E[p(record | z') / p(record | z)] = 1 over records drawn at z: exact likelihood ratios average to one, wrong ones do not."""
    world = synthetic("synthetic", *ALONE, "ehr.delay_days=150", "ehr.miscoding=0.2", "ehr.informative_visits=0.5", n=50)._world
    dials, n = world.dials.ehr, 15_000
    at, other = np.array([0.2, -0.3, 0.1]), np.array([0.3, -0.2, -0.1])
    record = draw_record(np.tile([*at, 0.0], (n, 1)), 5, dials)
    log = RecordLikelihood(np.stack([at, other]), dials)(RecordLikelihood.statistics(record, n, dials))
    ratio = np.exp(log[:, 1] - log[:, 0])
    assert ratio.std() > 0.2
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(n)


def test_the_default_cohort_ranks_its_evidences_and_is_neither_easy_nor_hopeless() -> None:
    world = synthetic("synthetic", n=2000)._world
    subsets = (EVIDENCES, (), *(tuple(x for x in EVIDENCES if x != e) for e in EVIDENCES), *((e,) for e in EVIDENCES))
    best = best_predictions(world, subsets, step=STEP)[0].risk
    scores = [expected_scores(best[:, i], world.course.risk) for i in range(len(subsets))]
    assert 0.80 <= scores[0]["auroc"] <= 0.85
    added = {e: scores[2 + i]["log_score"] - scores[0]["log_score"] for i, e in enumerate(EVIDENCES)}
    order = sorted(EVIDENCES, key=lambda e: -added[e])
    assert order == ["ehr", "biomarker", "genotype", "lifestyle", "clinical"]
    assert added["ehr"] > 2 * added["biomarker"]
    alone = {e: scores[1]["log_score"] - scores[7 + i]["log_score"] for i, e in enumerate(EVIDENCES)}
    assert alone["ehr"] > alone["biomarker"] > 2 * max(alone["genotype"], alone["lifestyle"], alone["clinical"])


def test_without_signal_the_best_risk_is_the_prevalence_for_everybody() -> None:
    world = synthetic("null_no_signal", *SMALL, n=400)._world
    best = best_predictions(world, all_subsets(), step=STEP)[0].risk
    assert np.abs(best - 0.2).max() < 1e-5
    assert np.ptp(world.course.risk) < 1e-9
    assert np.abs(world.trial.mu1 - world.trial.mu0).max() == 0


def test_the_null_genome_adds_nothing_to_any_subset() -> None:
    world = synthetic("null_genome", *SMALL, n=400)._world
    best = best_predictions(world, all_subsets(), step=STEP)[0].risk
    for i, subset in enumerate(all_subsets()):
        if "genotype" in subset:
            without = all_subsets().index(tuple(x for x in subset if x != "genotype"))
            assert np.abs(best[:, i] - best[:, without]).max() < 1e-5


def test_the_null_genome_with_ancestry_predicts_alone_and_adds_nothing_to_clinical_evidence() -> None:
    world = synthetic("null_genome_ancestry", *SMALL, "people.relatives=0", n=2500)._world
    subsets = (("genotype",), (), ("clinical",), ("genotype", "clinical"), EVIDENCES, tuple(e for e in EVIDENCES if e != "genotype"))
    best = best_predictions(world, subsets, step=STEP)[0].risk
    p = world.course.risk
    assert expected_scores(best[:, 0], p)["auroc"] > 0.55
    assert expected_scores(best[:, 0], p)["log_score"] < expected_scores(best[:, 1], p)["log_score"] - 0.003
    assert np.abs(best[:, 3] - best[:, 2]).max() < 1e-5
    assert np.abs(best[:, 4] - best[:, 5]).max() < 1e-5
    # Not only by the formula: in the draws, neither ancestry nor score explains what clinical evidence, or all but the genome, leaves.
    assert np.abs(z_scores(world, ("clinical",), best[:, 2], only=("genotype",))).max() < 3.8
    assert np.abs(z_scores(world, subsets[5], best[:, 5], only=("genotype",))).max() < 3.8
    assert np.abs(z_scores(world, (), best[:, 1], only=("genotype",))).max() > 4.5


def test_where_linear_is_best_a_linear_logistic_model_has_the_best_log_score() -> None:
    source = synthetic("linear_is_best", "genome.variants=60", "genome.chromosomes=4", "genome.polygenicity=0.3", n=1000)
    world, draft = source._world, source.draft()
    best = best_predictions(world, (EVIDENCES,), step=STEP)[0].risk[:, 0]
    columns = [draft.stores[e].number for e in ("biomarker", "lifestyle", "clinical")]  # type: ignore[union-attr]
    x = np.column_stack([world.genome.dosage[:, world.genome.effect != 0], *columns, world.people.sex])
    x = np.column_stack([np.ones(len(x)), (x - x.mean(axis=0)) / x.std(axis=0)])
    beta = np.linalg.lstsq(x, logit(best), rcond=None)[0]
    assert 1 - np.var(logit(best) - x @ beta) / np.var(logit(best)) > 0.998
    for _ in range(20):  # Newton steps of the logistic model on the best risks
        q = expit(x @ beta)
        beta += np.linalg.solve((x * (q * (1 - q))[:, None]).T @ x, x.T @ (best - q))
    q = expit(x @ beta)
    lost = np.mean(best * np.log(best / q) + (1 - best) * np.log((1 - best) / (1 - q)))
    assert 0 <= lost < 1e-4  # nats, of about 0.35


def test_the_binary_outcome_is_what_the_event_times_say() -> None:
    words = ("outcome.censoring=0", "outcome.delayed_entry=0", "outcome.follow_up_days=36500", "outcome.death=0.3", "people.relatives=0")
    source = synthetic("synthetic", *SMALL, *words, n=5000)
    draft, course = source.draft(), source._world.course
    survival = draft.targets["survival"].table
    early = (survival["time_days"] <= 1095) & (survival["event"] == 1)
    assert np.array_equal(early.cast(float).to_numpy(), draft.targets["outcome"].table["outcome"].to_numpy())
    h1, h2 = course.hazard.T
    risk = h1 / (h1 + h2) * -np.expm1(-h1 - h2)
    assert np.allclose(risk, course.risk, atol=1e-12)
    p = course.risk
    assert abs((course.outcome - p).sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_incidence_of_both_causes_follows_the_stored_hazards_over_time(tmp_path: Path) -> None:
    words = ("outcome.censoring=0", "outcome.delayed_entry=0", "outcome.follow_up_days=36500", "outcome.death=0.3", "people.relatives=0")
    source = synthetic("synthetic", *SMALL, *words, n=400)
    source.write_truth(tmp_path)
    truth, table = Truth.open(tmp_path), source.draft().targets["survival"].table
    days = np.array([200.0, 1095.0, 2500.0])
    for cause in (1, 2):
        expected = truth.incidence(days, cause)
        found = np.array([((table["time_days"] <= d) & (table["event"] == cause)).mean() for d in days])
        assert (np.abs(found - expected.mean(axis=0)) < 4 * np.sqrt((expected * (1 - expected)).sum(axis=0)) / 400).all()
    assert np.allclose(truth.survival(days) + truth.incidence(days, 1) + truth.incidence(days, 2), 1)
    assert np.allclose(truth.incidence(np.array([1095.0]))[:, 0], truth.rows["risk"].to_numpy(), atol=1e-9)


def test_left_truncation_hides_only_those_who_end_before_they_enter() -> None:
    source = synthetic("synthetic", *SMALL, "outcome.delayed_entry=0.5", "outcome.max_entry_days=900", "outcome.censoring=0.4", n=3000)
    course, table = source._world.course, source.draft().targets["survival"].table
    assert np.array_equal(table["observed"].to_numpy(), course.time_days > course.entry_days)
    assert 0.02 < (~table["observed"]).mean() < 0.3
    seen = table.filter(table["observed"])
    assert (seen["time_days"] > seen["entry_days"]).all()
    assert seen["time_days"].max() <= 1825
    assert set(seen["event"].unique()) == {0, 1, 2}


@pytest.mark.parametrize(("risk", "death"), [(1e-6, 0.0), (0.5, 0.4), (0.97, 2.0), (0.2, 1e-9)])
def test_event_hazards_reproduce_the_risk(risk: float, death: float) -> None:
    h = event_hazard(np.array([risk]), np.array([death]))[0]
    assert abs(h / (h + death) * -np.expm1(-h - death) - risk) < 1e-12


def trial_of(preset: str, *words: str, n: int = 4000) -> World:
    return synthetic(preset, *SMALL, "people.relatives=0", *words, n=n)._world


def test_a_randomised_treatment_shows_its_effect_and_a_confounded_one_another() -> None:
    random = trial_of("synthetic", "treatment.measured=0", "treatment.habits=0", "treatment.unmeasured=0").trial
    assert np.allclose(random.propensity, 0.5)
    for preset, words in (("no_effect", ()), ("stress_confounding", ("treatment.effect=none",))):
        trial = trial_of(preset, *words).trial
        treated = trial.treatment == 1
        assert np.abs(trial.mu1 - trial.mu0).max() == 0
        assert trial.response[treated].mean() - trial.response[~treated].mean() > 0.04
        weight = np.where(treated, 1 / trial.propensity, -1 / (1 - trial.propensity))  # the true propensity removes all of it
        assert abs((weight * trial.response).mean()) < 4 * (weight * trial.response).std() / np.sqrt(len(treated))


def test_effects_vary_by_what_their_dial_names_and_by_nothing_else() -> None:
    constant = trial_of("constant_effect").trial
    assert np.allclose(constant.mu1 - constant.mu0, -0.1)
    world = trial_of("synthetic", "treatment.effect=by_genotype")
    effect = world.trial.mu1 - world.trial.mu0
    assert set(np.round(np.unique(effect), 12)) == {-0.2, 0.0}
    assert np.array_equal(effect < 0, world.carrier)
    world = trial_of("synthetic", "treatment.effect=by_biomarker")
    effect = world.trial.mu1 - world.trial.mu0
    assert abs(effect.mean() + 0.1) < 0.01
    assert np.corrcoef(effect, world.biomarkers.x[:, 1])[0, 1] < -0.4
    for w in (world.trial, constant):
        assert (w.mu1 >= 0).all()
        assert (w.mu0 <= 1).all()


def test_what_else_the_truth_predicts_is_unbiased_too() -> None:
    world = synthetic("synthetic", *ALONE, n=1000, seed=4)._world
    extra = dict(zip(EXTRA, best_predictions(world, (EVIDENCES,), step=STEP)[0].extra.T, strict=True))
    truths = {"mu0": world.trial.mu0, "future": world.future, **{f"severity_{k}": world.course.severity == k for k in range(3)}}
    for name, truth in truths.items():
        left = truth - extra[name]
        for g in (np.ones(1000), extra[name] - extra[name].mean()):
            assert abs((left * g).sum()) < 4 * np.sqrt(((left * g) ** 2).sum()), name
        assert np.var(left) < (0.99 if name == "severity_1" else 0.9) * np.var(truth), name


def test_the_truth_of_a_cohort_reads_back_and_names_its_damage(tmp_path: Path) -> None:
    source = synthetic("synthetic", *SMALL, n=80)
    cohort = build_cohort(source, tmp_path / "cohorts", truth_dir=tmp_path / "truth")
    folder = tmp_path / "truth" / cohort.hash
    truth = Truth.open(folder)
    assert truth.rows["subject_id"].to_list() == cohort.rows["subject_id"].to_list()
    assert truth.best_risk().shape == (80,)
    assert truth.best_risk_error(["ehr"]).max() < 5e-3
    assert set(truth.facts["subsets"]) == {subset_name(s) for s in all_subsets()}
    scores = truth.best_scores(["ehr", "biomarker"])
    assert scores == pytest.approx(truth.facts["subsets"]["ehr+biomarker"])
    assert truth.best_scores(rows=np.arange(40)) == truth.expected_scores(truth.best_risk()[:40], np.arange(40))
    table = folder / "best_risk.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"best_risk\.parquet is damaged"):
        Truth.open(folder)
    with pytest.raises(UserError, match="There is no truth"):
        Truth.open(tmp_path / "nowhere")


@pytest.mark.slow
def test_boosting_on_everything_observed_does_not_beat_the_best_risk() -> None:
    world = synthetic("synthetic", *ALONE, n=24_000, seed=9)._world
    best = best_predictions(world, (EVIDENCES,), step=STEP)[0].risk[:, 0]
    content = told(world)
    features = np.hstack([*content.values(), np.log1p(content["ehr"] - content["ehr"].min(axis=0))])
    fit = np.arange(world.size) < 16_000
    model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.05, max_leaf_nodes=8, random_state=0)
    q = model.fit(features[fit], world.course.outcome[fit]).predict_proba(features[~fit])[:, 1]
    p, b = world.course.risk[~fit], best[~fit]
    gain = p * np.log(q / b) + (1 - p) * np.log((1 - q) / (1 - b))
    assert gain.mean() < 3 * gain.std() / np.sqrt(gain.size)
    assert expected_scores(q, p)["auroc"] < expected_scores(b, p)["auroc"] + 0.003
    assert expected_scores(q, p)["auroc"] > expected_scores(b, p)["auroc"] - 0.04  # the comparison is not against a straw man
