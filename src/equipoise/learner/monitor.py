"""What is watched on select rows: the mixture's negative log likelihood, or an effect's loss, and a familiar metric beside it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from equipoise.contract.tensors import Batch, Draws, Target
from equipoise.network import Network
from equipoise.task import Task


class Watch(ABC):
    """Collects select batches of an epoch and sums them up."""

    @abstractmethod
    def add(self, batch: Any) -> None:
        """Counts one batch."""

    @abstractmethod
    def result(self) -> dict[str, float]:
        """``select/nll``, which chooses the epoch, and what is told beside it; the next epoch starts from nothing."""


@final
class Monitor(Watch):
    """Collects select batches and sums them up.

    ``select/nll`` is the mean over rows of -log( mean over draws of the likelihood ): that of the predictive mixture, which is what is predicted
    later, and not the mean of the draws' losses. Exact for likelihoods that are written row by row; for a batch loss (Cox) an approximation. For a
    treatment's effect it is the R- or DR-loss of the mean effect instead, and ``select/effect_loss`` says so (see `task.arms.ArmsTask.score`).

    Args:
        network: the network.
        n_draws: S.
        seed: of the draws, the same in every epoch, so that epochs are compared on common numbers.
    """

    def __init__(self, network: Network, n_draws: int, seed: int) -> None:
        self._network, self._n_draws, self._seed = network, n_draws, seed
        self._clear()

    def _clear(self) -> None:
        self._sum = dict.fromkeys(self._network.tasks, 0.0)
        self._mass = dict.fromkeys(self._network.tasks, 0.0)
        self._seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self._network.tasks}

    @torch.no_grad()
    def add(self, batch: Batch) -> None:
        """Counts one batch."""
        for name, draws in self._network(batch, n_draws=self._n_draws, seed=self._seed).items():
            task, target = self._network.task(name), batch.targets[name]
            self._sum[name] += float(mixture_nll(task, draws, target).double().sum())
            self._mass[name] += float((target.weight * task.scored(target)).double().sum())
            if task.kind in _METRICS:
                mean = task.answer(draws).mean.mean(0)[target.observed]
                self._seen[name].append((mean.float().cpu(), target.outcome[target.observed].cpu()))

    def result(self) -> dict[str, float]:
        """``select/nll`` (summed over tasks), and for each task its own and a metric; with several tasks their names follow a dot."""
        own = {name: self._sum[name] / self._mass[name] if self._mass[name] > 0 else math.nan for name in self._sum}
        metrics = {"select/nll": float(sum(own.values()))}
        for name, nll in own.items():
            tag = f".{name}" if len(own) > 1 else ""
            if tag:
                metrics[f"select/nll{tag}"] = nll
            if self._network.task(name).joint_score:
                metrics[f"select/effect_loss{tag}"] = nll
            kind = self._network.task(name).kind
            if kind in _METRICS and self._seen[name]:
                mean, outcome = (torch.cat(x) for x in zip(*self._seen[name], strict=True))
                word, measure = _METRICS[kind]
                if (value := measure(mean, outcome)) is not None:
                    metrics[f"select/{word}{tag}"] = value
        self._clear()
        return metrics


def mixture_nll(task: Task, draws: Draws, target: Target) -> Tensor:
    """weight * -log mean_s p(y | draw s), (B,), from the task's own score of each draw; 0 in rows that it does not judge.

    Args:
        task: gives the score, a negative log likelihood; one that judges the mean over draws is asked once.
        draws: (S, B, K).
        target: (B,).
    """
    if task.joint_score:
        return task.score(draws, target)
    plain = replace(target, weight=torch.ones_like(target.weight))
    each = torch.stack([task.score(Draws(draws.value[s : s + 1]), plain) for s in range(draws.value.shape[0])])
    nll = math.log(each.shape[0]) - torch.logsumexp(-each, 0)
    return torch.where(task.scored(target), nll * target.weight, 0.0)


@torch.no_grad()
def base_rate_nll(network: Network, batches: Iterable[Batch]) -> float:
    """select/nll of the network's starting point, the train rows' base rates: what a model that has learnt nothing gets."""
    total = 0.0
    kept = list(batches)
    for name in network.tasks:
        task = network.task(name)
        start = task.start()
        nll, mass = 0.0, 0.0
        for batch in kept:
            target = batch.targets[name]
            nll += float(mixture_nll(task, Draws(start.expand(1, batch.size, -1)), target).double().sum())
            mass += float((target.weight * task.scored(target)).double().sum())
        total += nll / mass if mass > 0 else math.nan
    return total


def _auroc(mean: Tensor, outcome: Tensor) -> float | None:
    from torchmetrics.functional.classification import binary_auroc

    label = outcome.long()
    if not 0 < int(label.sum()) < len(label):
        return None
    return float(binary_auroc(mean[:, 0], label))


def _accuracy(mean: Tensor, outcome: Tensor) -> float | None:
    return float((mean.argmax(1) == outcome.long()).float().mean()) if len(outcome) else None


def _pearson(mean: Tensor, outcome: Tensor) -> float | None:
    if len(outcome) < 3 or float(mean[:, 0].std()) == 0 or float(outcome.std()) == 0:
        return None
    return float(torch.corrcoef(torch.stack([mean[:, 0].double(), outcome.double()]))[0, 1])


_METRICS = {"binary": ("auroc", _auroc), "multiclass": ("accuracy", _accuracy), "continuous": ("pearson_r", _pearson)}
