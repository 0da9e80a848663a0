"""The Gaussian around a trained last layer's weights whose precision is the loss's curvature plus the prior's: what Laplace heads share."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.head.whitening import Whitening

MOST_WEIGHTS = 3000
"""Weights of a full covariance: its factor is a matrix of this side in every model file, and tuning its prior takes about 30 factorisations."""
_LOG_FACTOR = 8.0
"""The prior's precision is sought within exp(+-8) of the declared one."""


@final
class LastLayerPosterior(nn.Module):
    """N(w, (H + P)^-1) over the weights of a linear last layer with K outputs and F features (the last of them 1, for the bias).

    H is the sum over rows of H_i (x) phi_i phi_i^T, with H_i (K, K) the loss's Hessian in the outputs; P the prior's precision, diagonal.
    "full": as it stands, (KF)^2 numbers. "kron": H ~ mean_i(H_i) (x) sum_i phi_i phi_i^T, exact where all H_i are equal; in the eigenbasis of the
    mean the posterior of each output is a matrix of its own, so P needs no approximation.

    Args:
        n_params: K.
        n_features: F.
        structure: "full", "kron", or "auto": full up to `MOST_WEIGHTS` weights, kron above.
        prior: "fixed": the prior of training; "evidence": its weights' precision times the factor with the largest marginal likelihood.

    Raises:
        UserError: a word is unknown, or a full covariance would have more than `MOST_WEIGHTS` weights.

    Source: MacKay (1992), eqs. 2.4 and 2.6; Ritter et al. (2018), section 3, for the Kronecker form; Daxberger et al. (2021), last-layer Laplace.
    """

    root: Tensor
    rotation: Tensor
    fitted: Tensor
    log_factor: Tensor

    def __init__(self, *, n_params: int, n_features: int, structure: str, prior: str) -> None:
        super().__init__()
        if structure not in ("auto", "full", "kron"):
            raise UserError("head.structure", expected="auto, full or kron", found=repr(structure), mend="set head.structure=auto")
        if prior not in ("fixed", "evidence"):
            raise UserError("head.prior", expected="fixed or evidence", found=repr(prior), mend="set head.prior=evidence")
        if structure == "full" and n_params * n_features > MOST_WEIGHTS:
            raise UserError(
                "head.structure=full is too large for this last layer",
                expected=f"at most {MOST_WEIGHTS} weights",
                found=f"{n_params * n_features}: {n_params} outputs of {n_features} features",
                mend="set head.structure=kron",
            )
        if structure == "auto":
            structure = "full" if n_params * n_features <= MOST_WEIGHTS else "kron"
        self.n_params, self.n_features, self.structure, self.prior = n_params, n_features, structure, prior
        blocks, side = (1, n_params * n_features) if structure == "full" else (n_params, n_features)
        self.register_buffer("root", torch.zeros(blocks, side, side))
        self.register_buffer("rotation", torch.eye(n_params))
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("log_factor", torch.zeros(()))

    def fit(self, phi: Tensor, hessian: Tensor, weight: Tensor, prior_precision: Tensor) -> None:
        """Finds the covariance, the prior's factor with it where that is to be tuned.

        Args:
            phi: (n, F), the last column 1.
            hessian: (n, K, K), not negative.
            weight: (K, F), trained; the prior's mean is 0 for all but the bias.
            prior_precision: (F,), of the prior of training.
        """
        phi, hessian, weight, precision = (x.detach().double() for x in (phi, hessian, weight, prior_precision))
        curvature = self._full(phi, hessian) if self.structure == "full" else self._kron(phi, hessian)
        tiled = precision.repeat(curvature.shape[1] // len(precision))
        is_weight = torch.ones_like(precision)
        is_weight[-1] = 0
        tuned = is_weight.repeat(curvature.shape[1] // len(precision))
        pull = float((weight.square() * precision * is_weight).sum())

        def prior(log_factor: float) -> Tensor:
            return torch.diag(tiled * (tuned * log_factor).exp())

        if self.prior == "evidence":
            count = int(is_weight.sum()) * self.n_params
            self.log_factor.fill_(_largest(lambda x: 0.5 * (count * x - pull * float(torch.tensor(x).exp()) - _log_det(curvature + prior(x)))))
        # precision = L L^T, so L^-T times standard normal numbers has the covariance.
        factor = torch.linalg.cholesky(curvature + prior(float(self.log_factor)))
        eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device).expand_as(factor)
        self.root.copy_(torch.linalg.solve_triangular(factor, eye, upper=False).mT)
        self.fitted.fill_(True)

    def fit_over(self, h: Tensor, hessian: Tensor, weight: Tensor, *, whiten: bool, precision: float, bias_scale: float) -> None:
        """`fit` where all weights but the bias have one prior precision, over h or over h in the basis of `Whitening`; the posterior is over weights of h.

        Args:
            h: (n, F - 1), without the 1 for the bias.
            hessian: as in `fit`.
            weight: likewise.
            whiten: whether the prior is over whitened features.
            precision: of their weights.
            bias_scale: > 0, standard deviation of the bias.
        """
        prior = h.new_full((h.shape[1] + 1,), precision)
        prior[-1] = 1 / bias_scale**2
        basis = Whitening(whiten)
        basis.fit(h)
        self.fit(with_one(basis(h)), hessian, basis.moved(weight), prior)
        self._change_basis(basis.back(h.shape[1]))

    def _change_basis(self, matrix: Tensor) -> None:
        """Takes the posterior to other weights, matrix f64 (F, F) times those of `fit`, for every output."""
        self.root.copy_((matrix.to(self.root.device) @ self.root.double().unflatten(1, (-1, self.n_features))).flatten(1, 2))

    def deviations(self, noise: Tensor) -> Tensor:
        """Weights less their mean, (S, K, F), from standard normal numbers (S, K F)."""
        if self.structure == "full":
            return (noise @ self.root[0].T).unflatten(1, (self.n_params, self.n_features))
        own = torch.einsum("kfg,skg->skf", self.root, noise.unflatten(1, (self.n_params, self.n_features)))
        return torch.einsum("ck,skf->scf", self.rotation, own)

    def covariance(self) -> Tensor:
        """(K F, K F), outputs outermost."""
        every = self.deviations(torch.eye(self.n_params * self.n_features, dtype=self.root.dtype, device=self.root.device)).flatten(1)
        return every.T @ every

    def _full(self, phi: Tensor, hessian: Tensor) -> Tensor:
        size = self.n_params * self.n_features
        rows = [(phi * hessian[:, a, b, None]).T @ phi for a in range(self.n_params) for b in range(self.n_params)]
        blocks = torch.stack(rows).reshape(self.n_params, self.n_params, self.n_features, self.n_features)
        return blocks.permute(0, 2, 1, 3).reshape(1, size, size)

    def _kron(self, phi: Tensor, hessian: Tensor) -> Tensor:
        value, vector = torch.linalg.eigh(hessian.mean(0))
        self.rotation.copy_(vector)
        return value.clamp(min=0)[:, None, None] * (phi.T @ phi)


def with_one(h: Tensor) -> Tensor:
    """(n, F + 1): features and the bias's 1."""
    return torch.cat([h, torch.ones_like(h[:, :1])], 1)


def _log_det(precision: Tensor) -> float:
    return float(2 * torch.linalg.cholesky(precision).diagonal(dim1=-2, dim2=-1).log().sum())


def _largest(evidence: Callable[[float], float]) -> float:
    found = minimize_scalar(lambda x: -evidence(x), bounds=(-_LOG_FACTOR, _LOG_FACTOR), method="bounded", options={"xatol": 0.01})
    return float(found.x)
