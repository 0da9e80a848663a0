"""What a mistake on the command line is answered with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.cli import main, parse
from equipoise.config.compose import expand, search_path
from equipoise.contract.errors import UserError
from equipoise.launch import checked
from equipoise.record import print_config


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum"], "did you mean run?"),
        (["run", "fuson=concat"], "did you mean fusion?"),
        (["run", "fusion=concatt"], "did you mean concat?"),
        (["run", "sed=3"], "did you mean seed"),
        (["run", "tune=inner", "tune.grid={optimizer.lr: [0.1]}"], "a plus before it, '+tune.grid=...'"),
        (["run", "learner.max_epoch=3"], "did you mean max_epochs?"),
        (["run", "modality.clinical.encoder.hiden=3"], "did you mean hidden?"),
        (["run", "seed=one"], "Expected: a number"),
        (["run", "seed=[1]"], "Expected: a number"),
        (["run", "+calibratio={_target_:equipoise.calibration.none.NoCalibration}"], "did you mean calibration or"),
        (["run", "seed=1,2"], "needs -m"),
        (["run", "experiments=404_nothing/run"], "There is no option '404_nothing/run' in experiments"),
        (["run", "modality=[clinicall]"], "did you mean clinical?"),
        (["run", "head._target_=os.system"], "EQUIPOISE_ALLOW"),
        (["run", "--mulitrun"], "did you mean --multirun?"),
        (["run", "fusion"], "KEY=VALUE"),
        (["init", "nothing.csv", "--outcome", "died"], "There is no file"),
        (["predict"], "model=RUN"),
        (["run", "modality=[]"], "Config group modality is empty"),
        (["run", "task=[]"], "Config group task is empty"),
        (["run", "trial=null"], "no such option"),
        (["run", "seed=-1"], "a whole number >= 0"),
        (["run", "seed=null"], "a whole number >= 0"),
        (["run", "d_model=0"], "a whole number >= 1"),
        (["run", "learner.batch_size=-1"], "a whole number >= 1"),
        (["run", "learner.max_epochs=0"], "a whole number >= 1"),
        (["run", "learner.patience=0"], "a whole number >= 1, or null"),
        (["run", "learner.clip_norm=0"], "a number > 0, or null"),
        (["run", "trainer.threads=0"], "a whole number >= 1"),
        (["run", "optimizer.lr=-1"], "a number > 0"),
        (["run", "members=0"], "a whole number >= 1"),
        (["run", "-m", "seed=1,-2"], "Config key seed is out of range"),
        (["run", "run_dir="], "Config key run_dir is ''"),
        (["run", "remark='${nothing}'"], "cannot be resolved"),
        (["doctor", "seed=1"], "`equipoise doctor` takes no seed=1"),
        (["doctor", "-m"], "`equipoise doctor` takes no -m"),
        (["init", "my.csv", "--cfg"], "`equipoise init` takes no --cfg"),
        (["--outcome", "died", "run"], "belongs to `equipoise init`"),
    ],
)
def test_a_mistake_is_answered_in_one_paragraph_with_exit_code_two(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"# @package _global_\nlearner:\n max_epochs: 3\n  beta: [\n", "is no YAML"),
        (b"\xff\xfe", "is no YAML"),
        (b"learner:\n  max_epochs: 3\n", "# @package _global_"),
        (b"# @package _global_\nlearner:\n  max_epoch: 3\n", "did you mean max_epochs?"),
        (b"# @package _global_\nremark: ['${nothing}']\n", "cannot be resolved"),
    ],
)
def test_a_wrong_experiment_file_is_a_mistake(
    text: bytes, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    at = tmp_path / "experiments" / "001_mine" / "run.yaml"
    at.parent.mkdir(parents=True)
    at.write_bytes(text)
    assert main(["run", "experiments=001_mine/run"]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert main(["--help"]) == 0


@pytest.mark.parametrize("words", [["run"], ["run", "-m", "seed=1,2"], ["evaluate", "predictions=there.csv"]])
def test_a_run_folder_that_cannot_be_made_is_refused_at_once(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        assert main([*words, f"run_dir={folder}"]) == 2
        assert "is a file" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_no_comparator_is_a_choice_and_signs_of_rich_are_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with search_path(None) as search:
        assert checked(["comparator=[]"], search).values["comparator"] == {}
    print_config({"remark": "a [/b] c", "[/d]": {"e": 1}})
    printed = capsys.readouterr().out
    assert "a [/b] c" in printed
    assert "[/d]" in printed


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("x,x,died", "columns of the same name"),
        ("id,x,died", "'id' repeats identifiers"),
        ("y,${x},died", "rename the column"),
    ],
)
def test_a_table_that_init_would_misread_is_refused(
    header: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(header + "\n" + "".join(f"{i % 50},{i % 7},{i % 2}\n" for i in range(100)))
    assert main(["init", "t.csv", "--outcome", "died"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "experiments").exists()


def test_an_experiments_folder_that_cannot_be_made_is_a_mistake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,died\n" + "".join(f"{i % 7},{i % 2}\n" for i in range(100)))
    assert main(["init", str(table), "--outcome", "died", "--out", str(table / "below")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_sweep_expands_to_all_combinations_and_the_line_wins_over_the_experiment() -> None:
    assert expand(["seed=1,2", "fusion=concat,late"]) == [[f"seed={s}", f"fusion={f}"] for s in (1, 2) for f in ("concat", "late")]
    assert expand(["seed=5"], ["seed=1,2", "head=point,variational"]) == [["seed=5", "head=point"], ["seed=5", "head=variational"]]


def test_words_are_read_wherever_the_options_stand() -> None:
    words = parse(["run", "-m", "seed=1,2", "--experiments", "here"])
    assert (words.verb, words.multirun, words.overrides, words.experiments) == ("run", True, ["seed=1,2"], "here")
    assert parse(["init", "my.csv", "--outcome=died"]).outcome == "died"
    with pytest.raises(UserError, match="belongs to `equipoise init`"):
        parse(["run", "--outcome", "died"])


def test_help_takes_a_third_of_a_cpu_second_at_most() -> None:
    code = (
        "import subprocess,sys,resource; subprocess.run([sys.executable,'-m','equipoise','--help'],stdout=subprocess.DEVNULL,check=True);"
        "u=resource.getrusage(resource.RUSAGE_CHILDREN); print(u.ru_utime+u.ru_stime)"
    )
    seconds = min(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(3))
    assert seconds <= 0.3
