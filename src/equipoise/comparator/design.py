"""A feature table as a design matrix for linear models: winsorised, imputed, with missing indicators, standardised."""

from __future__ import annotations

import numpy as np

_TAILS = (0.005, 0.995)
_RARE = 0.005  # an indicator that fewer rows than this share differ in is left out
_FAR = 6.0  # standard deviations beyond which a new row is pulled back


class Design:
    """Fitted on train rows: each column is winsorised at its 0.5 and 99.5 % quantiles, on the log scale where it is positive and strongly skewed,
    imputed by its median, and standardised; each distinct pattern of missing values adds one indicator. Columns that do not vary are left out.

    Source: ours; indicators beside imputation as in van Smeden, Groenwold and Moons 2020 for prediction with missing values in use.
    """

    def fit(self, x: np.ndarray) -> Design:
        """Learns from f64 (n, F), NaN = missing."""
        missing = np.isnan(x)
        self._low, self._high = _limits(x)
        self._log = _skewed(np.clip(x, self._low, self._high))
        self._unit = _units(x)
        value = self._scaled(x)
        self._median = np.array([np.median(c[~m]) if not m.all() else 0.0 for c, m in zip(value.T, missing.T, strict=True)])
        self._patterns = _patterns(missing)
        full = self._fill(value, missing)
        mean, sd = full.mean(axis=0), full.std(axis=0)
        self._keep = sd > 1e-9
        self._mean, self._sd = mean[self._keep], sd[self._keep]
        return self

    @property
    def n_columns(self) -> int:
        return int(self._keep.sum())

    def apply(self, x: np.ndarray) -> np.ndarray:
        """f64 (m, F') without NaN, whatever is missing."""
        full = self._fill(self._scaled(x), np.isnan(x))
        return np.clip((full[:, self._keep] - self._mean) / self._sd, -_FAR, _FAR) if self._keep.any() else np.zeros((len(x), 0))

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        value = np.clip(x, self._low, self._high)
        value[:, self._log] = np.log1p(value[:, self._log] / self._unit[self._log])
        return value

    def _fill(self, value: np.ndarray, missing: np.ndarray) -> np.ndarray:
        return np.concatenate([np.where(missing, self._median, value), missing[:, self._patterns].astype(np.float64)], axis=1)


def _limits(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for j, column in enumerate(x.T):
        known = column[np.isfinite(column)]
        if known.size:
            low[j], high[j] = np.quantile(known, _TAILS)
            if low[j] == high[j]:  # a rare indicator: its quantiles would make it constant
                low[j], high[j] = known.min(), known.max()
    return low, high


def _units(x: np.ndarray) -> np.ndarray:
    """Each column's median positive value, so that the log scale does not depend on the unit."""
    positive = [column[column > 0] for column in x.T]
    return np.array([np.median(known) if known.size else 1.0 for known in positive])


def _skewed(x: np.ndarray) -> np.ndarray:
    """Which columns are non-negative, take more than two values, and have a skewness above 2."""
    skewed = np.zeros(x.shape[1], dtype=bool)
    for j, column in enumerate(x.T):
        known = column[np.isfinite(column)]
        if known.size > 2 and known.min() >= 0 and (sd := known.std()) > 0 and ((known != known.min()) & (known != known.max())).any():
            skewed[j] = ((known - known.mean()) ** 3).mean() / sd**3 > 2
    return skewed


def _patterns(missing: np.ndarray) -> np.ndarray:
    """The first column of each distinct pattern of missing values that is not too rare, nor the opposite of an earlier one."""
    share = missing.mean(axis=0) if len(missing) else np.zeros(missing.shape[1])
    seen: set[bytes] = set()
    first = []
    for j in np.flatnonzero((share > _RARE) & (share < 1 - _RARE)):
        key = np.packbits(missing[:, j]).tobytes()
        if key not in seen:
            seen |= {key, np.packbits(~missing[:, j]).tobytes()}
            first.append(j)
    return np.array(first, dtype=np.int64)
