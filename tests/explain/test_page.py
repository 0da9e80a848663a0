"""The page for one patient: what stands on it, and that neither its name nor its text holds an identifier."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from equipoise.cli import main
from equipoise.report.patient import patient

TOP = Path(__file__).resolve().parents[2]
ITEMS = pl.DataFrame(
    {
        "view": ["biomarker", "ehr", "ehr", "genotype"],
        "item": ["crp", "I10", "I10", "rs1"],
        "told": ["+2.00 sd", "recorded, 3.0 days before", "recorded, 9.0 days before", "one copy"],
        "attribution": [0.8, -0.3, -0.2, 0.01],
    }
)
ANSWER = {"task": "risk", "target": "", "risk": 0.31, "lo": 0.2, "hi": 0.4, "interval": "the risk", "epistemic": 0.01, "novelty": 0.73, "abstain_reason": None}


def test_a_page_says_the_answer_its_parts_and_what_they_are_not() -> None:
    page = patient(ANSWER, ITEMS, start=-1.1, end=-0.78, scale="log odds")
    for words in (
        "0.31",
        "0.2 to 0.4 (the risk)",
        "73.0% of comparable rows",
        "From -1.10",
        "before recalibration",
        "+0.010 unexplained",
        "nothing about causes",
        "Every record",
    ):
        assert words in page, words
    assert page.count("I10") == 2, "both records in the table; letters of the figure are outlines"
    assert "<script" not in page


def test_a_row_without_evidence_has_a_page_too() -> None:
    page = patient(ANSWER | {"risk": None, "abstain_reason": "no modality present"}, ITEMS.clear(), start=0.0, end=0.0, scale="log odds")
    assert "no modality present" in page
    assert "nothing to take apart" in page


@pytest.mark.slow
def test_the_script_writes_pages_of_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["cohort.n=800", "cohort.genome.variants=40", "modality=[biomarker,ehr,genotype]", "comparator=[linear]", "learner.max_epochs=2", "d_model=8"]
    assert main(["run", *small, "trial.n_bootstrap=100", "validation.masked=false", "trainer.progress=false", "paths.ledger=ledger", "run_dir=r"]) == 0
    table = pl.read_parquet("r/predictions.parquet").filter((pl.col("model") == "equipoise") & pl.all_horizontal(pl.col("^present_.*$")))
    subject = table["subject_id"][0]

    def script(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(TOP / "scripts" / "explain.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})

    done = script("r", "--subject", subject, "--out", "pages")
    assert done.returncode == 0, done.stderr[-2000:]
    page, items = Path("pages/patient_0.html").read_text(), pl.read_csv("pages/patient_0.csv")
    assert subject not in page.replace(".", "").split()
    assert set(items["view"]) == {"biomarker", "ehr", "genotype"}
    assert "outcome" not in items.columns
    assert script("r", "--subject", "nobody", "--out", "pages").returncode == 2
    assert script("no", "--subject", subject, "--out", "pages").returncode == 2
