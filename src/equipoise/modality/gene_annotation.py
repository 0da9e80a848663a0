"""Which variants lie in which gene, and which genes in which pathway, read from a file."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from equipoise.contract.errors import UserError
from equipoise.modality.option_file import option_table

_KEY = "the genotype view's annotation"


def gene_annotation(path: Path, known: pl.Series, kept: pl.Series, min_share: float) -> pl.DataFrame:
    """Pairs of a variant and its gene, with the gene's pathways.

    The file (csv, tsv, parquet) has the columns ``variant_id`` and ``gene``, and may have ``pathway``; a variant may stand in several genes, a gene in several
    pathways. Lines without a gene are left out, as are variants that the view does not keep.

    Args:
        path: of the file.
        known: String, the cohort's variants.
        kept: String (V,), the view's variants, in order; a name that stands twice is annotated twice.
        min_share: fewer than this share of the file's variants being known to the cohort is a mistake, [0, 1].

    Returns:
        Columns variant (Int64, number in ``kept``), gene (String), pathway (String, null where there is none), each line once, in order.

    Raises:
        UserError: no such file or column, too few of its variants are the cohort's, or none is the view's.
    """
    table = option_table(path, ("variant_id", "gene"), _KEY)
    if "pathway" not in table.columns:
        table = table.with_columns(pathway=pl.lit(None, pl.String))
    table = table.select(pl.col("variant_id", "gene", "pathway").cast(pl.String)).drop_nulls(["variant_id", "gene"])
    named = table["variant_id"].unique()
    n_known = int(named.is_in(known.drop_nulls().unique().implode()).sum())
    counts = f"{n_known} of the file's {named.len()} annotated variants are among the cohort's {known.len()}"
    if n_known < min_share * named.len() or not n_known:
        mend = "name variants as the cohort does, or lower the view's min_annotated if the file covers much more than the cohort"
        raise UserError(f"File {path} names other variants", expected=f"a share of {min_share:g} at least, and one variant", found=counts, mend=mend)
    numbered = pl.DataFrame({"variant_id": kept}).with_row_index("variant")
    found = numbered.join(table, on="variant_id", how="inner").select(pl.col("variant").cast(pl.Int64), "gene", "pathway").unique()
    if not found.height:
        raise UserError(f"File {path} names no variant that the view keeps", found=counts, mend="lower the view's min_maf, or do not screen")
    return found.sort("gene", "variant", "pathway")
