"""A config for twins: the run's own, of one question, and for ``model: small`` with everything narrow and short."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

_LEARNER: dict[str, Any] = {"max_epochs": 6, "patience": 3, "select_draws": 4, "predict_draws": 32}
_MOST = {"folds": 2, "max_codes": 50, "max_rounds": 120, "members": 1, "n_components": 5}
"""Of a comparator's keys, the most that small twins get."""
_PENALTIES = 4
_STATISTICS = ("last", "mean", "count", "days_since", "any")


def for_twins(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config by which each twin is fitted: the first question only, nothing masked, no bar.

    Args:
        config: the run's; ``rehearse.model`` says how much is cut. `small` keeps the inputs, encoders, fusion, head and recalibration, and each
            comparator's rule of tuning; it cuts width, epochs, draws, members, codes, statistics and the comparators' grids.
    """
    made: dict[str, Any] = copy.deepcopy(dict(config))
    made["task"] = dict([next(iter(made["task"].items()))])
    made["validation"] |= {"masked": False, "rotate_select": False}
    made["trainer"] |= {"progress": False}
    made["init_from"] = None  # twins of the held-out people would start from an encoder that is another for every truth
    if made["rehearse"]["model"] == "config":
        return made
    made |= {"d_model": min(int(made["d_model"]), 8), "members": 1}
    made["learner"] |= {k: min(v, int(made["learner"].get(k) or v)) for k, v in _LEARNER.items()}
    if "lr" in made["optimizer"]:
        made["optimizer"]["lr"] = 4 * float(made["optimizer"]["lr"])  # few steps have to do
    made["tune"] |= {"folds": 0, "grid": {}}
    made["comparator"] = {name: _smaller(node) for name, node in made["comparator"].items()}
    return made


def _smaller(node: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(node)
    for key, most in _MOST.items():
        if key in made and key != "members":
            made[key] = most if made[key] is None else min(made[key], most)
        elif key in made:
            made[key] = 1
    if "penalties" in made:
        whole = sorted(made["penalties"], reverse=True)
        made["penalties"] = whole[:: -(-len(whole) // _PENALTIES)]
    if "statistics" in made:
        made["statistics"] = [s for s in made["statistics"] if s in _STATISTICS] or list(made["statistics"])
    if "halves" in made:
        made["halves"] = False
    if "variants" in made:
        made["variants"] = [0] if isinstance(made["variants"], list) else 0
    if "learning_rate" in made:
        made["learning_rate"] = max(float(made["learning_rate"]), 0.15)  # few rounds have to do
    if isinstance(made.get("max_leaf_nodes"), list):
        made["max_leaf_nodes"] = made["max_leaf_nodes"][:1]
    return made
