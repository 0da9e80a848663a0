"""Foreign tables with a column for each class, horizon or arm, ``risk@<label>``, as lines of a predictions table."""

from __future__ import annotations

import numpy as np
import polars as pl

from equipoise.contract.errors import UserError
from equipoise.contract.question import Question, TargetKind
from equipoise.predict_table import outcomes_by_label

AT = "@"
_LABELS: dict[str, str] = {
    "multiclass": "risk@<class> for each class, and outcome holds the class",
    "time_to_event": "risk@h=<days> for each horizon, beside time_days and event",
    "treatment_effect": "risk@mu0 and risk@mu1, beside outcome and treatment",
}


def by_label(wide: pl.DataFrame, kind: TargetKind) -> pl.DataFrame:
    """One line a label: ``risk@<label>`` becomes ``risk`` with ``<label>`` in the column ``target``; ``comparator_<name>@<label>`` likewise.

    ==================  ====================  =====================================================================================
    kind                labels                outcome of a line
    multiclass          the classes           1 where the table's ``outcome`` is this class, else 0
    time_to_event       ``h=365``, ...        status at the horizon where ``time_days`` and ``event`` tell it (see `prediction_table`)
    treatment_effect    ``mu0``, ``mu1``      ``outcome`` of those who received that arm; ``effect`` is mu1 - mu0 and has none
    ==================  ====================  =====================================================================================

    Args:
        wide: one line a row of the cohort.
        kind: multiclass, time_to_event or treatment_effect.

    Raises:
        UserError: there is no such column, a horizon cannot be read, or an outcome is none of the classes.
    """
    labels = [c.partition(AT)[2] for c in wide.columns if c.startswith(f"risk{AT}")]
    needed = {"multiclass": {"outcome"}, "time_to_event": {"time_days", "event"}, "treatment_effect": {"outcome", "treatment"}}[kind]
    complete = {"mu0", "mu1"} <= set(labels) if kind == "treatment_effect" else bool(labels)
    if not complete or not needed <= set(wide.columns):
        raise UserError(
            f"The predictions table has no columns for a {kind} outcome",
            expected=f"{_LABELS[kind]}; or one line a label, with its name in column target",
            found=", ".join(wide.columns[:12]),
            mend="rename the columns, or name them by columns.risk=, columns.outcome= and so on",
        )
    if kind == "treatment_effect":
        wide, labels = _with_effect(wide), ["mu0", "mu1", "effect"]
    outcome = _outcomes(wide, kind, labels)
    kept = wide.select(c for c in wide.columns if AT not in c and c != "outcome")
    blocks = []
    for i, label in enumerate(labels):
        own = wide.select(pl.col(c).alias(c.partition(AT)[0]) for c in wide.columns if c.partition(AT)[2] == label)
        blocks.append(kept.with_columns(pl.lit(label).alias("target"), pl.Series("outcome", outcome[:, i]).fill_nan(None), *own.get_columns()))
    return pl.concat(blocks, how="diagonal_relaxed")


def _with_effect(wide: pl.DataFrame) -> pl.DataFrame:
    """Effects that the table does not state are the difference of the two arms."""
    names = [c.removesuffix("@mu1") for c in wide.columns if c.endswith("@mu1") and f"{c.removesuffix('@mu1')}@effect" not in wide.columns]
    return wide.with_columns((pl.col(f"{name}@mu1") - pl.col(f"{name}@mu0")).alias(f"{name}@effect") for name in names)


def _outcomes(wide: pl.DataFrame, kind: TargetKind, labels: list[str]) -> np.ndarray:
    """f64 (n, L), NaN where not known: as of a cohort's own target."""
    n = wide.height
    follow_up = {"time_days": (np.nan, pl.Float64), "event": (-1, pl.Int64), "entry_days": (0.0, pl.Float64), "treatment": (-1, pl.Int64)}
    seen = {name: wide[name].cast(dtype).fill_null(default) if name in wide.columns else [default] * n for name, (default, dtype) in follow_up.items()}
    outcome: np.ndarray = np.full(n, np.nan)
    if kind == "multiclass":
        outcome = _class_numbers(wide["outcome"].cast(pl.String), labels)
    elif "outcome" in wide.columns:
        outcome = wide["outcome"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    observed = np.isfinite(np.asarray(seen["time_days"])) if kind == "time_to_event" else np.isfinite(outcome)
    horizons = tuple(_days(label) for label in labels) if kind == "time_to_event" else ()
    question = Question("risk", "outcome", kind, (), classes=tuple(labels), horizons_days=horizons)
    made = outcomes_by_label(question, pl.DataFrame({"outcome": outcome, "observed": observed, **seen}))
    return np.full((n, len(labels)), np.nan) if made is None else made


def _class_numbers(outcome: pl.Series, labels: list[str]) -> np.ndarray:
    strange = outcome.drop_nulls().filter(~outcome.drop_nulls().is_in(labels))
    if strange.len():
        raise UserError(
            f"Column outcome of the predictions table is none of the classes in {strange.len()} rows",
            expected=", ".join(labels),
            examples=", ".join(map(repr, strange.unique().sort().head(3))),
            mend="correct them, or add a column risk@<class> for each",
        )
    numbers = {label: float(i) for i, label in enumerate(labels)}
    return np.array([numbers.get(value, np.nan) for value in outcome.to_list()])


def _days(label: str) -> float:
    try:
        return float(label.removeprefix("h="))
    except ValueError:
        raise UserError(f"Column risk@{label} names no horizon", expected="days, e.g. risk@h=365", mend="rename the column") from None
