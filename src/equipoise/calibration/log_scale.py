"""Probabilities on the scales where recalibration is linear; they are read as at least 1e-9 away from 0, and from 1."""

from __future__ import annotations

import numpy as np
from scipy.special import logit

_TINY = 1e-9


def logits(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)); NaN where p is."""
    return logit(np.clip(p, _TINY, 1 - _TINY))


def logs(p: np.ndarray) -> np.ndarray:
    """log(p); NaN where p is."""
    return np.log(np.maximum(p, _TINY))
