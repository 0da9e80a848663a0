"""Freezes scikit-survival's cumulative incidences and censoring curve on a small cohort, for tests/task and tests/calibration.

Run from the checkout's top: python tests/reference/make_survival_curves.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import sksurv
from sksurv.nonparametric import CensoringDistributionEstimator, cumulative_incidence_competing_risks
from sksurv.util import Surv

rng = np.random.default_rng(20)
n = 240
time = rng.integers(1, 25, n)
event = rng.choice(3, n, p=[0.45, 0.35, 0.2])
times, incidence = cumulative_incidence_competing_risks(event, time.astype(float))
horizons = [3.0, 8.0, 15.0]
curve = {"horizons": horizons, "cause_1": [float(incidence[1][np.searchsorted(times, h, side="right") - 1]) for h in horizons]}
estimator = CensoringDistributionEstimator().fit(Surv.from_arrays(event > 0, time.astype(float)))
# Its ipcw is 1 / G(t) with G(t) = P(C >= t) once events are taken to precede censorings of the same time: asked just before each time.
kept = [float(g) for g in estimator.predict_proba(time - 0.5)]
frozen = {"versions": {"scikit-survival": sksurv.__version__}, "time_days": time.tolist(), "event": event.tolist(), **curve, "kept": kept}
(Path(__file__).parent.parent / "task" / "survival_curves.json").write_text(json.dumps(frozen) + "\n")
