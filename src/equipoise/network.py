"""The network: encoders, fusion, head and tasks in one plain module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from equipoise.contract.question import Question
from equipoise.contract.tensors import Batch, Draws
from equipoise.encoder import Encoder
from equipoise.fusion import Fusion
from equipoise.head import Head
from equipoise.novelty import Novelty
from equipoise.task import Task

ABSTAIN_NOTHING_PRESENT = "no modality present"


@dataclass(frozen=True)
class Losses:
    """The parts of a loss, each (), nats.

    Args:
        total: sum of ``nll`` + (beta * kl + penalty) / n_train.
        nll: by task, weighted mean over the batch's rows with an observed outcome; 0 where there are none.
        kl: of the head.
        penalty: sum over encoders, fusion, head and tasks.
    """

    total: Tensor
    nll: dict[str, Tensor]
    kl: Tensor
    penalty: Tensor


class Trained(nn.Module, ABC):
    """What the learner trains: parts with priors of their own, and a loss on batches."""

    @property
    @abstractmethod
    def train_draws(self) -> int:
        """Draws of a training step, where the config does not say."""

    @abstractmethod
    def loss(self, batch: Any, *, n_train: int, n_draws: int, seed: int, beta: float) -> Losses:
        """Of a batch.

        Args:
            batch: what the learner's `Fetch` gives.
            n_train: independent train subjects: what the priors are weighed against.
            n_draws: S.
            seed: of the draws.
            beta: weight of the KL.
        """

    @abstractmethod
    def parts(self) -> Mapping[str, nn.Module]:
        """Every part by name, ``head`` among them: each is a group of the optimizer, clipped by itself."""

    def n_parameters(self) -> int:
        """Number of learnt numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


@final
class Network(Trained):
    """Batch -> draws of every task's parameters. Made by `assemble`, which knows the dimensions.

    Args:
        encoders: by view name, in config order.
        fusion: joins their tokens.
        head: gives the draws of all tasks' parameters, K in all.
        tasks: by name, in config order; task t owns the next ``n_params`` of the K parameters.
        evidences: columns of ``Batch.present``.
    """

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion, head: Head, tasks: Mapping[str, Task], evidences: tuple[str, ...]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.fusion, self.head, self.novelty = fusion, head, Novelty(fusion.d_out)
        self.tasks = nn.ModuleDict(dict(tasks))
        self.evidences = evidences
        self.slices = slices_of(tasks)

    @property
    def train_draws(self) -> int:
        return self.head.train_draws

    def encode(self, batch: Batch) -> Tensor:
        """z f32 (B, d_out)."""
        return self.fusion({view: encoder(batch.parts[view]) for view, encoder in self.encoders.items()}, batch.present)

    def forward(self, batch: Batch, *, n_draws: int, seed: int) -> dict[str, Draws]:
        """Draws (S, B, K_task) by task.

        Args:
            batch: B rows.
            n_draws: S; a point head gives one.
            seed: of the draws: draw s is a function of (seed, s), the same in every batch.
        """
        return self.divide(self.head(self.encode(batch), n_draws=n_draws, seed=seed))

    def divide(self, draws: Draws) -> dict[str, Draws]:
        """Each task's own parameters of joint draws (S, B, K)."""
        return {task: Draws(draws.value[..., own]) for task, own in self.slices.items()}

    def loss(self, batch: Batch, *, n_train: int, n_draws: int, seed: int, beta: float) -> Losses:
        """sum over tasks of the mean negative log likelihood + (beta * kl + penalties) / n_train.

        Args:
            batch: with targets.
            n_train: train subjects with an observed outcome: what the priors are weighed against.
            n_draws: S.
            seed: of the draws.
            beta: weight of the KL, 1 for the evidence lower bound.

        Source: ours; with beta = 1 the negative evidence lower bound for each train row (Blundell et al. 2015, eq. 1).
        """
        nll = {name: _mean(self.task(name).loss(draws, batch.targets[name]), batch, name) for name, draws in self(batch, n_draws=n_draws, seed=seed).items()}
        kl, penalty = self.head.kl(), self.penalty()
        total = torch.stack(list(nll.values())).sum() + (beta * kl + penalty) / n_train
        return Losses(total, nll, kl, penalty)

    def penalty(self) -> Tensor:
        """Sum of every part's negative log prior, (), nats."""
        device = next(self.parameters()).device  # a part without numbers of its own says 0 on the processor
        return torch.stack([part.penalty().to(device) for part in self.parts().values()]).sum()

    def parts(self) -> dict[str, Encoder | Fusion | Head | Task]:
        """Every part by name: ``encoder.<view>``, ``fusion``, ``head``, ``task.<name>``."""
        encoders = {f"encoder.{view}": encoder for view, encoder in self.encoders.items()}
        tasks = {f"task.{name}": task for name, task in self.tasks.items()}
        return {**encoders, "fusion": self.fusion, "head": self.head, **tasks}  # type: ignore[dict-item]

    def task(self, name: str) -> Task:
        task = self.tasks[name]
        assert isinstance(task, Task)
        return task

    def questions(self) -> tuple[Question, ...]:
        """What the network answers, in task order."""
        return tuple(self.task(name).question(name, self.evidences) for name in self.tasks)


def slices_of(tasks: Mapping[str, Task]) -> dict[str, slice]:
    """Consecutive slices of the K parameters."""
    slices, start = {}, 0
    for name, task in tasks.items():
        slices[name] = slice(start, start + task.n_params)
        start += task.n_params
    return slices


def _mean(loss: Tensor, batch: Batch, task: str) -> Tensor:
    """Weighted mean over observed rows; tasks return weight * nll, and 0 where nothing is observed."""
    target = batch.targets[task]
    mass = (target.weight * target.observed).sum()
    return loss.sum() / torch.where(mass > 0, mass, 1.0)
