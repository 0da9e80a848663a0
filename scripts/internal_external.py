"""Internal-external validation: each site is left out once, judged by a model that never saw it, and the sites are pooled.

    python scripts/internal_external.py --out runs/internal_external [OVERRIDES of the config ...]

For each site of the cohort all steps of model making are done on the other sites (a tenth each to stop training and to recalibrate), and the site left out is
predicted and judged. Endpoints are pooled over sites by random effects (REML, Hartung-Knapp) with the interval for a further site. A finished site is
read and not made again. Writes predictions.parquet, internal_external.json and forest.svg.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch

from equipoise.cohort.build import build_cohort
from equipoise.cohort.roles import assign_roles
from equipoise.cohort.split import Split
from equipoise.config.compose import search_path
from equipoise.contract.make import make
from equipoise.contract.tables import MODEL
from equipoise.fit import fit_split
from equipoise.launch import checked
from equipoise.record import write_json
from equipoise.report.axes import house_style, to_svg
from equipoise.report.forest import Line, Panel, forest
from equipoise.trial.internal_external import internal_external
from equipoise.trial.protocol import protocol_of
from equipoise.whole_file import write_whole

SHARES = {"train": 0.8, "select": 0.1, "calibrate": 0.1}
SHOWN = ("auroc", "log_score", "calibration_slope", "calibration_in_the_large")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("overrides", nargs="*")
    given = words.parse_args()
    torch.set_num_threads(1)
    with search_path(None) as search:
        config = checked(["task=[risk]", "validation.masked=false", *given.overrides], search).values
    cohort = build_cohort(make(config["cohort"]), given.out / "cohorts")
    site, cluster = cohort.rows["site"].to_numpy().astype(str), cohort.rows["cluster"].to_numpy()
    tables, notes = [], {}
    for k, name in enumerate(np.unique(site)):
        role = np.full(site.size, "held_out", dtype="<U9")
        # Who shares a cluster with the site left out is neither judged with it nor learnt from.
        role[(site != name) & np.isin(cluster, cluster[site == name])] = ""
        rest = (site != name) & (role != "")
        role[rest] = assign_roles(cluster[rest], SHARES, int(config["seed"]), counters=(k,))
        fit = fit_split(config, cohort, Split.from_roles(role), "held_out", given.out / f"without_{name}", repeat=0, fold=k, loggers=[])
        tables.append(fit.table)
        notes = fit.notes
        print(f"site {name} is judged", flush=True)
    table = pl.concat(tables, how="diagonal_relaxed")
    write_whole(given.out / "predictions.parquet", table.write_parquet)
    results = internal_external(table, protocol_of(config["trial"]), kind="binary", task="risk", required=notes["required"])
    write_json(given.out / "internal_external.json", results)
    panels = []
    for endpoint in SHOWN:
        pooled = results["endpoints"][MODEL].get(endpoint)
        if not pooled or pooled["value"] is None:
            continue
        lines = [Line.of(s, (e["value"], e["lo"], e["hi"]), f"{e['value']:.3f} ({e['lo']:.3f} to {e['hi']:.3f})") for s, e in pooled["sites"].items()]
        said = f"{pooled['value']:.3f} ({pooled['lo']:.3f} to {pooled['hi']:.3f})"
        lines.append(Line.of("mean over sites", (pooled["value"], pooled["lo"], pooled["hi"]), said, strong=True))
        if pooled["prediction_lo"] is not None:
            further = f"{pooled['prediction_lo']:.3f} to {pooled['prediction_hi']:.3f}"
            lines.append(Line.of("a further site", (None, pooled["prediction_lo"], pooled["prediction_hi"]), further))
            said += f"; a further site {further}"
        panels.append(Panel(endpoint.replace("_", " "), tuple(lines), reference={"calibration_slope": 1.0, "calibration_in_the_large": 0.0}.get(endpoint)))
        print(f"{endpoint:<26} {said}")
    if panels:
        with house_style():
            drawn = to_svg(forest(panels)[0], "sites left out in turn, their mean, and the interval for a further site", "forest")
        write_whole(given.out / "forest.svg", lambda file: file.write(str(drawn).encode()))


if __name__ == "__main__":
    main()
