"""What a user has who is no developer: the wheel with its configs inside, and parts in a package of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from equipoise.cli import main

TOP = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed into; nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder, TOP], check=True)
    (wheel,) = folder.glob("equipoise-*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True)
    return folder / "site"


def equipoise(installed: Path, at: Path, *words: str) -> str:
    """Runs the wheel's command, with the checkout out of sight."""
    command = [sys.executable, installed / "bin" / "equipoise", *words]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EQUIPOISE_")}
    done = subprocess.run(command, cwd=at, env={**kept, "PYTHONPATH": str(installed)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_code_and_every_config_and_nothing_else(installed: Path) -> None:
    (wheel,) = installed.parent.glob("*.whl")
    held = {n for n in zipfile.ZipFile(wheel).namelist() if not n.split("/")[0].endswith(".dist-info")}
    source = {p.relative_to(TOP / "src").as_posix() for p in (TOP / "src").rglob("*") if p.is_file() and p.suffix != ".pyc"}
    configs = {f"equipoise/_configs/{p.relative_to(TOP / 'configs').as_posix()}" for p in (TOP / "configs").rglob("*.yaml")}
    assert held == source | configs


@pytest.mark.slow
def test_the_installed_command_composes_and_works_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert str(installed / "equipoise" / "_configs") in equipoise(installed, tmp_path, "doctor")
    said = equipoise(installed, tmp_path, "cohort", "cohort.n=200")
    made = Path(said.strip().splitlines()[-1].removeprefix("cohort: "))
    assert made.parent == tmp_path / "cohorts"
    assert (made / "manifest.json").is_file()


def test_parts_of_another_package_are_found_trained_and_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "site" / "yours_of_a_test"
    (package / "configs" / "encoder").mkdir(parents=True)
    for folder in (package, package / "configs"):
        (folder / "__init__.py").touch()
    source = (TOP / "src" / "equipoise" / "encoder" / "linear.py").read_text().replace("class Linear(", "class Plain(")
    (package / "plain.py").write_text(source)
    option = (TOP / "configs" / "encoder" / "linear.yaml").read_text().replace("equipoise.encoder.linear.Linear", "yours_of_a_test.plain.Plain")
    (package / "configs" / "encoder" / "plain.yaml").write_text(option)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site")
    words = [
        "cohort.n=200",
        "modality=[clinical]",
        "encoder@modality.clinical.encoder=plain",
        "calibration=none",
        "debug=fast",
        "validation.min_events_train=5",
    ]
    assert main(["train", *words, "run_dir=model"]) == 2
    assert "There is no option 'plain' in encoder" in capsys.readouterr().err
    monkeypatch.setenv("EQUIPOISE_CONFIGS", "pkg://yours_of_a_test.configs")
    assert main(["train", *words, "run_dir=model"]) == 2
    assert "EQUIPOISE_ALLOW" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
    monkeypatch.setenv("EQUIPOISE_ALLOW", "yours_of_a_test")
    assert main(["train", *words, "modality.clinical.encoder.nothing=1", "run_dir=model"]) == 2
    assert "Unknown config key modality.clinical.encoder.nothing" in capsys.readouterr().err
    assert main(["train", *words, "run_dir=model"]) == 0
    assert main(["predict", *words, "model=model", "run_dir=told"]) == 0
    assert (tmp_path / "told" / "predictions.parquet").is_file()
    monkeypatch.delenv("EQUIPOISE_ALLOW")
    assert main(["predict", "cohort.n=200", "model=model", "run_dir=refused"]) == 2
    assert "yours_of_a_test.plain.Plain" in capsys.readouterr().err
