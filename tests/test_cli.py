"""What a mistake on the command line is answered with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.cli import main, parse
from equipoise.config.compose import expand
from equipoise.contract.errors import UserError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum"], "did you mean run?"),
        (["run", "fuson=concat"], "did you mean fusion?"),
        (["run", "fusion=concatt"], "did you mean concat?"),
        (["run", "sed=3"], "did you mean seed?"),
        (["run", "learner.max_epoch=3"], "did you mean max_epochs?"),
        (["run", "modality.clinical.encoder.hiden=3"], "did you mean hidden?"),
        (["run", "seed=one"], "Expected: a number"),
        (["run", "seed=1,2"], "needs -m"),
        (["run", "experiments=404_nothing/run"], "There is no option '404_nothing/run' in experiments"),
        (["run", "modality=[clinicall]"], "did you mean clinical?"),
        (["run", "head._target_=os.system"], "EQUIPOISE_ALLOW"),
        (["run", "--mulitrun"], "did you mean --multirun?"),
        (["run", "fusion"], "KEY=VALUE"),
        (["init", "nothing.csv", "--outcome", "died"], "There is no file"),
        (["predict"], "model=RUN"),
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
