"""Parts that only tests need; a test that names them in a config sets EQUIPOISE_ALLOW=parts_for_tests."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.tensors import Draws, Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.one_token import one_token_each
from equipoise.head import Head, Likelihood
from equipoise.modality.clinical import Clinical


@final
class DistanceHead(Head):
    """A linear head that asks for bounded maps before it, and notes what `fit` gets."""

    spectral_norm: ClassVar[bool] = True

    def __init__(self, *, d_in: int, n_params: int, bias: Tensor) -> None:
        super().__init__()
        self.out = nn.Linear(d_in, n_params)
        nn.init.constant_(self.out.bias, float(bias.mean()))
        self.register_buffer("precision", torch.zeros(n_params, n_params))
        self.register_buffer("n", torch.zeros(()))

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        return Draws(self.out(z)[None])

    def kl(self) -> Tensor:
        return torch.zeros(())

    def penalty(self) -> Tensor:
        return torch.zeros(())

    def fit(self, z: Tensor, hessian: Likelihood, n: int, nll: Likelihood) -> None:
        self.precision = hessian(self.out(z)).sum(0).detach()
        self.n = torch.tensor(float(n))


@final
class BoundedEncoder(Encoder):
    """A linear encoder whose Lipschitz constant may be bounded, with a learning rate of its own."""

    accepts = Vector
    lipschitz = 1.0
    lr_scale = 0.1

    def __init__(self, *, spec: VectorSpec, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(spec.n_values, d_model)
        nn.init.normal_(self.linear.weight, std=5.0)

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        return one_token_each(self.linear(part.value), part)

    def penalty(self) -> Tensor:
        return self.linear.weight.square().sum() / 2


class Eavesdropper(Clinical):  # type: ignore[misc]
    """A clinical view that keeps the outcomes it was shown."""

    heard: ClassVar[list[TargetTable | None]] = []

    def fit(self, cohort: Cohort, rows: np.ndarray, outcome: TargetTable | None = None) -> None:
        Eavesdropper.heard.append(outcome)
        super().fit(cohort, rows, outcome)

    def state(self) -> dict[str, Any]:
        return super().state()
