"""Forecasts -> the predictions table, for the model and every comparator alike. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tables import PREDICTIONS, PRESENT_PREFIX, SCENARIO_ALL

MASKED = "masked:"
NO_PREDICTION = "no prediction"


def prediction_table(
    question: Question,
    cohort: Cohort,
    rows: np.ndarray,
    *,
    model: str,
    risk_raw: np.ndarray,
    risk: np.ndarray,
    scenario: str = SCENARIO_ALL,
    repeat: int = 0,
    fold: int = 0,
    role: str | None = None,
    lo: np.ndarray | None = None,
    hi: np.ndarray | None = None,
    aleatoric: np.ndarray | None = None,
    epistemic: np.ndarray | None = None,
    total: np.ndarray | None = None,
    propensity: np.ndarray | None = None,
    novelty: np.ndarray | None = None,
    set_event: np.ndarray | None = None,
    set_no_event: np.ndarray | None = None,
    time_lo_days: np.ndarray | None = None,
    abstain_reason: list[str | None] | None = None,
    hidden: frozenset[str] | None = None,
) -> pl.DataFrame:
    """The long table of one model's answers to one question, one line a row and label, rows in the given order.

    Outcomes are filled from the cohort's target where it has one. A class row's outcome is 0/1: is it this class. A horizon row's outcome is the
    status at the horizon where that is known (event of cause 1 by then: 1; followed beyond it, or another event by then: 0), else null. For a
    treatment effect ``mu0`` and ``mu1`` have the outcome of the rows that received that arm (of a time to event the status at the horizon), and
    ``effect`` has none: nobody's is observed.

    Args:
        question: what was asked.
        cohort: the cohort of the rows; its target may be missing (new people).
        rows: i64 (n,).
        model: ``equipoise`` or a comparator's name.
        risk_raw: f64 (n, L), NaN where there is none.
        risk: f64 (n, L), after recalibration.
        scenario: what was hidden or refitted.
        repeat: of a cross-validation.
        fold: likewise.
        role: the role of these rows in this split; None = the cohort's own.
        lo: f64 (n, L), interval; None = not estimated.
        hi: likewise.
        aleatoric: f64 (n, L); None = not estimated.
        epistemic: likewise.
        total: likewise.
        propensity: f64 (n,), P(treated | what is known).
        novelty: f64 (n,), in [0, 1] (see `novelty.Novelty`); None = not estimated.
        set_event: f64 (n, L), 1 or 0: see `conformal.Held`, NaN for nothing; None = no sets.
        set_no_event: likewise.
        time_lo_days: likewise.
        abstain_reason: for each row, None where there is a prediction; None = those without a finite risk abstain.
        hidden: evidences that count as not present; None = what the scenario's name says.

    Returns:
        Columns of `contract.tables.PREDICTIONS`, then ``present_<evidence>`` for each evidence of the question; NaN is null.
    """
    n, labels = len(rows), question.labels
    if risk.shape != (n, len(labels)) or risk_raw.shape != risk.shape:
        raise ValueError(f"risk {risk.shape} and risk_raw {risk_raw.shape} must be {(n, len(labels))}")
    if abstain_reason is None:
        abstain_reason = abstaining(~np.isfinite(risk).all(axis=1), NO_PREDICTION)
    of_row = cohort.rows[rows].select("subject_id", "prediction_time", "cluster", "site", "role")
    if role is not None:
        of_row = of_row.with_columns(pl.lit(role).alias("role"))
    target = target_of(cohort, question)
    seen = target.table[rows] if target is not None else None
    follow_up = ("time_days", "event", "entry_days", "treatment", "weight")
    of_row = of_row.with_columns(seen.select(follow_up)) if seen is not None else of_row.with_columns(pl.lit(None).alias(c) for c in follow_up)
    of_row = of_row.with_columns(
        pl.lit(model).alias("model"),
        pl.lit(question.task).alias("task"),
        pl.lit(scenario).alias("scenario"),
        pl.lit(repeat).alias("repeat"),
        pl.lit(fold).alias("fold"),
        pl.Series("propensity", np.full(n, math.nan) if propensity is None else propensity, dtype=pl.Float64),
        pl.Series("novelty", np.full(n, math.nan) if novelty is None else novelty, dtype=pl.Float64),
        pl.Series("abstain_reason", abstain_reason, dtype=pl.String),
        *_presence(question, cohort, rows, hidden if hidden is not None else hidden_in(scenario)),
    )
    values = {"risk_raw": risk_raw, "risk": risk, "lo": lo, "hi": hi, "aleatoric": aleatoric, "epistemic": epistemic, "total": total}
    values |= {"set_event": set_event, "set_no_event": set_no_event, "time_lo_days": time_lo_days}
    values["outcome"] = outcomes_by_label(question, seen)
    nothing = np.full(n, math.nan)
    blocks = [
        of_row.with_columns(
            pl.lit(label).alias("target"),
            pl.Series("__row", np.arange(n)),
            *(pl.Series(name, nothing if value is None else value[:, i], dtype=pl.Float64) for name, value in values.items()),
        )
        for i, label in enumerate(labels)
    ]
    table = pl.concat(blocks).sort("__row", maintain_order=True).with_columns(pl.selectors.float().fill_nan(None))
    present = [c for c in table.columns if c.startswith(PRESENT_PREFIX)]
    return table.select(*(pl.col(c).cast(t) for c, t in PREDICTIONS.items()), *present)


def read_predictions(path: Path) -> pl.DataFrame:
    """A predictions table from disk.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as e:
        raise UserError(f"Predictions table {path} cannot be read", found=str(e).splitlines()[0], mend="delete the run folder and run again") from e


def target_of(cohort: Cohort, question: Question) -> TargetTable | None:
    """The question's target in a cohort, None where it has none; class numbers are brought into the question's order.

    Raises:
        UserError: the target is there, of another kind.
    """
    if question.target not in cohort.manifest["targets"]:
        return None
    target = cohort.target(question.target)
    if question.kind != "multiclass" or target.classes == question.classes:
        return target
    if not target.classes:
        raise UserError(
            f"Target {question.target!r} is {target.kind} in this cohort", expected="multiclass, as in training", mend="declare it as in the training cohort"
        )
    # A class that training never saw keeps its row observed and is no label's outcome: -1.
    number = np.array([question.classes.index(c) if c in question.classes else -1 for c in target.classes], dtype=np.float64)
    outcome = target.table["outcome"].to_numpy()
    known = np.isfinite(outcome)
    mapped = np.where(known, number[np.where(known, outcome, 0).astype(np.int64)], np.nan)
    return TargetTable(target.kind, target.table.with_columns(pl.Series("outcome", mapped)), question.classes, target.unit)


def outcomes(cohort: Cohort, question: Question, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes as `Calibration.fit` takes them.

    Args:
        cohort: with the question's target.
        question: what was asked.
        rows: i64 (n,).

    Returns:
        outcome f64 (n,), or (n, 3) time_days, event, entry_days for time to event; observed bool (n,).
    """
    target = target_of(cohort, question)
    if target is None:
        raise UserError(f"The cohort has no target {question.target!r}", mend="recalibrate on a cohort with outcomes")
    table = target.table[rows]
    observed = table["observed"].to_numpy()
    if question.kind == "time_to_event":
        return table.select("time_days", "event", "entry_days").to_numpy().astype(np.float64), observed
    return table["outcome"].to_numpy(), observed


def outcomes_by_label(question: Question, table: pl.DataFrame | None) -> np.ndarray | None:
    """f64 (n, L): the outcome of each label's row, NaN where not observed (see `prediction_table`); None without outcomes."""
    if table is None:
        return None
    outcome = np.where(table["observed"].to_numpy(), table["outcome"].to_numpy(), np.nan)
    match question.kind:
        case "multiclass":
            each = (outcome[:, None] == np.arange(len(question.classes))).astype(np.float64)
            return np.where(np.isnan(outcome)[:, None], np.nan, each)
        case "time_to_event":
            return _status(table, np.array(question.horizons_days))
        case "treatment_effect":
            arm = table["treatment"].to_numpy()
            reached = _status(table, np.array(question.horizons_days))[:, 0] if question.horizons_days else outcome
            received = [np.where(arm == a, reached, np.nan) for a in (0, 1)]
            return np.stack([*received, np.full(len(outcome), np.nan)], axis=1)
        case _:
            return outcome[:, None]


def _status(table: pl.DataFrame, horizons_days: np.ndarray) -> np.ndarray:
    """1: an event of cause 1 by the horizon; 0: followed beyond it without, or another event by then; NaN: censored before, or entered after."""
    time, event, entry = (table[c].to_numpy()[:, None] for c in ("time_days", "event", "entry_days"))
    happened = (time <= horizons_days) & (event > 0)
    known = (happened | (time > horizons_days)) & (entry < horizons_days) & table["observed"].to_numpy()[:, None]
    return np.where(known, (happened & (event == 1)).astype(np.float64), np.nan)


def hidden_in(scenario: str) -> frozenset[str]:
    """The evidences that a scenario's name hides.

    >>> sorted(hidden_in("masked:ehr")), sorted(hidden_in("all"))
    (['ehr'], [])
    >>> sorted(hidden_in("masked:ehr+genotype"))
    ['ehr', 'genotype']
    """
    return frozenset(scenario.removeprefix(MASKED).split("+")) if scenario.startswith(MASKED) else frozenset()


def masked(evidences: Sequence[str]) -> str:
    """The name of the scenario that hides these.

    >>> masked(["ehr", "genotype"])
    'masked:ehr+genotype'
    """
    return MASKED + "+".join(evidences)


def abstaining(where: np.ndarray, reason: str) -> list[str | None]:
    """The reason where True, None elsewhere."""
    return [reason if w else None for w in where.tolist()]


def _presence(question: Question, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str]) -> list[pl.Series]:
    """Which evidences each row has, as the model was shown them."""
    absent = np.zeros(len(rows), dtype=bool)
    shown = {e: cohort.present_in(e)[rows] if e in cohort.evidences and e not in hidden else absent for e in question.evidences}
    return [pl.Series(PRESENT_PREFIX + e, value, dtype=pl.Boolean) for e, value in shown.items()]
