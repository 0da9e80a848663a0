"""Counts of outcomes: are there enough events to learn from and to judge by, and by what is a division stratified."""

from __future__ import annotations

import numpy as np

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.tables import Role

STRATA = 4


def event_counts(target: TargetTable, rows: np.ndarray) -> dict[str, int]:
    """How many observed rows of each kind there are: by class, by cause, by arm, or in all.

    Args:
        target: outcomes of all cohort rows.
        rows: i64, which rows to count.

    Returns:
        ``{"event": ., "no event": .}`` for a binary outcome, ``{class: .}`` for classes, ``{"event": ., "censored": .}`` for time to event (all
        causes together), ``{"treatment 0": ., ...}`` for a treatment effect, ``{"observed": .}`` otherwise.
    """
    table = target.table[rows]
    observed = table["observed"].to_numpy()
    outcome = table["outcome"].to_numpy()[observed]
    match target.kind:
        case "binary":
            return {"event": int((outcome == 1).sum()), "no event": int((outcome == 0).sum())}
        case "multiclass":
            return {name: int((outcome == i).sum()) for i, name in enumerate(target.classes)}
        case "time_to_event":
            event = table["event"].to_numpy()[observed]
            return {"event": int((event > 0).sum()), "censored": int((event == 0).sum())}
        case "treatment_effect":
            arm = table["treatment"].to_numpy()[observed]
            return {f"treatment {a}": int((arm == a).sum()) for a in sorted(set(target.table["treatment"].to_list()) - {-1})}
        case _:
            return {"observed": int(observed.sum())}


def check_events(
    target: TargetTable, split: Split, *, min_train: int, min_held_out: int, min_select: int = 1, min_class: int = 2, of: str = "the outcome"
) -> None:
    """Refuses a split with too few events.

    Args:
        target: outcomes of all cohort rows.
        split: the roles.
        min_train: least number of events (and of rows without one) among train rows.
        min_held_out: likewise among held-out rows; not asked where no row is held out.
        min_select: likewise among select rows; not asked where there are none. Without an event, early stopping and sweeps choose by noise.
        min_class: for classes, the least number of train rows of each class that occurs, and of classes among held-out and among select rows.
        of: how the error calls the outcome, e.g. "target 'died' in fold 3".

    Raises:
        UserError: naming role, count and minimum.
    """
    minima: dict[Role, int] = {"train": min_train, "select": min_select, "held_out": min_held_out}
    for role, least in minima.items():
        rows = split.rows(role)
        if role != "train" and not rows.size:
            continue
        counts = event_counts(target, rows)
        if target.kind == "multiclass":
            _check_classes(counts, event_counts(target, np.arange(target.table.height)), role, min_class, of)
            counts = {"observed": sum(counts.values())}
        elif target.kind == "time_to_event":
            counts = {"event": counts["event"]}
        for name, count in counts.items():
            if count < least:
                raise UserError(
                    f"Too few rows to work with: {of} has {count} of kind '{name}' among the {rows.size} {role} rows",
                    expected=f"at least {least}",
                    mend="gather more rows, give this role a larger share, stratify the division by this target, or use fewer folds"
                    + ("" if role == "select" else f", or lower validation.min_events_{role}"),
                )


def _check_classes(counts: dict[str, int], everywhere: dict[str, int], role: str, least: int, of: str) -> None:
    occurring = [name for name, count in everywhere.items() if count]
    if role == "train":
        rare = [name for name in occurring if counts[name] < least]
        if rare:
            raise UserError(
                f"Too few rows of a class: {of} has {counts[rare[0]]} train rows of class {rare[0]!r}",
                expected=f"at least {least} of every class",
                mend="join rare classes, leave their rows out, or use fewer folds",
            )
    elif sum(counts[name] > 0 for name in occurring) < least:
        raise UserError(f"Too few classes among the {role} rows of {of}", expected=f"at least {least} classes", mend=f"give {role} rows a larger share")


def strata_of(target: TargetTable) -> np.ndarray:
    """Labels by which a division is stratified: class, event, arm and outcome, or quarter of a continuous outcome; -1 where not observed. i64 (n,)."""
    table = target.table
    observed, outcome = table["observed"].to_numpy(), table["outcome"].to_numpy()
    stratum = np.full(table.height, -1, np.int64)
    if not observed.any():
        return stratum
    match target.kind:
        case "binary" | "multiclass":
            stratum[observed] = outcome[observed].astype(np.int64)
        case "time_to_event":
            stratum[observed] = table["event"].to_numpy()[observed]
        case _:
            stratum[observed] = _quarters(outcome[observed])
            treatment = table["treatment"].to_numpy()
            stratum[observed] += (STRATA * (treatment[observed] + 1)).astype(np.int64)
    return stratum


def _quarters(value: np.ndarray) -> np.ndarray:
    edges = np.unique(np.quantile(value, np.linspace(0, 1, STRATA + 1)[1:-1]))
    return np.searchsorted(edges, value, side="right")
