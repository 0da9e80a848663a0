"""The view of clinical columns."""

from __future__ import annotations

from typing import final

from equipoise.modality.columns import Columns


@final
class Clinical(Columns):
    """What a clinician records once: age, sex, body measures, scores; numbers and categories (see `Columns` for the keywords)."""

    holds = "clinical findings"
