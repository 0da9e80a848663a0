"""A page for one patient of a finished run: the answer, how sure it is, and what raised and lowered it.

    python scripts/explain.py RUN --subject ID [--task NAME] [--label LABEL] --out FOLDER

Opens the run's cohort and its ensemble, predicts the subject's rows, takes each answer apart by integrated gradients (the mean over members), and writes
FOLDER/patient_<k>.html and .csv, k = 0 for the subject's first row. Files and their names hold no identifier, but the pages hold one person's data.
Held-out rows stay sealed: no outcome is read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from omegaconf import OmegaConf

from equipoise.contract.errors import UserError
from equipoise.explain.integrated_gradients import Explanation, explain
from equipoise.predict import Ensemble
from equipoise.report.patient import patient
from equipoise.run import open_source
from equipoise.whole_file import write_whole

SCALES = {"binary": "log odds", "multiclass": "log odds", "time_to_event": "log odds"}


def taken_apart(run: Path, subject: str, task: str | None, label: str | None, out: Path) -> list[Path]:
    """The pages of a subject's rows."""
    if not (run / "ensemble.pt").is_file() or not (run / "config.yaml").is_file():
        raise UserError(f"There is no finished run in {run}", expected="a folder with config.yaml and ensemble.pt", mend="give the folder of a run")
    config: Any = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    ensemble, cohort = Ensemble.load(run / "ensemble.pt"), open_source(config)
    rows = np.flatnonzero(cohort.rows["subject_id"].to_numpy() == subject)
    if not rows.size:
        raise UserError("The run's cohort has no such subject", mend="correct --subject; identifiers are spelt as in the cohort")
    question = next((q for q in ensemble.questions if q.task == (task or ensemble.questions[0].task)), None)
    if question is None:
        raise UserError(f"The run has no task {task}", expected=", ".join(q.task for q in ensemble.questions), mend="correct --task")
    wanted = label if label is not None else question.labels[0]
    made = ensemble.predict(cohort, rows, draws=int(config["learner"]["predict_draws"]))
    answers = made.table.filter((pl.col("task") == question.task) & (pl.col("target") == wanted))
    members = [explain(model, cohort, rows, task=question.task, label=wanted) for model in ensemble.models]
    interval = (made.manifest["conformal"].get(question.task) if question.kind == "continuous" else None) or made.manifest["interval"]
    pages = []
    for k, answer in enumerate(answers.to_dicts()):
        told = joined([member[k] for member in members])
        page = patient(answer | {"interval": interval.get("of")}, told.items, start=told.start, end=told.end, scale=SCALES.get(question.kind, "its unit"))
        pages.append(out / f"patient_{k}.html")
        write_whole(pages[-1], lambda f, text=page: f.write(text.encode()))
        write_whole(out / f"patient_{k}.csv", told.items.write_csv)
    return pages


def joined(members: list[Explanation]) -> Explanation:
    """The mean over members, item by item."""
    items = members[0].items.with_columns(attribution=np.mean([m.items["attribution"].to_numpy() for m in members], axis=0))
    return Explanation(items, float(np.mean([m.start for m in members])), float(np.mean([m.end for m in members])))


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("--subject", required=True)
    words.add_argument("--task")
    words.add_argument("--label")
    words.add_argument("--out", type=Path, required=True)
    given = words.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        for page in taken_apart(given.run, given.subject, given.task, given.label, given.out):
            print(f"page: {page}")
    except UserError as e:
        print(f"explain: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
