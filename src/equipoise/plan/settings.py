"""What a plan is asked for: the defaults of ``configs/plan/KIND.yaml``, the words of the command line, and their ranges."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

from equipoise.config.help import plan_kinds
from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError
from equipoise.places import configs_dir

MISSING = "???"


class Allowed(Protocol):
    """What a key may be."""

    def holds(self, value: Any) -> bool: ...

    def sentence(self) -> str: ...


@dataclass(frozen=True)
class Words:
    """One of these words."""

    words: Sequence[str]

    def holds(self, value: Any) -> bool:
        return value in self.words

    def sentence(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass(frozen=True)
class Fractions:
    """Rising shares up to 1, or null."""

    most: int

    def holds(self, value: Any) -> bool:
        if value is None:
            return True
        if not isinstance(value, list) or not 1 <= len(value) <= self.most or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
            return False
        return value[0] > 0 and value[-1] == 1 and all(a < b for a, b in itertools.pairwise(value))

    def sentence(self) -> str:
        return f"null, or up to {self.most} rising shares that end in 1, e.g. [0.5, 0.75, 1]"


def read(kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The keys of a kind with their defaults (`MISSING` where one must be given), and what each means.

    Raises:
        UserError: there is no such kind.
    """
    kinds = plan_kinds()
    if kind not in kinds:
        what = f"There is no plan {kind!r}" if kind else "`equipoise plan` needs a kind of study"
        raise UserError(what, expected=f"one of {', '.join(kinds)}", mend=nearest(kind, kinds) or "see `equipoise --help`")
    text = (configs_dir() / "plan" / f"{kind}.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^(\w+): .*?\s# (.*)$", text, re.MULTILINE)
    return yaml.safe_load(text), dict(found)


def settings_of(kind: str, words: Iterable[str], allowed: Mapping[str, Allowed]) -> dict[str, Any]:
    """The settings of a plan: defaults, then ``KEY=VALUE`` words.

    Args:
        kind: a file in ``configs/plan``.
        words: of the command line.
        allowed: what each key may be.

    Raises:
        UserError: an unknown key, a value outside its range, or one that must be given and is not.
    """
    settings, meaning = read(kind)
    for word in words:
        key, sign, value = word.partition("=")
        if key not in settings or not sign:
            raise UserError(f"Unknown key {key} of `equipoise plan {kind}`", expected=f"one of {', '.join(settings)}", mend=nearest(key, settings))
        settings[key] = _value(value)
    if lacking := [key for key, value in settings.items() if value == MISSING]:
        said = "; ".join(f"{key}: {meaning[key]}" for key in lacking)
        raise UserError(f"`equipoise plan {kind}` needs {', '.join(f'{key}=' for key in lacking)}", expected=said, mend="add them as KEY=VALUE")
    for key, value in settings.items():
        if not allowed[key].holds(value):
            raise UserError(f"Key {key} of `equipoise plan {kind}` is out of range", expected=allowed[key].sentence(), found=repr(value), mend=f"correct {key}")
    return settings


def _value(text: str) -> Any:
    """A word's value: a number (YAML takes 1e-3 for a word), else YAML."""
    for read_as in (int, float):
        try:
            number = read_as(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
