"""Without select rows: how far predictions are off, told by train rows of inner folds that their networks left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.batches import open_views
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.outcomes import strata_of
from equipoise.cohort.roles import inner_folds
from equipoise.cohort.split import Split
from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import Draws
from equipoise.data import chunks
from equipoise.learner.after import Seen, joined_seen
from equipoise.learner.epochs import select_batch
from equipoise.learner.estimate import LEFT_OUT
from equipoise.model import Model
from equipoise.network import Network
from equipoise.task import Task

log = logging.getLogger("equipoise.learner")


def sizes_spread(network: Network) -> bool:
    """Whether one of its tasks sizes its spread by rows that did not teach it."""
    return any(type(network.task(name)).fit_spread is not Task.fit_spread for name in network.tasks)


def asks_left_out(config: Mapping[str, Any], split: Split, folder: Path) -> bool:
    """Whether there are no select rows, and this is not a left-out training itself."""
    return not split.select.size and int(config["learner"]["spread_folds"]) > 1 and folder.parent.name != LEFT_OUT


def left_out(
    config: Mapping[str, Any], cohort: Cohort, split: Split, train: Callable[[Split, Path], Path], *, seed: int, folder: Path
) -> tuple[Seen, dict[str, Draws]]:
    """Every train row as a network sees it that was trained, for as many epochs, on the other inner folds; clusters are kept whole.

    Args:
        config: resolved; ``learner.spread_folds`` inner folds.
        cohort: with the targets of the config's tasks.
        split: whose train rows are divided.
        train: trains a member on a split into a folder and returns the path of its model.
        seed: the member's.
        folder: the member's own; the inner trainings lie below, finished ones are skipped on resume.

    Returns:
        The rows, and the tasks' draws (S, n, K_task) for them.
    """
    targets = {name: cohort.target(node["target"]) for name, node in config["task"].items()}
    cluster, stratum = cohort.rows["cluster"].to_numpy(), strata_of(next(iter(targets.values())))
    nothing = np.empty(0, np.int64)
    seen: list[Seen] = []
    drawn: list[dict[str, Draws]] = []
    log.info("%s has no select rows: the spread comes from the errors of inner folds", folder.name)
    for i, (fit_rows, check_rows) in enumerate(inner_folds(cluster, split.train, int(config["learner"]["spread_folds"]), seed, stratum)):
        model = Model.load(train(Split(fit_rows, nothing, nothing, nothing), folder / LEFT_OUT / str(i)))
        batches = model.batches(open_views(model.views, cohort), targets=targets)
        seen.append(Seen.of(model.network, batches, chunks(check_rows, select_batch(config))))
        drawn.append(spread_draws(config, model.network, seen[-1], seed))
    return joined_seen(seen), {name: _joined([own[name] for own in drawn]) for name in drawn[0]}


@torch.no_grad()
def spread_draws(config: Mapping[str, Any], network: Network, rows: Seen, seed: int) -> dict[str, Draws]:
    """The draws, by task, whose errors size a spread."""
    return network.divide(network.head(rows.z, n_draws=int(config["learner"]["select_draws"]), seed=stream_seed("spread", seed)))


def _joined(draws: Sequence[Draws]) -> Draws:
    return Draws(torch.cat([d.value for d in draws], 1))
