"""Every conformal option: it keeps to its kinds, leaves its input alone, survives saving, and a row's answer does not depend on the others."""

from __future__ import annotations

from equipoise.testing.conformal_laws import ConformalLaws


class TestConformal(ConformalLaws):
    pass
