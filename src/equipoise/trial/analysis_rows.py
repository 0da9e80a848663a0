"""Which rows speak, and with what weight: the estimand and the missing outcomes of the protocol."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from equipoise.contract.errors import UserError
from equipoise.contract.tables import SCENARIO_ALL
from equipoise.stats.presence_weights import presence_probability
from equipoise.stats.propensity import effective_rows
from equipoise.stats.recalibration import log_odds
from equipoise.trial.effect_at_horizon import effect_at_horizon
from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import Rows
from equipoise.trial.treatment_effect import propensities

SMALLEST_PROBABILITY = 0.05
"""A row stands for at most 20 others: beyond that its weight says more of the weighting model than of the patients."""


MOST_SITES = 20
"""More sites than this are not told apart by the model of what is known."""


def analysis_rows(rows: Rows, protocol: Protocol) -> tuple[Rows, dict[str, str]]:
    """The rows as the protocol judges them, and what is to be said of it.

    Under the estimand ``if_untreated`` the untreated rows are judged, weighted by 1 / P(untreated); with ``missing_outcomes: weight`` the rows with
    an outcome are weighted by 1 / P(outcome known | the models' risks, site). Both weights multiply the table's own; both are taken as known. Of a
    treatment's effect on a time to event the outcome is that of `effect_at_horizon`.

    Args:
        rows: all rows of the question.
        protocol: see `Protocol.estimand` and `Protocol.missing_outcomes`.

    Returns:
        The rows, and name -> sentence.

    Raises:
        UserError: the estimand needs a treatment that the table does not have, or does not fit a treatment effect.

    Source: Keogh and van Geloven (2024) for prediction had nobody been treated; Seaman and White (2013) for the weights.
    """
    rows, notes = effect_at_horizon(rows, protocol)
    # Missing outcomes first: under the estimand the treated are set aside too, and nobody stands for an outcome of theirs.
    if protocol.missing_outcomes == "weight" and not rows.observed.all() and rows.observed.any():
        rows, notes["missing outcomes"] = _known_for_unknown(rows)
    if protocol.estimand == "if_untreated":
        rows, notes["estimand"] = _untreated(rows, protocol)
    return rows, notes


def _untreated(rows: Rows, protocol: Protocol) -> tuple[Rows, str]:
    if rows.kind == "treatment_effect":
        raise UserError("trial.estimand is if_untreated, and the task is a treatment effect", expected="current_care", mend="leave trial.estimand out")
    judged = rows.observed & np.isin(rows.treatment, (0, 1))
    if not (judged & (rows.treatment == 0)).any() or not (judged & (rows.treatment == 1)).any():
        raise UserError(
            "trial.estimand is if_untreated, and the predictions table does not say who was treated",
            expected="column treatment with 0 and 1",
            found="one of them only, or none",
            mend="give the target a treatment column, or choose trial.estimand=current_care",
        )
    treated, note = propensities(replace(rows, observed=judged), protocol)
    kept = judged & (rows.treatment == 0)
    weight = np.where(kept, rows.weight / (1 - treated), rows.weight)
    said = f"the risk had nobody been treated: {int(kept.sum())} untreated of {int(judged.sum())} rows, weighted by 1 / P(untreated)"
    return replace(rows, observed=kept, weight=weight), f"{said}; effective sample size {effective_rows(weight[kept]):.0f}; {note}"


def _known_for_unknown(rows: Rows) -> tuple[Rows, str]:
    known = rows.observed
    risks = np.column_stack([f.risk for arm, f in rows.forecasts.items() if arm[1] == SCENARIO_ALL])
    columns = risks if rows.kind in ("continuous", "treatment_effect") else log_odds(risks)
    columns = columns[:, np.isfinite(columns).any(0)]
    columns = np.where(np.isfinite(columns), columns, np.nanmean(columns, axis=0))
    sites = np.unique(rows.site)[1:] if np.unique(rows.site).size <= MOST_SITES else np.empty(0)
    probability = presence_probability(known, np.column_stack([columns, *(rows.site == s for s in sites)]))
    clipped = np.maximum(probability, SMALLEST_PROBABILITY)
    weight = rows.weight / clipped
    n_cut = int((known & (probability < SMALLEST_PROBABILITY)).sum())
    said = f"{int((~known).sum())} rows without an outcome are stood for by those with one, weighted by 1 / P(known | the models' risks"
    said += f"{', site' if len(sites) else ''}); effective sample size {effective_rows(weight[known]):.0f} of {int(known.sum())}"
    return replace(rows, weight=weight), said + (f"; {n_cut} probabilities read as {SMALLEST_PROBABILITY:g}" if n_cut else "")
