"""The predictions table at the waist: validated once, then trusted; and a foreign table brought into its form."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from equipoise.contract.errors import UserError
from equipoise.contract.question import TargetKind
from equipoise.contract.tables import MODEL, PREDICTION_KEY, PREDICTIONS, SCENARIO_ALL
from equipoise.trial.wide import AT, by_label

COMPARATOR_PREFIX = "comparator_"
_DEFAULTS: dict[str, object] = {
    "model": MODEL,
    "task": "risk",
    "scenario": SCENARIO_ALL,
    "repeat": 0,
    "fold": 0,
    "prediction_time": None,
    "target": "",
    "entry_days": 0.0,
    "treatment": -1,
    "weight": 1.0,
}


def validated(predictions: pl.DataFrame) -> pl.DataFrame:
    """A complete predictions table: columns of `contract.tables.PREDICTIONS` with defaults filled, NaN as null, clusters filled.

    Args:
        predictions: at least ``subject_id``, ``outcome`` (or ``time_days`` and ``event``) and ``risk``.

    Raises:
        UserError: a needed column is missing, a column has another type, a number is infinite, a weight is negative, or the key is not unique.
    """
    _refuse_missing(predictions)
    table = predictions.with_columns(pl.lit(_DEFAULTS.get(c)).cast(t).alias(c) for c, t in PREDICTIONS.items() if c not in predictions.columns)
    try:
        table = table.with_columns(pl.col(c).cast(t) for c, t in PREDICTIONS.items())
    except pl.exceptions.PolarsError as e:
        wrong = next((c for c, t in PREDICTIONS.items() if not _castable(table[c], t)), "?")
        raise UserError(f"Column {wrong} of the predictions table has another type", expected=str(PREDICTIONS[wrong]), mend="correct the column") from e
    table = table.with_columns(pl.selectors.float().fill_nan(None)).with_columns(
        pl.col("cluster").fill_null(pl.col("subject_id")),
        *(pl.col(c).fill_null(pl.lit(_DEFAULTS[c])) for c in ("entry_days", "treatment", "weight", "target", "repeat", "fold", "scenario", "task", "model")),
    )
    _refuse_values(table)
    _refuse_duplicates(table)
    return table


def from_foreign(
    foreign: pl.DataFrame, columns: Mapping[str, str] | None = None, *, model: str = MODEL, task: str = "risk", kind: TargetKind | None = None
) -> pl.DataFrame:
    """A table that another tool made, as a predictions table: wide ``comparator_<name>`` columns become rows of model <name>.

    Args:
        foreign: at least ``subject_id``, ``outcome`` and ``risk``, under these names or those in ``columns``; any column of the predictions table
            may stand beside them.
        columns: our name -> its name, e.g. ``{"risk": "score", "outcome": "died"}``.
        model: what to call the model; rows with a ``model`` column keep theirs.
        task: what to call the question.
        kind: of the outcome; multiclass, time_to_event and treatment_effect may have a column for each label (see `trial.wide`).

    Raises:
        UserError: as `validated`, and when a named column is not there.
    """
    table = _dated(_renamed(foreign, columns or {}))
    if kind in ("multiclass", "time_to_event", "treatment_effect") and "target" not in table.columns:
        table = by_label(table, kind)
    # Below, a comparator's risk would fill in for a missing one of the model.
    _refuse_missing(table)
    wide = [c for c in table.columns if c.startswith(COMPARATOR_PREFIX)]
    if "task" not in table.columns:
        table = table.with_columns(pl.lit(task).alias("task"))
    own = table.drop(wide) if "model" in table.columns else table.drop(wide).with_columns(pl.lit(model).alias("model"))
    # Only the risk is the comparator's; intervals and uncertainties beside it are the model's.
    of_model = ("risk", "risk_raw", "lo", "hi", "aleatoric", "epistemic", "total", "abstain_reason", "model", "propensity")
    shared = table.drop([c for c in (*of_model, *wide) if c in table.columns])
    others = [shared.with_columns(table[c].alias("risk"), pl.lit(c.removeprefix(COMPARATOR_PREFIX)).alias("model")) for c in wide]
    return validated(pl.concat([own, *others], how="diagonal_relaxed"))


def _renamed(foreign: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Their columns under our names, ``score@<label>`` as ``risk@<label>``; a column of our name that was not meant is left out."""
    new: dict[str, str] = {}
    for ours, theirs in columns.items():
        found = {ours + c.removeprefix(theirs): c for c in foreign.columns if c == theirs or c.startswith(theirs + AT)}
        if not found:
            raise UserError(
                f"The predictions file has no column {theirs!r} (for {ours})", found=", ".join(foreign.columns[:12]), mend=f"correct columns.{ours}"
            )
        new |= found
    rest = [c for c in foreign.columns if c not in new and c not in new.values()]
    return foreign.select(*rest, *(pl.col(theirs).alias(ours) for ours, theirs in new.items()))


def _dated(table: pl.DataFrame) -> pl.DataFrame:
    """Prediction times that a CSV file spells out."""
    if table.schema.get("prediction_time") != pl.String:
        return table
    try:
        return table.with_columns(pl.col("prediction_time").str.to_datetime())
    except pl.exceptions.PolarsError as e:
        raise UserError("Column prediction_time of the predictions table holds no dates", expected="e.g. 2024-01-31", mend="correct the column") from e


def _refuse_missing(table: pl.DataFrame) -> None:
    timed = {"time_days", "event"} <= set(table.columns)
    for needed in ("subject_id", "risk", *(() if timed else ("outcome",))):
        if needed not in table.columns:
            raise UserError(
                f"The predictions table has no column {needed}",
                expected="at least subject_id, outcome and risk",
                found=", ".join(table.columns[:12]),
                mend=f"name it by columns.{needed}=NAME, or rename the column" if not any(AT in c for c in table.columns) else "give kind=",
            )
    if table.is_empty():
        raise UserError("The predictions table has no rows", expected="one row a prediction", mend="give a table with rows")


def _castable(column: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> bool:
    try:
        column.cast(dtype)
    except pl.exceptions.PolarsError:
        return False
    return True


def _refuse_values(table: pl.DataFrame) -> None:
    numbers = ("risk", "risk_raw", "lo", "hi", "aleatoric", "epistemic", "total", "outcome", "time_days", "entry_days", "propensity", "weight")
    for column in numbers:
        infinite = int(table[column].is_infinite().sum())
        if infinite:
            raise UserError(f"Column {column} of the predictions table is infinite in {infinite} rows", expected="finite numbers or null", mend="correct them")
    if (table["weight"] < 0).any():
        raise UserError("Column weight of the predictions table is negative in some rows", expected="weights >= 0", mend="correct them")
    if table["subject_id"].null_count():
        raise UserError(f"Column subject_id of the predictions table is empty in {table['subject_id'].null_count()} rows", mend="give every row its subject")


def _refuse_duplicates(table: pl.DataFrame) -> None:
    repeated = table.group_by(PREDICTION_KEY).len().filter(pl.col("len") > 1)
    if not repeated.is_empty():
        some = repeated.sort("subject_id")["subject_id"].unique(maintain_order=True).head(3).to_list()
        raise UserError(
            "The predictions table has rows with the same key",
            expected=f"one row for each ({', '.join(PREDICTION_KEY)})",
            found=f"{repeated.height} keys occur more than once",
            examples=f"e.g. subjects {', '.join(some)}",
            mend="remove the doubles, or add the column that tells them apart (prediction_time, repeat, fold)",
        )
