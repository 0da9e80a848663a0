"""A treatment's effect on a time to event: everybody's status at the protocol's horizon, stood for where censoring hides it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from equipoise.contract.errors import UserError
from equipoise.stats.observation import status_at
from equipoise.stats.pseudo_outcomes import uncensored
from equipoise.stats.survival import censoring_survival
from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import Rows
from equipoise.trial.treatment_effect import mean_of_given


def effect_at_horizon(rows: Rows, protocol: Protocol) -> tuple[Rows, dict[str, str]]:
    """The rows with outcome mu + W (y - mu): y the status of cause 1 at the horizon, W its weight for censoring, mu the models' mean risk in the arm
    that was received.

    W is one over P(not censored before the status was known), by Kaplan-Meier within arms (and sites, if the protocol says so): censoring is taken to
    be independent of the event within them. Doubly robust scores of such outcomes are those of AIPW with weights for censoring, and every endpoint
    that is linear in the outcome is estimated as if nobody were censored. Rows with a late entry are left out.

    Args:
        rows: of any question; others than effects on times are given back, without times.
        protocol: its ``horizon_days``, ``censoring``, ``censoring_truncation`` and ``competing``.

    Returns:
        The rows, and name -> sentence.

    Raises:
        UserError: the predictions are about another horizon.

    Source: Robins, Rotnitzky and Zhao (1994); Bai, Tsiatis and O'Brien (2013) for the weighted doubly robust difference of risks.
    """
    if rows.kind != "treatment_effect":
        return rows, {}
    if protocol.horizon_days is None or not (rows.event >= 0).any():
        return replace(rows, event=np.full(rows.size, -1)), {}
    horizon = protocol.horizon_days
    event = np.where(rows.event > 1, 0, rows.event) if protocol.competing == "censor" else rows.event
    followed = np.isfinite(rows.time) & (rows.time > 0) & (event >= 0) & np.isin(rows.treatment, (0, 1))
    at = np.flatnonzero(followed & (rows.entry <= 0))
    known = status_at(
        rows.time[at], event[at], horizon, largest_weight=protocol.censoring_truncation, weight=rows.weight[at], stratum=_strata(rows, protocol)[at]
    )
    own = rows.weight[at]
    weight = np.divide(known.weight, own, out=np.zeros(at.size), where=own > 0)
    _refuse_another_horizon(rows.outcome[at, 0], known.status, weight > 0, horizon)
    mu = mean_of_given(rows, at)[np.arange(at.size), rows.treatment[at]]
    outcome, observed = np.full((rows.size, 1), np.nan), np.zeros(rows.size, dtype=bool)
    outcome[at, 0] = uncensored(known.status, weight, mu)
    observed[at] = np.isfinite(mu)
    late, hidden = int((followed & (rows.entry > 0)).sum()), int((weight == 0).sum())
    said = f"risks by {horizon:g} days; {hidden} of {at.size} rows were censored before and are stood for by those of their arm"
    said += f"{' and site' if protocol.censoring == 'by_site' else ''} (Kaplan-Meier), as if censoring were independent of the event there"
    said += f"; {late} rows with a late entry were left out" if late else ""
    return replace(rows, event=event, outcome=outcome, observed=observed, missing=~followed), {"censoring": said}


def unfollowed(rows: Rows, protocol: Protocol) -> list[str]:
    """Whether too few rows of an effect on a time to event are followed to the horizon for weights to stand for the rest."""
    if protocol.horizon_days is None or not (rows.event >= 0).any():
        return []
    stratum, kept = _strata(rows, protocol), np.ones(rows.size)
    for s in np.unique(stratum[rows.observed]):
        own = rows.observed & (stratum == s)
        kept[own] = censoring_survival(rows.time[own], rows.event[own], weight=rows.weight[own]).before(np.array([protocol.horizon_days]))[0]
    short = rows.observed & (kept < protocol.minimum_censoring_survival)
    if not rows.observed.any() or short[rows.observed].mean() <= protocol.max_missing:
        return []
    fewest = f"{kept[rows.observed].min():.3g} would still be followed, the protocol asks for at least {protocol.minimum_censoring_survival:g}"
    return [f"at {protocol.horizon_days:g} days the censoring leaves too few in an arm: a share of {fewest}"]


def _strata(rows: Rows, protocol: Protocol) -> np.ndarray:
    """Within what censoring is modelled, i64 (n,): arms, or arms of each site."""
    arm = (rows.treatment == 1).astype(np.int64)
    return 2 * np.unique(rows.site, return_inverse=True)[1] + arm if protocol.censoring == "by_site" else arm


def _refuse_another_horizon(stated: np.ndarray, status: np.ndarray, known: np.ndarray, horizon: float) -> None:
    """Raises UserError where outcomes in the table are the status at another day: its predictions are then about that one."""
    wrong = int((known & np.isfinite(stated) & (stated != status)).sum())
    if wrong:
        raise UserError(
            f"The predicted effects are not about the protocol's horizon of {horizon:g} days",
            expected="outcomes in the table that are the status at that day",
            found=f"{wrong} rows whose status is another",
            mend="set trial.horizon_days to horizon_days of the task",
        )
