"""Finds every part of a room by walking its modules and its yamls, so that a new part is under law without being listed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from omegaconf import OmegaConf

from equipoise.places import configs_dir

DIALS = {"seed": 0, "d_model": 8, "paths": {"data": "data"}}
"""What the root dials are while a part is made for a law-test."""


def options(room: str) -> dict[str, dict[str, Any]]:
    """The room's config nodes by option name, root dials filled in; what an option leaves to the user (???) is "given".

    >>> "point" in options("head")
    True
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((configs_dir() / room).glob("*.yaml")):
        tree = OmegaConf.to_container(OmegaConf.create({**DIALS, "node": OmegaConf.load(path)}), resolve=True)
        node: dict[str, Any] = dict(tree["node"])  # type: ignore[index, call-overload, arg-type]
        found[path.stem] = {k: "given" if v == "???" else v for k, v in node.items()}
    return found


def classes(room: str, base: type) -> set[str]:
    """Dotted names of all concrete classes of a room, as a ``_target_`` spells them."""
    package = importlib.import_module(f"equipoise.{room}")
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return {
        f"{module.__name__}.{name}"
        for module in modules
        for name, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, base) and not inspect.isabstract(found) and found.__module__ == module.__name__
    }


def targets(room: str) -> set[str]:
    """The ``_target_`` of every option of a room."""
    return {node["_target_"] for node in options(room).values()}
