"""Checks every key of a composed config. Hydra checks only the command line: a misspelt key in an experiment file composes silently."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from equipoise.config.compose import LIST_GROUPS
from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError
from equipoise.contract.make import check_targets

# One number for all, or a mapping from names to numbers.
_NUMBER_OR_MAPPING = ("learner.evidence_dropout",)
# What `assemble` passes to a part besides its yaml's keywords.
SUPPLIED = frozenset({"spec", "d_model", "views", "n_evidences", "d_in", "n_params", "bias"})


def check_config(config: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    """Holds a composed config against the vocabulary.

    Args:
        config: plain containers.
        base: the same group choices composed from the vocabulary alone, without experiment and overrides.

    Raises:
        UserError: a ``_target_`` is refused, a key is unknown, or a value's type is not the vocabulary's, naming the dotted key.
    """
    check_targets(config)
    _walk(config, base, "")


def keywords_of(target: str) -> frozenset[str] | None:
    """The keywords that a class takes, or None when it takes any.

    Raises:
        UserError: there is no such class.
    """
    module, _, name = target.rpartition(".")
    try:
        made = getattr(__import__(module, fromlist=[name]), name)
    except (ImportError, AttributeError) as e:
        raise UserError(f"There is no class {target}", found=str(e), mend="correct the _target_") from e
    parameters = inspect.signature(made).parameters.values()
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else frozenset(p.name for p in parameters)


def _walk(node: Mapping[str, Any], base: Mapping[str, Any], at: str) -> None:
    if "_target_" in node:
        _check_part(node, base, at)
        return
    for key, value in node.items():
        here = f"{at}.{key}" if at else str(key)
        # The options of a list group lie below their own names: further parts may stand beside the chosen ones.
        if key not in base and not (at in LIST_GROUPS and isinstance(value, Mapping) and "_target_" in value):
            raise UserError(
                f"Unknown config key {here}",
                expected=f"one of {', '.join(map(str, base)) or 'none'}",
                mend=nearest(str(key), map(str, base)) or "remove the key",
            )
        _descend(value, base.get(key), here)


def _check_part(node: Mapping[str, Any], base: Mapping[str, Any], at: str) -> None:
    known = keywords_of(str(node["_target_"]))
    for key, value in node.items():
        if str(key).startswith("_") or (key == "encoder" and at.startswith("modality.")):
            _descend(value, base.get(key), f"{at}.{key}")
            continue
        if known is not None and (key not in known or key in SUPPLIED):
            takes = sorted(known - SUPPLIED - {"self"})
            raise UserError(
                f"Unknown config key {at}.{key}",
                expected=f"a keyword of {node['_target_']}: {', '.join(takes)}",
                mend=nearest(str(key), takes) or "remove the key",
            )
        beside = base.get(key) if base.get("_target_") == node["_target_"] else None
        if isinstance(value, Mapping) and "_target_" not in value and isinstance(beside, Mapping):
            # Its keys are names of the user's (targets, columns, roles), which the part itself checks: there may be others than the vocabulary's.
            for name, below in value.items():
                _descend(below, beside.get(name), f"{at}.{key}.{name}")
        else:
            _descend(value, beside, f"{at}.{key}")


def _descend(value: Any, base: Any, at: str) -> None:
    """Goes on below a key whose name is known. An empty mapping or null in the vocabulary stands for free form."""
    if at not in _NUMBER_OR_MAPPING or not isinstance(value, Mapping):
        _check_type(value, base, at)
    if isinstance(value, Mapping):
        if "_target_" in value:
            _walk(value, base if isinstance(base, Mapping) else {}, at)
        elif isinstance(base, Mapping) and base and "_target_" not in base:
            _walk(value, base, at)
        else:
            _parts_below(value, at)
        return
    if isinstance(value, list):
        numbers = isinstance(base, list) and bool(base) and all(type(b) in (int, float) for b in base)
        for i, item in enumerate(value):
            if isinstance(item, Mapping):
                _parts_below({"": item}, f"{at}[{i}]")
            if numbers:
                _check_type(item, base[0], f"{at}[{i}]")


def _parts_below(node: Mapping[str, Any], at: str) -> None:
    """In free form only parts are checked."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            here = f"{at}.{key}" if key else at
            if "_target_" in value:
                _walk(value, {}, here)
            else:
                _parts_below(value, here)


_RIGHT: dict[type, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str, int, float, bool), list: (list,), dict: (dict,)}
_NAMES = {bool: "true or false", int: "a number", float: "a number", str: "a word", list: "a list", dict: "a mapping"}


def _check_type(value: Any, base: Any, at: str) -> None:
    """A value is of its default's type; a word may be spelt as a number or a truth value."""
    right = _RIGHT.get(type(base))
    if value is None or right is None or base == "???":
        return
    if not isinstance(value, right) or (isinstance(value, bool) and bool not in right):
        raise UserError(f"Config key {at} is {value!r}", expected=f"{_NAMES[type(base)]} (the default is {base!r})", mend=f"give {at} such a value")
