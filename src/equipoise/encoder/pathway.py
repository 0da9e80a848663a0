"""Scores of groups of numbers, such as pathways of genes, with a prior that keeps or drops a group as a whole."""

from __future__ import annotations

from math import sqrt
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.categories import Categories
from equipoise.encoder.one_token import tokens_each


@final
class Pathway(Encoder):
    """A linear layer masked by known groups, stored as its pairs: ``s_g = sum over f in g of w_gf value_f``, and tokens ``R_g' [s_g, silu(s_g)]``.

    A value that was not observed counts as the train mean; one in several groups has a weight in each; one in no group contributes nothing, and a second
    view of the evidence, with `elastic_net`, carries the rest. With ``one_token`` the groups' tokens and the categories' vectors are
    added up; otherwise every group has a token with a vector of its own, and the categories, where there are any, have one.

    The negative log prior of a group of L values is ``sqrt(L) |w_g| / group_scale``, that of the group lasso: a group that says nothing falls to 0 as a
    whole. It is stated of ``w_gf = gate_g v_gf`` as ``sqrt(L) (gate_g^2 + |v_g|^2) / (2 group_scale)``, which is smooth, and equal where
    |gate| = |v|, as it is at every minimum. R is Gaussian; what multiplies a score multiplies group_scale.

    Args:
        spec: of the view, with groups.
        d_model: D.
        one_token: one token a row instead of one for each group.
        group_scale: of a group's weights, > 0: mean absolute effect of a standard deviation in a group of one.
        prior_scale: > 0, prior standard deviation of a token's entry for a score of 1, and of its other vectors, see `contract.prior`.
        lr_scale: what the learning rate is multiplied with for this part.

    Raises:
        UserError: the view has no groups.

    Source: Yuan and Lin (2006), group lasso; shared columns, Jacob, Obozinski and Vert (2009); the product form, Hoff (2017). The tokens are ours.
    """

    accepts = Vector
    member: Tensor
    group_of: Tensor
    root_size: Tensor

    def __init__(self, *, spec: VectorSpec, d_model: int, one_token: bool, group_scale: float, prior_scale: float, lr_scale: float) -> None:
        super().__init__()
        if not spec.groups:
            raise UserError("The view knows no groups", expected="a file that groups its columns", mend="give it one, e.g. modality.omics.groups=FILE")
        if group_scale <= 0:
            raise UserError("group_scale of the encoder pathway", expected="more than 0", found=f"{group_scale}")
        self.lr_scale, self._d_model = lr_scale, d_model
        self._one_token, self._group_scale, self._prior_scale = one_token, group_scale, prior_scale
        self.names = list(spec.groups)
        size = torch.tensor([len(at) for at in spec.groups.values()])
        self.register_buffer("member", torch.from_numpy(np.concatenate(list(spec.groups.values()))), persistent=False)
        self.register_buffer("group_of", torch.repeat_interleave(torch.arange(size.shape[0]), size), persistent=False)
        self.register_buffer("root_size", size.sqrt(), persistent=False)
        # As in `elastic_net`: the gate is open, v is small and not zero.
        self.gate = nn.Parameter(torch.full((size.shape[0],), 0.5))
        self.v = nn.Parameter(torch.randn(self.member.shape[0]) * 0.01)
        self.readout = nn.Parameter(torch.randn(size.shape[0], 2, d_model) / sqrt(2))
        self.place = None if one_token else nn.Parameter(torch.randn(size.shape[0], d_model) / sqrt(d_model))
        self.categories = Categories(spec.cardinalities, d_model)

    def scores(self, part: Vector) -> Tensor:
        """s (P, G), in the order of the groups' names."""
        x = part.value.masked_fill(~part.observed, 0.0)[:, self.member] * self.v
        return x.new_zeros((x.shape[0], self.gate.shape[0])).index_add(1, self.group_of, x) * self.gate

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        s = self.scores(part)
        both = torch.stack([s, F.silu(s)], 2)
        level = self.categories(part.category).reshape(*part.category.shape, self._d_model).sum(1, keepdim=True)
        if self.place is None:
            h = (both.flatten(1) @ self.readout.flatten(0, 1))[:, None] + level
        else:
            h = torch.einsum("pgc,gcd->pgd", both, self.readout) + self.place
            h = torch.cat([h, level], 1) if part.category.shape[1] else h
        return tokens_each(h, part)

    def penalty(self) -> Tensor:
        squared = self.gate.square() + torch.zeros_like(self.gate).index_add(0, self.group_of, self.v.square())
        total = (self.root_size * squared).sum() / (2 * self._group_scale) + gaussian(self.readout, self._prior_scale, 2)
        vectors = [*self.categories.parameters(), *([] if self.place is None else [self.place])]
        return total + sum((gaussian(p, self._prior_scale, self._d_model) for p in vectors), torch.zeros(()))
