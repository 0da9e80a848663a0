"""The evaluated rows as arrays: every model's answer to the same rows, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from equipoise.contract.errors import UserError
from equipoise.contract.question import horizon_label
from equipoise.trial.groups import groups_of

ROW_KEY = ("repeat", "fold", "subject_id", "prediction_time")


@dataclass(frozen=True)
class Forecasts:
    """One model's answer in one scenario, n rows and L labels.

    Args:
        risk: f64 (n, L), NaN where the model has none.
        total: f64 (n, L), predictive variance, NaN where not stated.
        lo: f64 (n, L); hi: f64 (n, L); aleatoric: f64 (n, L); epistemic: f64 (n, L): NaN where not estimated.
        set_event: f64 (n, L); set_no_event: f64 (n, L): 1 or 0, NaN where there is no set (see `contract.tables`).
        propensity: f64 (n,), NaN where not stated.
        n_abstained: rows for which the model gave no answer.
    """

    risk: np.ndarray
    total: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    set_event: np.ndarray
    set_no_event: np.ndarray
    propensity: np.ndarray
    n_abstained: int

    @property
    def given(self) -> np.ndarray:
        """bool (n,): is there a risk for every label."""
        return np.isfinite(self.risk).all(axis=1)


@dataclass(frozen=True)
class Rows:
    """The rows of one question.

    Args:
        kind: of the outcome.
        labels: L values of the ``target`` column, in order.
        outcome: f64 (n, L) as `predict_table` writes it: value, or 0/1 for each class or horizon; for a treatment effect (n, 1), the outcome in
            the arm that was received.
        observed: bool (n,): the row can be judged, as far as its outcome goes.
        missing: bool (n,): the row's outcome is not known.
        time: f64 (n,) days; event: i64 (n,); entry: f64 (n,) days; treatment: i64 (n,); weight: f64 (n,).
        cluster: i64 (n,), 0..C-1.
        site: str (n,), "" where not known.
        subject: i64 (n,), numbers of distinct (subject, prediction time).
        repeat: i64 (n,); fold: i64 (n,).
        forecasts: by (model, scenario).
        groups: str (n,) by name of the subgroup, "not known" where missing (see `trial.groups`).
    """

    kind: str
    labels: tuple[str, ...]
    outcome: np.ndarray
    observed: np.ndarray
    missing: np.ndarray
    time: np.ndarray
    event: np.ndarray
    entry: np.ndarray
    treatment: np.ndarray
    weight: np.ndarray
    cluster: np.ndarray
    site: np.ndarray
    subject: np.ndarray
    repeat: np.ndarray
    fold: np.ndarray
    forecasts: dict[tuple[str, str], Forecasts]
    groups: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return int(self.outcome.shape[0])

    @property
    def horizons_days(self) -> tuple[float, ...]:
        """Horizons of a time to event, in the labels' order."""
        return tuple(float(label.removeprefix("h=")) for label in self.labels) if self.kind == "time_to_event" else ()


def rows_of(table: pl.DataFrame, kind: str, classes: tuple[str, ...], *, abstain: str, groups: Sequence[str] = ()) -> Rows:
    """Brings a validated table of one task into arrays.

    Args:
        table: from `trial.table.validated`, one task.
        kind: of the outcome.
        classes: of a multiclass outcome; () takes the table's own, sorted.
        abstain: "exclude" leaves an abstaining row without a risk; "base_rate" gives it the risk that stands in the table, or else the mean risk
            of its model's other rows.
        groups: the protocol's subgroups.

    Raises:
        UserError: several tasks, unexpected labels, folds with different horizons, values outside their range, or models that disagree on what happened.
    """
    if table["task"].n_unique() > 1:
        raise UserError("The predictions table holds several tasks", found=", ".join(sorted(table["task"].unique())), mend="evaluate one at a time")
    labels = _labels(table, kind, classes)
    keys = table.select(ROW_KEY).unique().sort(ROW_KEY).with_row_index("row")  # sorted: results do not depend on the lines' order
    table = table.join(keys, on=ROW_KEY, how="left", nulls_equal=True, maintain_order="left")
    row, column = table["row"].to_numpy().astype(np.int64), np.array([labels.index(t) for t in table["target"]], dtype=np.int64)
    n = keys.height
    _refuse_other_horizons(table, kind, len(labels))
    _refuse_disagreement(table)
    _refuse_range(table, kind)
    first = table.unique("row", keep="first", maintain_order=True).sort("row")
    outcome = _outcome(table, kind, n, row, column, len(labels))
    time, event = first["time_days"].fill_null(np.nan).to_numpy(), first["event"].fill_null(-1).to_numpy()
    observed = np.isfinite(outcome).all(axis=1) if kind != "time_to_event" else np.isfinite(time) & (time > 0) & (event >= 0)
    if kind == "treatment_effect":
        observed &= np.isin(first["treatment"].to_numpy(), (0, 1))
    forecasts = {}
    for (model, scenario), index in (
        table.with_row_index("at").group_by("model", "scenario", maintain_order=True).agg("at").rows_by_key(["model", "scenario"], unique=True).items()
    ):
        at = np.asarray(index[0] if isinstance(index, tuple) else index, dtype=np.int64)
        forecasts[(str(model), str(scenario))] = _forecasts(table[at], row[at], column[at], n, len(labels), abstain)
    return Rows(
        kind=kind,
        labels=labels,
        outcome=outcome,
        observed=observed,
        missing=~observed,
        time=time,
        event=event.astype(np.int64),
        entry=first["entry_days"].to_numpy(),
        treatment=first["treatment"].to_numpy(),
        weight=first["weight"].to_numpy(),
        cluster=np.unique(first["cluster"].to_numpy(), return_inverse=True)[1],
        site=first["site"].fill_null("").to_numpy().astype(str),
        subject=_numbered(first),
        repeat=first["repeat"].to_numpy(),
        fold=first["fold"].to_numpy(),
        forecasts=forecasts,
        groups=groups_of(table, keys, groups),
    )


def _labels(table: pl.DataFrame, kind: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    found = sorted(table["target"].unique().to_list())
    match kind:
        case "multiclass":
            labels = tuple(classes) or tuple(found)
        case "time_to_event":
            horizons = [_horizon(label) for label in found]
            labels = tuple(horizon_label(h) for h in sorted(horizons))
        case "treatment_effect":
            labels = ("mu0", "mu1", "effect")
        case "binary" | "continuous":
            labels = ("",)
        case _:
            raise UserError(
                f"Unknown kind of outcome {kind!r}", expected="binary, multiclass, continuous, time_to_event or treatment_effect", mend="correct it"
            )
    strange = sorted(set(found) - set(labels))
    if strange:
        raise UserError(
            "The predictions table has unexpected values in column target",
            expected=", ".join(map(repr, labels)),
            examples=", ".join(map(repr, strange[:5])),
            mend=f"choose the kind of outcome that fits the table, this is {kind}",
        )
    return labels


def _numbered(first: pl.DataFrame) -> np.ndarray:
    """Numbers of distinct (subject, prediction time), i64 (n,)."""
    key = ("subject_id", "prediction_time")
    keys = first.select(key).unique(maintain_order=True).with_row_index("number")
    return first.join(keys, on=key, how="left", nulls_equal=True, maintain_order="left")["number"].to_numpy().astype(np.int64)


def _horizon(label: str) -> float:
    try:
        return float(label.removeprefix("h="))
    except ValueError:
        raise UserError(f"Column target has {label!r}", expected="a horizon in days, e.g. 'h=365'", mend="correct the table, or choose another kind") from None


def _outcome(table: pl.DataFrame, kind: str, n: int, row: np.ndarray, column: np.ndarray, n_labels: int) -> np.ndarray:
    value = table["outcome"].fill_null(np.nan).to_numpy()
    if kind == "treatment_effect":
        column, n_labels = np.zeros_like(column), 1  # mu0 and mu1 each carry the outcome of those who received that arm
    outcome = np.full((n, n_labels), np.nan)
    given = np.isfinite(value)
    outcome[row[given], column[given]] = value[given]
    return outcome


def _forecasts(table: pl.DataFrame, row: np.ndarray, column: np.ndarray, n: int, n_labels: int, abstain: str) -> Forecasts:
    def filled(name: str) -> np.ndarray:
        made = np.full((n, n_labels), np.nan)
        made[row, column] = table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return made

    names = ("risk", "total", "lo", "hi", "aleatoric", "epistemic")
    risk, total, lo, hi, aleatoric, epistemic, set_event, set_no_event = (filled(name) for name in (*names, "set_event", "set_no_event"))
    silent = np.ones(n, dtype=bool)
    silent[row] = table["abstain_reason"].is_not_null().to_numpy()
    silent |= ~np.isfinite(risk).all(axis=1)
    if abstain == "exclude":
        risk[silent] = np.nan
    elif not silent.all():
        lacking = ~np.isfinite(risk).all(axis=1)
        spread = total[~lacking].mean(0) + risk[~lacking].var(0)
        risk[lacking], total[lacking] = risk[~lacking].mean(0), spread
    propensity = np.full(n, np.nan)
    propensity[row] = table["propensity"].fill_null(np.nan).to_numpy()
    return Forecasts(risk, total, lo, hi, aleatoric, epistemic, set_event, set_no_event, propensity, int(silent.sum()))


def _refuse_other_horizons(table: pl.DataFrame, kind: str, n_labels: int) -> None:
    """Horizons are a part of the question: folds that each chose their own have answered different ones, and no row could be judged."""
    if kind != "time_to_event":
        return
    asked = table.group_by("repeat", "fold").agg(pl.col("target").unique().sort()).sort("repeat", "fold")
    if (asked["target"].list.len() < n_labels).any():
        some = "; ".join(f"fold {r}.{f}: {', '.join(t)}" for r, f, t in asked.head(3).iter_rows())
        raise UserError(
            "The folds were asked about different horizons",
            expected="the same horizons in every fold",
            found=some,
            mend="set task.time_to_event.horizons_days and fit again",
        )


def _refuse_disagreement(table: pl.DataFrame) -> None:
    facts = ("outcome", "time_days", "event", "entry_days", "treatment", "weight", "cluster")
    differing = table.group_by("row", "target").agg(pl.col(c).drop_nulls().n_unique() for c in facts)
    for fact in facts:
        n = int((differing[fact] > 1).sum())
        if n:
            raise UserError(f"Models disagree on column {fact} in {n} rows of the predictions table", expected="one truth for each row", mend="correct it")


def _refuse_range(table: pl.DataFrame, kind: str) -> None:
    outcome, risk = table["outcome"].drop_nulls(), table["risk"].drop_nulls()
    if kind in ("binary", "multiclass"):
        wrong = int((~outcome.is_in([0.0, 1.0])).sum())
        if wrong:
            raise UserError(
                f"Column outcome of the predictions table is neither 0 nor 1 in {wrong} rows", mend="correct them, or choose another kind of outcome"
            )
    if kind in ("binary", "multiclass", "time_to_event"):
        wrong = int(((risk < 0) | (risk > 1)).sum())
        if wrong:
            models = sorted(table.filter((pl.col("risk") < 0) | (pl.col("risk") > 1))["model"].unique().to_list())
            raise UserError(
                f"Column risk of the predictions table is outside [0, 1] in {wrong} rows",
                expected="probabilities",
                found=f"models {', '.join(models[:5])}",
                mend="give risks, not scores; recalibrate a score to a risk first",
            )
    if kind == "multiclass":
        sums = table.filter(pl.col("risk").is_not_null()).group_by("model", "scenario", "row").agg(pl.col("risk").sum(), pl.len())
        wrong = int(((sums["risk"] - 1).abs() > 1e-3).sum())
        if wrong:
            raise UserError(f"The risks of the classes do not sum to 1 in {wrong} rows", expected="probabilities of exclusive classes", mend="correct them")
