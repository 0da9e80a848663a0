"""Genotypes in half precision: against dense arithmetic in f64, and against the same encoders in f32. A CPU under autocast does what a GPU does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from equipoise.contract.tensors import Genotypes, GenotypesSpec
from equipoise.encoder import folded_calls
from equipoise.encoder.folded_calls import folded_scores
from equipoise.testing.discovery import options
from equipoise.testing.encoder_laws import EncoderLaws
from genotypes_for_tests import drawn_copies, moments, part_of

N, V, K = 40, 2_003, 3
HALF, TWO_HALVES = 0.01, 2e-5  # several times 2^-9, the rounding of one bfloat16, and 2^-17, that of two


def _case(missing: float = 0.05) -> tuple[np.ndarray, Genotypes, Tensor, Tensor]:
    """Copies with NaN, the part, and weights of standard deviation 1 with the means, in f32."""
    copies = drawn_copies(N, V, seed=1, missing=missing)
    weight = torch.randn(K, V, generator=torch.Generator().manual_seed(2))
    return copies, part_of(copies), weight, torch.from_numpy(moments(copies)[0])


def _dense(copies: np.ndarray, weight: Tensor, mean: Tensor) -> Tensor:
    """The formula in f64."""
    return torch.from_numpy(np.nan_to_num(copies - mean.double().numpy())) @ weight.double().T


def _off(found: Tensor, true: Tensor) -> float:
    found, true = found.detach().double(), true.detach().double()
    return float((found - true).norm() / true.norm())


def test_scores_are_the_formulas_but_for_the_rounding_of_weights_to_two_halves() -> None:
    copies, part, weight, mean = _case()
    found = folded_scores(part.packed, weight, mean)
    assert found.dtype == torch.float32
    assert _off(found, _dense(copies, weight, mean)) < TWO_HALVES
    # What one number in half precision would give: the bound above tells the two apart.
    assert _off(_dense(copies, weight.to(torch.bfloat16), mean), _dense(copies, weight, mean)) > 10 * TWO_HALVES


def test_a_missing_call_counts_nothing() -> None:
    copies, part, weight, mean = _case()
    copies[0], copies[1:, 7] = np.nan, np.nan
    part = part_of(copies)
    scores = folded_scores(part.packed, weight, mean)
    assert scores[0].abs().max() < 1e-6 * weight.abs().sum()
    weight[:, 7] = 100 / 3  # which no number in half precision is
    torch.testing.assert_close(folded_scores(part.packed, weight, mean), scores, rtol=0, atol=1e-3)


def test_gradients_are_those_of_the_formula() -> None:
    copies, part, weight, mean = _case()
    direction = torch.randn(N, K, generator=torch.Generator().manual_seed(3)) + 1.0  # its sum is large: what the mean takes off matters
    weight.requires_grad_()
    (found,) = torch.autograd.grad((folded_scores(part.packed, weight, mean) * direction).sum(), weight)
    true = direction.double().T @ torch.from_numpy(np.nan_to_num(copies - mean.double().numpy()))
    assert found.dtype == torch.float32
    assert _off(found, true) < TWO_HALVES


class _Largest(TorchDispatchMode):
    """Numbers of the largest tensor that was made."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.numel = max(self.numel, made.numel())
        return made


def test_some_variants_at_a_time_give_the_same_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _, part, weight, mean = _case()
    weight.requires_grad_()
    whole = folded_scores(part.packed, weight, mean)
    (whole_gradient,) = torch.autograd.grad(whole.square().sum(), weight)
    monkeypatch.setattr(folded_calls, "_AT_ONCE", 1 << 13)
    with _Largest() as largest:
        scores = folded_scores(part.packed, weight, mean)
        (gradient,) = torch.autograd.grad(scores.square().sum(), weight)
    torch.testing.assert_close(scores, whole, rtol=1e-5, atol=1e-4)
    assert _off(gradient, whole_gradient) < TWO_HALVES
    assert largest.numel <= max(8 * 2 * K * -(-V // 4), 1 << 13) < N * V


@pytest.mark.parametrize("name", [name for name in options("encoder") if name.endswith("genotype")])
def test_encoders_in_half_precision_are_near_those_in_single(name: str) -> None:
    encoder, part, _ = EncoderLaws()._made(options("encoder")[name])
    assert isinstance(part, Genotypes)
    direction = torch.randn(encoder(part).h.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            h = encoder(part).h
        found.append((h, torch.autograd.grad((h * direction).sum(), list(encoder.parameters()))))
    (single, in_single), (half_precision, in_half) = found
    assert _off(half_precision, single) < HALF
    assert all(_off(own, other) < HALF for own, other in zip(in_half, in_single, strict=True))


@pytest.mark.parametrize(("name", "half"), [(n, h) for n in ("linear_genotype", "sparse_genotype", "score_genotype") for h in (False, True)])
def test_half_precision_is_taken_where_autocast_asks_for_it_and_nowhere_else(name: str, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, part, _ = EncoderLaws()._made(options("encoder")[name])
    asked = []
    apply = folded_calls._FoldedScores.apply
    monkeypatch.setattr(folded_calls._FoldedScores, "apply", lambda *args: asked.append(name) or apply(*args))
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        encoder(part)
    assert bool(asked) == half


def test_a_kernel_is_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, part, spec = EncoderLaws()._made(options("encoder")["kernel_genotype"])
    assert isinstance(spec, GenotypesSpec)
    single = encoder(part).h
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder(part).h, single)
