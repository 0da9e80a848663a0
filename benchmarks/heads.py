"""Cost of heads against the point head: a training step, and 100 draws against one forward.

    python benchmarks/heads.py

A training step is that of a transformer over packed events (32 rows, lengths log-normal with mean 187, at most 512) with the head behind it. The
backbone's step is timed with a point head; what a head adds is timed on the head alone (forward, loss, priors, backward, Adam), because a few
milliseconds cannot be seen in a step of hundreds. Draws are timed in evaluation after `fit`, on 256 rows of width 128, when the noise of the draws
is there (it is made once, with the first of many batches; that first call is shown too), over one forward of a point head of as many layers.
Limits: native heads at most 1.25 of the point head's step; Pyro's at most 3 ms more than it; 100 draws at most 5 forwards for Laplace and for a
mean-field posterior of the last layer behind one hidden layer. The script ends with 1 where one is not kept. It writes nothing.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.make import make
from equipoise.contract.packed import offsets_of
from equipoise.contract.tensors import Events, EventsSpec, generator
from equipoise.head import Head
from equipoise.testing.discovery import options
from equipoise.testing.head_laws import new_head

WIDTH, ROWS, PREDICTED, DRAWS, CODES = 128, 32, 256, 100, 500
NATIVE, PYRO_MS, DRAWN = 1.25, 3.0, 5.0
START = torch.tensor([-1.0])
OUTCOME = (torch.arange(ROWS) % 4 == 0).float()
DRAWN_LIMITED = {"laplace, 1 hidden layer": {"layers": 1}, "mean_field, last of 2 layers": {"layers": 1, "bayesian": "last"}}


def events() -> Events:
    """A batch of 32 people's events."""
    rng = np.random.default_rng(0)
    length = np.clip(rng.lognormal(np.log(187) - 0.32, 0.8, ROWS), 1, 512).astype(np.int64)
    n = int(length.sum())
    return Events(
        rows=torch.arange(ROWS),
        size=ROWS,
        code=torch.from_numpy(rng.integers(0, CODES, n).astype(np.int32)),
        value=torch.from_numpy(rng.standard_normal(n).astype(np.float32)),
        observed=torch.ones(n, dtype=torch.bool),
        time_days=torch.from_numpy(np.concatenate([np.sort(rng.exponential(30, k))[::-1] for k in length]).astype(np.float32)),
        timed=torch.ones(n, dtype=torch.bool),
        offsets=offsets_of(torch.from_numpy(length)),
    )


def loss_of(head: Head, z: Tensor, step: int) -> Tensor:
    value = head(z, n_draws=head.train_draws, seed=step).value[..., 0]
    nll = F.binary_cross_entropy_with_logits(value, OUTCOME.expand_as(value))
    return nll + (head.kl() + head.penalty()) / 10_000


def seconds(of: Sequence[Callable[[int], object]], n: int, rounds: int = 7) -> list[float]:
    """Processor seconds of one call of each, the smallest of several rounds in which they take turns: what other processes disturb meets all."""
    best = [math.inf] * len(of)
    for r in range(-1, rounds):
        for i, call in enumerate(of):
            start = time.process_time()
            for k in range(n):
                call((r + 1) * n + k)
            if r >= 0:
                best[i] = min(best[i], (time.process_time() - start) / n)
    return best


def backbone_step(steps: int) -> float:
    """Seconds of a training step of encoder, mean of tokens and point head: the median."""
    part = events()
    torch.manual_seed(0)
    encoder = make(options("encoder")["transformer"] | {"n_layers": 2}, spec=EventsSpec(CODES), d_model=WIDTH)
    head = new_head(options("head")["point"], seed=0, d_in=WIDTH, bias=START).train()
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
    taken = []
    for step in range(steps + 1):
        start = time.process_time()
        optimizer.zero_grad()
        tokens = encoder(part)
        z = torch.segment_reduce(tokens.h, "mean", offsets=tokens.offsets)
        loss_of(head, z, step).backward()
        optimizer.step()
        taken.append(time.process_time() - start)
    return statistics.median(taken[1:])


def step_of(node: dict[str, Any]) -> Callable[[int], None]:
    """A training step of the head alone, gradients reaching z."""
    head = new_head(node, seed=0, d_in=WIDTH, bias=START).train()
    z = torch.randn(ROWS, WIDTH, generator=generator(0), requires_grad=True)
    optimizer = torch.optim.Adam(head.parameters())

    def step(i: int) -> None:
        optimizer.zero_grad()
        loss_of(head, z, i).backward()
        optimizer.step()

    return step


def drawing(node: dict[str, Any], steps: int) -> tuple[float, float, float]:
    """Seconds of one forward of a point head of as many layers, of 100 draws of this one, and of the first such call."""
    z = torch.randn(PREDICTED, WIDTH, generator=generator(1))
    point = new_head(options("head")["point"] | {"layers": node.get("layers", 0)}, seed=0, d_in=WIDTH, bias=START)
    head = new_head(node, seed=0, d_in=WIDTH, bias=START)
    outcome = (z[:, :1] > 0).float()

    def nll(params: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(params, outcome.to(params).expand_as(params), reduction="none").sum(-1)
        return each if each.ndim == 1 else each.mean(0)

    head.fit(z, lambda p: (torch.sigmoid(p) * torch.sigmoid(-p))[..., None], len(z), nll)
    with torch.no_grad():
        start = time.process_time()
        head(z, n_draws=DRAWS, seed=7)
        first = time.process_time() - start
        one, hundred = seconds([lambda _: point(z, n_draws=1, seed=0), lambda _: head(z, n_draws=DRAWS, seed=7)], steps)
    return one, hundred, first


def main() -> int:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50, help="of a head in each of seven rounds")
    parser.add_argument("--backbone-steps", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = True
    nodes = options("head")
    whole = backbone_step(asked.backbone_steps)
    print(f"processor time; a training step with a point head takes {1e3 * whole:.0f} ms\n{'head':28}{'point ms':>9}{'adds ms':>9}{'ratio':>8}")
    for name, node in nodes.items():
        point, own = seconds([step_of(nodes["point"]), step_of(node)], asked.steps)
        added = own - point
        pyro = name.startswith("variational") and "guide" in node
        fine = 1e3 * added <= PYRO_MS if pyro else 1 + added / whole <= NATIVE
        limit = f"<= {PYRO_MS:g} ms more" if pyro else f"ratio <= {NATIVE:g}"
        kept &= fine
        print(f"{name:28}{1e3 * point:9.2f}{1e3 * added:9.2f}{1 + added / whole:8.3f}  {limit}: {'kept' if fine else 'NOT KEPT'}", flush=True)
    print(f"\n{DRAWS} draws of {PREDICTED} rows\n{'head':32}{'forward us':>11}{'draws us':>10}{'ratio':>8}{'first us':>10}")
    limited = {label: nodes[label.partition(",")[0]] | change for label, change in DRAWN_LIMITED.items()}
    for name, node in {**limited, **nodes}.items():
        one, hundred, first = drawing(node, 5 if "process" in name else 20)
        fine = hundred <= DRAWN * one
        kept &= fine or name not in limited
        verdict = f"  <= {DRAWN:g}: {'kept' if fine else 'NOT KEPT'}" if name in limited else ""
        print(f"{name:32}{1e6 * one:11.0f}{1e6 * hundred:10.0f}{hundred / one:8.1f}{1e6 * first:10.0f}{verdict}", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
