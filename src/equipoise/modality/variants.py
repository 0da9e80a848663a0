"""Matches a new cohort's variants with the fitted ones: by place and alleles, else by name and alleles; swapped and opposite-strand alleles are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

COLUMNS = ("chromosome", "variant_id", "position", "counted_allele", "other_allele")
_UNKNOWN_ALLELE = ("0", ".", "")  # PLINK writes 0 for the allele that nobody in the file has


@dataclass(frozen=True)
class Match:
    """Where each fitted variant stands in another cohort.

    Args:
        place: i64 (V,), its number there, -1 = missing.
        swapped: bool (V,), the other allele is counted there.
        opposite: bool (V,), the alleles are written for the opposite strand there.
    """

    place: np.ndarray
    swapped: np.ndarray
    opposite: np.ndarray


def match_variants(wanted: pl.DataFrame, there: pl.DataFrame) -> Match:
    """Matches variants, both tables with `COLUMNS`.

    Chromosome, position and alleles decide; where no variant stands at the place (another genome build), name and alleles do. Alleles match as
    they are, swapped, or after complementing both strands; for A/T and C/G variants strands cannot be told apart and are taken as they are.
    """
    if wanted.select(COLUMNS).equals(there.select(COLUMNS)):
        n = wanted.height
        return Match(np.arange(n), np.zeros(n, bool), np.zeros(n, bool))
    want, have = _normal(wanted, "want"), _normal(there, "have")
    by_place = _joined(want.filter(pl.col("position") > 0), have, ["chromosome", "position"])
    rest = want.join(by_place, on="want", how="anti")
    by_name = _joined(rest.filter(~pl.col("variant_id").is_in(["", "."])), have, ["variant_id"])
    found = pl.concat([by_place, by_name])
    place, way = np.full(wanted.height, -1, np.int64), np.zeros(wanted.height, np.int64)
    at = found["want"].to_numpy()
    place[at], way[at] = found["have"].to_numpy(), found["way"].to_numpy()
    return Match(place, way % 2 == 1, way >= 2)


def _normal(table: pl.DataFrame, number: str) -> pl.DataFrame:
    return table.select(
        pl.col("chromosome").str.to_lowercase().str.strip_prefix("chr"),
        pl.col("variant_id").fill_null(""),
        pl.col("position").fill_null(0),
        *(pl.col(c).fill_null("").str.to_uppercase() for c in ("counted_allele", "other_allele")),
    ).with_row_index(number)


def _joined(want: pl.DataFrame, have: pl.DataFrame, on: list[str]) -> pl.DataFrame:
    """Pairs (want, have, way) of equal key and compatible alleles, each variant once; way 0 as is, 1 swapped, 2 and 3 these on the opposite strand."""
    counted, other = pl.col("counted_allele"), pl.col("other_allele")
    counted_there, other_there = pl.col("counted_allele_there"), pl.col("other_allele_there")
    ways = [(counted, other), (other, counted), (_complement(counted), _complement(other)), (_complement(other), _complement(counted))]
    way = pl.coalesce([pl.when(_same(a, counted_there, b, other_there)).then(pl.lit(i)) for i, (a, b) in enumerate(ways)])
    pairs = want.join(have, on=on, how="inner", suffix="_there").with_columns(way=way).drop_nulls("way").sort("way", "want", "have")
    once = pairs.unique("want", keep="first", maintain_order=True).unique("have", keep="first", maintain_order=True)
    return once.select(pl.col("want").cast(pl.Int64), pl.col("have").cast(pl.Int64), pl.col("way").cast(pl.Int64))


def _same(a: pl.Expr, a_there: pl.Expr, b: pl.Expr, b_there: pl.Expr) -> pl.Expr:
    """Both alleles are the same; at most one of those there may be unknown."""
    a_unknown, b_unknown = a_there.is_in(_UNKNOWN_ALLELE), b_there.is_in(_UNKNOWN_ALLELE)
    return ((a == a_there) | a_unknown) & ((b == b_there) | b_unknown) & ~(a_unknown & b_unknown)


def _complement(allele: pl.Expr) -> pl.Expr:
    """The bases of the opposite strand, read backwards as a strand is."""
    swapped = allele.str.replace_many(["A", "C", "G", "T"], ["T", "G", "C", "A"])
    return swapped.str.reverse()
