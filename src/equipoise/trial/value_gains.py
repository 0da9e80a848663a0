"""The arms of one evidence and its three gains on some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.stats.estimate import Estimate
from equipoise.trial.compare import number, oriented
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.rows import Forecasts, Rows
from equipoise.trial.value_rows import restricted


@dataclass(frozen=True)
class ArmsOf:
    """The arms that tell what an evidence adds.

    Args:
        evidence: which one.
        own: the model as it is.
        refit: fitted without the evidence; () where there is no such arm (the only evidence).
        placebos: fitted with its rows permuted.
        hidden: the model as it is, with the evidence hidden; () where it was not predicted.
    """

    evidence: str
    own: Arm
    refit: tuple[Arm, ...]
    placebos: tuple[Arm, ...]
    hidden: tuple[Arm, ...]

    @property
    def all(self) -> list[Arm]:
        """The arms of the gains."""
        return [self.own, *self.refit, *self.placebos]


def arms_of(rows: Rows, model: str, evidence: str, evidences: Sequence[str]) -> ArmsOf:
    """The model's arms for an evidence, as far as the predictions hold them.

    Args:
        rows: with forecasts.
        model: its name.
        evidence: which one.
        evidences: all of the model's, in any order.
    """
    others = {e for e in evidences if e != evidence}
    mine = [arm for arm in rows.forecasts if arm[0] == model]
    return ArmsOf(
        evidence,
        (model, SCENARIO_ALL),
        tuple(a for a in mine if a[1].startswith("refit:") and set(a[1].removeprefix("refit:").split("+")) == others),
        tuple(a for a in mine if a[1].startswith("placebo:") and a[1].removeprefix("placebo:").partition("@")[0] == evidence),
        tuple(a for a in mine if a[1] == f"masked:{evidence}"),
    )


def judged_on(
    judged: Judged,
    where: np.ndarray,
    arms: Sequence[Arm],
    endpoints: tuple[Endpoint, ...],
    weight: np.ndarray | None = None,
    further: dict[Arm, Forecasts] | None = None,
) -> Judged:
    """These arms on these rows alone, resampled.

    Args:
        judged: all rows.
        where: bool (n,), rows on which every arm has a prediction.
        arms: of ``judged``.
        endpoints: which ones.
        weight: f64 (n,), or None.
        further: arms that ``judged`` does not have.
    """
    forecasts = {arm: judged.rows.forecasts[arm] for arm in arms} | (further or {})
    at = np.flatnonzero(where)
    score = judged.score[at] if judged.score.size else judged.score
    made = Judged(restricted(judged.rows, where, forecasts, weight), judged.protocol, endpoints, judged.propensity[at], score)
    if at.size:
        made.resample([], list(forecasts))
    return made


def gains(own: Judged, arms: ArmsOf) -> dict[str, dict[str, Any]]:
    """{"total", "content", "presence"} -> endpoint -> gain, interval, p; a gain without its arm is left out."""
    pairs = {"content": ([arms.own], arms.placebos)}
    if arms.refit:
        pairs = {"total": ([arms.own], arms.refit), **pairs, "presence": (list(arms.placebos), arms.refit)}
    return {name: {e.name: gain_line(oriented(e, own.contrast(e, plus, minus))) for e in own.endpoints} for name, (plus, minus) in pairs.items()}


def gain_line(gain: Estimate) -> dict[str, Any]:
    """A gain for results.json; null = not estimated."""
    return {"gain": number(gain.value), "lo": number(gain.lo), "hi": number(gain.hi), "p": number(gain.p), "method": gain.method}
