"""``equipoise doctor``: what this machine has, and what a run would miss."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from equipoise import __version__
from equipoise.places import configs_dir, experiments_dir, find_data

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "pyro-ppl",
    "torchmetrics",
    "wandb",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-misc",
    "polars",
    "pgenlib",
)
MINIMUM_DISK_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """One line of the page; ``fatal`` when no run can work."""

    name: str
    text: str
    fatal: bool = False


def doctor(experiments: str | None) -> int:
    """Prints the findings; 0 when a run can work, 1 when something needed is missing.

    Args:
        experiments: where experiments lie, or None for the usual places.
    """
    findings = [*_machine(), *_packages(), *_places(experiments), _wandb()]
    width = max(len(f.name) for f in findings)
    for finding in findings:
        print(f"{'!' if finding.fatal else ' '} {finding.name:<{width}}  {finding.text}")
    fatal = [f.name for f in findings if f.fatal]
    print(f"doctor: {'cannot run, mend ' + ', '.join(fatal) if fatal else 'ready'}")
    return 1 if fatal else 0


def _machine() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        Finding("equipoise", __version__),
        Finding("python", f"{platform.python_version()} at {sys.executable}"),
        Finding("processor", f"{cores} cores, {platform.machine()}, {platform.system()}"),
        Finding("device", _device()),
        Finding("disk", f"{free:.1f} GB free here", fatal=free < MINIMUM_DISK_GB),
    ]


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "unknown, torch is missing"
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return f"{torch.cuda.device_count()} x {card.name}, {card.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        return "Apple GPU (mps)"
    return f"CPU, {torch.get_num_threads()} threads"


def _packages() -> list[Finding]:
    found = []
    for package in PACKAGES:
        try:
            found.append(Finding(package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(package, "missing: pip install equipoise", fatal=package != "wandb"))
    return found


def _places(given: str | None) -> list[Finding]:
    configs, experiments, data = configs_dir(), experiments_dir(given), find_data()
    sets = sorted(p.name for p in data.iterdir() if p.is_dir()) if data is not None and data.is_dir() else []
    return [
        Finding("configs", str(configs) if (configs / "run.yaml").is_file() else f"missing at {configs}", fatal=not (configs / "run.yaml").is_file()),
        Finding("experiments", _experiments(experiments)),
        Finding("data", f"{data}: {', '.join(sets)}" if sets else "none found (set paths.data or EQUIPOISE_DATA); cohort=synthetic needs none"),
    ]


def _experiments(folder: Path | None) -> str:
    if folder is None:
        return "none (give --experiments DIR)"
    return str(folder) if folder.is_dir() else f"missing at {folder}"


def _wandb() -> Finding:
    if mode := os.environ.get("WANDB_MODE"):
        return Finding("W&B", f"WANDB_MODE={mode}")
    netrc = Path(os.environ.get("NETRC", str(Path.home() / ".netrc")))
    account = bool(os.environ.get("WANDB_API_KEY")) or (netrc.is_file() and "wandb" in netrc.read_text(errors="ignore"))
    return Finding("W&B", "an account is set" if account else "no account: logger=wandb works offline")
