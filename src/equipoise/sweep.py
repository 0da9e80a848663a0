"""A sweep's jobs and its end. A failing job does not end the sweep."""

from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path
from typing import Any

import polars as pl

from equipoise.contract.errors import UserError
from equipoise.record import fault, write_json
from equipoise.run import run_verb

log = logging.getLogger("equipoise.sweep")


def run_job(verb: str, config: dict[str, Any], folder: Path, *, command: str, overrides: list[str]) -> float | None:
    """One job of a sweep. Whatever goes wrong is written into its folder, without what its text quotes of the data, and the sweep goes on.

    Returns:
        What ranks the jobs on select rows, for sweepers that optimise: the primary endpoint, or for a treatment's effect its R- or DR-loss with
        cross-fitted nuisances, the same for all jobs (an effect is not chosen by the fit of an outcome); None when the job failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end: dict[str, Any] = {"overrides": overrides, "status": "done", "objective": None}
    try:
        results = run_verb(verb, config | {"run_dir": str(folder)}, folder, command=command, sweep=True)
        primary = results.get("verdict_detail", {}).get("primary")
        value = results.get("endpoints", {}).get(primary, {}).get("value")
        chosen = results.get("chosen_by") or {"name": primary, "value": value}
        end |= {"primary": chosen["name"], "objective": chosen["value"]}
    except UserError as e:
        # A launcher may keep what a job prints: it gets no more than the records do.
        end |= {"status": "mistake", "error": e.recorded}
        log.error("job %s: %s", folder.name, e.recorded)
    except Exception as e:
        end |= {"status": "fault", "error": fault(e)}
        log.error("job %s: %s (its message: run the job alone)\n%s", folder.name, type(e).__name__, "".join(traceback.format_tb(e.__traceback__)))
    write_json(folder / "job.json", end)
    objective = end["objective"]
    return None if objective is None else float(objective)


def end_sweep(home: Path) -> int:
    """Prints the sweep's table, writes it to sweep.csv, and returns the exit code: 0 when every job is done."""
    jobs = [(p.parent.name, json.loads(p.read_text())) for p in sorted(home.glob("*/job.json"), key=lambda p: (len(p.parent.name), p.parent.name))]
    lines = [{"job": name, "overrides": " ".join(j["overrides"]), "status": j["status"], j.get("primary") or "objective": j["objective"]} for name, j in jobs]
    table = pl.DataFrame(lines) if lines else pl.DataFrame()
    table.write_csv(home / "sweep.csv")
    with pl.Config(tbl_rows=-1, fmt_str_lengths=100, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(table)
    print("select rows only: the held-out rows stay sealed")
    print(f"sweep: {home / 'sweep.csv'}")
    return 0 if all(j["status"] == "done" for _, j in jobs) else 1
