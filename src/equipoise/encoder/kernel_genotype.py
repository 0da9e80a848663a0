"""An exact kernel over genotypes: RKHS regression, and GBLUP, as a linear layer on features of the train people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian
from equipoise.contract.tensors import Genotypes, GenotypesSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.known_people import KnownPeople
from equipoise.encoder.one_token import check_scores, scores_in_front
from equipoise.encoder.standardised_calls import StandardisedCalls

_KERNELS = ("gaussian", "linear")
_LEAST_EIGENVALUE = 1e-6  # against a mean of 1 on the kernel's diagonal; below it single precision has nothing to say


@final
class KernelGenotype(Encoder):
    """k scores ``f(x) = prior_scale * phi(x)' u`` with ``phi(x)' phi(z) = k(x, z)`` for landmarks z, in the first k entries of the token, zeros behind.

    ``gaussian``: k = exp(-d^2 / (bandwidth * median d)^2), d the distance of standardised calls, its median over pairs of landmarks; with several bandwidths
    the mean of their kernels, each centred and scaled as below, so that none has to be chosen. ``linear``: k = x'z / V.
    The kernel is centred over the landmarks and scaled to a mean of 1 on its diagonal there, so a score has prior standard deviation ``prior_scale`` over
    people, whatever the kernel; beside a free intercept centring changes no prediction. Landmarks are the train people that the view keeps
    (its option ``landmarks``). ``K = U L U'`` is their centred kernel, ``phi(x) = L^-1/2 U' k(z, x)``. The prior is u ~ N(0, 1), so f is a Gaussian
    process with covariance prior_scale^2 k when all train people are landmarks, and Nystroem's approximation of it when some are. A fixed head of
    weight 1 with squared error makes this kernel ridge regression with penalty ``noise variance / prior_scale^2``. In the eigenbasis the loss of u is nearly
    diagonal, which suits Adam.

    Cost: at the start the kernel of the landmarks and its eigendecomposition, of which 2 m^2 numbers are kept (2,000 people: seconds, 32 MB; 10,000: minutes,
    800 MB). A landmark is recognised by its calls and read from there, so training costs next to nothing; anybody else is compared with all
    landmarks, 2 m V operations.

    Args:
        spec: of the view.
        d_model: D >= n_scores.
        kernel: ``gaussian`` or ``linear``.
        bandwidth: > 0, in medians of the distance, or several; not used by ``linear``.
        n_scores: k; one for one outcome, more for classes or several tasks.
        prior_scale: prior standard deviation of a score over people.
        lr_scale: what the learning rate is multiplied with for this part.

    Raises:
        UserError: the view keeps no landmarks, or a value is out of range.

    Source: Gianola, Fernando and Stella (2006) and de los Campos et al. (2010) for the kernel on markers and the mean of
    kernels; Williams and Seeger (2001) for the features.
    """

    accepts = Genotypes
    square: Tensor
    gram: Tensor
    width: Tensor
    share: Tensor
    basis: Tensor
    offset: Tensor

    def __init__(
        self,
        *,
        spec: GenotypesSpec,
        d_model: int,
        kernel: str,
        bandwidth: float | Sequence[float],
        n_scores: int,
        prior_scale: float,
        lr_scale: float,
    ) -> None:
        super().__init__()
        bandwidths = [bandwidth] if isinstance(bandwidth, int | float) else list(bandwidth)
        _check(spec, d_model, kernel, bandwidths, n_scores)
        self.n_scores = n_scores
        self.lr_scale, self._d_model, self._gaussian, self._scale = lr_scale, d_model, kernel == "gaussian", prior_scale
        self.calls = StandardisedCalls(spec)
        self.known = KnownPeople(torch.tensor(spec.landmarks), spec.n_variants)
        self._make_features(bandwidths)
        # Not zero: with a head that also starts at zero no gradient would reach either.
        self.u = nn.Parameter(torch.randn(n_scores, self.basis.shape[1]) * 0.01)

    @torch.no_grad()
    def _make_features(self, bandwidths: list[float]) -> None:
        """Fills the buffers. The eigenbasis is saved with the weights: another machine may turn it, and u means nothing in another basis."""
        dot, square = self.calls.products(self.known.packed, self.known.packed, torch.float64)
        self.register_buffer("square", square.float(), persistent=False)
        width = torch.tensor(bandwidths, dtype=torch.float64).square() * _median_of_pairs(_squared_distance(dot, square, square))
        self.register_buffer("width", width.float())
        # The mean of a centred kernel's diagonal. Where all landmarks are alike it is 0, and so is the share: there is nothing to learn from.
        unit = torch.stack([k.diagonal().mean() - k.mean() for k in self._kernels(dot, square, square)])
        share = torch.where(unit > 1e-12, 1 / (unit.clamp_min(1e-12) * len(unit)), 0.0)
        self.register_buffer("share", share.float())
        k = self._kernel(dot, square, square)
        self.register_buffer("gram", k.float(), persistent=False)
        value, vector = torch.linalg.eigh(k - k.mean(0) - k.mean(1, keepdim=True) + k.mean())
        large = value > _LEAST_EIGENVALUE
        weight = torch.where(large, torch.where(large, value, 1.0).rsqrt(), 0.0)
        basis = vector * weight
        basis = basis - basis.mean(0)
        self.register_buffer("basis", basis.float().contiguous())
        self.register_buffer("offset", (k.mean(0) @ basis).float())

    def _kernels(self, dot: Tensor, square_x: Tensor, square_z: Tensor) -> Iterator[Tensor]:
        if not self._gaussian:
            yield dot
            return
        distance = _squared_distance(dot, square_x, square_z)
        for width in self.width:
            yield torch.exp(-distance / width)

    def _kernel(self, dot: Tensor, square_x: Tensor, square_z: Tensor) -> Tensor:
        return sum((k * share for k, share in zip(self._kernels(dot, square_x, square_z), self.share, strict=True)), torch.zeros_like(dot))

    @torch.no_grad()
    def kernel(self, packed: Tensor) -> Tensor:
        """The kernel of these people and the landmarks before centring, (P, m)."""
        place = self.known.places(packed)
        k, new = self.gram[place], place < 0
        if bool(new.any()):
            k[new] = self._kernel(*self.calls.products(packed[new], self.known.packed), self.square)
        return k

    def forward(self, part: Genotypes) -> Tokens:  # type: ignore[override]
        weight = self._scale * self.u
        # The eigenbasis makes small differences of the kernel large, so half precision would leave little of them.
        with torch.autocast(part.packed.device.type, enabled=False):
            score = self.kernel(part.packed) @ (self.basis @ weight.T) - weight @ self.offset
        return scores_in_front(score, self._d_model, part)

    def penalty(self) -> Tensor:
        return gaussian(self.u, 1.0, 1)


def _squared_distance(dot: Tensor, square_x: Tensor, square_z: Tensor) -> Tensor:
    return (square_x[:, None] + square_z - 2 * dot).clamp_min(0.0)


def _median_of_pairs(square: Tensor) -> Tensor:
    """Median of the squared distances above the diagonal, (); 1 where all are equal to 0, as then nothing is to be told apart."""
    m = square.shape[0]
    pairs = square[tuple(torch.triu_indices(m, m, 1))] if m > 1 else square.new_zeros(1)
    median = pairs.quantile(0.5) if pairs.numel() < 1 << 24 else pairs.median()
    return torch.where(median > 0, median, torch.ones_like(median))


def _check(spec: GenotypesSpec, d_model: int, kernel: str, bandwidths: list[float], n_scores: int) -> None:
    if spec.landmarks is None:
        mend = "let the view keep them, e.g. modality.genotype.landmarks=10000 (they become part of the model's file, which is then confidential)"
        raise UserError("A kernel over genotypes has nobody to compare with", expected="calls of train people in the view", mend=mend)
    if kernel not in _KERNELS:
        raise UserError(f"kernel is {kernel!r}", expected=" or ".join(_KERNELS), mend="correct the genotype encoder's kernel")
    if not bandwidths or not all(b > 0 for b in bandwidths):
        raise UserError(f"bandwidth is {bandwidths}", expected="a number above 0, or several", mend="1 is the median distance")
    check_scores(n_scores, d_model)
