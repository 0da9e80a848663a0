"""The tutorial adds a view by exactly two files: made from its page in a fresh clone, held by the room's laws, and trained."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PAGE = (TOP / "docs" / "add_a_view.md").read_text()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's files as they are now, committed, with the page's two files beside them."""
    folder = tmp_path_factory.mktemp("view") / "clone"
    kept = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True, check=True).stdout.split()
    for name in (n for n in kept if (TOP / n).is_file()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((TOP / name).read_bytes())
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "as it is"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    for path, text in re.findall(r"```\w+ (\S+)\n(.*?)```", PAGE, re.S):
        (folder / path).write_text(text)
    return folder


def run(clone: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(clone / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", *words], cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def test_the_view_is_exactly_two_files(clone: Path) -> None:
    said = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["?? configs/modality/wearable.yaml", "?? src/equipoise/modality/wearable.py"]


def test_the_rooms_laws_and_the_houses_hold_it(clone: Path) -> None:
    said = run(
        clone, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/modality/test_modality_laws.py", "tests/test_house.py", "-k", "wearable"
    )
    assert int(re.findall(r"(\d+) passed", said)[-1]) >= 12
    assert "skipped" not in said.splitlines()[-1]


def test_it_trains_and_reports(clone: Path) -> None:
    (words,) = re.findall(r"```bash\nequipoise (.*?)\n```", PAGE, re.S)
    small = ["cohort.n=500", "cohort.genome.variants=50", "learner.max_epochs=2", "comparator=[linear]", "trial.n_bootstrap=100", "run_dir=r"]
    said = run(clone, "equipoise", *words.split(), *small, "validation.masked=false", "trainer.progress=false", "paths.ledger=ledger")
    assert said.splitlines()[-1].endswith("r/report.html")
