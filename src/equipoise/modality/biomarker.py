"""The view of biomarker columns."""

from __future__ import annotations

from typing import final

from equipoise.modality.columns import Columns


@final
class Biomarker(Columns):
    """Measured molecules: numbers, mostly with a unit and a skew (see `Columns` for the keywords)."""

    holds = "measured molecules"
