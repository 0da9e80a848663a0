"""What members answer: each one's draws over all rows, joined on the draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from equipoise.batches import Batches
from equipoise.model import Model
from equipoise.task import Answer


@dataclass(frozen=True)
class Answered:
    """The members' joined answers to one question, over all asked rows: f64 (S, n, L); ``propensity`` (n,) or None."""

    mean: np.ndarray
    variance: np.ndarray
    form: tuple[str, ...]
    exclusive: bool
    propensity: np.ndarray | None


@dataclass(frozen=True)
class Joint:
    """The members' joined answers by task, which evidences each row has, bool (n, M), and its novelty, f64 (n,), the members' mean."""

    by_task: dict[str, Answered]
    present: np.ndarray
    novelty: np.ndarray


@torch.no_grad()
def member_answers(
    model: Model, batches: Batches, rows: np.ndarray, draws: int, seed: int, device: torch.device, batch_rows: int
) -> tuple[dict[str, Answered], np.ndarray]:
    """One member's answers over all rows, and their novelty."""
    network = model.network.to(device).eval()
    novelty: list[np.ndarray] = []
    collected: dict[str, list[tuple[Answer, torch.Tensor | None]]] = {name: [] for name in network.tasks}
    for start in range(0, max(rows.size, 1), batch_rows):
        batch = batches(rows[start : start + batch_rows]).to(device)
        z = network.encode(batch)
        novelty.append(network.novelty(z).cpu().numpy())
        for name, own in network.divide(network.head(z, n_draws=draws, seed=seed)).items():
            task = network.task(name)
            collected[name].append((task.answer(own), task.propensity(own)))
    return {name: _answered(several) for name, several in collected.items()}, np.concatenate(novelty)


def _answered(several: Sequence[tuple[Answer, torch.Tensor | None]]) -> Answered:
    mean, variance = (np.concatenate([getattr(a, k).double().cpu().numpy() for a, _ in several], axis=1) for k in ("mean", "variance"))
    propensities = [p.double().mean(0).cpu().numpy() for _, p in several if p is not None]
    first = several[0][0]
    return Answered(mean, variance, tuple(first.form), first.exclusive, np.concatenate(propensities) if propensities else None)


def joined(members: Sequence[Answered]) -> Answered:
    """Draws joined on S; a member with fewer (a point head has one) counts as much as the others, its draws repeated."""
    most = max(m.mean.shape[0] for m in members)
    mean, variance = (np.concatenate([_repeated(getattr(m, k), most) for m in members]) for k in ("mean", "variance"))
    given = [m.propensity for m in members if m.propensity is not None]
    propensity = np.mean(given, axis=0) if given else None
    return Answered(mean, variance, members[0].form, members[0].exclusive, propensity)


def stacked(blocks: Sequence[Answered]) -> Answered:
    """The answers of consecutive rows as one."""
    first = blocks[0]
    propensity = None if first.propensity is None else np.concatenate([b.propensity for b in blocks if b.propensity is not None])
    return Answered(
        np.concatenate([b.mean for b in blocks], axis=1), np.concatenate([b.variance for b in blocks], axis=1), first.form, first.exclusive, propensity
    )


def _repeated(draws: np.ndarray, most: int) -> np.ndarray:
    return draws[np.arange(most) % draws.shape[0]]
