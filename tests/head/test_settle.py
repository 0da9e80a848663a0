"""After training, posterior spreads are what the data say, wherever they started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.cohort.frozen import freeze
from equipoise.cohort.split import Split
from equipoise.head import Head
from equipoise.head.settle import settle
from equipoise.head.whitening import Whitening
from equipoise.learner.train import train_member
from equipoise.predict import Ensemble
from equipoise.testing.cohorts import tiny_draft
from equipoise.testing.discovery import options
from equipoise.testing.head_laws import new_head
from small_config import small_config

D, N = 5, 60


def nll(params: Tensor) -> Tensor:
    """Of a Gaussian of variance 1, the mean over draws."""
    return 0.5 * (params[..., 0] - rows()[1]).square().reshape(-1, N).mean(0)


BOUNDED = [name for name, node in options("head").items() if "init_scale" in node]
GAUSSIAN = [name for name in BOUNDED if name != "variational_horseshoe"]
FULL = ("variational_full", "variational_last_layer")


def rows() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(N, D, generator=g) @ (torch.eye(D) + 0.4)
    return z, z[:, 0] + torch.randn(N, generator=g)


def settled(option: str, init_scale: float, *, n: int = N) -> Head:
    """A head on rows with a Gaussian likelihood of variance 1, its means where they start."""
    own = {"init_scale": init_scale, "whiten": option in GAUSSIAN}
    head = new_head({**options("head")[option], **own}, seed=0, d_in=D, bias=torch.zeros(1)).eval()
    z = rows()[0]
    head.fit(z, lambda p: torch.ones(*p.shape, 1), n, nll)
    return head


def spread(head: Head, z: Tensor) -> Tensor:
    return head(z, n_draws=4000, seed=0).value[..., 0].detach().std(0)


@pytest.mark.parametrize("n", [N, 15])
@pytest.mark.parametrize("start", [0.02, 0.5])
@pytest.mark.parametrize("option", GAUSSIAN)
def test_spreads_are_the_bounds_optimum_wherever_they_start(option: str, start: float, n: int) -> None:
    z, _ = rows()
    basis = Whitening(True)
    basis.fit(z)
    one = torch.cat([basis(z), torch.ones(N, 1)], 1)
    precision = torch.diag(torch.tensor([float(D)] * D + [1.0])) + one.T @ one * n / N
    # Factorised posteriors have the precision's diagonal, the others its inverse; a low rank lies between.
    diagonal, whole = torch.diag(1 / precision.diagonal()), torch.linalg.inv(precision)
    expected = [(one @ c * one).sum(1).sqrt() for c in ((whole,) if option in FULL else (whole, diagonal) if option == "variational_low_rank" else (diagonal,))]
    found = spread(settled(option, start, n=n), z)
    lowest, highest = torch.stack(expected).min(0).values, torch.stack(expected).max(0).values
    assert (found > 0.7 * lowest).all()
    assert (found < 1.35 * highest).all()
    # Of all rows together, less of the noise of the fit is seen.
    assert 0.9 * float(lowest.mean()) < float(found.mean()) < 1.1 * float(highest.mean())


def test_a_sparse_heads_spreads_do_not_depend_on_where_they_start() -> None:
    z, _ = rows()
    small, large = (spread(settled("variational_horseshoe", start), z) for start in (0.02, 0.3))
    torch.testing.assert_close(small, large, rtol=0.1, atol=0.0)


@pytest.mark.parametrize("option", BOUNDED)
def test_means_stay_and_nothing_else_is_left_behind(option: str) -> None:
    head = new_head({**options("head")[option], "whiten": False}, seed=0, d_in=D, bias=torch.zeros(1)).eval()
    z = rows()[0]
    before = {k: p.detach().clone() for k, p in head.named_parameters()}
    random = torch.get_rng_state()
    head.fit(z, lambda p: torch.ones(*p.shape, 1), N, nll)
    moved = {k for k, p in head.named_parameters() if not torch.equal(p, before[k])}
    assert moved
    assert all("scale" in k or k in ("guide.cov_factor", "log_diagonal", "below") for k in moved)
    assert not head.training
    assert all(p.requires_grad and p.grad is None for p in head.parameters())
    assert torch.equal(random, torch.get_rng_state())


def test_no_rows_leave_it_as_it_is() -> None:
    head = new_head(options("head")["mean_field"], seed=0, d_in=D, bias=torch.zeros(1)).eval()
    before = {k: v.clone() for k, v in head.state_dict().items()}
    settle(head, list(head.parameters()), torch.zeros(0, D), 1, nll)
    assert all(torch.equal(before[k], v) for k, v in head.state_dict().items())


@pytest.mark.parametrize("option", ["mean_field", "variational"])
def test_an_interval_of_a_trained_network_tells_of_the_data_and_not_of_the_start(tmp_path: Path, option: str) -> None:
    cohort = freeze(tiny_draft(n=300, seed=1), tmp_path / "c", "c", {})

    def width(init_scale: float) -> float:
        further: dict[str, Any] = {"head": option, "learner__max_epochs": 3, "head__init_scale": init_scale}
        path = train_member(
            small_config(views=("biomarker",), **further), cohort, Split.of(cohort), seed=0, folder=tmp_path / f"{option}_{init_scale}", loggers=[]
        )
        table = Ensemble.of([path]).predict(cohort, cohort.rows_in("held_out"), draws=200).table.drop_nulls("risk")
        return float(np.median(table["hi"].to_numpy() - table["lo"].to_numpy()))

    assert width(0.02) == pytest.approx(width(0.2), rel=0.15)
