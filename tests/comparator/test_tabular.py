"""Linear and boosted comparators against closed forms and against known truths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from equipoise.cohort.frozen import Cohort
from equipoise.comparator import Comparator
from equipoise.comparator.design import Design
from equipoise.comparator.published import Published
from equipoise.comparator.reduction import Piece
from equipoise.comparator.ridge import RidgeLogistic, RidgeRegression
from equipoise.comparator.screen import Screen
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.testing.cohorts import EVIDENCES, tiny_cohort
from equipoise.testing.discovery import options

FAST = {"max_rounds": 60, "members": 1, "folds": 2, "max_leaf_nodes": [4], "penalties": [1.0, 0.1, 0.01]}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(Path(tmp_path_factory.mktemp("tabular")) / "cohort", n=900, seed=5)


def make_comparator(option: str, **settings: object) -> Comparator:
    node = options("comparator")[option]
    made: Comparator = make({**node, **{k: v for k, v in FAST.items() if k in node}, **settings})
    return made


def piece_of(outcome: np.ndarray, n_classes: int, weight: np.ndarray | None = None) -> Piece:
    n = len(outcome)
    return Piece(np.arange(n), outcome.astype(float), np.ones(n) if weight is None else weight / weight.mean(), n_classes)


@pytest.mark.parametrize("shape", [(60, 5), (20, 40)])
def test_ridge_regression_minimises_its_weighted_objective(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    z, y, weight = rng.standard_normal(shape), rng.standard_normal(shape[0]) + 3, rng.uniform(0.5, 2, shape[0])
    model = RidgeRegression(piece_of(y, 0, weight), 0.3)
    model.fit(z)
    one = np.column_stack([np.ones(len(y)), z])
    w = weight / weight.sum()
    b = np.linalg.solve(one.T @ (w[:, None] * one) + np.diag([0.0] + [0.3] * shape[1]), one.T @ (w * y))
    np.testing.assert_allclose(model.predict(z)[:, 0], one @ b, rtol=1e-8)


def test_ridge_logistic_minimises_its_weighted_objective() -> None:
    rng = np.random.default_rng(1)
    z, weight = rng.standard_normal((80, 4)), rng.uniform(0.5, 2, 80)
    y = (rng.random(80) < 1 / (1 + np.exp(-z[:, 0]))).astype(float)
    piece = piece_of(y, 2, weight)
    model = RidgeLogistic(piece, 0.05)
    model.fit(z)

    def objective(b: np.ndarray) -> float:
        eta = b[0] + z @ b[1:]
        return float(np.mean(piece.weight * (np.logaddexp(0, eta) - y * eta)) + 0.025 * b[1:] @ b[1:])

    b = minimize(objective, np.zeros(5), options={"gtol": 1e-9}).x
    np.testing.assert_allclose(model.predict(z)[:, 1], 1 / (1 + np.exp(-b[0] - z @ b[1:])), atol=2e-3)


def test_a_class_without_a_row_gets_a_small_risk_and_the_rows_still_sum_to_one() -> None:
    rng = np.random.default_rng(2)
    model = RidgeLogistic(piece_of(rng.integers(0, 2, 50) * 2, 4), 0.1)
    z = rng.standard_normal((50, 3))
    model.fit(z)
    risk = model.predict(z)
    np.testing.assert_allclose(risk.sum(axis=1), 1)
    np.testing.assert_allclose(risk[:, [1, 3]], 0.5 / 52)


def test_the_design_is_finite_for_any_row_and_standard_on_its_own() -> None:
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.standard_normal(500), np.exp(3 * rng.standard_normal(500)), np.ones(500), np.full(500, np.nan), rng.random(500) < 0.002])
    x[rng.random(500) < 0.2, 0] = np.nan
    design = Design().fit(x)
    z = design.apply(x)
    assert design.n_columns == z.shape[1] == 4  # two numbers, the rare indicator, one missing pattern
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.1)
    wild = design.apply(np.array([[np.nan] * 5, [1e12] * 5, [-1e12] * 5]))
    assert (np.abs(wild) <= 6).all()


def test_a_skewed_positive_column_counts_on_its_log_scale_whatever_its_unit() -> None:
    x = np.exp(2 * np.random.default_rng(4).standard_normal((400, 1)))
    z = Design().fit(x).apply(x)
    assert np.corrcoef(x[:, 0], np.log(x[:, 0]))[0, 1] < 0.6
    assert np.corrcoef(z[:, 0], np.log(x[:, 0]))[0, 1] > 0.9
    np.testing.assert_allclose(Design().fit(1000 * x).apply(1000 * x), z)


def test_screening_ranks_causal_variants_first_and_looks_at_its_rows_only(cohort: Cohort) -> None:
    store = cohort.store("genotype")
    rows = np.flatnonzero(np.asarray(cohort.present_in("genotype")))
    copies = Screen(evidence="genotype", size=37).fit(cohort, piece_of(np.zeros(cohort.size), 0)).apply(cohort, rows, frozenset())
    assert copies.shape == (len(rows), store.variants.height)
    y = np.nan_to_num(copies[:, 11]) * 2.0 + np.random.default_rng(0).standard_normal(len(rows))
    best = Screen(evidence="genotype", size=1).fit(cohort, Piece(rows, y, np.ones(len(rows)), 0)).apply(cohort, rows, frozenset())
    np.testing.assert_array_equal(best[:, 0], copies[:, 11])
    classes = np.nan_to_num(copies[:, 23])
    best = Screen(evidence="genotype", size=1).fit(cohort, Piece(rows, classes, np.ones(len(rows)), 3)).apply(cohort, rows, frozenset())
    np.testing.assert_array_equal(best[:, 0], copies[:, 23])


@pytest.mark.slow
@pytest.mark.parametrize("option", ["linear", "boosting"])
def test_every_kind_of_question_is_answered_better_than_by_the_base_rate(cohort: Cohort, option: str) -> None:
    train, test = np.flatnonzero((cohort.rows["role"] != "held_out").to_numpy()), cohort.rows_in("held_out")
    for question in (
        Question("t", "outcome", "binary", EVIDENCES),
        Question("t", "severity", "multiclass", EVIDENCES, classes=("mild", "moderate", "severe")),
        Question("t", "weight", "continuous", EVIDENCES),
        Question("t", "survival", "time_to_event", EVIDENCES, horizons_days=(200.0,)),
        Question("t", "response", "treatment_effect", EVIDENCES),
    ):
        comparator = make_comparator(option)
        comparator.fit(cohort, train, question)
        forecast = comparator.predict(cohort, test)
        risk, table = forecast.risk, cohort.target(question.target).table[test]
        y, known = table["outcome"].to_numpy(), table["observed"].to_numpy()
        match question.kind:
            case "binary":
                assert roc_auc_score(y[known], risk[known, 0]) > 0.75
            case "multiclass":
                assert (risk[known].argmax(1) == y[known]).mean() > 0.6
            case "continuous":
                assert forecast.total is not None
                error = (y[known] - risk[known, 0]) ** 2
                assert error.mean() < 0.4 * y[known].var()
                assert error.mean() == pytest.approx(float(forecast.total[0, 0]), rel=0.4)
            case "time_to_event":
                died = ((table["event"] == 1) & (table["time_days"] <= 200)).to_numpy()
                clear = died | (table["time_days"] > 200).to_numpy()
                assert roc_auc_score(died[clear], risk[clear, 0]) > 0.75
            case "treatment_effect":
                arm = table["treatment"].to_numpy()
                for a in (0, 1):
                    mine = known & (arm == a)
                    assert roc_auc_score(y[mine], risk[mine, a]) > 0.55
                assert risk[:, 2].mean() < 0  # the treatment lowers the risk


def test_a_comparator_limited_to_one_evidence_reads_no_other(cohort: Cohort) -> None:
    question = Question("t", "outcome", "binary", EVIDENCES)
    limited, clinical = make_comparator("linear_clinical"), make_comparator("linear", n_components=0, variants=[0])
    limited.fit(cohort, cohort.rows_in("train"), question)
    clinical.fit(cohort, cohort.rows_in("train"), Question("t", "outcome", "binary", ("clinical",)))
    rows = np.arange(cohort.size)
    np.testing.assert_array_equal(limited.predict(cohort, rows).risk, clinical.predict(cohort, rows).risk)
    assert "clinical" in str(limited.applies(cohort, Question("t", "outcome", "binary", ("ehr",))))


def test_a_published_score_keeps_its_ranks_and_becomes_a_calibrated_risk(cohort: Cohort) -> None:
    comparator = make_comparator("published", score="published")
    question = Question("t", "outcome", "binary", EVIDENCES)
    assert comparator.name == "published"
    assert comparator.applies(cohort, question) is None
    train = cohort.rows_in("train")
    comparator.fit(cohort, train, question)
    risk, score = comparator.predict(cohort, np.arange(cohort.size)).risk[:, 0], np.asarray(cohort.scores["published"])
    known = ~np.isnan(score)
    assert (np.isnan(risk) == ~known).all()
    order = np.argsort(score[known])
    assert (np.diff(risk[known][order]) >= 0).all()
    table = cohort.target("outcome").table
    used = train[known[train] & table["observed"].to_numpy()[train]]
    assert risk[used].mean() == pytest.approx(table["outcome"].to_numpy()[used].mean(), abs=1e-3)


def test_a_published_score_that_is_not_there_says_so(cohort: Cohort) -> None:
    question = Question("t", "outcome", "binary", EVIDENCES)
    assert "published.score" in str(Published(name=None, required=True, seed=0, score=None).applies(cohort, question))


MISSPELT = [("published", {"score": "saps_ii"}), ("linear", {"evidences": ["clinicl"]}), ("boosting", {"evidences": ["clinicl"]})]


@pytest.mark.parametrize(("option", "settings"), MISSPELT)
def test_a_name_that_the_cohort_does_not_have_is_a_mistake_and_no_excuse(cohort: Cohort, option: str, settings: dict[str, object]) -> None:
    comparator = make_comparator(option, **settings)
    question = Question("t", "outcome", "binary", EVIDENCES)
    for asked in (lambda: comparator.check(cohort), lambda: comparator.applies(cohort, question)):
        with pytest.raises(UserError, match=r"saps_ii|clinicl"):
            asked()
    make_comparator(option).check(cohort)
