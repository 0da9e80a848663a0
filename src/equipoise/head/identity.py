"""The identity head: the fused vector's first entries are the parameters, so that only what lies before has priors."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws
from equipoise.head import Head


@final
class IdentityHead(Head):
    """params_k = b_k + z_k: nothing is learnt but the biases.

    Behind a sum of views (`fusion=additive fusion.mapped=false`) each view's contribution stands on the scale of the parameters, and its encoder's
    prior is the prior of that contribution: a linear genotype encoder becomes ridge regression (GBLUP's prior) exactly. A head with weights shares a
    freedom with such an encoder, w u = (w / c) (c u), and at their joint mode the two Gaussian priors act as the norm |w u| in place of its square:
    many weights that have learnt anything are shrunk too little, and weak scores do not leave 0.

    Args:
        d_in: width of z, at least K.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        bias_scale: > 0, wide: a base rate is not shrunk.

    Raises:
        UserError: z is narrower than K. `assemble` refuses fusions that do not sum views: entries of theirs are some view's, or some unit's.

    Source: ours; Srebro, Rennie and Jaakkola (2004), lemma 1, for the norm.
    """

    needs_sum = True
    start: Tensor

    def __init__(self, *, d_in: int, n_params: int, bias: Tensor, bias_scale: float) -> None:
        super().__init__()
        if d_in < n_params:
            raise UserError(
                "head=identity needs an entry of the fused vector for each of the task's parameters",
                expected=f"at least {n_params}",
                found=str(d_in),
                mend=f"set d_model to {n_params} or more, or choose head=point",
            )
        self.bias_scale = float(bias_scale)
        self.register_buffer("start", bias.detach().clone().to(torch.float32))
        self.bias = nn.Parameter(self.start.clone())

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """One draw, (1, B, K), whatever is asked for."""
        return Draws((z[:, : len(self.start)] + self.bias)[None])

    def kl(self) -> Tensor:
        """Zero: there is no posterior."""
        return self.start.new_zeros(())

    def penalty(self) -> Tensor:
        """Sum of (b - start)^2 / (2 bias_scale^2)."""
        return (self.bias - self.start).square().sum() / (2 * self.bias_scale**2)
