"""Config -> network: the only place that connects rooms and passes dimensions."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from equipoise.batches import evidences_of, only_at
from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.encoder import Encoder
from equipoise.fusion import Fusion
from equipoise.head import Head
from equipoise.modality import Pretrainable, View
from equipoise.network import Losses as Losses
from equipoise.network import Network as Network
from equipoise.pretext import Pretext
from equipoise.pretext_network import PretextNetwork
from equipoise.task import Task

T = TypeVar("T")


def make_views(config: Mapping[str, Any]) -> dict[str, View]:
    """The config's views, not fitted."""
    if not config["modality"]:
        raise UserError("The config has no modality", mend="choose views, e.g. modality=[clinical]")
    return {name: _is(make(_without(node, "encoder")), View, f"modality.{name}") for name, node in config["modality"].items()}


def fit_views(config: Mapping[str, Any], cohort: Cohort, train_rows: np.ndarray) -> dict[str, View]:
    """The config's views, fitted on train rows.

    Args:
        config: its ``modality`` and ``task`` count.
        cohort: the cohort.
        train_rows: i64; outcomes of all other rows are blinded before a view sees them.

    Raises:
        UserError: the cohort lacks an evidence, or a view cannot be fitted.
    """
    views = make_views(config)
    first = next(iter(config["task"].values()), None)
    outcome = only_at(cohort.target(first["target"]), train_rows) if first is not None else None
    for view in views.values():
        view.fit(cohort, train_rows, outcome=outcome)
    return views


def make_pretrainable(config: Mapping[str, Any]) -> tuple[str, Pretrainable]:
    """The one view of the config whose encoder can be pretrained, not fitted, and its name; the others are passed over.

    Raises:
        UserError: there is none, or there are several.
    """
    found = {name: view for name, view in make_views(config).items() if isinstance(view, Pretrainable)}
    if len(found) != 1:
        raise UserError(
            f"{len(found)} of the chosen views can be pretrained",
            expected="one view of events",
            found=f"modality: {', '.join(config['modality'])}",
            mend="choose one, e.g. modality=[ehr]",
        )
    return next(iter(found.items()))


def make_tasks(config: Mapping[str, Any]) -> dict[str, Task]:
    """The config's tasks, not set up."""
    if not config["task"]:
        raise UserError("The config has no task", mend="choose one, e.g. task=[risk]")
    return {name: _is(make(node), Task, f"task.{name}") for name, node in config["task"].items()}


def assemble(config: Mapping[str, Any], views: Mapping[str, View], targets: Mapping[str, TargetTable], *, seed: int) -> Network:
    """A network that has seen the train rows' base rates and nothing else.

    Args:
        config: resolved; its ``modality``, ``fusion``, ``head``, ``task`` and ``d_model`` count.
        views: fitted.
        targets: by task name, train rows only.
        seed: of the initial weights. Every part starts from its own stream, so adding a view does not change another part's start.

    Raises:
        UserError: an encoder does not accept its view's part, or a task cannot learn from its targets.
    """
    tasks = make_tasks(config)
    for name, task in tasks.items():
        task.setup(targets[name])
    return connect(config, views, tasks, seed=seed)


def connect(config: Mapping[str, Any], views: Mapping[str, View], tasks: Mapping[str, Task], *, seed: int) -> Network:
    """A network of fitted views and tasks that are set up or loaded (see `assemble`)."""
    d_model = int(config["d_model"])
    evidences = evidences_of(views)
    encoders = {name: _encoder(config["modality"][name]["encoder"], name, view, d_model, seed) for name, view in views.items()}
    columns = {name: evidences.index(view.evidence) for name, view in views.items()}
    fusion: Fusion = _started(seed, "fusion", lambda: _is(make(config["fusion"], views=columns, n_evidences=len(evidences), d_model=d_model), Fusion, "fusion"))
    bias = torch.cat([task.start().reshape(-1) for task in tasks.values()]).to(torch.float32)
    head: Head = _started(seed, "head", lambda: _is(make(config["head"], d_in=fusion.d_out, n_params=bias.numel(), bias=bias), Head, "head"))
    if head.needs_sum:
        _refuse_no_sum(type(head).__name__, fusion, encoders, bias.numel())
    if head.spectral_norm:
        for name, part in {"fusion": fusion, **{f"encoder.{k}": v for k, v in encoders.items() if v.lipschitz is not None}}.items():
            _started(seed, f"spectral/{name}", lambda part=part: bound_lipschitz(part))  # type: ignore[misc]
    return Network(encoders, fusion, head, tasks, evidences)


def _refuse_no_sum(head: str, fusion: Fusion, encoders: Mapping[str, Encoder], n_params: int) -> None:
    """Raises UserError where a head that reads parameters off a sum of views would leave out views, or some parameters would hear nothing of one."""
    if not fusion.is_sum:
        raise UserError(
            f"{head} reads the tasks' parameters off a sum of views, and {type(fusion).__name__} is none",
            mend="set fusion=additive fusion.mapped=false fusion.residual=false, or choose head=point",
        )
    for name, encoder in encoders.items():
        if fusion.keeps_entries and encoder.n_scores is not None and encoder.n_scores < n_params:
            raise UserError(
                f"View {name} speaks to {encoder.n_scores} of the {n_params} parameters that {head} reads",
                expected=f"a score for each: n_scores of {n_params}",
                mend=f"set modality.{name}.encoder.n_scores={n_params}, or fusion.mapped=true",
            )


def make_pretext(config: Mapping[str, Any], name: str, view: View, *, seed: int) -> Pretext:
    """The config's pretext for a fitted view, not set up."""
    at = f"pretext of {name}"
    made: Pretext = _started(seed, "pretext", lambda: _is(make(config["pretext"], spec=view.spec, d_model=int(config["d_model"])), Pretext, at))
    return made


def connect_pretext(config: Mapping[str, Any], name: str, view: View, pretext: Pretext, *, seed: int) -> PretextNetwork:
    """The encoder of a fitted view, as a model's would start, with a pretext that is set up."""
    return PretextNetwork(_encoder(config["modality"][name]["encoder"], name, view, int(config["d_model"]), seed), pretext)


def bound_lipschitz(part: nn.Module) -> None:
    """Divides every linear and convolutional weight below a part by its largest singular value (power iteration), for heads that need distances kept.

    Source: Miyato et al. (2018), section 2.1; Liu et al. (2020), SNGP, section 3.2.
    """
    for layer in list(part.modules()):
        if isinstance(layer, nn.Linear | nn.Conv1d):
            spectral_norm(layer)


def _encoder(node: Mapping[str, Any], name: str, view: View, d_model: int, seed: int) -> Encoder:
    at = f"modality.{name}.encoder"
    return _started(seed, f"encoder/{name}", lambda: make_encoder(node, at, view, d_model))


def make_encoder(node: Mapping[str, Any], at: str, view: View, d_model: int) -> Encoder:
    """The encoder of a config node, checked against its view's part."""
    from hydra.utils import get_class

    # The class says what it accepts before it is made: an encoder of another part may fail on the spec in its own words.
    accepts = getattr(get_class(str(node["_target_"])), "accepts", None)
    if accepts is not None and accepts is not view.part:
        raise UserError(
            f"{at} is {node['_target_'].rsplit('.', 1)[-1]}, which takes {accepts.__name__}",
            expected=f"an encoder of {view.part.__name__}, which this view gives",
            mend=f"choose another: encoder@{at}=NAME; `equipoise --help` lists them",
        )
    encoder: Encoder = _is(make(node, spec=view.spec, d_model=d_model), Encoder, at)
    return encoder


def _started(seed: int, part: str, made: Callable[[], T]) -> T:
    """Runs ``made`` with torch's random stream at this part's own start."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed("init", seed, zlib.crc32(part.encode())))
        return made()


def _without(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in node.items() if k != key}


def _is(made: Any, kind: type, at: str) -> Any:
    if not isinstance(made, kind):
        raise UserError(f"Config key {at} makes a {type(made).__name__}", expected=f"a {kind.__name__}", mend="correct its _target_")
    return made
