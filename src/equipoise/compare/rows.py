"""One predictions table of several runs: the rows on which all were judged, each run a model, and the first run's comparators where all runs agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from equipoise.compare.folder import Run
from equipoise.contract.errors import UserError
from equipoise.contract.tables import MODEL, SCENARIO_ALL
from equipoise.trial.rows import ROW_KEY

_FACTS = ("outcome", "time_days", "event", "entry_days", "treatment")
_OF_ROWS = ("cluster", "weight")
_KEY = (*ROW_KEY, "target")
_SAME = 1e-9  # risks that differ by less were rounded otherwise, not fitted otherwise


@dataclass(frozen=True)
class Common:
    """The table and what is to be said about it.

    Args:
        table: a predictions table of one task; model is a run's label or a comparator's name.
        comparators: the comparators that it holds.
        said: sentences.
    """

    table: pl.DataFrame
    comparators: list[str]
    said: list[str]


def common_rows(runs: Sequence[Run], task: str) -> Common:
    """Brings the runs' answers to one question onto their common rows.

    Args:
        runs: of one task, kind and role.
        task: the question.

    Raises:
        UserError: there are no common rows, classes or horizons; or the runs do not agree on what happened.
    """
    of = {run.label: _lines(run, task) for run in runs}
    own = {label: table.filter(pl.col("model") == MODEL) for label, table in of.items()}
    targets, said = _targets(own, runs[0].questions[task]["kind"])
    own = {label: table.filter(pl.col("target").is_in(targets)) for label, table in own.items()}
    keys = _common_keys(own)
    said += [
        f"{n - keys.height} of {n} rows of {label} were not judged in every run and are left out"
        for label, table in own.items()
        if (n := table.select(ROW_KEY).n_unique()) > keys.height
    ]
    own = {label: table.join(keys, on=ROW_KEY, how="semi", nulls_equal=True) for label, table in own.items()}
    first, *others = own
    for label in others:
        _refuse_other_facts(own[first], own[label], first, label)
        said += [
            f"{label} has another {column} than {first} for some rows; that of {first} serves"
            for column in _OF_ROWS
            if _differing(own[first], own[label], column)
        ]
    comparators, about = _comparators(of, keys, targets)
    facts = own[first].select(*_KEY, *_OF_ROWS)
    frames = [
        table.drop(_OF_ROWS).join(facts, on=_KEY, how="left", nulls_equal=True).with_columns(pl.lit(label).alias("model")) for label, table in own.items()
    ]
    table = pl.concat([*frames, *comparators.values()], how="diagonal_relaxed")
    return Common(table, list(comparators), [*said, *about])


def _lines(run: Run, task: str) -> pl.DataFrame:
    return run.table.filter((pl.col("task") == task) & (pl.col("scenario") == SCENARIO_ALL))


def _targets(own: dict[str, pl.DataFrame], kind: str) -> tuple[list[str], list[str]]:
    """The labels that every run answers: of a time to event the common horizons; else all, which must be the same."""
    found = {label: set(table["target"].unique().to_list()) for label, table in own.items()}
    common, every = set.intersection(*found.values()), set.union(*found.values())
    if common == every:
        return sorted(common), []
    what = "horizons" if kind == "time_to_event" else "classes"
    if kind != "time_to_event" or not common:
        listed = "; ".join(f"{label}: {', '.join(sorted(labels))}" for label, labels in found.items())
        raise UserError(f"The runs were asked about different {what}", expected=f"common {what}", found=listed, mend="compare runs of one question")
    return sorted(common), [f"horizons that not every run was asked about are left out: {', '.join(sorted(every - common))}"]


def _common_keys(own: dict[str, pl.DataFrame]) -> pl.DataFrame:
    keys = [table.select(ROW_KEY).unique() for table in own.values()]
    common = keys[0]
    for other in keys[1:]:
        common = common.join(other, on=ROW_KEY, how="semi", nulls_equal=True)
    if common.is_empty():
        found = ", ".join(f"{label}: {k.height} rows" for label, k in zip(own, keys, strict=True))
        raise UserError("The runs have no rows in common", expected="runs judged on the same rows", found=found, mend=_OTHER_ROWS)
    return common


_OTHER_ROWS = "compare runs of one cohort with the same split or folds (cohort.seed and the like), or leave out the run that has others"


def _pair(a: pl.DataFrame, b: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    return a.select(*_KEY, *columns).join(b.select(*_KEY, *columns), on=_KEY, how="inner", nulls_equal=True, suffix="_other")


def _differing(a: pl.DataFrame, b: pl.DataFrame, column: str) -> int:
    pair = _pair(a, b, [column])
    return int((pair[column].ne_missing(pair[f"{column}_other"])).sum())


def _refuse_other_facts(a: pl.DataFrame, b: pl.DataFrame, first: str, label: str) -> None:
    for fact in _FACTS:
        n = _differing(a, b, fact)
        if n:
            raise UserError(
                f"Runs {first} and {label} know another {fact} of {n} of their common rows",
                expected="the same outcomes of the same rows",
                mend="compare runs of one version of the data; run the older one again",
            )


def _comparators(of: dict[str, pl.DataFrame], keys: pl.DataFrame, targets: Sequence[str]) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """name -> its lines, once; and sentences about those whose predictions are not the same in every run that has them."""
    kept, said = {}, []
    tables = [t.filter(pl.col("target").is_in(targets)).join(keys, on=ROW_KEY, how="semi", nulls_equal=True) for t in of.values()]
    for name in [m for m in tables[0]["model"].unique(maintain_order=True).to_list() if m != MODEL]:
        lines = [t.filter(pl.col("model") == name) for t in tables]
        if all(_same_forecasts(lines[0], other) for other in lines[1:] if not other.is_empty()):
            shown = name if name not in of else f"{name} (comparator)"  # a run's folder may have a comparator's name
            kept[shown] = lines[0].with_columns(pl.lit(shown).alias("model"))
        else:
            said.append(f"comparator {name} is left out: its predictions are not the same in every run")
    return kept, said


def _same_forecasts(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    pair = _pair(a, b, ["risk", "total"])
    if not a.height == b.height == pair.height:
        return False
    columns = [(pair[c].to_numpy().astype(np.float64), pair[f"{c}_other"].to_numpy().astype(np.float64)) for c in ("risk", "total")]
    return all(np.allclose(x, y, rtol=_SAME, atol=_SAME, equal_nan=True) for x, y in columns)
