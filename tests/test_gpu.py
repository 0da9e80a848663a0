"""On a GPU every encoder, fusion, head and task gives what it gives on the processor, forwards and backwards, and a member trains."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equipoise.cohort.split import Split
from equipoise.contract.tensors import Draws
from equipoise.learner.estimate import Trainings
from equipoise.learner.pretrain import pretrain
from equipoise.learner.train import train_member
from equipoise.predict import Ensemble
from equipoise.pretrained import Pretrained
from equipoise.task import Task
from equipoise.testing.cohorts import tiny_cohort
from equipoise.testing.discovery import options
from equipoise.testing.encoder_laws import EncoderLaws
from equipoise.testing.fusion_laws import FusionLaws
from equipoise.testing.head_laws import D_IN, fit_on_signs, new_head, two_steps
from equipoise.testing.pretext_laws import PretextLaws
from equipoise.testing.task_laws import kind_for, new_task, random_draws, sample_outcomes, target_of
from small_config import small_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
DEVICE = "cuda"


def _nodes(room: str) -> Any:
    nodes = options(room)
    return pytest.mark.parametrize("node", list(nodes.values()), ids=list(nodes))


def _same(module: nn.Module, output: Callable[[nn.Module, str], Tensor]) -> None:
    """Outputs and gradients of the module and of its copy on the GPU, up to rounding."""
    there = copy.deepcopy(module).to(DEVICE)
    here, away = output(module, "cpu"), output(there, DEVICE)
    assert away.device.type == DEVICE
    torch.testing.assert_close(away.cpu(), here, rtol=1e-3, atol=1e-4)
    direction = torch.randn(here.shape, generator=torch.Generator().manual_seed(0))
    (here * direction).sum().backward()
    (away * direction.to(DEVICE)).sum().backward()
    pairs = [(own.grad, other.grad) for own, other in zip(module.parameters(), there.parameters(), strict=True) if own.grad is not None]
    # Some gradients are 0 up to rounding (a shift of all scores of an attention), so all are seen beside the largest.
    largest = max((float(own.abs().max()) for own, _ in pairs if own.numel()), default=1.0)
    for own, other in pairs:
        torch.testing.assert_close(other.cpu() / largest, own / largest, rtol=1e-2, atol=1e-4)


@_nodes("encoder")
def test_encoders(node: dict[str, Any]) -> None:
    encoder, part, _ = EncoderLaws()._made(node)
    # cuDNN gives recurrent layers no gradients outside training.
    with torch.backends.cudnn.flags(enabled=False):
        _same(encoder, lambda module, device: module(part.to(device)).h)


@pytest.mark.parametrize("name", [name for name in options("encoder") if name.endswith("genotype")])
def test_genotypes_in_half_precision(name: str) -> None:
    """Under autocast the GPU gives what the processor gives in single precision, up to rounding; the three that keep single precision, nearly all of it."""
    encoder, part, _ = EncoderLaws()._made(options("encoder")[name])
    there = copy.deepcopy(encoder).to(DEVICE)
    here = encoder(part).h
    with torch.autocast(DEVICE, torch.bfloat16):
        away = there(part.to(DEVICE)).h
    direction = torch.randn(here.shape, generator=torch.Generator().manual_seed(0))
    (here * direction).sum().backward()
    (away.float() * direction.to(DEVICE)).sum().backward()
    grads = [(other.grad, own.grad) for own, other in zip(encoder.parameters(), there.parameters(), strict=True)]
    allowed = 1e-3 if name in ("linear_genotype", "sparse_genotype", "kernel_genotype") else 0.02
    for found, expected in [(away, here), *grads]:
        assert found is not None
        assert expected is not None
        assert (found.detach().cpu().float() - expected.detach()).norm() < allowed * expected.detach().norm()


@_nodes("fusion")
def test_fusions(node: dict[str, Any]) -> None:
    fusion, tokens, present = FusionLaws()._made(node)
    _same(fusion, lambda module, device: module({view: t.to(device) for view, t in tokens.items()}, present.to(device)))


@_nodes("head")
def test_heads(node: dict[str, Any]) -> None:
    z = torch.randn(40, D_IN, generator=torch.Generator().manual_seed(1))
    head = new_head(node, seed=1)
    two_steps(head, z)
    fit_on_signs(head, z)
    # As predicting does: fitted on one device, its draws asked for on another.
    with torch.no_grad():
        here, away = head(z, n_draws=5, seed=3).value, copy.deepcopy(head).to(DEVICE)(z.to(DEVICE), n_draws=5, seed=3).value
    torch.testing.assert_close(away.cpu(), here, rtol=1e-3, atol=1e-3)


@_nodes("head")
def test_heads_train_and_fit_there(node: dict[str, Any]) -> None:
    z = torch.randn(40, D_IN, generator=torch.Generator().manual_seed(1))
    here, away = new_head(node, seed=1), new_head(node, seed=1).to(DEVICE)
    for head, own in ((here, z), (away, z.to(DEVICE))):
        two_steps(head, own)
        fit_on_signs(head, own)
    with torch.no_grad():
        first, other = here(z, n_draws=5, seed=3).value, away(z.to(DEVICE), n_draws=5, seed=3).value
    torch.testing.assert_close(other.cpu(), first, rtol=1e-2, atol=1e-2)


@_nodes("task")
def test_tasks(node: dict[str, Any]) -> None:
    train = sample_outcomes(kind_for(node), n=200, seed=0)
    task = new_task(node)
    task.setup(train)
    draws, target = random_draws(task, train.table.height), target_of(train)
    task.fit(draws, target)
    task.fit_spread(draws, target)
    there = copy.deepcopy(task).to(DEVICE)
    there.fit(Draws(draws.value.to(DEVICE)), target.to(DEVICE))
    there.fit_spread(Draws(draws.value.to(DEVICE)), target.to(DEVICE))
    for own in (Task.loss, Task.score):
        here, away = (getattr(t, own.__name__)(d, o) for t, d, o in ((task, draws, target), (there, Draws(draws.value.to(DEVICE)), target.to(DEVICE))))
        torch.testing.assert_close(away.cpu(), here, rtol=1e-3, atol=1e-4)
    here, away = task.answer(draws), there.answer(Draws(draws.value.to(DEVICE)))
    torch.testing.assert_close(away.mean.cpu(), here.mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(away.variance.cpu(), here.variance, rtol=1e-3, atol=1e-4, equal_nan=True)
    if type(task).hessian is not Task.hessian:
        torch.testing.assert_close(there.hessian(draws.value[0].to(DEVICE)).cpu(), task.hessian(draws.value[0]), rtol=1e-3, atol=1e-4)


@_nodes("pretext")
def test_pretexts(node: dict[str, Any]) -> None:
    pretext, z, future = PretextLaws()._made(node)
    _same(pretext, lambda module, device: module(z.to(device), future.to(device)))


@_nodes("pretext")
def test_a_pretraining_runs_there(node: dict[str, Any], tmp_path: Path) -> None:
    cohort, losses = tiny_cohort(tmp_path / "cohort", n=400), []
    for accelerator in ("cpu", "gpu"):
        words = {"learner__max_epochs": 3, "trainer__accelerator": accelerator, "trainer__deterministic": False}
        config = {**small_config(views=("ehr",), **words), "pretext": node}
        alone = Trainings(folds=1, grid=0, inner_folds=0, members=1)
        path = pretrain(config, cohort, Split.of(cohort), seed=0, folder=tmp_path / accelerator, trainings=alone, loggers=[])
        losses.append(Pretrained.load(path).facts["select_nll"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("head", sorted(options("head")))
def test_a_member_trains_and_predicts_there(head: str, tmp_path: Path) -> None:
    cohort, risks = tiny_cohort(tmp_path / "cohort", n=400), {}
    split = Split.of(cohort)
    for name, accelerator in {"cpu": "cpu", DEVICE: "gpu"}.items():
        words = {"learner__max_epochs": 3, "trainer__accelerator": accelerator, "trainer__deterministic": False}
        config = small_config(views=("clinical", "ehr", "genotype"), head=head, **words)
        if head == "identity":
            config["fusion"] = options("fusion")["additive"]
        path = train_member(config, cohort, split, seed=0, folder=tmp_path / accelerator, loggers=[])
        assert np.isfinite(json.loads((path.parent / "history.json").read_text())["train_loss"]).all()
        table = Ensemble.of([path]).predict(cohort, split.select, draws=20, device=name).table
        risks[name] = table["risk"].drop_nulls().to_numpy()
    # Equal starts and equal batches; noise of dropout is the device's own.
    assert np.abs(risks["cpu"] - risks[DEVICE]).max() < 0.1
