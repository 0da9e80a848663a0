"""Numbers needed and costs against counts of the decision table."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score

from equipoise.stats.alerts import UNIT_COSTS, alerts_per_100, cost_per_person, number_needed_to_alert, number_needed_to_treat


def test_the_decision_table_gives_alerts_numbers_needed_and_costs() -> None:
    rng = np.random.default_rng(0)
    alert, y = rng.integers(0, 2, 300), (rng.random(300) < 0.2).astype(int)
    ppv = precision_score(y, alert)
    assert number_needed_to_alert(alert, y) == pytest.approx(1 / ppv, rel=1e-12)
    assert number_needed_to_treat(alert, y, 0.25) == pytest.approx(1 / (0.25 * ppv), rel=1e-12)
    assert alerts_per_100(alert) == pytest.approx(100 * alert.mean(), rel=1e-12)
    tn, fp, fn, tp = confusion_matrix(y, alert).ravel()
    costs = dict(zip(UNIT_COSTS, (30.0, 10.0, 100.0, 1.0), strict=True))
    assert cost_per_person(alert, y, costs) == pytest.approx((30 * tp + 10 * fp + 100 * fn + tn) / 300, rel=1e-12)


def test_weights_are_repeated_rows_and_nobody_caught_is_not_estimated() -> None:
    alert, y = np.array([1, 1, 0]), np.array([1, 0, 1])
    w = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    assert number_needed_to_alert(alert, y, w)[0] == pytest.approx(1.5)
    assert np.isnan(number_needed_to_alert(alert, y, w)[1])
