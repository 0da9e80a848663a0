"""A Gaussian process on the trained features, exact on all train rows, for small numbers of them."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws
from equipoise.head import Head, Likelihood
from equipoise.head.laplace_process import Curvature, Mode, apart, find_mode, square_root
from equipoise.head.layers import linear_layers, output_penalty
from equipoise.head.noise import DrawNoise
from equipoise.head.saved_sizes import take_saved_sizes
from equipoise.head.whitening import Whitening

N_FREQUENCIES = 128
"""Of a draw of the prior. Each draw has its own, so that means and covariances over draws are the kernel's however few there are."""
_DRAWS_AT_ONCE = 16
_FITTED = ("rows", "root", "pull")
_TUNING: dict[str, Any] = {"maxfev": 50, "xatol": 0.03, "fatol": 0.01}


@final
class GaussianProcessHead(Head):
    """f_k ~ GP(base rate, scale^2 exp(-|h - h'|^2 / (2 length_scale^2 d_in))), h = whitened z, each output on its own before data.

    Training needs gradients through z, so a linear map serves there (S = 1). `fit` then finds the process's posterior on the train rows: exact for
    a Gaussian likelihood, Laplace's approximation for others. With ``mean="network"`` the posterior's mean is replaced by the trained map, and the
    curvature is taken there: predictions stay those of the network, and the process says how far they are open. (Its own mean, over features that
    have all been used to fit the same outcomes, predicts a little worse; over features as they come its evidence sees one direction, and intervals
    come out far too narrow.) Draw s is one function for all rows, by pathwise conditioning: a function drawn from the prior (random frequencies of
    its own) plus what the data say about its error at the train rows.

    The model's file then holds the train rows' h, numbers about single people: share it as you would share such data.

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), the prior mean, and where the linear map starts.
        most_rows: train rows above which `fit` refuses: time grows with their cube, memory with their square.
        mean: "network": draws spread around the trained linear map; "process": around the process's posterior mean, and the map is forgotten.
        whiten: whether the kernel is over features in the basis of `Whitening`, or over z as it comes.
        prior: "evidence": ``scale`` and ``length_scale`` have the largest marginal likelihood, sought from the given ones; "fixed": as given.
        scale: > 0, standard deviation of an output before data.
        length_scale: > 0, over sqrt(d_in).
        prior_scale: > 0, of the linear map: w ~ N(0, prior_scale^2 / d_in).
        bias_scale: > 0, likewise.

    Raises:
        UserError: ``mean`` or ``prior`` is another word.

    Source: Rasmussen and Williams (2006), chapters 2 and 3; Ortega et al. (2024) for a mean that is held; Wilson et al. (2020), eq. 13, for the draws;
    a prior draw's own frequencies: ours.
    """

    start: Tensor
    rows: Tensor
    root: Tensor
    pull: Tensor
    log_kernel: Tensor

    def __init__(
        self,
        *,
        d_in: int,
        n_params: int,
        bias: Tensor,
        most_rows: int,
        mean: str,
        whiten: bool,
        prior: str,
        scale: float,
        length_scale: float,
        prior_scale: float,
        bias_scale: float,
    ) -> None:
        super().__init__()
        if prior not in ("fixed", "evidence"):
            raise UserError("head.prior", expected="fixed or evidence", found=repr(prior), mend="set head.prior=evidence")
        if mean not in ("network", "process"):
            raise UserError("head.mean", expected="network or process", found=repr(mean), mend="set head.mean=network")
        self.mean, self.whitening = mean, Whitening(whiten)
        self.most_rows, self.prior, self.prior_scale, self.bias_scale = most_rows, prior, float(prior_scale), float(bias_scale)
        self.register_buffer("start", bias.detach().clone().to(torch.float32))
        _, self.out = linear_layers(d_in, 0, self.start)
        self.register_buffer("log_kernel", torch.tensor([math.log(scale), math.log(length_scale)], dtype=torch.float64))
        self.register_buffer("rows", torch.zeros(0, d_in))
        self.register_buffer("root", torch.zeros(0, n_params, n_params, dtype=torch.float64))
        self.register_buffer("pull", torch.zeros(0, n_params, dtype=torch.float64))
        self._noise, self._kept = DrawNoise(), dict[Any, Any]()

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (n_draws, B, K) once fitted; draw s is one function, shared by all rows. Before: (1, B, K) of the linear map."""
        if self.training or not len(self.rows):
            return Draws(self.out(z)[None])
        frequency, amplitude, alpha = self._functions(n_draws, seed)
        h, mean = self.whitening(z), self.out(z) if self.mean == "network" else self.start
        from_data = torch.einsum("bn,nks->sbk", self.kernel(h, self.rows), alpha)
        return Draws((mean + self._prior_values(h, frequency, amplitude) + from_data).to(z.dtype))

    def fit(self, z: Tensor, hessian: Likelihood, n: int, nll: Likelihood) -> None:
        """Finds kernel and posterior on the train rows' z; see `Head.fit`.

        Raises:
            UserError: there are too many rows, or the posterior's mode is not found.
        """
        k = len(self.start)
        with torch.no_grad():
            together = k > 1 and not apart(hessian(self.start.expand(len(z), k)))
            largest = self.most_rows * (2 if together else 1)
            if len(z) * (k if together else 1) > largest:
                raise UserError(
                    "head=gaussian_process is exact and serves few rows only",
                    expected=f"at most {largest} {'rows times outputs' if together else 'rows'}",
                    found=f"{len(z)} train rows" + (f" of {k} outputs that depend on one another" if together else ""),
                    mend="choose head=sngp or head=laplace, or raise head.most_rows",
                )
            self.whitening.fit(z)
            self.rows = self.whitening(z).detach().clone()
            if self.prior == "evidence":
                self._tune(self.rows, hessian, nll)
            if self.mean == "process":
                mode = self._mode(self.rows, hessian, nll)
                self.root, self.pull = mode.curvature.half, mode.pull
            else:
                self.root = square_root(hessian(self.out(z)).double())
                self.pull = self.root.new_zeros(len(z), k)
        self._kept.clear()

    def kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """Prior covariances f64 (A, B) of an output at whitened rows (A, d_in) and (B, d_in)."""
        scale, length = self.log_kernel.exp()
        a, b = a.double(), b.double()
        squared = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)
        return scale**2 * torch.exp(-squared / (2 * length**2 * a.shape[1]))

    def kl(self) -> Tensor:
        """Zero: the posterior is not trained by a lower bound."""
        return self.start.new_zeros(())

    def penalty(self) -> Tensor:
        """Negative log prior of the linear map, (), nats."""
        return output_penalty(self.out, self.start, self.prior_scale, self.bias_scale)

    def _mode(self, h: Tensor, hessian: Likelihood, nll: Likelihood, alpha: Tensor | None = None) -> Mode:
        return find_mode(self.kernel(h, h), self.start.double(), nll, hessian, alpha=alpha)

    def _tune(self, h: Tensor, hessian: Likelihood, nll: Likelihood) -> None:
        """Nelder-Mead on the evidence; outputs are taken apart meanwhile, which a joint curvature makes K^2 times cheaper."""
        found: dict[str, Tensor | None] = {"alpha": None}

        def alone(params: Tensor) -> Tensor:
            return torch.diag_embed(hessian(params).diagonal(dim1=1, dim2=2))

        def loss(log_kernel: np.ndarray) -> float:
            self.log_kernel.copy_(torch.from_numpy(log_kernel))
            mode = self._mode(h, alone, nll, found["alpha"])
            found["alpha"] = mode.alpha
            return -mode.log_evidence

        start = self.log_kernel.cpu().numpy().copy()
        bounds = [(x - math.log(20), x + math.log(20)) for x in start]
        # A simplex of one natural logarithm: scipy's own is 0.00025 wide around 0, and would stop there.
        simplex = start + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        best = minimize(loss, start, method="Nelder-Mead", bounds=bounds, options=_TUNING | {"initial_simplex": simplex})
        self.log_kernel.copy_(torch.from_numpy(best.x))

    def _functions(self, n_draws: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Frequencies (S, M, d_in) and amplitudes (S, 2M, K) of prior draws, and weights (n, K, S) of the kernel around each train row; kept."""
        asked = (n_draws, seed, self.rows.device)
        if self._kept.get("asked") != asked:
            d, k, n = self.rows.shape[1], len(self.start), len(self.rows)
            scale, length = self.log_kernel.exp()
            sizes = [N_FREQUENCIES * d, 2 * N_FREQUENCIES * k, n * k]
            own = self._noise(seed, n_draws, sum(sizes), self.rows).split(sizes, 1)
            frequency = own[0].unflatten(1, (N_FREQUENCIES, d)) / (float(length) * math.sqrt(d))
            amplitude = own[1].unflatten(1, (2 * N_FREQUENCIES, k)) * (float(scale) / math.sqrt(N_FREQUENCIES))
            curvature = Curvature.of_half(self.kernel(self.rows, self.rows), self.root)
            prior = self._prior_values(self.rows, frequency, amplitude).double().permute(1, 2, 0)
            noise = own[2].double().unflatten(1, (n, k)).permute(1, 2, 0)
            # (I + W gram)^-1 (pull - W f - W^(1/2) e): the prior function f and noise e make up data of their own, to be corrected.
            left = self.pull[..., None] - curvature.scaled(curvature.scaled(prior) + noise)
            self._kept = {"asked": asked, "functions": (frequency, amplitude, curvature.inside(left))}
        functions: tuple[Tensor, Tensor, Tensor] = self._kept["functions"]
        return functions

    def _prior_values(self, h: Tensor, frequency: Tensor, amplitude: Tensor) -> Tensor:
        """Prior draws (S, B, K) at whitened rows (B, d_in): sums of cosines and sines, so that each has exactly the kernel's variance."""
        values = []
        for own, size in zip(frequency.split(_DRAWS_AT_ONCE), amplitude.split(_DRAWS_AT_ONCE), strict=True):
            angle = torch.matmul(h, own.mT)
            values.append(torch.matmul(torch.cat([angle.cos(), angle.sin()], -1), size))
        return torch.cat(values)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        take_saved_sizes(self, _FITTED, state_dict, prefix)
        self._kept.clear()
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
