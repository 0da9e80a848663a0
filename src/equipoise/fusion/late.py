"""Late fusion: every view is taught alone, and what the present ones say is pooled with weights that rows unseen by them decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.pooled import has_view, or_empty, view_mean
from equipoise.fusion.turns import louder, turns

_OVERLAP_SPREAD = 1.0
"""Prior standard deviation of the overlap's root around 1."""
_STEPS = 100


@final
class Late(Fusion):
    """``z = e + sum a_v (s_v - e)``, ``a_v = w_v / (1 + r sum over the other present views of w_u)``: what each view says alone,
    ``s_v = W_v mean token + b_v``, pooled around e, which is said of a row with nothing.

    With a linear head the answers are pooled likewise (logits, for a risk). The overlap r lies between adding opinions up (0: each knows something else)
    and averaging them (1, with weights of 1: all know the same). A view that is the only one is heard with its weight, w_v.

    Views are taught apart: in training every row teaches one of its present views as if it were alone, or e, or the pool, by lot; the pool's turn
    moves w and r only. No view can explain away what another has to say, and none can make up for its weight by speaking louder.

    w has an exponential prior (``sparsity`` nats for a weight of 1), so an evidence that says nothing is gated out. Opinions about train rows flatter:
    where there are select rows `fit` finds w and r anew on them, which taught no view (stacking on a hold-out). With ``members`` and
    ``validation.rotate_select`` the select rows are inner folds with clusters kept whole, and the ensemble is stacked on inner folds.

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D.
        sparsity: rate of the weights' exponential prior, nats, > 0.
        prior_scale: see `contract.prior`.

    Source: logarithmic opinion pool, Genest and Zidek (1986); non-negative stacking, Breiman (1996); views by lot are ours.
    """

    def __init__(self, *, views: dict[str, int], n_evidences: int, d_model: int, sparsity: float, prior_scale: float) -> None:
        super().__init__()
        self._views, self._sparsity, self._prior_scale = dict(views), sparsity, prior_scale
        self.maps = nn.ModuleList([nn.Linear(d_model, d_model) for _ in views])
        # w = root^2 >= 0: its exponential prior is a smooth one of the root, and a weight on its way to 0 never passes it.
        self.root = nn.Parameter(torch.ones(len(views)))
        self.overlap_root = nn.Parameter(torch.ones(()))
        self.d_out = d_model
        self.empty = nn.Parameter(torch.randn(d_model) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        said, has = self._said(tokens, present)
        return self._by_lot(said, has) if self.training else self._pooled(said, has, self.empty)

    def weights(self) -> dict[str, float]:
        """w by view name, >= 0."""
        return dict(zip(self._views, self.root.detach().square().tolist(), strict=True))

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale) + gaussian(self.empty, self._prior_scale, 1) + self._pool_penalty()

    def fit(self, tokens: dict[str, Tokens], present: Tensor, nll: Callable[[Tensor], Tensor]) -> None:
        """Finds w and r on select rows by L-BFGS, from 1 where they also start; what each view says stays as it is. Where this fails they stay too.

        Args:
            tokens: of the select rows.
            present: bool (n, M), likewise.
            nll: z f32 (n, D) -> sum of the negative log likelihoods, ().
        """
        with torch.no_grad():
            said, has = self._said(tokens, present)
            learnt = self.root.clone(), self.overlap_root.clone()
            self.root.fill_(1.0)
            self.overlap_root.fill_(1.0)
        optimizer = torch.optim.LBFGS([self.root, self.overlap_root], max_iter=_STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nll(self._pooled(said, has, self.empty.detach())) + self._pool_penalty()
            loss.backward(inputs=[self.root, self.overlap_root])
            return loss

        if bool(torch.isfinite(closure())):
            optimizer.step(closure)
        if not bool(torch.isfinite(closure())):
            with torch.no_grad():
                self.root.copy_(learnt[0]), self.overlap_root.copy_(learnt[1])
        optimizer.zero_grad()

    def _said(self, tokens: dict[str, Tokens], present: Tensor) -> tuple[Tensor, Tensor]:
        """What each view says alone, f32 (B, views, D), and where it is there, bool (B, views)."""
        has = torch.stack([has_view(tokens[view], present[:, column]) for view, column in self._views.items()], 1)
        said = [of(view_mean(tokens[view], has[:, i])) for i, (view, of) in enumerate(zip(self._views, self.maps, strict=True))]
        return torch.stack(said, 1), has

    def _pooled(self, said: Tensor, has: Tensor, empty: Tensor) -> Tensor:
        weight = self.root.square() * has
        others = weight.sum(1, keepdim=True) - weight
        share = weight / (1 + self.overlap_root.square() * others)
        return or_empty(empty + (share[..., None] * (said - empty)).sum(1), has.any(1), empty)

    def _by_lot(self, said: Tensor, has: Tensor) -> Tensor:
        """Each row from one of its present views alone, from nothing, or from the pool of what is said by then."""
        n_views = has.shape[1]
        turn = turns(torch.nn.functional.pad(has, (0, 2), value=True))
        n_eligible = (has.sum(1) + 2).to(said.dtype)
        alone = said[torch.arange(said.shape[0], device=said.device), turn.clamp(max=n_views - 1)]
        own = torch.where((turn < n_views)[:, None], alone, self.empty)
        return torch.where((turn == n_views + 1)[:, None], self._pooled(said.detach(), has, self.empty.detach()), louder(own, n_eligible))

    def _pool_penalty(self) -> Tensor:
        return self._sparsity * self.root.square().sum() + gaussian(self.overlap_root - 1, _OVERLAP_SPREAD, 1)
