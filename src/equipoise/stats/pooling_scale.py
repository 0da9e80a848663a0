"""The scale on which a quantity is averaged over sites: one without bounds, on which estimates are closer to normal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit


@dataclass(frozen=True)
class Scale:
    """A transform, its derivative and its way back; all take and give f64 (k,).

    Args:
        name: in words.
        forward: onto the scale.
        slope: derivative of ``forward``.
        back: from the scale.
    """

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray]

    def of(self, value: np.ndarray, se: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and their standard errors on the scale by the delta method, ``se' = |g'(value)| se``; not finite at a bound of the quantity.

        Args:
            value: f64 (k,).
            se: f64 (k,).

        Source: Snell, Ensor, Debray, Moons and Riley (2018), section 2.

        >>> value, se = LOGIT.of(np.array([0.8]), np.array([0.02]))
        >>> round(float(value[0]), 3), round(float(se[0]), 3)
        (1.386, 0.125)
        """
        x, s = np.asarray(value, dtype=np.float64), np.asarray(se, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.forward(x), np.abs(self.slope(x)) * s


IDENTITY = Scale("as it is", lambda x: x, np.ones_like, lambda x: x)
LOGIT = Scale("log odds", lambda x: np.asarray(logit(x)), lambda x: 1 / (x * (1 - x)), lambda x: np.asarray(expit(x)))
LOG = Scale("logarithm", np.log, lambda x: 1 / x, np.exp)
FISHER_Z = Scale("Fisher's z", np.arctanh, lambda x: 1 / (1 - x**2), np.tanh)

_AREAS = ("auroc", "td_auc", "td_auc_event_free", "antolini_c", "harrell_c", "uno_c")
_SCALES = dict.fromkeys(_AREAS, LOGIT) | {"observed_expected": LOG, "pearson_r": FISHER_Z}


def scale_of(endpoint: str) -> Scale:
    """The scale of an endpoint's value: log odds for areas and C, the logarithm of observed/expected, Fisher's z of a correlation, else as it is.

    A paired difference of any of them is averaged as it is.

    Args:
        endpoint: its name, without a horizon or threshold.

    Source: Snell et al. (2018); Debray et al. (2017); Fisher (1921).

    >>> scale_of("td_auc_event_free").name, scale_of("calibration_slope").name
    ('log odds', 'as it is')
    """
    return _SCALES.get(endpoint, IDENTITY)
