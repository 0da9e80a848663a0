"""The config group ``nuisance``, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from equipoise.contract.errors import UserError
from equipoise.stats.pseudo_outcomes import EffectLoss


@dataclass(frozen=True)
class Settings:
    """How nuisances are estimated and what chooses effects. Defaults stand in ``configs/nuisance/default.yaml``.

    Args:
        folds: >= 2, of the train rows.
        select_by: "r" or "dr": the loss of select rows.
        propensity: P(treated), known by design, in (0, 1); None: estimated.
        clip: in (0, 0.5), of estimated propensities.
        censoring_truncation: >= 1, largest weight for censoring.
        estimators: by name, config nodes of comparators; one at least.
    """

    folds: int
    select_by: EffectLoss
    propensity: float | None
    clip: float
    censoring_truncation: float
    estimators: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From a resolved config.

        Raises:
            UserError: a value is outside its range.
        """
        made = cls(**config["nuisance"])
        known = made.propensity
        _require("folds", made.folds, isinstance(made.folds, int) and made.folds >= 2, "a whole number, at least 2")
        _require("select_by", made.select_by, made.select_by in ("r", "dr"), "r or dr")
        _require("propensity", known, known is None or 0 < known < 1, "a probability between 0 and 1, or null")
        _require("clip", made.clip, 0 < made.clip < 0.5, "between 0 and 0.5")
        _require("censoring_truncation", made.censoring_truncation, 1 <= made.censoring_truncation < math.inf, "a number, at least 1")
        _require("estimators", list(made.estimators), len(made.estimators) > 0, "one estimator at least")
        return made

    @property
    def key(self) -> str:
        """Equal for equal settings."""
        return json.dumps(vars(self), sort_keys=True, default=dict)


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise UserError(f"Config key nuisance.{name} has a wrong value", expected=expected, found=repr(value), mend=f"correct nuisance.{name}")
