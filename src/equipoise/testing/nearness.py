"""How near do predicted risks come to the best possible ones? In expectation over outcomes, so without the noise of 0s and 1s."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from equipoise.cohort.generator.expected import expected_scores
from equipoise.contract.errors import UserError
from equipoise.predict_table import hidden_in
from equipoise.testing.truth import Truth


def nearness(predictions: pl.DataFrame, truth: Truth, evidences: Sequence[str], *, task: str = "risk") -> pl.DataFrame:
    """Expected log score of every model and scenario, beside that of the best risk given the evidences that the scenario shows.

    With b the best risk, q the predicted one and c the mean of b: log_score = mean of -(b log q + (1-b) log(1-q)), best = the same with q = b,
    excess = log_score - best = mean of KL(b || q) >= 0, share = 1 - excess(q) / excess(c), which is 1 for the best risk, 0 for knowing the
    prevalence alone, and negative below that.

    Args:
        predictions: a predictions table of rows of the truth's cohort.
        truth: of that cohort.
        evidences: those that the models were given.
        task: the question about the binary outcome.

    Returns:
        One line a model and scenario: model, scenario, rows (with a prediction), log_score, best, excess (nats), share.

    Raises:
        UserError: the table has no rows of the task, or a subject that the truth does not know.
    """
    own = predictions.filter(pl.col("task") == task)
    row = own.join(truth.rows.select("subject_id", "row_id"), on="subject_id", how="left", maintain_order="left")["row_id"]
    if not own.height or row.null_count():
        raise UserError(
            f"These predictions of task {task!r} are not of the truth's cohort",
            expected=f"rows of task {task!r}, of subjects that the truth knows",
            found=f"{own.height} rows, {row.null_count()} of unknown subjects",
            mend="give the truth of the run's own cohort",
        )
    lines = []
    for (model, scenario), arm in own.with_columns(row_id=row).group_by("model", "scenario", maintain_order=True):
        shown = arm.filter(pl.col("risk").is_not_null())
        seen = [e for e in evidences if e not in hidden_in(str(scenario))]
        best = truth.best_risk(seen)[shown["row_id"].to_numpy()]
        lines.append({"model": model, "scenario": scenario, "rows": shown.height, **_scores(shown["risk"].to_numpy(), best)})
    return pl.DataFrame(lines)


def _scores(risk: np.ndarray, best: np.ndarray) -> dict[str, float]:
    score, least, constant = (expected_scores(q, best)["log_score"] for q in (risk, best, np.full(best.size, best.mean())))
    return {"log_score": score, "best": least, "excess": score - least, "share": 1 - (score - least) / (constant - least) if constant > least else np.nan}
