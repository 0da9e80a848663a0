"""The arms behind "what does each evidence add?": nested refits without an evidence, and placebos whose content was permuted among people."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.ancestry import genetic_groups
from equipoise.cohort.draft import ColumnStore
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.permuted import permutation, permuted
from equipoise.cohort.split import Split
from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError
from equipoise.contract.tables import BASE_PREFIX, MODEL, ROLES, SITE_UNSEEN, STRATUM_PREFIX, Role
from equipoise.fit import SplitFit, fit_split
from equipoise.trial.protocol import Protocol, protocol_of

log = logging.getLogger("equipoise.value")

ALL = "all"
MOST_FOR_SUBSETS = 6
KEY = ["subject_id", "prediction_time"]


def with_value(config: Mapping[str, Any], cohort: Cohort, split: Split, role: Role, folder: Path, fit: SplitFit, *, repeat: int, fold: int) -> SplitFit:
    """A split's fit with the arms that the protocol's claims need, and the columns by which they are judged.

    Every arm has the fit's config, seeds and tuning budget, a folder of its own below ``folder/value`` (a finished one is skipped), and no comparators.

    Args:
        config: the resolved config.
        cohort: the cohort.
        split: of the fit.
        role: whose rows were predicted; for select rows nothing is claimed, and no arm is fitted.
        folder: the split's folder.
        fit: what `fit_split` gave.
        repeat: of the cross-validation, 0 for a fixed split.
        fold: likewise.

    Returns:
        The fit; where no evidence's worth is claimed, unchanged.
    """
    protocol = protocol_of(config["trial"])
    evidences = valued(config, cohort)
    if not evidences or role == "select":
        return fit
    strata = strata_of(protocol, cohort, split.train)
    numbers = [np.unique([str(v) for v in values], return_inverse=True)[1] for values in strata.values()]
    roles = [split.rows(r) for r in ROLES]
    subject = cohort.rows["subject_id"].to_numpy()
    tables, notes, seed = [fit.table], {}, int(config["seed"])
    home = folder / "value"
    for evidence in evidences:
        others = [e for e in _evidences(config) if e != evidence]
        if others:
            log.info("worth of %s: the model without it", evidence)
            tables.append(_arm(_without(config, evidence), cohort, split, role, home / f"without_{evidence}", f"refit:{'+'.join(others)}", repeat, fold))
        for k in range(protocol.placebo_repeats):
            log.info("worth of %s: placebo %d of %d", evidence, k + 1, protocol.placebo_repeats)
            counters = (seed, zlib.crc32(evidence.encode()), k, repeat, fold)
            present = cohort.present_in(evidence)
            source = permutation(present, subject, roles, numbers, counters=counters)
            name = f"placebo:{evidence}" + (f"@{k + 1}" if k else "")
            own = permuted(cohort, evidence, source)
            tables.append(_arm(_bare(config), own, split, role, home / f"placebo_{evidence}_{k + 1}", name, repeat, fold))
            inside = np.concatenate(roles)
            notes[name] = {"rows": int(present[inside].sum()), "kept_their_own": int((present & (source == np.arange(source.size)))[inside].sum())}
    table = pl.concat(tables, how="diagonal_relaxed").join(
        _columns(config, cohort, split, role, strata), on=KEY, how="left", nulls_equal=True, maintain_order="left"
    )
    return SplitFit(table, fit.notes | {"permuted": notes})


def check_value(config: Mapping[str, Any], cohort: Cohort) -> None:
    """Mistakes in the claims about evidences, before anything is trained.

    Raises:
        UserError: an evidence or a stratum is not there, an evidence holds the base columns, or there are too many subsets.
    """
    protocol = protocol_of(config["trial"])
    if valued(config, cohort):
        strata_of(protocol, cohort, np.empty(0, np.int64))
    n = len(_evidences(config))
    if protocol.subsets == "all" and n > MOST_FOR_SUBSETS:
        raise UserError(
            f"trial.subsets is all, with {n} evidences", expected=f"at most {MOST_FOR_SUBSETS} evidences", found=f"{2**n - 2} subsets", mend="set it to none"
        )


def valued(config: Mapping[str, Any], cohort: Cohort) -> list[str]:
    """The evidences whose worth is claimed.

    Raises:
        UserError: one is not an evidence of the config's views, or holds the columns that every nested model keeps.
    """
    protocol, there = protocol_of(config["trial"]), _evidences(config)
    base = base_columns(config, cohort)
    if protocol.value_of == (ALL,):
        return [e for e in there if e not in base.values()]
    for evidence in protocol.value_of:
        if evidence not in there:
            raise UserError(
                f"trial.value_of names {evidence!r}",
                expected=f"evidences of the chosen views: {', '.join(there)}; or [all]",
                mend=nearest(evidence, there) or "correct the name",
            )
        if evidence in base.values():
            columns = ", ".join(c for c, e in base.items() if e == evidence)
            raise UserError(
                f"trial.value_of names {evidence!r}, which holds columns that every nested model keeps ({columns})",
                mend="leave it out, or shorten trial.value_base",
            )
    return list(protocol.value_of)


def base_columns(config: Mapping[str, Any], cohort: Cohort) -> dict[str, str]:
    """Columns of the config's views that match ``trial.value_base``, without regard to case, and the evidence that holds each."""
    patterns = [p.lower() for p in protocol_of(config["trial"]).value_base]
    found: dict[str, str] = {}
    for view in config["modality"].values():
        evidence, chosen = str(view["evidence"]), view.get("columns")
        if evidence not in cohort.evidences or cohort.kind_of(evidence) != "columns":
            continue
        store = cohort.store(evidence)
        assert isinstance(store, ColumnStore)
        names = [c.name for c in (*store.numbers, *store.categories) if chosen is None or c.name in chosen]
        found |= {n: evidence for n in names if n not in found and any(fnmatch(n.lower(), p) for p in patterns)}
    return found


def strata_of(protocol: Protocol, cohort: Cohort, train: np.ndarray) -> dict[str, np.ndarray]:
    """Every stratum of the placebos that the cohort has: name -> values (n,) of object, None where not known.

    ``ancestry`` without a column of this name is found in the genotypes (see `genetic_groups`), where there are some.

    Raises:
        UserError: another name is no category column of the cohort.
    """
    made: dict[str, np.ndarray] = {}
    for name in protocol.placebo_strata:
        column = cohort.rows["site"].to_numpy().astype(object) if name == "site" else _category(cohort, name)
        genotypes = [e for e in cohort.evidences if cohort.kind_of(e) == "genotypes"]
        if column is None and name == "ancestry" and genotypes:
            column = genetic_groups(cohort, genotypes[0], train)
        if column is not None:
            made[name] = column
        elif name != "ancestry":
            raise UserError(f"trial.placebo_strata names {name!r}", expected="site, ancestry, or a category column of the cohort", mend="correct the name")
    return made


def _category(cohort: Cohort, name: str) -> np.ndarray | None:
    for evidence in cohort.evidences:
        if cohort.kind_of(evidence) == "columns":
            store = cohort.store(evidence)
            assert isinstance(store, ColumnStore)
            for i, column in enumerate(store.categories):
                if column.name.lower() == name:
                    return np.array([*column.levels, None], dtype=object)[np.asarray(store.category[:, i])]
    return None


def _evidences(config: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(str(view["evidence"]) for view in config["modality"].values()))


def _arm(config: Mapping[str, Any], cohort: Cohort, split: Split, role: Role, folder: Path, scenario: str, repeat: int, fold: int) -> pl.DataFrame:
    table = fit_split(config, cohort, split, role, folder, repeat=repeat, fold=fold, loggers=[]).table
    return table.filter(pl.col("model") == MODEL).with_columns(pl.lit(scenario).alias("scenario"))


def _bare(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of an arm: no comparators, no evidence hidden, nothing claimed."""
    trial = {**config["trial"], "value_of": [], "subsets": "none"}
    return {**config, "comparator": {}, "validation": {**config["validation"], "masked": False}, "trial": trial}


def _without(config: Mapping[str, Any], evidence: str) -> dict[str, Any]:
    """The config of the arm that never sees an evidence: its views are left out, and whatever names them."""
    left_out = [name for name, view in config["modality"].items() if view["evidence"] == evidence]
    made = _bare(config) | {"modality": {k: v for k, v in config["modality"].items() if k not in left_out}}
    grid = {k: v for k, v in config["tune"]["grid"].items() if not any(str(k).startswith(f"modality.{name}.") for name in left_out)}
    dropout = config["learner"]["evidence_dropout"]
    if isinstance(dropout, Mapping):
        dropout = {k: v for k, v in dropout.items() if k != evidence}
    fusion = {k: [x for x in v if x not in left_out] if isinstance(v, list | tuple) else v for k, v in config["fusion"].items()}
    return made | {"tune": {**config["tune"], "grid": grid}, "learner": {**config["learner"], "evidence_dropout": dropout}, "fusion": fusion}


def _columns(config: Mapping[str, Any], cohort: Cohort, split: Split, role: Role, strata: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """What the trial needs to know of the predicted rows."""
    rows = split.rows(role)
    made = cohort.rows[rows].select(*KEY, "site")
    for name, evidence in base_columns(config, cohort).items():
        made = made.with_columns(_base(cohort, evidence, name)[rows].alias(BASE_PREFIX + name))
    named = {k: v for k, v in strata.items() if k != "site"}
    made = made.with_columns(pl.Series(STRATUM_PREFIX + k, v[rows].tolist(), dtype=pl.String) for k, v in named.items())
    known = cohort.rows["site"].gather(np.concatenate([split.rows(r) for r in ROLES if r != role])).unique().drop_nulls()
    return made.with_columns((pl.col("site").is_not_null() & ~pl.col("site").is_in(known.to_list())).alias(SITE_UNSEEN)).drop("site")


def _base(cohort: Cohort, evidence: str, name: str) -> pl.Series:
    store = cohort.store(evidence)
    assert isinstance(store, ColumnStore)
    for i, column in enumerate(store.numbers):
        if column.name == name:
            return pl.Series(np.array(store.number[:, i])).fill_nan(None)
    i = [c.name for c in store.categories].index(name)
    levels = np.array([*store.categories[i].levels, None], dtype=object)
    return pl.Series(levels[np.asarray(store.category[:, i])].tolist(), dtype=pl.String)
