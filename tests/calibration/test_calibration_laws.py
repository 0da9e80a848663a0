from __future__ import annotations

from equipoise.calibration import Calibration
from equipoise.testing.calibration_laws import CalibrationLaws
from equipoise.testing.discovery import classes, targets


class TestCalibrations(CalibrationLaws):
    """Every calibration with an option, for every kind of question."""


def test_every_calibration_class_has_an_option() -> None:
    assert classes("calibration", Calibration) == targets("calibration")
