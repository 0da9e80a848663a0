"""Tables that pass between rooms: column names, dtypes and units, named once (no torch)."""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl

Role = Literal["train", "select", "calibrate", "held_out"]
ROLES: tuple[Role, ...] = get_args(Role)
"""train: weights and transforms; select: early stopping and sweeps; calibrate: recalibration, conformal, thresholds; held_out: the report."""

TIME = pl.Datetime("us")

# rows.parquet: one line a row of the cohort, in row order.
ROWS: dict[str, pl.DataType | type[pl.DataType]] = {
    "row_id": pl.Int64,  # 0 .. n-1, the position in every row-aligned array
    "subject_id": pl.String,  # as in the source, in the declared type's canonical spelling
    "prediction_time": TIME,  # null where the sources have no time
    "cluster": pl.String,  # rows of one cluster are dependent and never straddle roles (default: the subject)
    "site": pl.String,  # null where the sources have none
    "role": pl.String,  # one of ROLES, or null for rows to predict only
}

# folds.parquet (optional): given cross-validation folds; a row is held out once per repeat.
FOLDS: dict[str, pl.DataType | type[pl.DataType]] = {"row_id": pl.Int64, "repeat": pl.Int64, "fold": pl.Int64}

# targets/<name>.parquet: row-aligned; defaults are filled, nothing is null.
TARGET: dict[str, pl.DataType | type[pl.DataType]] = {
    "outcome": pl.Float64,  # 0/1, class index, or the value in the outcome's unit; NaN where not observed
    "observed": pl.Boolean,
    "time_days": pl.Float64,  # days from the prediction time to event or censoring; NaN where there is no time
    "event": pl.Int64,  # 0 censored, 1..C the cause; -1 where there is no time to event
    "entry_days": pl.Float64,  # left truncation: days from time zero to entry; 0 = followed from the start
    "treatment": pl.Int64,  # 0, 1, ...; -1 none
    "weight": pl.Float64,  # analysis weight, 1 unless given
}

# MEDS 0.4 event data.
MEDS_SUBJECT, MEDS_TIME, MEDS_CODE, MEDS_VALUE = "subject_id", "time", "code", "numeric_value"

# predictions.parquet: long; PREDICTION_KEY is unique; values in float64.
PREDICTION_KEY: tuple[str, ...] = ("model", "task", "scenario", "repeat", "fold", "subject_id", "prediction_time", "target")
PREDICTIONS: dict[str, pl.DataType | type[pl.DataType]] = {
    "model": pl.String,  # "equipoise" or a comparator's name
    "task": pl.String,
    "scenario": pl.String,  # "all", "masked:<evidence>[+<evidence>]", "refit:<evidences>", "placebo:<evidence>[@2, ...]", "resampled:<k>"
    "repeat": pl.Int64,
    "fold": pl.Int64,
    "subject_id": pl.String,
    "prediction_time": TIME,
    "target": pl.String,  # "", a class, "h=365", "mu0", "mu1", "effect"
    "risk": pl.Float64,  # after recalibration; the predicted mean for a continuous outcome (its unit)
    "risk_raw": pl.Float64,  # before recalibration
    "lo": pl.Float64,  # interval; the manifest says of what (credible_mean | predictive | conformal); null = not estimated
    "hi": pl.Float64,
    "set_event": pl.Boolean,  # whether the conformal set holds the event, or this class; null = no set
    "set_no_event": pl.Boolean,  # whether it holds no event (binary outcomes only)
    "time_lo_days": pl.Float64,  # conformal: the event of cause 1 comes after this; the same for each horizon; null = none
    "aleatoric": pl.Float64,  # nats for probabilities, squared units for a continuous outcome; null = not estimated
    "epistemic": pl.Float64,
    "total": pl.Float64,
    "novelty": pl.Float64,  # share of rows the weights were not fitted to that lie nearer to the train rows; null = not estimated
    "outcome": pl.Float64,  # 0/1 (for a class row: is it this class), or the value; null where not observed
    "time_days": pl.Float64,
    "event": pl.Int64,
    "entry_days": pl.Float64,
    "treatment": pl.Int64,
    "propensity": pl.Float64,
    "weight": pl.Float64,
    "cluster": pl.String,
    "site": pl.String,
    "role": pl.String,
    "abstain_reason": pl.String,  # null = no abstention
}
PRESENT_PREFIX = "present_"
"""predictions.parquet has one Boolean column ``present_<evidence>`` for each evidence beside PREDICTIONS."""
BASE_PREFIX, STRATUM_PREFIX, SITE_UNSEEN = "base_", "stratum_", "site_unseen"
"""Further columns where the worth of evidences is claimed: ``base_<column>`` (a number or a level) for each column that nested models keep,
``stratum_<name>`` (String) for each stratum of the placebos beside the site, and ``site_unseen``: no other role had a row of this row's site."""
SUBGROUP_PREFIX, MISSING_PATTERN = "subgroup_", "missing"
"""It has one String column ``subgroup_<name>`` for each column of the cohort that the protocol's subgroups name; the subgroup ``missing`` is made of
the ``present_<evidence>`` columns: which evidences a row has."""

MODEL = "equipoise"
SCENARIO_ALL = "all"
RESAMPLED_PREFIX = "resampled:"
"""Scenario ``resampled:<k>``: everything trained anew on clusters of train, select and calibrate rows drawn with replacement."""
REFUSED = "refused: "
"""Begins the reason why a comparator that could answer was not run, e.g. for its cost. One whose reason begins otherwise does not apply."""


def empty_like(schema: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """A table with these columns and no rows."""
    return pl.DataFrame(schema=schema)
