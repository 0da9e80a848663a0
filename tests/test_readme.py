"""The README's commands are run, in their order, made small; its other lines are held against the files that they speak of."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.cli import main

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")
SMALL = ["d_model=8", "learner.max_epochs=2", "calibration=none", "comparator=[prevalence]", "validation.masked=false", "trial.n_bootstrap=100"]


def console_lines() -> list[str]:
    """Every line of every console block, without its comment."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [piece.strip() for line in lines for piece in line.split("&&") if piece.strip()]


LINES = console_lines()
COMMANDS = [line for line in LINES if line.startswith("equipoise ")]


def small(words: list[str]) -> list[str]:
    """The same command on fewer people, with a smaller model and fewer resamples."""
    if words[0] not in ("run", "pretrain", "train", "rehearse"):
        return words
    given = {w.partition("=")[0] for w in words}
    synthetic = [] if any(w.startswith("experiments=NNN") for w in words) else ["cohort.n=300"]
    quick = ["rehearse.twins=2", "rehearse.model=fast", "rehearse.gains=[0.0]", "rehearse.truth=prevalence"] if words[0] == "rehearse" else []
    return [*words, *synthetic, *quick, *(s for s in SMALL if s.partition("=")[0] not in given)]


def write_tables(home: Path) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal(240)
    died = (rng.random(240) < 1 / (1 + np.exp(-1.5 * x))).astype(int)
    table = pl.DataFrame({"id": [f"s{i}" for i in range(240)], "x": x, "died": died})
    table.write_csv(home / "my.csv")
    table.drop("died").head(5).write_csv(home / "new.csv")
    theirs = pl.DataFrame({"subject_id": table["id"], "outcome": died, "risk": 1 / (1 + np.exp(-x)), "comparator_mine": 0.5})
    for name, part in {"theirs": theirs, "north": theirs[:120], "south": theirs[120:]}.items():
        part.write_csv(home / f"{name}.csv")


def test_the_readme_speaks_of_every_verb() -> None:
    from equipoise.config.help import VERBS

    assert set(VERBS) - {"cohort", "train", "doctor"} <= {line.split()[1] for line in COMMANDS}


@pytest.mark.slow
def test_every_command_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    write_tables(tmp_path)
    for line in COMMANDS:
        words = [w.replace("NNN", "001") for w in small(shlex.split(line)[1:])]
        assert main(words) == 0, f"{line}\n{capsys.readouterr().err}"
        last = capsys.readouterr().out.strip().splitlines()[-1]
        if words[0] in ("run", "evaluate") and "-m" not in words:
            assert Path(last.removeprefix("report: ")).is_file()


def test_the_other_lines_are_those_of_the_makefile() -> None:
    targets = re.search(r"\.PHONY: (.*)", MAKEFILE)
    assert targets is not None
    for line in LINES:
        words = shlex.split(line)
        match words[0]:
            case "make":
                assert words[1] in targets[1].split()
            case "pip":
                assert "-c constraints.txt" in line
                wanted = words[words.index("constraints.txt") + 1 :]
                assert all(w in MAKEFILE for w in wanted), line
            case "pytest":
                assert f'-m "{words[2]}"' in MAKEFILE
            case "equipoise" | "python" | ".":
                pass
            case other:
                raise AssertionError(f"the README has a command of an unknown kind: {other}")


def test_every_file_that_the_readme_points_at_is_there() -> None:
    for place in re.findall(r"\]\(([^)#]+)\)", README):
        if not place.startswith("http"):
            assert (TOP / place).exists(), place
    assert "@@" not in README
