"""From a run's config and cohort to what its twins are drawn from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from equipoise.cohort.build import build_cohort
from equipoise.cohort.frozen import Cohort
from equipoise.comparator import Comparator
from equipoise.config.compose import compose_values
from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question, TargetKind
from equipoise.contract.tables import ROLES
from equipoise.rehearse.fits import settings_of
from equipoise.rehearse.one import World, lean
from equipoise.rehearse.smaller import for_twins
from equipoise.rehearse.truth import declare
from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.protocol import protocol_of
from equipoise.tune import with_values

_SYNTHETIC = "equipoise.cohort.synthetic.Synthetic"


def world_of(config: Mapping[str, Any], cohort: Cohort) -> World:
    """Declares the truth of a cohort's twins.

    Args:
        config: a run's, with its group ``rehearse``.
        cohort: whose rows the twins have.

    Raises:
        UserError: this question, comparator or gain cannot be rehearsed.
    """
    small, settings = for_twins(config), config["rehearse"]
    for values in settings_of(small):
        with_values(small, values)  # a misspelt key is a mistake of the user's, not of a twin
    question, protocol = question_of(config, cohort), lean(protocol_of(config["trial"]))
    primary = endpoints_of(question.kind, protocol)[1]
    node = small["comparator"].get(settings["truth"])
    if node is None:
        raise UserError(
            f"The config has no comparator {settings['truth']!r} in whose class the truth could lie",
            expected=f"one of {', '.join(small['comparator'])}",
            mend="set rehearse.truth, or add the comparator",
        )

    def comparator() -> Comparator:
        made: Comparator = make(node)
        return made

    if (why := comparator().applies(cohort, question)) is not None:
        raise UserError(f"Comparator {settings['truth']} cannot give the truth", found=why, mend="set rehearse.truth to another comparator")
    train = cohort.rows_in("train")
    gains = sorted({float(g) for g in settings["gains"]})
    declared = declare(cohort, train, question, comparator, int(settings["seed"]), plant=gains[-1] > 0)
    planted = {gain: declared.planted(gain, primary, protocol) for gain in gains}
    observed = float(cohort.target(question.target).table["observed"].to_numpy()[train].mean())
    told = declared.as_dict() | {"component_sd": {f"{gain:g}": size for gain, (_, size) in planted.items()}}
    return World(small, cohort, question, protocol, primary, observed, {gain: risk for gain, (risk, _) in planted.items()}, told)


def question_of(config: Mapping[str, Any], cohort: Cohort) -> Question:
    """The config's first question.

    Raises:
        UserError: it cannot be rehearsed.
    """
    name, node = next(iter(config["task"].items()))
    kind: TargetKind = next(k for k in get_args(TargetKind) if k == cohort.target(node["target"]).kind)
    if kind != "binary":
        raise UserError(
            f"Target {node['target']!r} is {kind.replace('_', ' ')}", expected="a binary outcome first among the tasks", mend="rehearse with a binary task"
        )
    if config["validation"]["folds"]:
        raise UserError("A cross-validation cannot be rehearsed", expected="rows with roles", mend="add validation=fixed")
    evidences = tuple(dict.fromkeys(str(view["evidence"]) for view in config["modality"].values()))
    return Question(task=name, target=str(node["target"]), kind=kind, evidences=evidences)


def synthetic_source(config: Mapping[str, Any], cohort: Cohort, number: int, folder: Path) -> Cohort:
    """A generated cohort of the user's size, roles, prevalence and presence of each evidence.

    A synthetic cohort's twins have its own dials; another's have the default ones, by the names of its evidences.

    Args:
        config: the run's.
        cohort: the user's.
        number: of the twin.
        folder: for the generated cohort.

    Raises:
        UserError: the generator does not make such evidences.
    """
    seed = stream_seed("rehearse-synthetic", int(config["rehearse"]["seed"]), number) >> 1
    if config["cohort"]["_target_"] == _SYNTHETIC:
        node = copy.deepcopy(dict(config["cohort"]))
    else:
        node = _like(config, cohort, compose_values(["cohort=synthetic"], []).values["cohort"])
    return build_cohort(make(node | {"seed": seed}), folder)


def _like(config: Mapping[str, Any], cohort: Cohort, node: dict[str, Any]) -> dict[str, Any]:
    question = question_of(config, cohort)
    kinds = {"ehr": "events", "genotype": "genotypes", "biomarker": "columns", "lifestyle": "columns", "clinical": "columns"}
    if strange := [e for e in question.evidences if cohort.kind_of(e) != kinds.get(e)]:
        raise UserError(
            f"The generator makes no evidence like {strange[0]!r}",
            expected=f"some of {', '.join(kinds)}",
            mend="rehearse on plasmode twins: rehearse.kind=plasmode",
        )
    train = cohort.rows_in("train")
    table = cohort.target(question.target).table[train]
    outcome = table["outcome"].to_numpy()[table["observed"].to_numpy()]
    presence = {
        e: dial | {"share": float(np.clip(cohort.present_in(e).mean(), 0.01, 1.0)) if e in cohort.evidences else 0.01} for e, dial in _dials(node).items()
    }
    return node | {
        "n": cohort.size,
        "shares": {role: cohort.rows_in(role).size / cohort.size for role in ROLES},
        "presence": {"_target_": node["presence"]["_target_"], **presence},
        "outcome": node["outcome"] | {"prevalence": float(outcome.mean())},
    }


def _dials(node: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in node["presence"].items() if not k.startswith("_")}
