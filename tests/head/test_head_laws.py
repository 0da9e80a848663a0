from __future__ import annotations

from equipoise.head import Head
from equipoise.testing.discovery import classes, targets
from equipoise.testing.head_laws import HeadLaws


class TestHeads(HeadLaws):
    """Every head with an option."""


def test_every_head_class_has_an_option() -> None:
    assert classes("head", Head) == targets("head")
