"""Laws about the house itself: configs and modules mirror each other, options compose, names and sizes stay within bounds."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import get_class

from equipoise.assemble import assemble, fit_views
from equipoise.batches import Batches, at_rows, evidences_of, open_views
from equipoise.cohort.frozen import Cohort
from equipoise.config.check import SUPPLIED, check_config, keywords_of
from equipoise.config.compose import LIST_GROUPS, compose_values, search_path
from equipoise.config.help import OF_VERBS, first_comment
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.launch import checked
from equipoise.learner.device import device_of
from equipoise.learner.loggers import Logger
from equipoise.testing.cohorts import tiny_cohort
from equipoise.trial.protocol import protocol_of

TOP = Path(__file__).resolve().parent.parent
SRC = TOP / "src" / "equipoise"
CONFIGS = TOP / "configs"
BASES = {
    "modality": "View",
    "encoder": "Encoder",
    "fusion": "Fusion",
    "head": "Head",
    "task": "Task",
    "pretext": "Pretext",
    "calibration": "Calibration",
    "conformal": "Conformal",
    "comparator": "Comparator",
}
ROOMS = tuple(BASES)


def option_id(option: Path) -> str:
    return f"{option.parent.name}={option.stem}"


def base_of(room: str) -> type:
    return getattr(importlib.import_module(f"equipoise.{room}"), BASES[room])


OPTIONS = sorted(p for p in CONFIGS.glob("*/*.yaml") if p.parent.name not in OF_VERBS)
EXPERIMENTS = sorted((TOP / "experiments").glob("*/*.yaml"))


def words_for(option: Path) -> list[str]:
    group, name = option.parent.name, option.stem
    if group == "encoder":  # an encoder lies inside a view that accepts its part
        return [f"encoder@modality.{view}.encoder={name}" for view in view_for(name)] + [f"modality=[{','.join(view_for(name))}]"]
    return [f"{group}=[{name}]" if group in LIST_GROUPS else f"{group}={name}"]


def view_for(encoder: str) -> list[str]:
    from equipoise.contract.make import targets_of

    target = next(t for _, t in targets_of(yaml.safe_load((CONFIGS / "encoder" / f"{encoder}.yaml").read_text())))
    module, _, name = target.rpartition(".")
    accepts = getattr(importlib.import_module(module), name).accepts.__name__
    if encoder == "pathway":  # the one that asks its view for more
        return ["omics"]
    return {"Events": ["ehr"], "Vector": ["biomarker"], "Genotypes": ["genotype"]}[accepts]


def must_be_given(option: Path) -> list[str]:
    """Values for the keys that an option leaves to the user (???)."""
    from equipoise.config.compose import dotted

    node = yaml.safe_load(option.read_text()) or {}
    leaves = {k: _at(node, k.split(".")) for k in dotted(node)}
    return [f"++{_package(option)}.{k}=given" for k, v in leaves.items() if v == "???"]


def _package(option: Path) -> str:
    header = re.search(r"#\s*@package\s+(\S+)", option.read_text())
    return header[1] if header else option.parent.name


def _at(node: object, path: Sequence[str]) -> object:
    for part in path:
        node = node[part]  # type: ignore[index]
    return node


# Values for the keys that an option leaves to the user, or needs of its view; parts are named by their classes and made, no file is read.
GIVEN = {
    "encoder=kernel_genotype": ["modality.genotype.landmarks=100"],
    "encoder=pathway_genotype": [f"modality.genotype.genes={TOP / 'tests' / 'tiny_genes.csv'}"],
    "encoder=score_genotype": ["modality.genotype.components=2"],
    "encoder=pathway": ["modality.omics.evidence=biomarker", f"modality.omics.groups={TOP / 'tests' / 'tiny_pathways.csv'}"],
    "cohort=files": [
        "cohort.evidence={clinical: {_target_: equipoise.cohort.plink.Plink, path: x, id: iid}}",
        "cohort.labels={_target_: equipoise.cohort.labels.Unlabelled, path: x.csv, id: id}",
    ],
}


@functools.cache
def _composed(words: tuple[str, ...]) -> dict[str, Any]:
    with search_path(None) as search:
        return checked(words, search).values


def given_for(option: Path) -> list[str]:
    return GIVEN.get(f"{option.parent.name}={option.stem}") or must_be_given(option)


def composed(option: Path) -> dict[str, Any]:
    """The whole config with this option, checked; composing takes a second, so once for all tests, and for all options of a list group together."""
    group = option.parent.name
    if group not in LIST_GROUPS:
        return copy.deepcopy(_composed((*words_for(option), *given_for(option))))
    beside = [p for p in OPTIONS if p.parent.name == group]
    words = f"{group}=[{','.join(p.stem for p in beside)}]", *(word for p in beside for word in given_for(p))
    values = copy.deepcopy(_composed(words))
    return values | {group: {option.stem: values[group][option.stem]}}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_every_option_composes_and_its_keys_are_keywords(option: Path) -> None:
    composed(option)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_every_option_says_in_one_line_what_it_is(option: Path) -> None:
    text = first_comment(option)
    assert 10 <= len(text) <= 160
    if option.parent.name in LIST_GROUPS:
        assert option.read_text().startswith(f"# @package {option.parent.name}.{option.stem}\n")


@pytest.mark.parametrize("room", ROOMS)
def test_configs_and_modules_of_a_room_mirror_each_other(room: str) -> None:
    named, files = set(), set()
    for option in sorted((CONFIGS / room).glob("*.yaml")):
        target = (yaml.safe_load(option.read_text()) or {})["_target_"]
        named.add(target)
        files.add(option.stem)
        module = target.removeprefix(f"equipoise.{room}.").split(".")[0]
        # linear_clinical.yaml is a second option of linear.py, and says so by its name.
        assert option.stem == module or option.stem.startswith(f"{module}_"), f"configs/{room}/{option.name} configures {module}.py"
    for module in sorted((SRC / room).glob("*.py")):
        made = importlib.import_module(f"equipoise.{room}.{module.stem}")
        base = base_of(room)
        for name, found in inspect.getmembers(made, inspect.isclass):
            if issubclass(found, base) and not inspect.isabstract(found) and found.__module__ == made.__name__ and not name.startswith("_"):
                assert f"{made.__name__}.{name}" in named, f"{name} in {module.name} has no yaml in configs/{room}"
                assert module.stem in files, f"{module.name} has no configs/{room}/{module.stem}.yaml of its name"


@pytest.mark.parametrize("option", [p for p in OPTIONS if p.parent.name in ROOMS], ids=lambda p: f"{p.parent.name}={p.stem}")
def test_every_keyword_of_a_part_stands_in_its_yaml(option: Path) -> None:
    values = composed(option)
    group = option.parent.name
    node = values["modality"][view_for(option.stem)[0]]["encoder"] if group == "encoder" else values[group]
    node = node[option.stem] if group in LIST_GROUPS else node
    keywords = keywords_of(node["_target_"])
    assert keywords is not None
    assert keywords - SUPPLIED <= set(node)
    module, _, name = node["_target_"].rpartition(".")
    signature = inspect.signature(getattr(importlib.import_module(module), name))
    defaults = [p.name for p in signature.parameters.values() if p.default is not p.empty]
    assert not defaults, f"defaults of {name} stand in two places: {defaults}"


@pytest.mark.parametrize("option", [p for p in OPTIONS if p.parent.name in ("modality", "task", "calibration", "comparator")], ids=option_id)
def test_every_option_makes_its_part(option: Path) -> None:
    group = option.parent.name
    node = composed(option)[group]
    node = {k: v for k, v in (node[option.stem] if group in LIST_GROUPS else node).items() if k != "encoder"}
    assert isinstance(make(node), base_of(group))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("house") / "cohort")


@pytest.mark.parametrize("option", [p for p in OPTIONS if p.parent.name in ("encoder", "fusion", "head")], ids=option_id)
def test_every_option_is_made_into_a_network_that_gives_draws(option: Path, cohort: Cohort) -> None:
    config, rows = composed(option), cohort.rows_in("train")
    target = yaml.safe_load(option.read_text())["_target_"]
    if getattr(get_class(target), "needs_sum", False):
        config["fusion"] = composed(CONFIGS / "fusion" / "additive.yaml")["fusion"]
    views = fit_views(config, cohort, rows)
    network = assemble(config, views, {"risk": at_rows(cohort.target("outcome"), rows)}, seed=0)
    parts = {"encoder": network.encoders.values(), "fusion": [network.fusion], "head": [network.head]}[option.parent.name]
    assert [f"{type(p).__module__}.{type(p).__qualname__}" for p in parts] == [target] * len(parts)
    batches = Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets={})
    draws = network(batches(np.arange(5)), n_draws=2, seed=0)["risk"].value
    assert draws.shape[1:] == (5, 1)
    assert draws.isfinite().all()


@pytest.mark.parametrize("option", [p for p in OPTIONS if p.parent.name == "cohort"], ids=option_id)
def test_every_cohort_is_made_from_its_option(option: Path) -> None:
    from equipoise.cohort.source import Source

    assert isinstance(make(composed(option)["cohort"]), Source)


@pytest.mark.parametrize("option", [p for p in OPTIONS if p.parent.name in ("optimizer", "scheduler", "logger", "trial", "trainer")], ids=option_id)
def test_every_option_of_the_learner_and_the_trial_is_taken_by_what_reads_it(option: Path) -> None:
    group, values = option.parent.name, composed(option)
    node = values[group]
    match group:
        case "optimizer":
            weight = torch.nn.Parameter(torch.ones(3))
            optimizer = make(node, params=[weight])
            (weight**2).sum().backward()
            optimizer.step()
            assert (weight < 1).all()
        case "scheduler":
            assert 0 <= make(node)(1.0, 10) <= 1
        case "logger":
            assert isinstance(make(node), Logger)
        case "trial":
            assert protocol_of(node).name == node["name"]
        case "trainer" if node["accelerator"] == "gpu" and not torch.cuda.is_available():
            with pytest.raises(UserError, match="torch sees none"):
                device_of(node)
        case "trainer":
            assert device_of(node).type in ("cpu", "cuda")
            assert set(node) == set(yaml.safe_load((CONFIGS / "trainer" / "default.yaml").read_text()))


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_experiment_composes_and_keeps_its_leaves(experiment: Path) -> None:
    with search_path(str(TOP / "experiments")) as search:
        values = checked([f"experiments={experiment.parent.name}/{experiment.stem}"], search).values
    said = yaml.safe_load(experiment.read_text())
    for path, leaf in leaves(said):
        if path[0] in ("defaults", "hydra") or (isinstance(leaf, str) and "${" in leaf):
            continue
        assert _at(values, path) == leaf, f"{experiment.name} says {'.'.join(path)}: {leaf}, the composed config says {_at(values, path)}"


def leaves(node: object, at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    """Paths, not dotted names: a key of tune.grid has dots of its own."""
    if isinstance(node, dict) and node:
        return [pair for k, v in node.items() for pair in leaves(v, (*at, str(k)))]
    return [(at, node)]


def test_experiments_hold_no_code_and_all_have_their_papers() -> None:
    for folder in sorted(p for p in (TOP / "experiments").iterdir() if p.is_dir()):
        assert re.fullmatch(r"\d{3}_[a-z0-9_]+", folder.name)
        assert not list(folder.glob("**/*.py"))
        assert (folder / "README.md").is_file()
        assert (folder / "results.csv").is_file()


def test_a_misspelt_key_is_named_wherever_it_stands() -> None:
    with search_path(None) as search:
        values = compose_values([], search).values
    with pytest.raises(UserError, match=r"learner\.max_epoch\b.*max_epochs"):
        check_config({**values, "learner": {**values["learner"], "max_epoch": 3}}, values)


MADE = {"_target_": "equipoise.head.point.PointHead"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"calibratio": MADE}, r"Unknown config key calibratio\b.*did you mean calibration"),
        ({"trial.calibratio": MADE}, r"Unknown config key trial\.calibratio\b"),
        ({"seed": [1]}, r"Config key seed is \[1\].*a number"),
        ({"seed": {"one": 1}}, r"Config key seed is \{'one': 1\}.*a number"),
        ({"seed": MADE}, r"Config key seed is .*a number"),
        ({"learner.max_epochs": [3]}, r"Config key learner\.max_epochs is \[3\].*a number"),
        ({"optimizer.betas": 0.9}, r"Config key optimizer\.betas is 0\.9.*a list"),
        ({"optimizer.betas": [0.9, "much"]}, r"Config key optimizer\.betas\[1\] is 'much'.*a number"),
        ({"task.risk.target": ["a", "b"]}, r"Config key task\.risk\.target is .*a word"),
        ({"modality": [MADE]}, r"Config key modality is .*a mapping"),
        ({"trainer.progress": 1}, r"Config key trainer\.progress is 1.*true or false"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_a_part_or_a_list_in_the_wrong_place_is_a_mistake(change: dict[str, object], said: str) -> None:
    with search_path(None) as search:
        values = compose_values([], search).values
    wrong = copy.deepcopy(values)
    for key, value in change.items():
        *parents, last = key.split(".")
        node = _at(wrong, parents)
        assert isinstance(node, dict)
        node[last] = value
    with pytest.raises(UserError, match=said):
        check_config(wrong, values)


def test_further_parts_and_free_forms_may_stand_where_there_is_room_for_them() -> None:
    with search_path(None) as search:
        values = compose_values([], search).values
    more = copy.deepcopy(values)
    more["comparator"]["mine"] = {**values["comparator"]["linear"], "name": "mine"}
    more["learner"]["evidence_dropout"] = {"ehr": 0.5}
    more["tune"]["grid"] = {"d_model": [8, 16]}
    more["name"] = 2026
    check_config(more, values)


def test_names_of_the_users_may_be_added_to_a_shipped_cohort() -> None:
    with search_path(None) as search:
        values = compose_values(["cohort=actg175"], search).values
    more = copy.deepcopy(values)
    more["cohort"]["labels"]["targets"]["effect"] = {"kind": "treatment_effect", "time": "days", "event": "cens", "treatment": "treat"}
    more["cohort"]["evidence"]["mine"] = copy.deepcopy(values["cohort"]["evidence"]["biomarker"])
    check_config(more, values)
    more["cohort"]["evidence"]["mine"]["colums"] = ["cd40"]
    with pytest.raises(UserError, match=r"Unknown config key cohort\.evidence\.mine\.colums\. .*did you mean columns"):
        check_config(more, values)


def test_no_file_has_an_empty_name_or_grows_beyond_reading() -> None:
    for path in SRC.rglob("*.py"):
        assert not re.search(r"util|helper|common|manager|misc", path.stem), path
        assert len(path.read_text().splitlines()) <= 400, f"{path} is too long to be one idea"


def test_help_is_light_and_knows_neither_torch_nor_hydra() -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "equipoise", "--help"], capture_output=True, text=True, check=True, cwd=TOP)
    assert not re.search(r"\b(torch|hydra|omegaconf|numpy|polars)\b", done.stderr)
    for verb in ("run", "init", "cohort", "pretrain", "train", "predict", "evaluate", "doctor"):
        assert f"\n  {verb} " in done.stdout
