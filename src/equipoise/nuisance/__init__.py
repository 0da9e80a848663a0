"""Pseudo-outcomes of a treatment's effect, from regressions on other rows: what effects are learnt from, and what chooses between them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl

from equipoise.assemble import make_tasks
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.roles import inner_folds
from equipoise.cohort.split import Split
from equipoise.contract.counter import stream_seed
from equipoise.contract.tables import MODEL, SCENARIO_ALL
from equipoise.nuisance.regressions import Read, Regressions
from equipoise.nuisance.settings import Settings
from equipoise.nuisance.targets import TREATED, Outcomes
from equipoise.record import write_json
from equipoise.stats.pseudo_outcomes import EffectLoss, PseudoOutcomes, effect_loss, pseudo_outcomes, uncensored
from equipoise.task.arms import ArmsTask, warn_of_overlap

log = logging.getLogger("equipoise.nuisance")

RECORD = "nuisance.json"


@dataclass(frozen=True)
class Made:
    """Pseudo-outcomes of one task over all cohort rows, and how they came about: plain values, aggregates only."""

    pseudo: PseudoOutcomes
    notes: dict[str, Any]


@final
class CrossFits:
    """Makes the pseudo-outcomes of a cohort's tasks on effects, once for equal rows and settings.

    Args:
        cohort: with the tasks' targets.
    """

    def __init__(self, cohort: Cohort) -> None:
        self._cohort, self._made = cohort, dict[tuple[object, ...], Made]()

    def of(self, config: Mapping[str, Any], split: Split, folder: Path) -> Callable[[], dict[str, PseudoOutcomes]]:
        """What makes the pseudo-outcomes of the config's tasks on effects, by task, when it is called; it writes ``folder/nuisance.json``.

        Args:
            config: resolved.
            split: train rows have pseudo-outcomes from regressions on other folds of train rows, where a task learns from them; select rows from
                regressions on all train rows. Calibrate and held-out rows are never read.
            folder: the member's own.

        Raises:
            UserError: a setting is wrong; when called: an arm is empty in a fold.
        """
        tasks = effect_tasks(config)
        if not tasks:
            return dict
        Settings.of(config)

        def made() -> dict[str, PseudoOutcomes]:
            found = {name: self._one(config, name, task, split) for name, task in tasks.items()}
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / RECORD, {name: one.notes for name, one in found.items()})
            return {name: one.pseudo for name, one in found.items()}

        return made

    def loss(self, config: Mapping[str, Any], split: Split, table: pl.DataFrame, task: str) -> dict[str, Any] | None:
        """The R- or DR-loss of the model's predicted effects on select rows, for jobs of a sweep; None where the task is not on an effect.

        Args:
            config: resolved.
            split: of the fit.
            table: predictions of the select rows.
            task: whose.

        Returns:
            {"name": "r_loss" or "dr_loss", "value", "n_rows"}.
        """
        asked = effect_tasks(config)
        if task not in asked:
            return None
        pseudo = self._one(config, task, asked[task], split).pseudo
        own = table.filter((pl.col("model") == MODEL) & (pl.col("scenario") == SCENARIO_ALL) & (pl.col("task") == task) & (pl.col("target") == "effect"))
        keys = ["subject_id", "prediction_time"]
        at = self._cohort.rows[split.select].select(*keys).with_columns(pl.Series("row", split.select))
        own = own.join(at, on=keys, how="inner", nulls_equal=True).unique("row", keep="first")
        rows, effect = own["row"].to_numpy(), own["risk"].fill_null(np.nan).to_numpy()
        picked = PseudoOutcomes(pseudo.value[rows], pseudo.weight[rows])
        value = effect_loss(picked, effect, own["weight"].fill_null(1.0).to_numpy())
        return {"name": f"{Settings.of(config).select_by}_loss", "value": value, "n_rows": int((picked.known & np.isfinite(effect)).sum())}

    def _one(self, config: Mapping[str, Any], name: str, task: ArmsTask, split: Split) -> Made:
        settings = Settings.of(config)
        evidences = tuple(dict.fromkeys(str(v["evidence"]) for v in config["modality"].values() if v["evidence"] in self._cohort.evidences))
        key = (task.target, task.learns_from, task.horizon_days, settings.key, evidences, split.train.tobytes(), split.select.tobytes(), int(config["seed"]))
        if key not in self._made:
            log.info("task %s: outcome and propensity on other rows, for the effect's pseudo-outcomes", name)
            outcomes = Outcomes(self._cohort.target(task.target), task.horizon_days, split.train)
            self._made[key] = cross_fitted(self._cohort, outcomes, evidences, split, settings, task.learns_from, int(config["seed"]), task.target)
        return self._made[key]


def effect_tasks(config: Mapping[str, Any]) -> dict[str, ArmsTask]:
    """The config's tasks on a treatment's effect, not set up."""
    return {name: task for name, task in make_tasks(config).items() if isinstance(task, ArmsTask)}


def cross_fitted(
    cohort: Cohort,
    outcomes: Outcomes,
    evidences: tuple[str, ...],
    split: Split,
    settings: Settings,
    learns_from: EffectLoss | None,
    seed: int,
    target: str,
) -> Made:
    """Pseudo-outcomes of train rows (where they are learnt from) and of select rows.

    Args:
        cohort: whose evidences the regressions read.
        outcomes: of all its rows.
        evidences: which ones.
        split: see `CrossFits.of`.
        settings: of the config.
        learns_from: which pseudo-outcomes train rows get; None: none.
        seed: of the folds.
        target: the target's name, for the warning of lacking overlap.
    """
    made, reads, used = PseudoOutcomes.none(cohort.size), list[Read](), list[Regressions]()
    train, select = (np.unique(rows[outcomes.used[rows]]) for rows in (split.train, split.select))
    teaching = np.sort(split.train[outcomes.used[split.train]])  # a row that was drawn twice counts twice

    def write(regressions: Regressions, rows: np.ndarray, by: EffectLoss) -> None:
        read = regressions.read(rows)
        mu = np.where(outcomes.column("treatment", rows) == 1, read.mu1, read.mu0)
        y = uncensored(read.outcome, read.weight, mu)
        made.fill(rows, pseudo_outcomes(by, y, outcomes.column("treatment", rows), read.mu0, read.mu1, read.propensity))
        reads.append(read)
        used.append(regressions)

    n_folds = 0
    if learns_from is not None:
        folds = inner_folds(cohort.rows["cluster"].to_numpy(), teaching, settings.folds, stream_seed("nuisance", seed), outcomes.stratum())
        n_folds = len(folds)
        for fit_rows, check_rows in folds:
            write(Regressions.fit(cohort, outcomes, evidences, fit_rows, settings), np.unique(check_rows), learns_from)
        if settings.propensity is None:
            warn_of_overlap(target, np.concatenate([r.raw for r in reads]), "regressed on other rows")
    if select.size:
        write(Regressions.fit(cohort, outcomes, evidences, teaching, settings), select, settings.select_by)
    return Made(made, _notes(outcomes, split, settings, learns_from, n_folds, reads, used, n_train=train.size, n_select=select.size))


def _notes(
    outcomes: Outcomes,
    split: Split,
    settings: Settings,
    learns_from: EffectLoss | None,
    n_folds: int,
    reads: Sequence[Read],
    used: Sequence[Regressions],
    *,
    n_train: int,
    n_select: int,
) -> dict[str, Any]:
    raw = np.concatenate([r.raw for r in reads]) if reads else np.empty(0)
    names = {name for regressions in used for name in regressions.fitted}
    notes: dict[str, Any] = {
        "learns_from": learns_from,
        "selected_by": settings.select_by,
        "folds": n_folds,
        "train_rows": n_train if learns_from is not None else 0,
        "select_rows": n_select,
        "estimators": {name: dict(Counter(r.fitted[name].name for r in used)) for name in sorted(names)},
        "known_propensity": settings.propensity,
        "clip": settings.clip,
        "clipped": int(((raw < settings.clip) | (raw > 1 - settings.clip)).sum()) if TREATED in names else 0,
    }
    if outcomes.horizon_days is not None:
        rows = np.unique(np.concatenate([split.train, split.select]))
        notes |= {
            "horizon_days": outcomes.horizon_days,
            "censoring": "Kaplan-Meier within each arm",
            "truncated_weights": sum(r.truncated for r in reads),
            "late_entries_left_out": int(outcomes.late[rows].sum()),
        }
    return notes
