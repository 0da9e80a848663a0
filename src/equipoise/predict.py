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

from equipoise.batches import Batches, open_views
from equipoise.calibration import Calibration
from equipoise.cohort.frozen import Cohort
from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.contract.tables import MODEL, SCENARIO_ALL
from equipoise.model import Model, digest, load_plain, plain, save_plain
from equipoise.network import ABSTAIN_NOTHING_PRESENT
from equipoise.predict_table import abstaining, outcomes, prediction_table
from equipoise.task import Answer
from equipoise.uncertainty import credible_interval, decompose, fewest_draws
from equipoise.whole_file import write_whole

ENSEMBLE_KIND = "equipoise.ensemble"
BATCH_ROWS = 256
"""Rows that go through the networks at a time; the predictions do not depend on it."""
BLOCK_ROWS = 8192
"""Rows whose draws are kept at a time."""
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
class Answered:
    """The members' joined answers to one question, over all asked rows: f64 (S, n, L); ``propensity`` (n,) or None."""

    mean: np.ndarray
    variance: np.ndarray
    form: tuple[str, ...]
    exclusive: bool
    propensity: np.ndarray | None


@dataclass(frozen=True)
class _Block:
    """The table's number columns by task for some rows, which of them have nothing present, and S."""

    columns: dict[str, dict[str, np.ndarray]]
    nothing: np.ndarray
    n_draws: int


@final
class Ensemble:
    """Members that answer the same questions, and the recalibration of their joint risk: all that predicting needs, in one file.

    Recalibration belongs to the joint risk (the mean over all members' draws) and not to a member, so it is kept here.

    Args:
        models: at least one, with equal questions.
        calibration_node: config node of the calibration, {} for none.
        calibrations: by task, fitted; empty for none.
    """

    def __init__(
        self, models: Sequence[Model], calibration_node: Mapping[str, Any] | None = None, calibrations: Mapping[str, Calibration] | None = None
    ) -> None:
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
        self._node, self._calibrations = dict(calibration_node or {}), dict(calibrations or {})
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
        device: str = "cpu",
        batch_rows: int = BATCH_ROWS,
    ) -> Predictions:
        """Answers every question for these rows.

        Uncertainty is that of the raw draws; the interval holds the quantiles of the recalibrated draws. Where no evidence is present, risk,
        interval and uncertainty are null and ``abstain_reason`` says so.

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
            device: where the networks run.
            batch_rows: rows at a time; changes nothing.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if not rows.size:
            raise UserError("There are no rows to predict", mend="give a cohort with rows in the asked role")
        blocks = [self._block(cohort, r, draws, seed, hidden, level, device, batch_rows) for r in _in_blocks(rows)]
        nothing = np.concatenate([b.nothing for b in blocks])
        tables = []
        for question in self.questions:
            own = [b.columns[question.task] for b in blocks]
            columns: dict[str, Any] = {k: np.concatenate([b[k] for b in own]) for k in own[0]}
            reason = abstaining(nothing, ABSTAIN_NOTHING_PRESENT)
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
            "cohort": cohort.hash,
            "scenario": scenario,
            "hidden": sorted(hidden),
            "rows": int(rows.size),
            "abstained": int(nothing.sum()),
            "reader_notes": self._notes(cohort),
            "cohort_notes": cohort.notes,
        }
        return Predictions(pl.concat(tables), manifest)

    def calibrate(self, cohort: Cohort, rows: np.ndarray, node: Mapping[str, Any], *, draws: int, seed: int = 0) -> None:
        """Fits the recalibration of the joint risk on calibrate rows, one for each question; rows with nothing present do not count.

        Args:
            cohort: the training cohort.
            rows: i64; none leaves the ensemble without recalibration.
            node: config node of the calibration.
            draws: as in `predict`.
            seed: likewise.
        """
        self._node, self._calibrations = {}, {}
        if not rows.size:
            return
        made: dict[str, Calibration] = {q.task: make(node) for q in self.questions}
        blocks = [self._answers(cohort, r, draws, seed, frozenset(), "cpu", BATCH_ROWS) for r in _in_blocks(np.asarray(rows, dtype=np.int64))]
        nothing = np.concatenate([b[1] for b in blocks])
        for question in self.questions:
            outcome, observed = outcomes(cohort, question, rows)
            risk_raw = np.concatenate([answered[question.task].mean.mean(0) for answered, _ in blocks])
            made[question.task].fit(question, risk_raw, outcome, observed & ~nothing)
        self._node, self._calibrations = dict(node), made

    def calibration_notes(self) -> dict[str, str]:
        """By task: the method and what it has to say; empty without recalibration."""
        return {task: f"{type(c).__name__}{': ' + c.note if getattr(c, 'note', '') else ''}" for task, c in self._calibrations.items()}

    def save(self, path: Path) -> None:
        """Writes members and recalibration in one step."""
        calibrations = {task: c.state() for task, c in self._calibrations.items()}
        save_plain(path, ENSEMBLE_KIND, {"models": [m.state() for m in self.models], "node": plain(self._node), "calibrations": plain(calibrations)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads an ensemble.

        Raises:
            UserError: the file is missing, damaged, or no ensemble.
        """
        state = load_plain(path, ENSEMBLE_KIND)
        calibrations: dict[str, Calibration] = {}
        for task, own in state["calibrations"].items():
            calibrations[task] = make(state["node"])
            calibrations[task].load_state(own)
        return cls([Model.from_state(s) for s in state["models"]], state["node"], calibrations)

    def _block(self, cohort: Cohort, rows: np.ndarray, draws: int, seed: int, hidden: frozenset[str], level: float, device: str, batch_rows: int) -> _Block:
        """The table's number columns for some rows; what is kept of the draws does not grow with the cohort."""
        answered, nothing = self._answers(cohort, rows, draws, seed, hidden, device, batch_rows)
        columns = {}
        for question in self.questions:
            own, calibration = answered[question.task], self._calibrations.get(question.task)
            columns[question.task] = _columns(question, own, calibration, level)
            for value in columns[question.task].values():
                value[nothing] = math.nan
        return _Block(columns, nothing, next(iter(answered.values())).mean.shape[0])

    def _answers(
        self, cohort: Cohort, rows: np.ndarray, draws: int, seed: int, hidden: frozenset[str], device: str, batch_rows: int
    ) -> tuple[dict[str, Answered], np.ndarray]:
        """Every question's joint answers, and which rows have nothing present, bool (n,)."""
        share = max(-(-draws // len(self.models)), 1)
        members, nothing = [], np.zeros(rows.size, dtype=bool)
        for i, model in enumerate(self.models):
            batches = Batches(self._readers(model, cohort), {k: v.evidence for k, v in model.views.items()}, model.network.evidences, targets={}, hidden=hidden)
            nothing = ~batches.present[rows].any(1)
            members.append(_member(model, batches, rows, share, stream_seed("predict", seed, i), torch.device(device), batch_rows))
        return {q.task: _joined([m[q.task] for m in members]) for q in self.questions}, nothing

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


@torch.no_grad()
def _member(model: Model, batches: Batches, rows: np.ndarray, draws: int, seed: int, device: torch.device, batch_rows: int) -> dict[str, Answered]:
    """One member's answers over all rows."""
    network = model.network.to(device).eval()
    collected: dict[str, list[tuple[Answer, torch.Tensor | None]]] = {name: [] for name in network.tasks}
    for start in range(0, max(rows.size, 1), batch_rows):
        batch = batches(rows[start : start + batch_rows]).to(device)
        for name, own in network(batch, n_draws=draws, seed=seed).items():
            task = network.task(name)
            collected[name].append((task.answer(own), task.propensity(own)))
    return {name: _answered(several) for name, several in collected.items()}


def _answered(several: Sequence[tuple[Answer, torch.Tensor | None]]) -> Answered:
    mean, variance = (np.concatenate([getattr(a, k).double().cpu().numpy() for a, _ in several], axis=1) for k in ("mean", "variance"))
    propensities = [p.double().mean(0).cpu().numpy() for _, p in several if p is not None]
    first = several[0][0]
    return Answered(mean, variance, tuple(first.form), first.exclusive, np.concatenate(propensities) if propensities else None)


def _joined(members: Sequence[Answered]) -> Answered:
    """Draws joined on S; a member with fewer (a point head has one) counts as much as the others, its draws repeated."""
    most = max(m.mean.shape[0] for m in members)
    mean, variance = (np.concatenate([_repeated(getattr(m, k), most) for m in members]) for k in ("mean", "variance"))
    given = [m.propensity for m in members if m.propensity is not None]
    propensity = np.mean(given, axis=0) if given else None
    return Answered(mean, variance, members[0].form, members[0].exclusive, propensity)


def _repeated(draws: np.ndarray, most: int) -> np.ndarray:
    return draws[np.arange(most) % draws.shape[0]]


def _columns(question: Question, own: Answered, calibration: Calibration | None, level: float) -> dict[str, np.ndarray]:
    """risk_raw, risk, lo, hi, aleatoric, epistemic, total, each f64 (n, L), and the propensity (n,) where there is one."""
    risk_raw = own.mean.mean(0)
    # Every draw is recalibrated before its quantiles are taken: right also where labels are recalibrated jointly.
    each = own.mean if calibration is None else np.stack([calibration.apply(draw) for draw in own.mean])
    risk = risk_raw.copy() if calibration is None else calibration.apply(risk_raw)
    interval, parts = credible_interval(each, level), decompose(own.mean, own.variance, own.form, own.exclusive)
    # A recalibrated mean has other residuals; the calibration says by how much (continuous outcomes).
    factor = float(getattr(calibration, "variance_factor", 1.0)) if question.kind == "continuous" else 1.0
    columns = {"risk_raw": risk_raw, "risk": risk, "lo": interval.lo, "hi": interval.hi}
    columns |= {k: factor * getattr(parts, k) for k in ("aleatoric", "epistemic", "total")}
    return columns if own.propensity is None else {**columns, "propensity": own.propensity}


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
    return "; ".join(f"{q.task}: {q.kind} {q.target} {', '.join(q.labels)} from {', '.join(q.evidences)}" for q in questions)


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
