"""The view of lifestyle columns."""

from __future__ import annotations

from typing import final

from equipoise.modality.columns import Columns


@final
class Lifestyle(Columns):
    """What people do: questionnaires, wearables; numbers and categories (see `Columns` for the keywords)."""

    holds = "habits and exposures"
