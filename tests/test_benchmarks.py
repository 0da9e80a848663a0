"""The speed scripts run, at sizes at which their numbers mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TOP = Path(__file__).resolve().parent.parent


def _script(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=TOP, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured_and_nothing_fails() -> None:
    found = _script("benchmarks/gpu.py")
    assert (found.returncode, found.stdout) == (0, "no GPU: nothing measured\n"), found.stderr


@pytest.mark.slow
def test_ours_and_the_padded_reference_of_the_gpu_script_agree(tmp_path: Path) -> None:
    found = _script("benchmarks/gpu.py", "--rehearse", "--out", str(tmp_path / "gpu.json"))
    numbers = json.loads((tmp_path / "gpu.json").read_text())
    assert not numbers["errors"], found.stderr
    assert max(numbers["check f32 as chosen"].values()) < 1e-4
    assert max(numbers["check f32 padded"].values()) < 1e-4
    assert "required 2.5" in found.stdout


@pytest.mark.slow
def test_the_loops_of_the_training_script_are_the_same_model() -> None:
    found = _script("benchmarks/training.py", "--rows", "32", "--epochs", "1")
    assert found.returncode in (0, 1), found.stderr  # whether it is fast is not asked at this size
    assert ": the same" in found.stdout, found.stdout + found.stderr
    assert "required 0.8" in found.stdout
