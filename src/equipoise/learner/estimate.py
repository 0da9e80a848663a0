"""What a training will cost, before it starts: one real step on a copy, timed."""

from __future__ import annotations

import copy
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from equipoise.contract.counter import stream_seed
from equipoise.data import CohortData
from equipoise.learner.module import Learner, make_optimizer, seed_noise
from equipoise.learner.monitor import Monitor

_STEPS = 3
"""One to warm up, the others are timed."""


@dataclass(frozen=True)
class Estimate:
    """Cost of a training.

    Args:
        n_parameters: learnt numbers.
        steps: train batches of an epoch.
        epoch_seconds: training and selection of one epoch.
        max_epochs: the most epochs.
        members: trained one after the other.
        memory_bytes: peak of this process (or of the accelerator) with the optimizer's state and the best weights.
    """

    n_parameters: int
    steps: int
    epoch_seconds: float
    max_epochs: int
    members: int
    memory_bytes: int

    @property
    def upper_seconds(self) -> float:
        """If no member stops early."""
        return self.epoch_seconds * self.max_epochs * self.members

    def sentence(self) -> str:
        times = f" for {self.members} members" if self.members > 1 else ""
        return (
            f"{self.n_parameters:,} parameters; {self.steps} steps an epoch, about {duration(self.epoch_seconds)}; "
            f"at most {duration(self.upper_seconds)}{times} ({self.max_epochs} epochs); memory about {self.memory_bytes / 2**20:,.0f} MiB"
        )


def estimate(config: Mapping[str, Any], learner: Learner, data: CohortData, device: torch.device) -> Estimate:
    """Runs steps of the first batch on a copy of the network; nothing of the learner changes.

    Args:
        config: resolved.
        learner: before training.
        data: its batches.
        device: where training will run.
    """
    network = copy.deepcopy(learner.network).to(device).train()
    optimizer = make_optimizer(config["optimizer"], network)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # the cost of a step, without where it leads
    settings = config["learner"]
    draws = int(settings["train_draws"] or network.head.train_draws)
    seconds: list[float] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_noise(stream_seed("estimate", int(config["seed"])), device)
        for _ in range(_STEPS):
            began = _now(device)
            batch = data.first_batch().to(device)
            optimizer.zero_grad()
            network.loss(batch, n_train=1, n_draws=draws, seed=0, beta=float(settings["beta"])).total.backward()
            optimizer.step()
            seconds.append(_now(device) - began)
        network.eval()
        began = _now(device)
        Monitor(network, int(settings["select_draws"]), 0).add(batch)
        select = _now(device) - began
    n = learner.network.n_parameters()
    # Select batches are larger, but need no gradient: their time is taken per row.
    rows = max(batch.size, 1)
    epoch = sum(seconds[1:]) / (_STEPS - 1) * data.n_batches + select / rows * data.n_select_rows
    best_weights = 4 * n
    return Estimate(n, data.n_batches, epoch, int(settings["max_epochs"]), int(config["members"]), _peak_bytes(device) + best_weights)


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
