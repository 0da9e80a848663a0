"""A trained model: everything that predicting needs in one file of plain numbers, strings and tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from equipoise import __version__
from equipoise.assemble import connect, make_tasks, make_views
from equipoise.batches import Batches
from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.modality import Reader, View
from equipoise.network import Network
from equipoise.whole_file import write_whole

FORMAT = 1
MODEL_KIND = "equipoise.model"
_CONFIG = ("d_model", "modality", "fusion", "head", "task")


@final
@dataclass
class Model:
    """Views, network, and where they come from.

    Args:
        config: the parts of the resolved config that made it.
        views: fitted.
        network: trained.
        facts: plain values: cohort hash, seed, number of train rows, ...
    """

    config: dict[str, Any]
    views: dict[str, View]
    network: Network
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any], views: dict[str, View], network: Network, facts: dict[str, Any]) -> Self:
        return cls({k: config[k] for k in _CONFIG}, views, network, facts)

    @property
    def questions(self) -> tuple[Question, ...]:
        return self.network.questions()

    def batches(self, readers: Mapping[str, Reader], *, targets: Mapping[str, TargetTable], hidden: frozenset[str] = frozenset()) -> Batches:
        """Batches as its network takes them; arguments as in `Batches`, ``readers`` of its views."""
        return Batches(readers, {name: view.evidence for name, view in self.views.items()}, self.network.evidences, targets=targets, hidden=hidden)

    def state(self) -> dict[str, Any]:
        """Plain numbers, strings, lists, dicts and tensors."""
        state = {
            "config": self.config,
            "views": {name: view.state() for name, view in self.views.items()},
            "tasks": {name: self.network.task(name).state() for name in self.network.tasks},
            "network": {k: v.detach().cpu() for k, v in self.network.state_dict().items()},
            "facts": self.facts,
        }
        return plain(state)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`; needs neither cohort nor config files."""
        config = state["config"]
        views, tasks = make_views(config), make_tasks(config)
        for name, view in views.items():
            view.load_state(state["views"][name])
        for name, task in tasks.items():
            task.load_state(state["tasks"][name])
            # A task's own buffers may decide where the head starts, so they are filled before the head is made.
            prefix = f"tasks.{name}."
            task.load_state_dict({k.removeprefix(prefix): v for k, v in state["network"].items() if k.startswith(prefix)})
        network = connect(config, views, tasks, seed=0)
        network.load_state_dict(state["network"])
        network.eval()
        return cls(dict(config), views, network, dict(state["facts"]))

    def hash(self) -> str:
        """16 hex digits of the SHA-256 of what the model is, the same before and after saving."""
        return digest(self.state())

    def save(self, path: Path) -> None:
        """Writes the model in one step."""
        save_plain(path, MODEL_KIND, self.state())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a model.

        Raises:
            UserError: there is no such file, it is damaged, or it is no model of this format.
        """
        return cls.from_state(load_plain(path, MODEL_KIND))


def save_plain(path: Path, kind: str, state: Mapping[str, Any]) -> None:
    """Writes a state of plain values in one step, with its kind, format and hash."""
    whole = plain({"kind": kind, "format": FORMAT, "version": __version__, "hash": digest(plain(state)), "state": state})
    write_whole(path, lambda f: torch.save(whole, f))


def load_plain(path: Path, kind: str) -> dict[str, Any]:
    """Reads what `save_plain` wrote; nothing in the file is executed (``weights_only=True``).

    Raises:
        UserError: the file is missing, damaged, of another kind or another format.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}", expected=f"a file of kind {kind}", mend="train first, or correct the path")
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises a dozen kinds, from EOFError to UnpicklingError
        found = f"{type(e).__name__}, {path.stat().st_size} bytes"
        raise UserError(f"File {path} cannot be read", expected=f"a file of kind {kind}", found=found, mend="train again, or copy it again") from e
    if not isinstance(whole, dict) or whole.get("kind") != kind:
        found = str(whole.get("kind")) if isinstance(whole, dict) and "kind" in whole else "something else"
        raise UserError(f"File {path} is not of kind {kind}", found=found, mend="give a file that equipoise wrote")
    if whole.get("format") != FORMAT:
        mend = f"use equipoise {whole.get('version')}, or train again"
        raise UserError(f"File {path} has format {whole.get('format')}", expected=f"format {FORMAT}", mend=mend)
    state: dict[str, Any] = whole["state"]
    # torch does not look at its archive's checksums: a flipped byte would be a weight.
    if "hash" in whole and digest(state) != whole["hash"]:
        raise UserError(f"File {path} is damaged", found="its content differs from its hash", mend="train again, or copy it again")
    return state


def plain(value: Any, at: str = "") -> Any:
    """Dicts, lists, tensors, numbers, strings, booleans and None as they are; tuples become lists.

    Raises:
        TypeError: anything else, naming its place: a file of it would not load with ``weights_only=True``.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return plain(value.item(), at)
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {k if type(k) in (int, str) else _refuse(k, at): plain(v, f"{at}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, f"{at}[{i}]") for i, v in enumerate(value)]
    return _refuse(value, at)


def digest(value: Any) -> str:
    """16 hex digits of the SHA-256 of a plain value, whatever the order of its keys.

    >>> digest({"a": 1, "b": torch.zeros(2)}) == digest({"b": torch.zeros(2), "a": 1})
    True
    >>> digest([1]) == digest([1.0])
    False
    """
    sha = hashlib.sha256()
    _feed(sha.update, value)
    return sha.hexdigest()[:16]


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    match value:
        case Tensor():
            array = value.detach().cpu().contiguous()
            update(f"tensor {array.dtype} {tuple(array.shape)} ".encode())
            update(array.reshape(-1).view(torch.uint8).numpy().tobytes() if array.numel() else b"")
        case Mapping():
            update(f"dict {len(value)} ".encode())
            for key in sorted(value, key=repr):
                update(f"{key!r} ".encode())
                _feed(update, value[key])
        case list() | tuple():
            update(f"list {len(value)} ".encode())
            for item in value:
                _feed(update, item)
        case _:
            update(f"{value!r} ".encode())


def _refuse(value: Any, at: str) -> Any:
    raise TypeError(f"state{at} is a {type(value).__name__}, not a plain number, string, list, dict or tensor")
