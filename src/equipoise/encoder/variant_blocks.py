"""Blocks of neighbouring variants of one chromosome."""

from __future__ import annotations

import numpy as np
import polars as pl


def variant_blocks(variants: pl.DataFrame, *, kilobases: float, most: int) -> np.ndarray:
    """Numbers of the variants of every block, i64 (blocks, longest), filled up with V.

    Variants are taken by chromosome and place. A block ends where the chromosome does, before a variant that lies ``kilobases`` or more behind the
    block's first, and when it holds ``most``. Variants without a known place keep the order in which the view has them, and are divided by
    number alone.

    Args:
        variants: columns chromosome and position (0 or null = not known); V lines.
        kilobases: > 0, length of a block.
        most: >= 1, variants of a block.

    >>> table = pl.DataFrame({"chromosome": ["1", "2", "1", "1"], "position": [5000, 10, 100, 900]})
    >>> variant_blocks(table, kilobases=1, most=9).tolist()
    [[2, 3], [0, 4], [1, 4]]
    """
    table = variants.select(pl.col("chromosome").fill_null(""), pl.col("position").fill_null(0)).with_row_index("number")
    table = table.sort("chromosome", "position", maintain_order=True)
    number, position = table["number"].to_numpy().astype(np.int64), table["position"].to_numpy()
    chromosome = table["chromosome"].rle_id().to_numpy()
    begins = _begins(chromosome, np.where(position > 0, position, 0), 1000 * kilobases, most)
    length = np.diff(np.append(begins, number.size))
    blocks = np.full((begins.size, length.max(initial=0)), number.size, np.int64)
    blocks[np.arange(blocks.shape[1]) < length[:, None]] = number
    return blocks


def _begins(chromosome: np.ndarray, position: np.ndarray, span: float, most: int) -> np.ndarray:
    """Where blocks begin among sorted variants; an unknown place, 0, is not near a known one."""
    own, place = chromosome.tolist(), position.tolist()
    begins: list[int] = []
    for v in range(len(own)):
        b = begins[-1] if begins else v
        far = place[v] - place[b] >= span or (place[v] > 0) != (place[b] > 0)
        if v == b or own[v] != own[b] or far or v - b >= most:
            begins.append(v)
    return np.array(begins, np.int64)
