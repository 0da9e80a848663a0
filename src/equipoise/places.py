"""Where the configs, the experiments and the data lie. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def configs_dir() -> Path:
    """The vocabulary: ``configs/`` of the checkout for an editable install, the copy inside the package for a wheel."""
    inside = PACKAGE / "_configs"
    return inside if inside.is_dir() else PACKAGE.parent.parent / "configs"


def checkout_dir() -> Path | None:
    """The checkout that an editable install runs from, or None for a wheel."""
    top = PACKAGE.parent.parent
    return top if (top / "configs" / "run.yaml").is_file() else None


def experiments_dir(given: str | None) -> Path | None:
    """Where experiments are looked for: ``--experiments DIR``, else ``./experiments``, else the checkout's; None when there is none."""
    if given is not None:
        return Path(given).resolve()
    places = [Path.cwd() / "experiments"]
    if (top := checkout_dir()) is not None:
        places.append(top / "experiments")
    return next((p.resolve() for p in places if p.is_dir()), None)


def find_data() -> Path | None:
    """The folder of real data sets: ``EQUIPOISE_DATA``, else ``../shared/data`` beside the working directory or the checkout; None when there is none."""
    if given := os.environ.get("EQUIPOISE_DATA"):
        return Path(given)
    tops = [Path.cwd(), checkout_dir()]
    return next((p.resolve() for t in tops if t is not None and (p := t.parent / "shared" / "data").is_dir()), None)
