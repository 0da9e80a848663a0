"""Reads the truth of a synthetic cohort. Only tests and experiments may: a model that sees the truth has nothing left to learn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from equipoise.cohort.generator.dials import EVIDENCES, subset_name
from equipoise.cohort.generator.expected import expected_scores
from equipoise.cohort.generator.truth import TRUTH_FORMAT
from equipoise.contract.errors import UserError


@dataclass(frozen=True)
class Truth:
    """The truth of one cohort.

    Args:
        folder: where it lies.
        facts: what is true of the whole cohort (see docs/synthetic.md).
        rows: the latent state, risks, effects and probabilities of every row, in row order.
    """

    folder: Path
    facts: dict[str, Any]
    rows: pl.DataFrame

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens a truth and compares its files with their hashes.

        Args:
            folder: ``paths.truth/<cohort hash>``.

        Raises:
            UserError: there is none, or a file is damaged.
        """
        try:
            told = json.loads((folder / "truth.json").read_text())
        except OSError as e:
            raise UserError(f"There is no truth at {folder}", expected="a folder with truth.json", mend="build a synthetic cohort with this paths.truth") from e
        if told.get("format") != TRUTH_FORMAT:
            raise UserError(f"Truth {folder} has format {told.get('format')}", expected=f"format {TRUTH_FORMAT}", mend="build the cohort again")
        for name, expected in told["files"].items():
            path = folder / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                raise UserError(f"Truth file {path} is damaged or gone", mend="delete the cohort and its truth, and build the cohort again")
        hashed = json.dumps({"files": told["files"], "facts": told["facts"], "fingerprint": told["cohort_fingerprint"]}, sort_keys=True)
        if hashlib.sha256(hashed.encode()).hexdigest() != told["hash"]:
            raise UserError(f"Truth file {folder / 'truth.json'} is damaged", mend="delete the cohort and its truth, and build the cohort again")
        return cls(folder, told["facts"], pl.read_parquet(folder / "rows.parquet"))

    def best_risk(self, evidences: Sequence[str] = EVIDENCES) -> np.ndarray:
        """P(outcome = 1 | what these evidences show of each row), f64 (n,): the best possible risk. Evidences that a row lacks are not used;
        which ones it lacks is."""
        return self._best[subset_name(evidences)].to_numpy()

    def best_risk_error(self, evidences: Sequence[str] = EVIDENCES) -> np.ndarray:
        """The best risks' numerical error, f64 (n,)."""
        return self._error[subset_name(evidences)].to_numpy()

    def expected_scores(self, predicted: np.ndarray, rows: np.ndarray | None = None) -> dict[str, float]:
        """AUROC, Brier and log score of predicted risks in expectation over outcomes.

        Args:
            predicted: f64 (len(rows),) or (n,).
            rows: i64 row numbers; None for all.
        """
        risk = self.rows["risk"].to_numpy()
        return expected_scores(predicted, risk if rows is None else risk[rows])

    def best_scores(self, evidences: Sequence[str] = EVIDENCES, rows: np.ndarray | None = None) -> dict[str, float]:
        """The scores of the best risk for these evidences: what no model can beat but by chance."""
        best = self.best_risk(evidences)
        return self.expected_scores(best if rows is None else best[rows], rows)

    def incidence(self, days: np.ndarray, cause: int = 1) -> np.ndarray:
        """Cumulative incidence of the event (cause 1) or of competing death (2) given the latent state: f64 (n, len(days)).

        F_c(t) = h_c / (h_1 + h_2) (1 - exp(-(h_1 + h_2) (t / H)^shape)).

        Args:
            days: f64 (k,), days after the prediction time, >= 0.
            cause: 1 or 2.
        """
        hazard = self.rows.select("hazard_event", "hazard_death").to_numpy()
        total = hazard.sum(axis=1, keepdims=True)
        share = hazard[:, cause - 1 : cause] / np.maximum(total, 1e-300)
        return np.asarray(share * -np.expm1(-total * self._operational(days)))

    def survival(self, days: np.ndarray) -> np.ndarray:
        """P(neither cause by then) given the latent state: f64 (n, len(days))."""
        return 1.0 - self.incidence(days, 1) - self.incidence(days, 2)

    def _operational(self, days: np.ndarray) -> np.ndarray:
        told = self.facts["survival"]
        return np.asarray((np.asarray(days, float) / told["horizon_days"]) ** told["shape"])[None, :]

    @cached_property
    def _best(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "best_risk.parquet")

    @cached_property
    def _error(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "best_risk_error.parquet")
