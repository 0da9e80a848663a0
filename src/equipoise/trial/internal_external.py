"""Internal-external validation: each site is judged by models that never saw it, and the sites are pooled by random effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from equipoise.contract.errors import UserError
from equipoise.contract.tables import MODEL
from equipoise.trial.evaluate import evaluate
from equipoise.trial.over_sites import pooled_tables
from equipoise.trial.protocol import Protocol
from equipoise.trial.site_summary import estimates_of
from equipoise.trial.table import validated


def internal_external(
    predictions: pl.DataFrame,
    protocol: Protocol,
    *,
    kind: str,
    task: str,
    required: Sequence[str],
    classes: Sequence[str] = (),
    model: str = MODEL,
    not_run: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Judges every left-out site on its own and pools them.

    Args:
        predictions: of a cross-validation whose folds are the sites, with the column ``site``.
        protocol: how each site is judged.
        kind: of the outcome.
        task: the question's name.
        required: see `evaluate`; likewise ``classes``, ``model``, ``not_run``.

    Returns:
        "sites" (by site, what `evaluate` gives) and the pooled "endpoints" and "differences" (`over_sites.pooled_tables`). Each site's verdict stands
        in its own results; there is no pooled one, because every site was judged by another model.

    Raises:
        UserError: a row has no site, there are fewer than two, or a fold is not one site.

    Source: Steyerberg and Harrell (2016); Debray et al. (2013); Royston, Parmar and Sylvester (2004).
    """
    table = validated(predictions)
    table = table.filter(pl.col("task") == task) if (table["task"] == task).any() else table
    _refuse_other_folds(table)
    sites = {}
    for site in sorted(table["site"].unique().to_list()):
        own = table.filter(pl.col("site") == site)
        sites[site] = evaluate(
            own, protocol, kind=kind, task=task, required=required, role="cross-validation", opening=None, classes=classes, model=model, not_run=not_run
        )
    return {"sites": sites} | pooled_tables({site: estimates_of(results) for site, results in sites.items()}, protocol.level)


def _refuse_other_folds(table: pl.DataFrame) -> None:
    if table["site"].null_count():
        raise UserError("Column site of the predictions table is empty in some rows", expected="the site of every row", mend="fill it")
    if table["site"].n_unique() < 2:
        raise UserError("The predictions table has one site only", expected="at least two", mend="give the predictions of several sites")
    pairs = table.select("repeat", "fold", "site").unique()
    by_fold, by_site = (pairs.group_by("repeat", key).len()["len"].max() for key in ("fold", "site"))
    if by_fold != 1 or by_site != 1:
        raise UserError(
            "The folds of the predictions table are not its sites", expected="each site held out whole, one a fold", mend="use folds that are sites"
        )
