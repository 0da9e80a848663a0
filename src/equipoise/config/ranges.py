"""Ranges of the numbers that steer a run, held before anything is written: a negative batch size would train nothing and report it as a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.contract.errors import UserError


@dataclass(frozen=True)
class Range:
    """What a key may be.

    Args:
        least: the lowest value.
        most: the highest value, or None.
        whole: whole numbers only.
        open_below: the lowest value itself is refused.
        open_above: the highest value itself is refused.
        null: null is a value too.
    """

    least: float
    most: float | None = None
    whole: bool = False
    open_below: bool = False
    open_above: bool = False
    null: bool = False

    def holds(self, value: Any) -> bool:
        if value is None:
            return self.null
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        above = value > self.least if self.open_below else value >= self.least
        below = self.most is None or (value < self.most if self.open_above else value <= self.most)
        return above and below

    def sentence(self) -> str:
        """
        >>> Range(1, whole=True, null=True).sentence()
        'a whole number >= 1, or null'
        >>> Range(0, 1, open_above=True).sentence()
        'a number >= 0 and < 1'
        """
        most = f" and {'<' if self.open_above else '<='} {self.most:g}" if self.most is not None else ""
        return f"a {'whole ' if self.whole else ''}number {'>' if self.open_below else '>='} {self.least:g}{most}{', or null' if self.null else ''}"


_COUNT, _AMOUNT, _POSITIVE = Range(1, whole=True), Range(0), Range(0, open_below=True)
_SHARE = Range(0, 1, open_above=True)

RANGES: dict[str, Range] = {
    "seed": Range(0, whole=True),
    "d_model": _COUNT,
    "members": _COUNT,
    "validation.resampled": Range(0, whole=True),
    "abstain_novelty": Range(0, 1, open_below=True, null=True),
    "served_before": Range(0, whole=True),
    "learner.max_epochs": _COUNT,
    "learner.batch_size": _COUNT,
    "learner.patience": Range(1, whole=True, null=True),
    "learner.min_delta": _AMOUNT,
    "learner.beta": _AMOUNT,
    "learner.train_draws": Range(1, whole=True, null=True),
    "learner.select_draws": _COUNT,
    "learner.spread_folds": Range(0, whole=True),
    "learner.predict_draws": _COUNT,
    "learner.clip_norm": Range(0, open_below=True, null=True),
    "learner.checkpoint_minutes": _AMOUNT,
    "trainer.threads": _COUNT,
    "trainer.num_workers": Range(0, whole=True),
    "optimizer.lr": _POSITIVE,
    "validation.select_share": _SHARE,
    "validation.calibrate_share": _SHARE,
    "validation.min_events_train": Range(0, whole=True),
    "validation.min_events_held_out": Range(0, whole=True),
    "tune.folds": Range(0, whole=True),
    "rehearse.twins": _COUNT,
    "rehearse.seeds": _COUNT,
    "rehearse.seed": Range(0, whole=True),
    "rehearse.processes": _COUNT,
}
"""Dotted key -> range. What belongs to one part alone stands in that part; the trial's keys in `trial.protocol`."""


def check_ranges(config: Mapping[str, Any]) -> None:
    """Holds a composed config's numbers against `RANGES`; keys that it lacks are another group's choice.

    Raises:
        UserError: a value is outside its range, naming the dotted key.
    """
    for key, allowed in RANGES.items():
        group, _, last = key.rpartition(".")
        node = config.get(group) if group else config
        if isinstance(node, Mapping) and last in node and not allowed.holds(node[last]):
            raise UserError(f"Config key {key} is out of range", expected=allowed.sentence(), found=repr(node[last]), mend=f"correct {key}")


def check_chosen(config: Mapping[str, Any]) -> None:
    """Raises UserError when nothing is chosen of a group without which there is no model."""
    for group, example in (("modality", "[clinical]"), ("task", "[risk]")):
        if not config.get(group):
            raise UserError(
                f"Config group {group} is empty", expected="at least one option", mend=f"choose some, e.g. {group}={example}; see `equipoise --help`"
            )
