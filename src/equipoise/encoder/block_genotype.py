"""A locally connected layer over genotypes: variants of one block act together, blocks add up."""

from __future__ import annotations

from math import sqrt
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Genotypes, GenotypesSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.one_token import one_token_each
from equipoise.encoder.standardised_calls import StandardisedCalls
from equipoise.encoder.variant_blocks import variant_blocks


@final
class BlockGenotype(Encoder):
    """``f_b = L_b^-1/2 * sum over v in b of u_v x_v`` (d_block features of a block of L_b variants), ``token = linear([f, silu(f)] of all blocks)``.

    Every block has weights of its own, as its variants are no one else's. Within a block the features are not linear, which fits dominance, haplotypes and
    interaction of neighbours; between blocks all is additive. The f beside silu(f) keep the additive genetic model inside the class.
    The prior is u ~ N(0, prior_scale^2), so that a feature of standardised calls has standard deviation ``prior_scale`` whatever the block's length and
    its linkage; the readout's is N(0, prior_scale^2 / inputs).

    Args:
        spec: of the view; it must know its variants.
        d_model: D.
        block_kilobases: length of a block, > 0 (see `variant_blocks`).
        block_variants: most variants of a block, >= 1; the only rule where places are not known.
        d_block: features of a block, >= 1.
        prior_scale: > 0.
        lr_scale: what the learning rate is multiplied with for this part.

    Source: Sigurdsson et al. (2023), Nucleic Acids Research 51:e67, for locally connected layers over variants; blocks and scaling are ours.
    """

    accepts = Genotypes
    blocks: Tensor
    per_variant: Tensor

    def __init__(
        self, *, spec: GenotypesSpec, d_model: int, block_kilobases: float, block_variants: int, d_block: int, prior_scale: float, lr_scale: float
    ) -> None:
        super().__init__()
        if spec.variants is None:
            raise UserError("Blocks of variants need to know where variants are", expected="a spec with its variants", mend="fit the view again")
        for name, value in {"block_kilobases": block_kilobases, "block_variants": block_variants, "d_block": d_block}.items():
            if not value > 0:
                raise UserError(f"{name} is {value}", expected="a number above 0", mend=f"raise the genotype encoder's {name}")
        self.lr_scale, self._prior_scale, self._n_variants = lr_scale, prior_scale, spec.n_variants
        self.calls = StandardisedCalls(spec)
        blocks = torch.from_numpy(variant_blocks(spec.variants, kilobases=block_kilobases, most=block_variants))
        inside = blocks < spec.n_variants
        per_variant = torch.zeros(spec.n_variants)
        per_variant[blocks[inside]] = inside.sum(1).rsqrt()[:, None].expand_as(blocks)[inside]
        self.register_buffer("blocks", blocks, persistent=False)
        self.register_buffer("per_variant", per_variant, persistent=False)
        self.u = nn.Parameter(torch.randn(spec.n_variants, d_block))
        self.readout = nn.Linear(2 * d_block * blocks.shape[0], d_model)
        nn.init.normal_(self.readout.weight, std=0.1 / sqrt(self.readout.in_features))
        nn.init.zeros_(self.readout.bias)

    def features(self, packed: Tensor) -> Tensor:
        """f (P, blocks, d_block)."""
        x = F.pad(self.calls(packed)[:, : self._n_variants] * self.per_variant, (0, 1))
        u = F.pad(self.u, (0, 0, 0, 1))
        return torch.einsum("pbl,blk->pbk", x[:, self.blocks], u[self.blocks])

    def forward(self, part: Genotypes) -> Tokens:  # type: ignore[override]
        f = self.features(part.packed)
        return one_token_each(self.readout(torch.cat([f, F.silu(f)], 2).flatten(1)), part)

    def penalty(self) -> Tensor:
        return gaussian(self.u, self._prior_scale, 1) + of_layers(self, self._prior_scale)
