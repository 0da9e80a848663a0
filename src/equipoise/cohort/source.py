"""Where a cohort comes from: files, or the synthetic generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from equipoise.cohort.draft import Draft


class Source(ABC):
    """Delivers a validated, joined draft."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What the draft depends on, JSON-able: the settings without paths, and the SHA-256 of every input. Equal fingerprints give equal cohorts."""

    @abstractmethod
    def draft(self) -> Draft:
        """Reads, validates and joins.

        Raises:
            UserError: an input is missing or wrong, naming file, row or field and the mend.
        """

    def write_truth(self, folder: Path) -> None:  # noqa: B027 - optional on purpose: files know no truth
        """Writes what only a generator knows to a folder that no cohort, modality or learner code reads."""
