"""Checkpoints + cohort -> predictions: members joined, recalibrated, abstaining where nothing is known. No Lightning."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import polars as pl
import torch

from equipoise.answers import Answered, Joint, joined, member_answers, stacked
from equipoise.batches import open_views
from equipoise.calibration import Calibration
from equipoise.cohort.frozen import Cohort
from equipoise.conformal import Conformal
from equipoise.conformed import Fitted, columns_of, groups_by, halves, said_of, stated
from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.contract.tables import MODEL, SCENARIO_ALL
from equipoise.model import Model, digest, load_plain, plain, save_plain
from equipoise.network import ABSTAIN_NOTHING_PRESENT
from equipoise.predict_table import outcomes, prediction_table
from equipoise.uncertainty import credible_interval, decompose, fewest_draws
from equipoise.whole_file import write_whole

ENSEMBLE_KIND = "equipoise.ensemble.2"
ABSTAIN_NOVEL = "too unlike the train rows"
BATCH_ROWS = 256
"""Rows that go through the networks at a time; the predictions do not depend on it."""
BLOCK_ROWS = 8192
"""Rows whose draws are kept at a time."""
NO_CONFORMAL = {"_target_": "equipoise.conformal.none.NoConformal"}
INTERVAL_OF = "the risk, given the encoder and the model class; never of the outcome"


@dataclass(frozen=True)
class Predictions:
    """What predicting gives.

    Args:
        table: columns of `contract.tables.PREDICTIONS` and ``present_<evidence>``.
        manifest: what the interval is and its level (kind None: not estimated, with a note), members, draws, model and cohort hashes, reader and cohort
            notes, counts; aggregates only.
    """

    table: pl.DataFrame
    manifest: dict[str, Any]


@dataclass(frozen=True)
class _Block:
    """The table's number columns by task for some rows, why each abstains, and S."""

    columns: dict[str, dict[str, np.ndarray]]
    reason: list[str | None]
    n_draws: int


@final
class Ensemble:
    """Members that answer the same questions, and the recalibration of their joint risk: all that predicting needs, in one file.

    Recalibration and conformal sets belong to the joint risk (the mean over all members' draws) and not to a member, so they are kept here.

    Args:
        models: at least one, with equal questions.
        calibrations: by task, fitted; None for none.
        conformals: likewise.
    """

    def __init__(self, models: Sequence[Model], calibrations: Fitted[Calibration] | None = None, conformals: Fitted[Conformal] | None = None) -> None:
        if not models:
            raise UserError("An ensemble needs at least one model", mend="give the path of a model.pt")
        self.models, self.questions = tuple(models), models[0].questions
        for model in models[1:]:
            if _asked(model.questions) != _asked(self.questions):
                raise UserError(
                    "These models do not answer the same questions",
                    expected=_asked(self.questions),
                    found=_asked(model.questions),
                    mend="join models of one task",
                )
        self.hashes = tuple(model.hash() for model in models)
        self._calibrations: Fitted[Calibration] = calibrations or Fitted()
        self._conformals: Fitted[Conformal] = conformals or Fitted()
        self._opened: dict[tuple[str, str, str], dict[str, Any]] = {}

    @classmethod
    def of(cls, models: Sequence[Path | Model]) -> Self:
        """From model files or models, not recalibrated."""
        return cls([m if isinstance(m, Model) else Model.load(m) for m in models])

    def predict(
        self,
        cohort: Cohort,
        rows: np.ndarray,
        *,
        draws: int,
        seed: int = 0,
        scenario: str = SCENARIO_ALL,
        hidden: frozenset[str] = frozenset(),
        repeat: int = 0,
        fold: int = 0,
        level: float = 0.9,
        role: str | None = None,
        abstain_novelty: float | None = None,
        device: str = "cpu",
        batch_rows: int = BATCH_ROWS,
    ) -> Predictions:
        """Answers every question for these rows.

        Uncertainty is that of the raw draws; the interval holds the quantiles of the recalibrated draws. Where no evidence is present, or a row is
        too unlike the train rows, risk, interval and uncertainty are null and ``abstain_reason`` says so.

        Args:
            cohort: of the training or a new one; it may lack codes, columns, whole evidences and all outcomes.
            rows: i64 (n,), in any order.
            draws: of all members together; each gives an equal share, at least one.
            seed: of the draws.
            scenario: the table's scenario.
            hidden: evidences taken as absent.
            repeat: the table's repeat.
            fold: the table's fold.
            level: of the interval, in (0, 1).
            role: of these rows in this split; None = the cohort's own.
            abstain_novelty: in (0, 1]; rows of at least this novelty get no answer. None = all get one.
            device: where the networks run.
            batch_rows: rows at a time; changes nothing.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if not rows.size:
            raise UserError("There are no rows to predict", mend="give a cohort with rows in the asked role")
        blocks = [self._block(cohort, r, draws, seed, hidden, level, abstain_novelty, device, batch_rows) for r in _in_blocks(rows)]
        reason = [why for b in blocks for why in b.reason]
        tables = []
        for question in self.questions:
            own = [b.columns[question.task] for b in blocks]
            columns: dict[str, Any] = {k: np.concatenate([b[k] for b in own]) for k in own[0]}
            place: dict[str, Any] = {"scenario": scenario, "repeat": repeat, "fold": fold, "role": role, "hidden": hidden}
            tables.append(prediction_table(question, cohort, rows, model=MODEL, abstain_reason=reason, **place, **columns))
        n_draws = blocks[0].n_draws
        manifest = {
            "interval": _interval(n_draws, level),
            "members": len(self.models),
            "draws": n_draws,
            "model_hashes": list(self.hashes),
            "n_parameters": [m.network.n_parameters() for m in self.models],
            "calibration": self.calibration_notes(),
            "conformal": self.conformal_notes(),
            "cohort": cohort.hash,
            "scenario": scenario,
            "hidden": sorted(hidden),
            "rows": int(rows.size),
            "abstained": sum(why is not None for why in reason),
            "abstain_novelty": abstain_novelty,
            "reader_notes": self._notes(cohort),
            "cohort_notes": cohort.notes,
        }
        return Predictions(pl.concat(tables), manifest)

    def calibrate(
        self,
        cohort: Cohort,
        rows: np.ndarray,
        node: Mapping[str, Any],
        conformal: Mapping[str, Any] = NO_CONFORMAL,
        *,
        draws: int,
        seed: int = 0,
    ) -> None:
        """Fits the recalibration of the joint risk on calibrate rows, one for each question, and a conformal option on those that it leaves.

        Rows with nothing present do not count.

        Args:
            cohort: the training cohort.
            rows: i64; none leaves the ensemble without recalibration.
            node: config node of the calibration.
            conformal: config node of the conformal option.
            draws: as in `predict`.
            seed: likewise.
        """
        self._calibrations, self._conformals = Fitted(), Fitted()
        if not rows.size:
            return
        recalibrating, kept = halves(conformal, node, cohort.rows["cluster"].to_numpy()[rows], seed)
        calibrations: dict[str, Calibration] = {q.task: make(node) for q in self.questions}
        blocks = [self._answers(cohort, r, draws, seed, frozenset(), "cpu", BATCH_ROWS) for r in _in_blocks(np.asarray(rows, dtype=np.int64))]
        present = np.concatenate([b.present for b in blocks])
        whole = {q.task: stacked([b.by_task[q.task] for b in blocks]) for q in self.questions}
        for question in self.questions:
            outcome, observed = outcomes(cohort, question, rows)
            calibrations[question.task].fit(question, whole[question.task].mean.mean(0), outcome, observed & present.any(1) & recalibrating)
        self._calibrations = Fitted(dict(node), calibrations)
        if not kept.any():
            return
        conformals: dict[str, Conformal] = {}
        for question in self.questions:
            made: Conformal = make(conformal)
            if question.kind in made.kinds:
                outcome, observed = outcomes(cohort, question, rows)
                own, calibration = whole[question.task], calibrations[question.task]
                each = _recalibrated(own, calibration)
                columns = _columns(question, own, calibration, each, made.level)
                told = stated(question, columns, each, _factor(question, calibration) * own.variance, made.level)
                group = groups_by(made.by, cohort, rows, self.models[0].network.evidences, present)
                made.fit(question, told, outcome, observed & present.any(1) & kept, cohort.rows["cluster"].to_numpy()[rows], group)
                conformals[question.task] = made
        self._conformals = Fitted(dict(conformal), conformals)

    def calibration_notes(self) -> dict[str, str]:
        """By task: the method and what it has to say; empty without recalibration."""
        return {task: f"{type(c).__name__}{': ' + c.note if getattr(c, 'note', '') else ''}" for task, c in self._calibrations.by_task.items()}

    def conformal_notes(self) -> dict[str, dict[str, Any]]:
        """By task: what the conformal interval or set is (see `conformed.said_of`)."""
        return {task: said_of(c) for task, c in self._conformals.by_task.items()}

    def save(self, path: Path) -> None:
        """Writes members, recalibration and conformal option in one step."""
        fitted = {"calibrations": plain(self._calibrations.state()), "conformals": plain(self._conformals.state())}
        save_plain(path, ENSEMBLE_KIND, {"models": [m.state() for m in self.models], **fitted})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads an ensemble.

        Raises:
            UserError: the file is missing, damaged, or no ensemble.
        """
        state = load_plain(path, ENSEMBLE_KIND)
        return cls([Model.from_state(s) for s in state["models"]], Fitted.from_state(state["calibrations"]), Fitted.from_state(state["conformals"]))

    def _block(
        self,
        cohort: Cohort,
        rows: np.ndarray,
        draws: int,
        seed: int,
        hidden: frozenset[str],
        level: float,
        abstain_novelty: float | None,
        device: str,
        batch_rows: int,
    ) -> _Block:
        """The table's number columns for some rows; what is kept of the draws does not grow with the cohort."""
        joint = self._answers(cohort, rows, draws, seed, hidden, device, batch_rows)
        nothing = np.asarray(~joint.present.any(1))
        novel = ~nothing & (joint.novelty >= (np.inf if abstain_novelty is None else abstain_novelty))
        reason = [ABSTAIN_NOTHING_PRESENT if none else ABSTAIN_NOVEL if far else None for none, far in zip(nothing, novel, strict=True)]
        columns = {}
        for question in self.questions:
            own, calibration = joint.by_task[question.task], self._calibrations.by_task.get(question.task)
            each = _recalibrated(own, calibration)
            columns[question.task] = made = _columns(question, own, calibration, each, level)
            if (conformal := self._conformals.by_task.get(question.task)) is not None:
                told = stated(question, made, each, _factor(question, calibration) * own.variance, conformal.level)
                group = groups_by(conformal.by, cohort, rows, self.models[0].network.evidences, joint.present)
                made |= columns_of(conformal.apply(told, group), question)
            for value in made.values():
                value[nothing | novel] = math.nan
            made["novelty"] = np.where(nothing, math.nan, joint.novelty)
        return _Block(columns, reason, next(iter(joint.by_task.values())).mean.shape[0])

    def _answers(self, cohort: Cohort, rows: np.ndarray, draws: int, seed: int, hidden: frozenset[str], device: str, batch_rows: int) -> Joint:
        share = max(-(-draws // len(self.models)), 1)
        members, novelty, present = [], [], np.zeros((rows.size, 0), dtype=bool)
        for i, model in enumerate(self.models):
            batches = model.batches(self._readers(model, cohort), targets={}, hidden=hidden)
            present = np.asarray(batches.present[rows])
            answered, far = member_answers(model, batches, rows, share, stream_seed("predict", seed, i), torch.device(device), batch_rows)
            members.append(answered)
            novelty.append(far)
        return Joint({q.task: joined([m[q.task] for m in members]) for q in self.questions}, present, np.mean(novelty, axis=0))

    def _notes(self, cohort: Cohort) -> dict[str, dict[str, Any]]:
        """What the cohort has and the views do not know, by view; aggregates only."""
        return {view: dict(reader.notes) for model in self.models for view, reader in self._readers(model, cohort).items()}

    def _readers(self, model: Model, cohort: Cohort) -> dict[str, Any]:
        """Readers are kept: scenarios and members with equal views share them."""
        readers = {}
        for name, view in model.views.items():
            key = (str(cohort.folder), name, digest(plain(view.state())))
            if key not in self._opened:
                self._opened[key] = open_views({name: view}, cohort)
            readers[name] = self._opened[key][name]
        return readers


def _columns(question: Question, own: Answered, calibration: Calibration | None, each: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """risk_raw, risk, lo, hi, aleatoric, epistemic, total, each f64 (n, L), and the propensity (n,) where there is one; ``each``: see `_recalibrated`."""
    risk_raw = own.mean.mean(0)
    risk = risk_raw.copy() if calibration is None else calibration.apply(risk_raw)
    interval, parts = credible_interval(each, level), decompose(own.mean, own.variance, own.form, own.exclusive)
    factor = _factor(question, calibration)
    columns = {"risk_raw": risk_raw, "risk": risk, "lo": interval.lo, "hi": interval.hi}
    columns |= {k: factor * getattr(parts, k) for k in ("aleatoric", "epistemic", "total")}
    return columns if own.propensity is None else {**columns, "propensity": own.propensity}


def _recalibrated(own: Answered, calibration: Calibration | None) -> np.ndarray:
    """Every draw is recalibrated before its quantiles are taken: right also where labels are recalibrated jointly; f64 (S, n, L)."""
    return own.mean if calibration is None else np.stack([calibration.apply(draw) for draw in own.mean])


def _factor(question: Question, calibration: Calibration | None) -> float:
    """A recalibrated mean has other residuals; the calibration says by how much (continuous outcomes)."""
    return float(getattr(calibration, "variance_factor", 1.0)) if question.kind == "continuous" else 1.0


def _interval(n_draws: int, level: float) -> dict[str, Any]:
    """What ``lo`` and ``hi`` are; kind None, with the reason, where so few draws show no interval."""
    fewest = fewest_draws(level)
    if n_draws >= fewest:
        return {"kind": "credible_mean", "level": level, "of": INTERVAL_OF}
    draws = "1 draw" if n_draws == 1 else f"{n_draws} draws"
    return {"kind": None, "level": level, "of": INTERVAL_OF, "note": f"{draws} of the risk; an interval of {level:.0%} needs at least {fewest}"}


def _in_blocks(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, max(-(-rows.size // BLOCK_ROWS), 1))


def _asked(questions: Sequence[Question]) -> str:
    return "; ".join(
        f"{q.task}: {q.kind} {q.target} {', '.join((*q.labels, *(f'by {h:g} days' for h in q.horizons_days)))} from {', '.join(q.evidences)}" for q in questions
    )


def predict_rows(models: Sequence[Path | Model], cohort: Cohort, rows: np.ndarray, *, draws: int, seed: int = 0, **further: Any) -> Predictions:
    """Predictions of several checkpoints joined on S (see `Ensemble.predict`); without recalibration."""
    return Ensemble.of(models).predict(cohort, rows, draws=draws, seed=seed, **further)


def write_predictions(folder: Path, predictions: Predictions) -> Path:
    """Writes ``predictions.json`` (the manifest), then ``predictions.parquet``, each in one step; returns the table's path."""
    text = json.dumps(predictions.manifest, indent=1) + "\n"
    write_whole(folder / "predictions.json", lambda f: f.write(text.encode()))
    path = folder / "predictions.parquet"
    write_whole(path, predictions.table.write_parquet)
    return path
