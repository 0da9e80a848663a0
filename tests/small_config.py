"""A resolved config for tests, read from the same yaml files as the command's, without the groups that training does not need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from equipoise.tune import with_values

WIDE = 20.0
CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def small_config(*, views: Sequence[str] = ("clinical",), tasks: Sequence[str] = ("risk",), head: str = "variational", **values: Any) -> dict[str, Any]:
    """A small model of these views and tasks; ``values`` are dotted keys with ``__`` for the dot, e.g. ``learner__max_epochs=2``."""
    config: dict[str, Any] = {
        "name": "test",
        "seed": 0,
        "d_model": 8,
        "members": 1,
        "bootstrap_members": False,
        "abstain_novelty": None,
        "init_from": None,
        "init_from_others": False,
        "conformal": _option("conformal/none"),
        "modality": {view: _view(view) for view in views},
        "fusion": _option("fusion/concat"),
        "head": _option(f"head/{head}"),
        "task": {task: _option(f"task/{task}") for task in tasks},
        "calibration": _option("calibration/logistic"),
        "pretext": _option("pretext/next_event"),
    }
    config |= {group: _option(f"{group}/default") for group in ("learner", "trainer", "nuisance")} | {
        "validation": _option("validation/fixed"),
        "tune": _option("tune/none"),
    }
    config |= {"optimizer": _option("optimizer/adam"), "scheduler": _option("scheduler/constant"), "logger": _option("logger/csv")}
    config["trainer"]["accelerator"] = "cpu"
    for node in config["nuisance"]["estimators"].values():
        node["seed"] = 0
    # With a few hundred rows the penalties of the default priors outweigh what the rows say, and nothing would be learnt.
    for part in [config["fusion"], *(view["encoder"] for view in config["modality"].values())]:
        part["prior_scale"] = WIDE
    if "regression" in config["task"]:
        config["task"]["regression"]["target"] = "weight"
    return with_values(config, {key.replace("__", "."): value for key, value in values.items()})


def _option(name: str) -> dict[str, Any]:
    node = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) or {}
    return {k: v for k, v in node.items() if k != "defaults"}


def _view(name: str) -> dict[str, Any]:
    encoder = re.search(r"encoder@encoder: (\w+)", (CONFIGS / "modality" / f"{name}.yaml").read_text())
    assert encoder is not None
    return {**_option(f"modality/{name}"), "encoder": _option(f"encoder/{encoder[1]}")}
