"""A sparse layer over genotypes whose connections are known genes, and pathways of genes."""

from __future__ import annotations

from math import sqrt
from typing import final

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.packed import segment_sum
from equipoise.contract.prior import gaussian
from equipoise.contract.tensors import Genotypes, GenotypesSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.one_token import one_token_each, tokens_each
from equipoise.encoder.standardised_calls import StandardisedCalls

_LEVELS = ("gene", "pathway")


@final
class PathwayGenotype(Encoder):
    """Genes are sums of their variants, pathways of their genes, tokens of genes or pathways: a mask on linear layers, stored as its pairs.

    ``g_j = L_j^-1/2 * sum over v in j of u_vj x_v`` for a gene of L_j variants; ``p_k = (2 G_k)^-1/2 * sum over j in k of w_jk' [g_j, silu(g_j)]`` for a
    pathway of G_k genes. With s a gene or a pathway, ``token_s = R_s' [s, silu(s)] + place_s``; ``one_token``: their sum
    ``T^-1/2 * sum over s of R_s' [s, silu(s)]`` alone, for fusions that average tokens. What is in no gene (or no pathway) contributes nothing; a
    second view of the evidence, with `linear_genotype`, carries the rest. Priors are Gaussian, scaled so that every g, p and entry of a token has
    the same size whatever its number of inputs.

    Args:
        spec: of the view, with genes.
        d_model: D.
        level: ``gene`` or ``pathway``.
        one_token: one token a row instead of one for each gene or pathway.
        prior_scale: > 0, prior standard deviation of a gene, a pathway and an entry of a token.
        lr_scale: what the learning rate is multiplied with for this part.

    Raises:
        UserError: the view has no genes, or no pathways.

    Source: van Hilten et al. (2021), GenNet, Communications Biology 4:1094, for layers connected by annotation; scaling and linear paths are ours.
    """

    accepts = Genotypes
    variant: Tensor
    gene_of: Tensor
    per_gene: Tensor
    member: Tensor
    pathway_of: Tensor
    per_pathway: Tensor

    def __init__(self, *, spec: GenotypesSpec, d_model: int, level: str, one_token: bool, prior_scale: float, lr_scale: float) -> None:
        super().__init__()
        if level not in _LEVELS:
            raise UserError(f"level is {level!r}", expected=" or ".join(_LEVELS), mend="correct the genotype encoder's level")
        if spec.genes is None:
            raise UserError("The view knows no genes", expected="an annotation of its variants", mend="give it one, e.g. modality.genotype.genes=FILE")
        self.lr_scale, self._prior_scale, self._one, self._d_model = lr_scale, prior_scale, one_token, d_model
        self.calls = StandardisedCalls(spec)
        table = spec.genes if level == "gene" else spec.genes.drop_nulls("pathway")
        if not table.height:
            raise UserError("The view knows no pathways", expected="an annotation with a column pathway", mend="add it to the file, or set level=gene")
        self.names: list[str] = table["gene"].unique().sort().to_list()
        pairs = table.select("variant", "gene").unique().sort("gene", "variant")
        self.register_buffer("variant", torch.from_numpy(pairs["variant"].to_numpy().copy()), persistent=False)
        self._segments("gene", pairs["gene"], fan_in=1)
        self.u = nn.Parameter(torch.randn(pairs.height))
        if level == "pathway":
            links = table.select("gene", "pathway").unique().sort("pathway", "gene")
            self.register_buffer("member", torch.from_numpy(np.searchsorted(self.names, links["gene"].to_numpy())), persistent=False)
            self._segments("pathway", links["pathway"], fan_in=2)
            self.w = nn.Parameter(torch.randn(links.height, 2))
            self.names = links["pathway"].unique().sort().to_list()
        n_tokens = len(self.names)
        self.readout = nn.Parameter(torch.randn(n_tokens, 2, d_model) / sqrt(2))
        self.place = None if one_token else nn.Parameter(torch.randn(n_tokens, d_model) / sqrt(d_model))

    def _segments(self, level: str, name: pl.Series, *, fan_in: int) -> None:
        """Registers where each name's run of pairs ends, and what scales its sum; the pairs are sorted by name."""
        count = name.rle().struct.field("len").to_numpy().astype(np.int64)
        self.register_buffer(f"{level}_of", torch.from_numpy(np.append(0, np.cumsum(count))), persistent=False)
        self.register_buffer(f"per_{level}", torch.from_numpy(1 / np.sqrt(fan_in * count)).float(), persistent=False)

    def genes(self, packed: Tensor) -> Tensor:
        """g (genes, P), in the order of their names."""
        x = self.calls(packed).T[self.variant]
        return segment_sum(x * self.u[:, None], self.gene_of) * self.per_gene[:, None]

    def _scores(self, packed: Tensor) -> Tensor:
        """Genes or pathways with their activations, (P, T, 2)."""
        both = _with_activation(self.genes(packed))
        if hasattr(self, "w"):
            both = _with_activation(segment_sum((both[self.member] * self.w[:, None]).sum(2), self.pathway_of) * self.per_pathway[:, None])
        return both.transpose(0, 1)

    def forward(self, part: Genotypes) -> Tokens:  # type: ignore[override]
        score = self._scores(part.packed)
        if self.place is None:
            return one_token_each(score.flatten(1) @ self.readout.flatten(0, 1) / sqrt(len(self.names)), part)
        return tokens_each(torch.einsum("ptc,tcd->ptd", score, self.readout) + self.place, part)

    def penalty(self) -> Tensor:
        total = gaussian(self.u, self._prior_scale, 1) + gaussian(self.readout, self._prior_scale, 2)
        if hasattr(self, "w"):
            total = total + gaussian(self.w, self._prior_scale, 1)
        return total if self.place is None else total + gaussian(self.place, self._prior_scale, self._d_model)


def _with_activation(x: Tensor) -> Tensor:
    return torch.stack([x, F.silu(x)], 2)
