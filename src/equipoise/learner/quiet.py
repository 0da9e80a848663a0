"""Silences what Lightning and torch say about things that are meant, one by one, each with its reason."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

MEANT = (
    # Batches are fetched as arrays from mapped memory; workers cost more than they bring on small cohorts.
    r".*does not have many workers.*",
    # trainer.accelerator=cpu on a machine with an accelerator is the user's choice.
    r".*GPU available but not used.*",
    # torch's own deprecation inside Lightning's tree mapping.
    r".*isinstance\(treespec, LeafSpec\).*",
    # Forked workers run numpy alone (Python 3.12 warns of any fork beside threads).
    r".*use of fork\(\) may lead to deadlocks.*",
    # On an accelerator `deterministic` is a wish: operations without such a form say so once each.
    r".*does not have a deterministic implementation.*",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Within, Lightning's notes and the warnings in `MEANT` are not shown; all others are."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning.fabric", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in MEANT:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def equal_bits(wanted: bool, device: torch.device) -> Iterator[None]:
    """Within, torch takes algorithms that give equal bits: all of them on the processor, as far as there are on an accelerator."""
    before, only_warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warns)
