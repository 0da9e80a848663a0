"""Integrated gradients: each input's part in the way from an uninformative answer to this row's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from equipoise.batches import open_views
from equipoise.cohort.frozen import Cohort
from equipoise.contract.errors import UserError
from equipoise.contract.packed import segment_index
from equipoise.contract.tensors import ALL_MISSING, Batch, Events, Genotypes, Vector
from equipoise.explain.path import Path
from equipoise.model import Model
from equipoise.network import Network

MOST_VARIANTS = 4096
"""Up to here each variant has an attribution of its own."""


@dataclass(frozen=True)
class Explanation:
    """One row's answer, taken apart.

    Args:
        items: columns view, item, told (what stands there, in words), attribution; they sum to ``end - start`` up to the error of the sum over steps.
        start: the answer at the baseline: log odds for a probability, else in the outcome's unit.
        end: the row's answer.
    """

    items: pl.DataFrame
    start: float
    end: float

    @property
    def gap(self) -> float:
        """What the attributions leave unexplained of ``end - start``."""
        return self.end - self.start - float(self.items["attribution"].sum())


def explain(
    model: Model, cohort: Cohort, rows: np.ndarray, *, task: str, label: str | None = None, steps: int = 64, draws: int = 16, seed: int = 0
) -> list[Explanation]:
    """Attributions of one answer for some rows, of the mean over draws.

    (x - x0) times the mean gradient on the straight line from x0 to x, for each input (see `Path` for the baselines).

    Args:
        model: one member.
        cohort: of the rows.
        rows: i64 (n,); a few, everything is kept in memory.
        task: which question.
        label: of its labels; None: the first one (of a treatment effect: the effect).
        steps: >= 1, of the sum.
        draws: of the head.
        seed: of the draws.

    Raises:
        UserError: no such task or label, or an encoder that cannot be explained.

    Source: Sundararajan, Taly and Yan (2017), eq. 1.
    """
    network, place = model.network.eval(), _place_of(model, task, label)
    batches = model.batches(open_views(model.views, cohort), targets={})
    batch = batches(np.asarray(rows, dtype=np.int64))
    path = Path(network, batch)
    total: dict[str, Tensor] = {}
    slope: dict[str, Tensor] = {}
    for alpha, share in _places(steps):
        with path.at(alpha) as there:
            _answers(network, there, task, place, draws, seed).sum().backward()
        for name, moved in path.moved().items():
            total[name] = total.get(name, 0) + share * moved
        for name, gradient in path.gradients().items():
            slope[name] = slope.get(name, 0) + share * gradient
    ends = []
    for alpha in (0.0, 1.0):
        with path.at(alpha) as there, torch.no_grad():
            ends.append(_answers(network, there, task, place, draws, seed))
    network.zero_grad(set_to_none=True)
    found: list[list[tuple[str, str, str, float]]] = [[] for _ in range(batch.size)]
    for view, part in batch.parts.items():
        names = model.views[view].items()
        if isinstance(part, Vector):
            _numbers(found, view, part, total, names)
        elif isinstance(part, Events):
            _events(found, view, part, total[view], names)
        elif isinstance(part, Genotypes):
            _variants(found, view, part, network, slope[view], total[view], names)
    schema = {"view": pl.String, "item": pl.String, "told": pl.String, "attribution": pl.Float64}
    return [Explanation(pl.DataFrame(lines, schema=schema, orient="row"), *(float(end[i]) for end in ends)) for i, lines in enumerate(found)]


def _places(steps: int) -> list[tuple[float, float]]:
    """Where the gradient is taken and what it counts: Gauss-Legendre in t with alpha = t^2, because networks bend most near the baseline."""
    node, weight = np.polynomial.legendre.leggauss(steps)
    t = (node + 1) / 2
    return list(zip((t**2).tolist(), (weight * t).tolist(), strict=True))


def _place_of(model: Model, task: str, label: str | None) -> int:
    question = next((q for q in model.questions if q.task == task), None)
    if question is None:
        raise UserError(f"The model has no task {task!r}", expected=f"one of {', '.join(q.task for q in model.questions)}", mend="correct the task")
    wanted = label if label is not None else "effect" if question.kind == "treatment_effect" else question.labels[0]
    if wanted not in question.labels:
        raise UserError(f"Task {task!r} has no label {wanted!r}", expected=f"one of {', '.join(question.labels)}", mend="correct the label")
    return question.labels.index(wanted)


def _answers(network: Network, batch: Batch, task: str, place: int, draws: int, seed: int) -> Tensor:
    """The answer of each row, f32 (B,): log odds of the mean probability, or the mean in its unit."""
    own = network(batch, n_draws=draws, seed=seed)[task]
    answer = network.task(task).answer(own)
    mean = answer.mean.mean(0)[:, place]
    return torch.logit(mean.double(), eps=1e-9) if answer.form[place] == "entropy" else mean.double()


def _numbers(found: list[list[tuple[str, str, str, float]]], view: str, part: Vector, total: dict[str, Tensor], names: tuple[str, ...]) -> None:
    value, n_values = total[view], part.value.shape[1]
    of_category = total.get(f"{view}|category")
    for p, row in enumerate(part.rows.tolist()):
        for f in range(n_values):
            if bool(part.observed[p, f]):
                found[row].append((view, _name(names, f), f"{float(part.value[p, f]):+.2f} sd", float(value[p, f])))
        if of_category is not None and part.category.shape[1]:
            each = of_category[p].reshape(part.category.shape[1], -1).sum(1)
            for c, level in enumerate(part.category[p].tolist()):
                if level:
                    found[row].append((view, _name(names, n_values + c), f"level {level}", float(each[c])))


def _events(found: list[list[tuple[str, str, str, float]]], view: str, part: Events, total: Tensor, names: tuple[str, ...]) -> None:
    row = part.rows[segment_index(part.offsets)].tolist()
    each = total.sum(-1).tolist()
    for n, (r, code) in enumerate(zip(row, part.code.tolist(), strict=True)):
        value = f"{float(part.value[n]):+.2f} sd" if bool(part.observed[n]) else "recorded"
        when = f", {float(part.time_days[n]):.1f} days before" if bool(part.timed[n]) else ""
        found[r].append((view, _name(names, code), value + when, each[n]))


def _variants(
    found: list[list[tuple[str, str, str, float]]], view: str, part: Genotypes, network: Network, slope: Tensor, total: Tensor, names: tuple[str, ...]
) -> None:
    """Each variant alone, the others missing, moves the tokens by so much; what single variants do not add up to is their interaction.

    Tokens of a row with several: all of them count.
    """
    encoder = network.encoders[view]
    with torch.no_grad():
        tokens = encoder(part)
        of_row = torch.repeat_interleave(torch.arange(part.size), tokens.offsets.diff())
        for p, row in enumerate(part.rows.tolist()):
            own = of_row == row
            whole = float(total[own].sum())
            if part.n_variants > MOST_VARIANTS:
                found[row].append((view, "all variants", f"{part.n_variants} calls", whole))
                continue
            alone = _alone(part, p)
            start = encoder(replace(alone, packed=torch.full_like(alone.packed[:1], ALL_MISSING), rows=torch.zeros(1, dtype=torch.int64), size=1)).h
            moved = encoder(alone).h.reshape(part.n_variants, *start.shape) - start
            each = (moved * slope[own]).sum((1, 2))
            found[row] += [(view, _name(names, v), _calls(part, p, v), float(a)) for v, a in enumerate(each) if float(a) != 0.0]
            found[row].append((view, "variants together", "beyond the sum of single ones", whole - float(each.sum())))


def _alone(part: Genotypes, p: int) -> Genotypes:
    """A row for each variant: its call as it is, every other one missing."""
    n = part.n_variants
    packed = torch.full((n, part.packed.shape[1]), ALL_MISSING, dtype=torch.uint8)
    at, shift = torch.arange(n) // 4, 2 * (torch.arange(n) % 4)
    call = (part.packed[p, at].to(torch.int32) >> shift) & 3
    packed[torch.arange(n), at] = ((ALL_MISSING & ~(3 << shift)) | (call << shift)).to(torch.uint8)
    return replace(part, packed=packed, rows=torch.arange(n), size=n)


def _calls(part: Genotypes, p: int, v: int) -> str:
    copies = {0: "two copies", 1: "missing", 2: "one copy", 3: "no copy"}
    return copies[(int(part.packed[p, v // 4]) >> 2 * (v % 4)) & 3]


def _name(names: tuple[str, ...], i: int) -> str:
    return names[i] if i < len(names) else f"input {i}"
