"""What a run leaves behind beside its results: its config, its log, its manifest. Everything is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import subprocess
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from equipoise import __version__
from equipoise.contract.errors import UserError
from equipoise.places import checkout_dir
from equipoise.whole_file import write_whole

log = logging.getLogger("equipoise")

# What may differ between two runs of the same thing: where they lie, what they are called, who listens.
_NOT_HASHED = (
    "run_dir", "name", "paths", "logger", "remark", "served_before", "model", "predictions", "kind", "columns", "statements", "site", "rehearse", "rehearsal",
)  # fmt: skip
_VERSIONS = ("torch", "pytorch-lightning", "hydra-core", "pyro-ppl", "numpy", "scikit-learn", "polars")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON in one step; NaN and infinities become null (JSON has none)."""
    text = json.dumps(_finite(value), indent=1) + "\n"
    write_whole(path, lambda f: f.write(text.encode()))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_run_file(path: Path) -> dict[str, Any]:
    """What `write_json` wrote into a run folder.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise UserError(f"Run file {path} cannot be read", found=str(e).splitlines()[0], mend="run again, or copy the run folder again") from e
    return content


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of a config without what only says where things lie."""
    kept = {k: v for k, v in config.items() if k not in _NOT_HASHED}
    return hashlib.sha256(json.dumps(_without_paths(kept), sort_keys=True, default=str).encode()).hexdigest()[:16]


def _without_paths(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {k: _without_paths(v) for k, v in node.items() if k not in ("path", "folder")}
    return [_without_paths(v) for v in node] if isinstance(node, list | tuple) else node


def versions(packages: Sequence[str] = _VERSIONS) -> dict[str, str]:
    """Versions of Python, Equipoise and these packages: by default those that a fitted model's numbers depend on."""
    found = {"python": platform.python_version(), "equipoise": __version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def commit() -> str:
    """The checkout's commit, with "+changes" when its files differ; "" for an installed wheel."""
    top = checkout_dir()
    if top is None or not (top / ".git").exists():
        return ""
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=top, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        dirty = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=top, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+changes" if dirty.strip() else "")


def print_config(config: Mapping[str, Any]) -> None:
    """Prints the resolved config as a tree."""
    from rich.console import Console
    from rich.markup import escape
    from rich.tree import Tree

    def grow(tree: Tree, node: Mapping[str, Any]) -> None:
        for key, value in node.items():
            if isinstance(value, Mapping) and value:
                target = value.get("_target_")
                grow(
                    tree.add(f"[bold]{escape(str(key))}[/bold]" + (f" [dim]{escape(str(target).rsplit('.', 1)[-1])}[/dim]" if target else "")),
                    {k: v for k, v in value.items() if k != "_target_"},
                )
            else:
                tree.add(escape(f"{key}: {value}"), style=None)

    top = Tree("config")
    grow(top, config)
    Console(stderr=False, highlight=False, markup=True, soft_wrap=True).print(top)


def save_config(config: Mapping[str, Any], folder: Path) -> str:
    """Saves the resolved config as config.yaml and returns its text.

    Raises:
        UserError: the folder holds a run of another config; nothing is overwritten.
    """
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(OmegaConf.create(dict(config)))
    at = folder / "config.yaml"
    if at.exists():
        there = OmegaConf.to_container(OmegaConf.load(at))
        if isinstance(there, dict) and config_hash({str(k): v for k, v in there.items()}) != config_hash(config):
            raise UserError(f"The run folder {folder} holds a run of another config", mend="give another run_dir, or delete the folder")
    write_whole(at, lambda f: f.write(text.encode()))
    return text


def fault(error: BaseException) -> str:
    """A fault for the record: its kind and where it arose. Its message is a library's and may quote the data: it stands on the terminal only."""
    frames = traceback.extract_tb(error.__traceback__)
    place = "; ".join(f"{Path(f.filename).name}:{f.lineno} in {f.name}" for f in reversed(frames[-3:]))
    return f"{type(error).__name__} at {place}" if place else type(error).__name__


@contextmanager
def recording(folder: Path, command: str) -> Iterator[dict[str, Any]]:
    """Keeps the run's log and manifest; the manifest's ``status`` says how the run ended: done, mistake, interrupted, fault.

    Neither holds what an error's text quotes of the data.

    Yields:
        the manifest, to be filled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("equipoise")
    root.addHandler(handler)
    manifest: dict[str, Any] = {
        **_kept(folder / "manifest.json"),
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "running",
        "versions": versions(),
        "commit": commit(),
    }
    began = time.perf_counter()
    try:
        write_json(folder / "manifest.json", manifest)
        yield manifest
        manifest["status"] = "done"
    except UserError as e:
        manifest |= {"status": "mistake", "error": e.recorded}
        raise
    except KeyboardInterrupt:
        manifest["status"] = "interrupted"
        raise
    except BaseException as e:
        manifest |= {"status": "fault", "error": fault(e)}
        raise
    finally:
        manifest["seconds"] = round(time.perf_counter() - began, 1)
        write_json(folder / "manifest.json", manifest)
        root.removeHandler(handler)
        handler.close()


def _kept(path: Path) -> dict[str, Any]:
    """What a finished run's manifest says of its opening: the same command again, ending in a mistake, must not unsay it."""
    try:
        there = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {k: there[k] for k in ("opening", "role", "predictions_hash") if k in there}


class _Voice(logging.Handler):
    """Prints log lines to whatever standard output is at that moment (a sweep's launcher or a test may have exchanged it)."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def speak() -> None:
    """Sends Equipoise's log lines to the terminal, once."""
    root = logging.getLogger("equipoise")
    root.setLevel(logging.INFO)
    root.propagate = False
    if not any(isinstance(h, _Voice) for h in root.handlers):
        root.addHandler(_Voice())
