"""Which columns belong to which group (genes to pathways, proteins to complexes), read from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from equipoise.contract.errors import UserError
from equipoise.modality.option_file import option_table

_KEY = "the view's groups"


def feature_groups(path: Path, columns: list[str], min_found: float) -> dict[str, np.ndarray]:
    """Groups of columns; a column may stand in several groups and in none.

    The file (csv, tsv, parquet) has the columns ``feature`` and ``group``, a line for each pair. Lines that lack either are left out, as are
    features that are no column of the view, and groups without any.

    Args:
        path: of the file.
        columns: names of the view's numbers, in order.
        min_found: fewer than this share of the file's features being columns is a mistake, in [0, 1].

    Returns:
        Group name -> i64, increasing numbers in ``columns``; groups in the order of their names.

    Raises:
        UserError: no such file or column, or too few of its features are columns of the view.
    """
    table = option_table(path, ("feature", "group"), _KEY)
    pairs = table.select(pl.col("feature", "group").cast(pl.String)).drop_nulls().unique()
    numbered = pl.DataFrame({"feature": pl.Series(columns, dtype=pl.String)}).with_row_index("number")
    found = pairs.join(numbered, on="feature", how="inner").sort("group", "number")
    named, known = pairs["feature"].n_unique(), found["feature"].n_unique()
    if not known or known < min_found * named:
        raise UserError(
            f"File {path} names other features than the view's",
            expected=f"a share of {min_found:g} of its features as columns, and one at least",
            found=f"{known} of the file's {named} features are among the view's {len(columns)} numbers",
            mend="name features as the cohort's columns are named, or lower the view's min_found if the file covers much more",
        )
    return {str(name): part["number"].to_numpy().astype(np.int64) for (name,), part in found.group_by("group", maintain_order=True)}
