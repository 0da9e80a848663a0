"""The one LightningModule: a training step whose noise is a function of (seed, epoch, batch), and selection on select rows."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, final

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.tensors import Batch, Rewound
from equipoise.learner.course import Course
from equipoise.learner.monitor import Watch
from equipoise.learner.schedule import Schedule
from equipoise.network import Losses, Trained


@final
class Learner(pl.LightningModule):
    """Trains a network by hand-written steps (Lightning's manual optimisation), so that a step is these lines and nothing else.

    Args:
        network: assembled.
        course: where training is; changed in place.
        watch: of this network, on select rows.
        optimizer: config node, ``_target_`` and its keywords without ``params``.
        schedule: factor on the learning rate.
        settings: the config's ``learner``.
        n_train: train subjects with an observed outcome.
        n_batches: batches of an epoch.
        seed: the member's.
    """

    def __init__(
        self,
        network: Trained,
        course: Course,
        *,
        watch: Watch,
        optimizer: Mapping[str, Any],
        schedule: Schedule,
        settings: Mapping[str, Any],
        n_train: int,
        n_batches: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.course = network, course
        self._optimizer_node, self._schedule, self._settings = dict(optimizer), schedule, dict(settings)
        self._n_train, self._n_batches, self._seed = n_train, n_batches, seed
        self.train_draws, self.watch = int(settings["train_draws"] or network.train_draws), watch
        self.select: dict[str, float] = {}
        self.restored: Mapping[str, Any] | None = None

    def configure_optimizers(self) -> Optimizer:
        optimizer = make_optimizer(self._optimizer_node, self.network)
        if self.restored is not None:
            optimizer.load_state_dict(dict(self.restored))
        return optimizer

    def training_step(self, batch: Batch | Rewound, batch_idx: int) -> None:
        if not batch.size:  # done before the interruption
            return
        epoch = self.course.epoch
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * self._schedule(epoch + (batch_idx + 1) / self._n_batches, int(self._settings["max_epochs"]))
        optimizer.zero_grad()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            seed_noise(stream_seed("noise", self._seed, epoch, batch_idx, self.global_rank), self.device)
            seed = stream_seed("head", self._seed, epoch, batch_idx, self.global_rank)
            total, values = self._losses(batch, seed, f"epoch {epoch + 1}, batch {batch_idx + 1}")
            self.manual_backward(total)
        self._clip(optimizer)
        optimizer.step()
        self.course.step(batch.size, values)

    def validation_step(self, batch: Batch | Rewound, batch_idx: int) -> None:
        self.watch.add(batch)

    def on_validation_epoch_end(self) -> None:
        self.select = self.watch.result()

    def _losses(self, batch: Batch | Rewound, seed: int, at: str) -> tuple[Tensor, dict[str, float]]:
        """The batch's loss, and what is kept of it.

        Raises:
            UserError: it is not finite.
        """
        try:
            losses = self.network.loss(batch, n_train=self._n_train, n_draws=self.train_draws, seed=seed, beta=float(self._settings["beta"]))
            values = _read(losses)
            finite = math.isfinite(values["loss"])
        except ValueError:
            # Distributions refuse parameters that are not finite in their own words.
            if all(bool(torch.isfinite(p).all()) for p in self.network.parameters()):
                raise
            finite = False
        if not finite:
            raise UserError(f"Training diverged in {at}: the loss is not a finite number", mend="lower optimizer.lr, or set learner.clip_norm")
        return losses.total, values

    def _clip(self, optimizer: Any) -> None:
        """Each part by itself: one part's large gradients must not slow the others."""
        if (norm := self._settings["clip_norm"]) is not None:
            for group in optimizer.param_groups:
                torch.nn.utils.clip_grad_norm_(group["params"], float(norm))


def _read(losses: Losses) -> dict[str, float]:
    """Loss, KL and the tasks' summed negative log likelihood, in one question to the device and before it has the backward pass to do."""
    where = losses.total.device
    loss, kl, *nll = torch.stack([x.detach().to(where) for x in (losses.total, losses.kl, *losses.nll.values())]).tolist()
    return {"nll": sum(nll), "loss": loss, "kl": kl}


def seed_noise(seed: int, device: torch.device) -> None:
    """Seeds what dropout draws from on this device. ``torch.manual_seed`` also queues seeds for every accelerator there is not, at 2 ms a call."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def make_optimizer(node: Mapping[str, Any], network: Trained) -> Optimizer:
    """The config's optimizer with one group a part; a part's ``lr_scale`` multiplies its learning rate.

    Raises:
        UserError: a weight decay is asked for, or there is no learning rate.
    """
    if float(node.get("weight_decay") or 0.0) != 0.0:
        raise UserError(
            f"optimizer.weight_decay is {node['weight_decay']}",
            expected="0: every part has its own prior, set by its prior_scale",
            mend="remove it, and set the prior_scale of the part that should shrink",
        )
    if "lr" not in node:
        raise UserError("The optimizer has no learning rate", mend="set optimizer.lr")
    lr = float(node["lr"])
    groups = []
    for name, part in network.parts().items():
        params: list[Tensor] = [p for p in part.parameters() if p.requires_grad]
        if params:
            own = lr * float(getattr(part, "lr_scale", 1.0))
            groups.append({"params": params, "lr": own, "base_lr": own, "name": name})
    # Some optimizers (AdamW) decay weights unless they are told not to.
    decays = "weight_decay" in inspect.signature(_class(str(node["_target_"]))).parameters
    optimizer: Optimizer = make({**node, "weight_decay": 0.0} if decays else node, params=groups)
    return optimizer


def _class(target: str) -> type:
    from hydra.utils import get_class

    try:
        return get_class(target)
    except Exception as e:
        raise UserError(f"There is no optimizer {target}", found=str(e).splitlines()[0], mend="correct optimizer._target_") from e
