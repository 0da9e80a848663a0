"""The verb end to end: records, resuming, the page, and a run that names its rehearsal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from equipoise.cli import main
from equipoise.rehearsed import hash_of

RUN = (
    "cohort.n=300",
    "cohort.genome.variants=50",
    "modality=[clinical,biomarker]",
    "comparator=[linear,prevalence]",
    "comparator.linear.folds=2",
    "comparator.linear.max_codes=5",
    "calibration=none",
    "learner.max_epochs=1",
    "trial.n_bootstrap=100",
    "validation.masked=false",
    "trainer.progress=false",
)
REHEARSAL = (*RUN, "rehearse.model=fast", "rehearse.twins=3", "rehearse.gains=[0.0,0.1]")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a finished rehearsal in ``r``."""
    folder = tmp_path_factory.mktemp("rehearsal")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["rehearse", *REHEARSAL, "run_dir=r"]) == 0
    return folder


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("EQUIPOISE_LEDGER", str(home / "ledger"))


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(name).read_text())
    return content


def test_nothing_was_opened_and_everything_is_said() -> None:
    assert not Path("ledger").exists()
    made = read("r/rehearsal.json")
    assert made["hash"] == hash_of(made)
    assert [line["gain"] for line in made["figures"]["by_gain"]] == [0.0, 0.1]
    assert made["figures"]["twins"] == 3
    page = Path("r/rehearsal.html").read_text()
    for said in (made["hash"], made["protocol_hash"], made["cohort_hash"], "Falsely", "<svg", "No held-out outcome was read"):
        assert said in page
    assert "<script" not in page
    assert "Not estimated: this section could not be made" not in page


@pytest.mark.slow
def test_a_broken_off_rehearsal_goes_on_to_the_same_records() -> None:
    before = read("r/rehearsal.json")
    kept = Path("r/twins/00000.json").stat().st_mtime_ns
    Path("r/twins/00001.json").unlink()
    Path("r/rehearsal.json").unlink()
    assert main(["rehearse", *REHEARSAL, "run_dir=r"]) == 0
    after = read("r/rehearsal.json")
    assert after["records_hash"] == before["records_hash"]
    assert after["figures"] == before["figures"]
    assert Path("r/twins/00000.json").stat().st_mtime_ns == kept


def test_another_rehearsal_is_not_mixed_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rehearse", *REHEARSAL, "rehearse.seed=5", "run_dir=r"]) == 2
    assert "another cohort, config or version" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_names_its_rehearsal_in_ledger_and_report() -> None:
    made = read("r/rehearsal.json")
    assert main(["run", *RUN, "rehearsal=r", "run_dir=run"]) == 0
    lines = [json.loads(line) for path in Path("ledger").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert [(line["rehearsal"], line["rehearsed_at"]) for line in lines] == [(made["hash"], made["finished"])]
    assert lines[0]["rehearsed_at"].replace("+00:00", "Z") <= lines[0]["at"]
    assert lines[0]["opening"] == 1
    assert lines[0]["config"] == made["config_hash"]  # neither the rehearsal's settings nor its folder are part of the run's config
    page = Path("run/report.html").read_text()
    assert made["hash"] in page
    assert 'id="rehearsal"' in page
    assert "The rehearsed config differs" not in page
    assert "Rehearsal: power and smallest demonstrable gain" in Path("run/tripod_ai.md").read_text()
    assert main(["verify", "run"]) == 0


@pytest.mark.parametrize(("word", "said"), [("trial.threshold=0.2", "another protocol"), ("cohort.seed=1", "another cohort")])
def test_a_rehearsal_of_something_else_is_refused(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *RUN, word, "rehearsal=r", "run_dir=other"]) == 2
    assert said in capsys.readouterr().err


def test_a_changed_or_missing_rehearsal_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = read("r/rehearsal.json")
    made["figures"]["by_gain"][0]["claims"]["value"] = 0.0001
    (tmp_path / "rehearsal.json").write_text(json.dumps(made))
    assert main(["run", *RUN, f"rehearsal={tmp_path}", "run_dir=other"]) == 2
    assert "was changed" in capsys.readouterr().err
    assert main(["run", *RUN, "rehearsal=nowhere", "run_dir=other"]) == 2
    assert "no finished rehearsal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("rehearse.model=tiny", "small, config, fast"),
        ("rehearse.kind=real", "plasmode, synthetic"),
        ("rehearse.gains=[-0.1]", "numbers >= 0"),
        ("+rehearse.sweep={d_model:[4,8]}", "sweep of its own"),
        ("rehearse.twins=0", "rehearse.twins"),
        ("validation=folds", "cross-validation"),
    ],
)
def test_mistakes_are_named(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rehearse", *REHEARSAL, word, "run_dir=mistaken"]) == 2
    assert said in capsys.readouterr().err


def test_a_rehearsal_that_can_only_fail_ends_early(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rehearse", *REHEARSAL, "calibration=logistic", "calibration.min_events=1000", "rehearse.twins=6", "run_dir=hopeless"]) == 2
    assert "No twin of this cohort could be fitted" in capsys.readouterr().err
    assert len(list(Path("hopeless/twins").glob("*.json"))) == 5


@pytest.mark.slow
def test_small_networks_on_generated_people() -> None:
    words = (*RUN, "rehearse.kind=synthetic", "rehearse.twins=1", "rehearse.gains=[0.0]", "rehearse.seeds=1", "+rehearse.sweep={optimizer.lr:[0.001,0.01]}")
    assert main(["rehearse", *words, "run_dir=s"]) == 0
    made, twin = read("s/rehearsal.json"), read("s/twins/00000.json")
    assert made["tried"] == 2
    assert twin["records"][0]["verdict"] != ""
    assert set(twin["records"][0]["models"]) == {"linear"}
