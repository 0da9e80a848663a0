"""An emulated target trial: refusals, what is said, and the TARGET checklist."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from equipoise.contract.errors import UserError
from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.pack.target import SECTIONS, target
from equipoise.trial.emulation import Observed, TargetTrial, emulate

TRIAL: dict[str, Any] = {
    "population": "adults",
    "strategies": ("no drug", "drug"),
    "variable": "death by a year",
    "intercurrent_events": {"switching": "treatment policy"},
    "summary_measure": "risk difference",
    "eligibility": ("no earlier use",),
    "assignment": "as if at random given the confounders",
    "time_zero": "first visit",
    "follow_up": "a year",
    "causal_contrast": "intention to treat",
    "assumptions": ("no confounding",),
    "estimand": "ATE",
    "confounders": ("age", "sex"),
}


def people(n: int = 600, seed: int = 0) -> Observed:
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=n), rng.integers(0, 2, n)])
    a = (rng.random(n) < expit(2.0 * x[:, 0])).astype(int)
    y = (rng.random(n) < expit(-1 + x[:, 0] + 0.7 * a)).astype(float)
    day = np.arange(n, dtype=float)
    hidden = x[:, 0] + rng.normal(size=n)
    return Observed(treatment=a, outcome=y, confounders=x, eligible_day=day, assigned_day=day, followed_from_day=day, negative_controls={"fractures": hidden})


def test_an_emulation_says_whom_it_is_about_and_can_be_written() -> None:
    made = emulate(TargetTrial(**TRIAL), people())
    json.dumps(made, allow_nan=False)
    assert set(made["estimates"]) == {"crude", "ipw", "g_formula", "aipw"}
    assert made["estimates"]["crude"]["difference"]["value"] > made["estimates"]["aipw"]["difference"]["value"]
    assert made["overlap"]["outside"] > 0
    assert "about nobody else" in made["overlap"]["sentence"]
    assert made["trimmed"]["aipw"]["difference"]["se"] < made["estimates"]["ipw"]["difference"]["se"]
    age = made["balance"][0]
    assert abs(age["after"]) < abs(age["before"]) / 2
    curve = made["bias_curve"]
    assert curve["confounder_outcome"][-1] < curve["confounder_outcome"][-3]
    assert "one point" in curve["note"]


def test_a_negative_control_that_differs_is_said_to_show_confounding() -> None:
    own = people()
    confounded = replace(own, confounders=np.column_stack([np.zeros(600) + own.confounders[:, 1], own.confounders[:, 1]]))
    assert any("confounding is left" in s for s in emulate(TargetTrial(**TRIAL), confounded)["sentences"])
    assert not any("confounding is left" in s for s in emulate(TargetTrial(**TRIAL), own)["sentences"])


def test_time_zero_must_be_one_moment() -> None:
    own = people()
    for name in ("assigned_day", "followed_from_day"):
        late = getattr(own, name).copy()
        late[:3] += 30
        late[3] -= 1
        with pytest.raises(UserError, match=r"4 of 600 people.*3 later, 1 earlier.*grace period"):
            emulate(TargetTrial(**TRIAL), replace(own, **{name: late}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"population": ""}, "does not say its population"),
        ({"assumptions": ()}, "does not say its assumptions"),
        ({"strategies": ("drug", "drug")}, "two different strategies"),
        ({"estimand": "LATE"}, "estimand"),
    ],
)
def test_an_incomplete_protocol_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TargetTrial(**(TRIAL | change))


def test_missing_confounders_and_empty_arms_are_refused() -> None:
    own = people()
    holes = own.confounders.copy()
    holes[:5, 1] = np.nan
    with pytest.raises(UserError, match="sex in 5 rows"):
        emulate(TargetTrial(**TRIAL), replace(own, confounders=holes))
    with pytest.raises(UserError, match="2 columns"):
        emulate(TargetTrial(**TRIAL), replace(own, confounders=own.confounders[:, :1]))
    with pytest.raises(UserError, match="'drug'"):
        emulate(TargetTrial(**TRIAL), replace(own, outcome=np.where(own.treatment == 1, np.nan, own.outcome)))


def test_target_has_twenty_one_items_and_points_only_at_what_is_there() -> None:
    numbers = {"".join(c for c in i.number if c.isdigit()) for items in SECTIONS.values() for i in items}
    assert len(numbers) == 21
    assert len(SECTIONS) == 6
    full = target(Finding({"emulation": emulate(TargetTrial(**TRIAL), people())}, {}, Numbering()))
    assert "no earlier use" in full
    assert "published text is what counts" in full
    none = target(Finding({}, {}, Numbering()))
    assert "0 of 35 items" in none
