"""Which device a run uses, and what the trainer's config may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from equipoise.contract.errors import UserError

PRECISIONS = ("32-true", "bf16-mixed")


def device_of(trainer: Mapping[str, Any]) -> torch.device:
    """The device of ``trainer.accelerator``.

    Raises:
        UserError: there is no such device here, or more than one is asked for.
    """
    if trainer["devices"] not in (1, "1"):
        raise UserError(f"trainer.devices is {trainer['devices']!r}", expected="1: this version trains on one device", mend="set trainer.devices=1")
    if trainer["precision"] not in PRECISIONS:
        raise UserError(f"trainer.precision is {trainer['precision']!r}", expected=f"one of {', '.join(PRECISIONS)}", mend="choose one of these")
    match trainer["accelerator"]:
        case "cpu":
            return torch.device("cpu")
        case "auto":
            return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        case "gpu" | "cuda":
            if not torch.cuda.is_available():
                raise UserError("trainer.accelerator is gpu, and torch sees none", mend="set trainer.accelerator=cpu, or install a torch with CUDA")
            return torch.device("cuda", 0)
        case other:
            raise UserError(f"trainer.accelerator is {other!r}", expected="auto, cpu or gpu", mend="choose one of these")


def device_name(trainer: Mapping[str, Any]) -> str:
    """The device in words, for the first lines of a run."""
    device = device_of(trainer)
    if device.type == "cuda":
        return f"gpu {torch.cuda.get_device_name(device)}"
    return f"cpu with {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
