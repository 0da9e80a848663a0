"""Gaussian processes under any likelihood by Laplace's approximation: the mode of the latent values, and the evidence of the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.head import Likelihood

_MOST_STEPS = 100
_TOLERANCE = 1e-5
"""Of the last step in latent values, which Newton's method squares."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Curvature:
    """B = I + W^(1/2) (gram (x) I_K) W^(1/2), factored; W (n, K, K) is the likelihood's Hessian row by row.

    Args:
        gram: f64 (n, n).
        half: f64 (n, K, K), W^(1/2).
        factor: Cholesky factor of B: (K, n, n) where outputs are apart (every W_i diagonal), else (1, n K, n K), outputs innermost.
    """

    gram: Tensor
    half: Tensor
    factor: Tensor

    @classmethod
    def of(cls, gram: Tensor, hessian: Tensor) -> Self:
        """From the gram matrix and W, not negative."""
        return cls.of_half(gram, square_root(hessian))

    @classmethod
    def of_half(cls, gram: Tensor, half: Tensor) -> Self:
        """From the gram matrix and W^(1/2)."""
        n, k = half.shape[:2]
        if apart(half):
            own = half.diagonal(dim1=1, dim2=2).T
            b = own[:, :, None] * gram * own[:, None, :]
        else:
            b = (torch.einsum("iac,jcb->iajb", half, half) * gram[:, None, :, None]).reshape(1, n * k, n * k)
        return cls(gram, half, torch.linalg.cholesky(b + torch.eye(b.shape[-1], dtype=b.dtype, device=b.device)))

    def scaled(self, v: Tensor) -> Tensor:
        """W^(1/2) v, both (n, K, S)."""
        return torch.einsum("iab,ibs->ias", self.half, v)

    def inside(self, v: Tensor) -> Tensor:
        """(I + W gram)^-1 v = v - W^(1/2) B^-1 W^(1/2) gram v, both (n, K, S); W may be singular."""
        right = self.scaled(torch.einsum("ij,jks->iks", self.gram, v))
        n, k, s = right.shape
        if len(self.factor) == k:
            solved = torch.cholesky_solve(right.transpose(0, 1), self.factor).transpose(0, 1)
        else:
            solved = torch.cholesky_solve(right.reshape(n * k, s), self.factor[0]).view(n, k, s)
        return v - self.scaled(solved)

    def half_log_det(self) -> float:
        return float(self.factor.diagonal(dim1=1, dim2=2).log().sum())


@dataclass(frozen=True)
class Mode:
    """The latent values of highest posterior density, mean + gram alpha.

    Args:
        alpha: f64 (n, K).
        pull: f64 (n, K), W u - gradient at u = gram alpha: what the data ask for.
        curvature: at the mode.
        log_evidence: Laplace's approximation of the log marginal likelihood, nats.
    """

    alpha: Tensor
    pull: Tensor
    curvature: Curvature
    log_evidence: float


def square_root(hessian: Tensor) -> Tensor:
    """W^(1/2) (n, K, K) of W, not negative."""
    value, vector = torch.linalg.eigh(hessian)
    return torch.einsum("nik,nk,njk->nij", vector, value.clamp(min=0).sqrt(), vector)


def apart(hessian: Tensor) -> bool:
    """Whether no row's matrix (n, K, K) joins two outputs."""
    return hessian.shape[1] == 1 or float((hessian - torch.diag_embed(hessian.diagonal(dim1=1, dim2=2))).abs().max()) == 0


def find_mode(gram: Tensor, mean: Tensor, nll: Likelihood, hessian: Likelihood, *, alpha: Tensor | None = None) -> Mode:
    """Newton's method on nll(mean + gram alpha) + alpha^T gram alpha / 2, halving steps that do not descend.

    Args:
        gram: f64 (n, n), prior covariance of each output's latent values.
        mean: f64 (K,), their prior mean.
        nll: maps parameters (n, K) to the negative log likelihood (n,), differentiable.
        hessian: maps them to its Hessian (n, K, K), expected or observed, not negative.
        alpha: f64 (n, K), where to start if that is better than 0, e.g. the mode under another kernel; None: 0.

    Raises:
        UserError: it does not converge.

    Source: Rasmussen and Williams (2006), algorithms 3.1 and 3.3; eq. 3.32 for the evidence.
    """
    zero = torch.zeros(len(gram), len(mean), dtype=gram.dtype, device=gram.device)
    starts = [zero] if alpha is None else [zero, alpha]
    loss, alpha = min(((_objective(gram, mean, nll, start), start) for start in starts), key=lambda start: start[0])
    stalled = 0
    for _ in range(_MOST_STEPS):
        u = gram @ alpha
        w = hessian(mean + u).to(u)
        pull = torch.einsum("iab,ib->ia", w, u) - _gradient(nll, mean + u)
        curvature = Curvature.of(gram, w)
        goal = curvature.inside(pull[..., None])[..., 0]
        step, share = goal - alpha, 1.0
        # Another curvature than the observed one converges in small steps; three that gain nothing are the end too.
        if float((gram @ step).abs().max()) < _TOLERANCE * (1 + float(u.abs().max())) or stalled == 3:
            return Mode(goal, pull, curvature, -(_objective(gram, mean, nll, goal) + curvature.half_log_det()))
        # Losses are f32: a rise within their rounding is none.
        while (tried := _objective(gram, mean, nll, alpha + share * step)) > loss + _ROUNDING * (1 + abs(loss)) and share > 1e-3:
            share /= 2
        stalled = stalled + 1 if tried > loss - _ROUNDING * (1 + abs(loss)) else 0
        alpha, loss = alpha + share * step, tried
    raise UserError(
        "The Gaussian process's posterior mode was not found",
        found=f"negative log posterior {loss:.6g} after {_MOST_STEPS} steps",
        mend="choose another head, e.g. head=laplace",
    )


def _objective(gram: Tensor, mean: Tensor, nll: Likelihood, alpha: Tensor) -> float:
    u = gram @ alpha
    with torch.no_grad():
        return float(nll(mean + u).double().sum()) + 0.5 * float((alpha * u).sum())


def _gradient(nll: Likelihood, at: Tensor) -> Tensor:
    with torch.enable_grad():
        params = at.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nll(params).sum(), params)
    return gradient
