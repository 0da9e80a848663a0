"""What all trainings of a run will cost, before the first starts: real steps on a copy, timed, times the trainings that the config asks for."""

from __future__ import annotations

import copy
import math
import re
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.roles import folds_of
from equipoise.contract.counter import stream_seed
from equipoise.data import CohortData
from equipoise.learner.module import Learner, make_optimizer, seed_noise

LEFT_OUT = "left_out"
"""The folder of a member's inner trainings, see `learner.left_out`."""
_STEPS = 3
"""One to warm up, the others are timed."""


@dataclass(frozen=True)
class Trainings:
    """The trainings of a run, one after the other: in each fold one for every grid point and inner fold, then the members.

    Args:
        folds: of the cross-validation, over all repeats; 1 for a fixed split.
        grid: combinations of tune.grid; 0 without tuning.
        inner_folds: in which each combination is tried.
        members: of the ensemble.
        left_out: inner folds of each member by which it sizes its spread; 0 where select rows do that.

    >>> Trainings(folds=5, grid=3, inner_folds=3, members=3).total
    60
    >>> str(Trainings(folds=5, grid=3, inner_folds=3, members=3))
    '60 trainings: 5 folds x (3 grid points x 3 inner folds + 3 members)'
    >>> str(Trainings(folds=1, grid=0, inner_folds=0, members=4)), str(Trainings(folds=1, grid=0, inner_folds=0, members=1))
    ('4 trainings: 4 members', '1 training')
    >>> str(Trainings(folds=1, grid=0, inner_folds=0, members=2, left_out=3))
    '8 trainings: 2 members x (1 + 3 left-out folds)'
    """

    folds: int
    grid: int
    inner_folds: int
    members: int
    left_out: int = 0

    @property
    def total(self) -> int:
        return self.folds * (self.grid * self.inner_folds + self.members * (1 + self.left_out))

    def __str__(self) -> str:
        if self.total == 1:
            return "1 training"
        terms = [f"{_count(self.grid, 'grid point')} x {_count(self.inner_folds, 'inner fold')}"] if self.grid else []
        own = _count(self.members, "member") + (f" x (1 + {_count(self.left_out, 'left-out fold')})" if self.left_out else "")
        each = " + ".join([*terms, own])
        return f"{self.total} trainings: {f'{self.folds} folds x ({each})' if self.folds > 1 else each}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def trainings_of(config: Mapping[str, Any], cohort: Cohort, folder: Path, *, sizes_spread: bool = False) -> Trainings:
    """The trainings of the run that a member's folder belongs to.

    The folder says which loops run: `equipoise train` has the same config, but neither folds nor tuning.

    Args:
        config: resolved.
        cohort: whose folds are counted.
        folder: the training's own: ``member_0``, ``fold_0_2/member_0``, ``fold_0_2/tune/03_1``, ``member_0/left_out/1``.
        sizes_spread: whether a task sizes its spread by rows that did not teach it.
    """
    folder = folder.parent.parent if folder.parent.name == LEFT_OUT else folder
    tuning = folder.parent.name == "tune"
    split = folder.parent.parent if tuning else folder.parent
    in_folds = re.fullmatch(r"fold_\d+_\d+", split.name) is not None
    folds = sum(len(folds_of(cohort, repeat)) for repeat in config["validation"]["repeats"]) if in_folds else 1
    tunes = tuning or (split / "tune.json").is_file()
    grid = math.prod(len(values) for values in config["tune"]["grid"].values()) if tunes else 0
    inner = int(config["tune"]["folds"]) if tunes else 0
    left_out = int(config["learner"]["spread_folds"]) if sizes_spread and not _selects(config, cohort, in_folds) else 0
    return Trainings(folds, grid, inner, int(config["members"]), left_out)


def _selects(config: Mapping[str, Any], cohort: Cohort, in_folds: bool) -> bool:
    """Whether members have select rows."""
    validation = config["validation"]
    rotates = validation["rotate_select"] and int(config["members"]) > 1
    given = validation["select_share"] > 0 if in_folds else cohort.rows_in("select").size > 0
    return bool(rotates or given)


@dataclass(frozen=True)
class Estimate:
    """Cost of a run's trainings.

    Args:
        n_parameters: learnt numbers.
        steps: train batches of an epoch.
        epoch_seconds: training and selection of one epoch.
        max_epochs: the most epochs.
        trainings: how many there are; each is taken to cost what this one does.
        memory_bytes: peak of this process (or of the accelerator) with the optimizer's state and the best weights.
    """

    n_parameters: int
    steps: int
    epoch_seconds: float
    max_epochs: int
    trainings: Trainings
    memory_bytes: int

    @property
    def upper_seconds(self) -> float:
        """If no training stops early."""
        return self.epoch_seconds * self.max_epochs * self.trainings.total

    def sentence(self) -> str:
        return (
            f"{self.n_parameters:,} parameters; {self.steps} steps an epoch, about {duration(self.epoch_seconds)}; "
            f"at most about {duration(self.upper_seconds)} for all ({self.trainings}; {self.max_epochs} epochs each), "
            f"comparators and predictions not included; memory about {self.memory_bytes / 2**20:,.0f} MiB"
        )


def estimate(config: Mapping[str, Any], learner: Learner, data: CohortData, device: torch.device, trainings: Trainings) -> Estimate:
    """Runs steps of the first batch on a copy of the network; nothing of the learner changes.

    Args:
        config: resolved.
        learner: before training.
        data: its batches.
        device: where training will run.
        trainings: of the whole run.
    """
    network, watch = copy.deepcopy((learner.network, learner.watch))  # together: the copied watch is of the copied network
    network.to(device).train()
    optimizer = make_optimizer(config["optimizer"], network)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # the cost of a step, without where it leads
    settings = config["learner"]
    seconds: list[float] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_noise(stream_seed("estimate", int(config["seed"])), device)
        for _ in range(_STEPS):
            began = _now(device)
            batch = data.first_batch().to(device)
            optimizer.zero_grad()
            network.loss(batch, n_train=1, n_draws=learner.train_draws, seed=0, beta=float(settings["beta"])).total.backward()
            optimizer.step()
            seconds.append(_now(device) - began)
        network.eval()
        began = _now(device)
        watch.add(batch)
        select = _now(device) - began
    n = learner.network.n_parameters()
    # Select batches are larger, but need no gradient: their time is taken per row.
    rows = max(batch.size, 1)
    epoch = sum(seconds[1:]) / (_STEPS - 1) * data.n_batches + select / rows * data.n_select_rows
    best_weights = 4 * n
    return Estimate(n, data.n_batches, epoch, int(settings["max_epochs"]), trainings, _peak_bytes(device) + best_weights)


def duration(seconds: float) -> str:
    """
    >>> duration(0.25), duration(75), duration(7300)
    ('0.25 s', '1.2 min', '2.0 h')
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_bytes(device: torch.device) -> int:
    """The copy, its gradients and its optimizer's state are in the peak already."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
