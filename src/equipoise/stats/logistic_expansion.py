"""Logistic fits of many weightings that are near one another: a Taylor expansion around one of them, with a bound of its error."""

from __future__ import annotations

from math import factorial

import numpy as np
from scipy.special import comb

_ORDER = 7  # odd, so that the next term's power is even and its bound a sum of moments
_ROWS = 8192  # at a time, so that what they add stays in a processor's cache
_STEPS = 8  # Newton's steps on sums that have been made already
_STILL = 1e-12
_FARTHEST = 1.0  # the expansion of the logistic function converges within pi


# With q = p (1 - p), the k-th derivative of the logistic function p is q times a polynomial of q, and for even k times 1 - 2p.
_OF_Q = ((1,), (1,), (1, -6), (1, -12), (1, -30, 120), (1, -60, 360), (1, -126, 1680, -5040))
_NEXT = 2.4 / factorial(_ORDER + 1)  # no value of the eighth derivative is larger than 2.4


def expanded_line(x: np.ndarray, y: np.ndarray, weight: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood intercepts and slopes of logit P = a + b x, as differences from a centre, f64 (b, 2), and a bound of their error (b,).

    The score equations sum_i w_i x_i^j (y_i - p(a + b x_i)) = 0, j = 0, 1, are expanded around the centre: with d = da + db x, p is p0 + sum_k p_k d^k / k!,
    a polynomial of da and db whose coefficients are sums over rows. The rest is at most max|p_8| d^8 / 8! a row, and moves the solution by at most the
    inverse information times as much, to first order.

    Args:
        x: f64 (n,); y: f64 (n,), in [0, 1].
        weight: f64 (b, n), >= 0.
        centre: f64 (2,), finite.

    Returns:
        The error is infinite where nothing was found within the expansion's reach.

    Source: ours; Taylor's theorem.
    """
    sums = sum(weight[:, part] @ _columns(x[part], y[part], centre).T for part in _parts(x.size))
    observed, sums, moments = np.split(sums, [2, sums.shape[1] - _ORDER - 4], axis=1)
    of_order = np.split(sums, np.cumsum([k + 2 for k in range(1, _ORDER)]), axis=1)
    move = np.zeros((weight.shape[0], 2))
    regular = np.ones(weight.shape[0], dtype=bool)
    for _ in range(_STEPS):
        score = observed - np.column_stack([_sum(of_order, move, j, 0) for j in (0, 1)])
        h0, h1, h2 = (_sum(of_order, move, j, 1) for j in (0, 1, 2))
        determinant = h0 * h2 - h1 * h1
        regular &= determinant > 1e-10 * np.maximum(np.abs(h0 * h2), 1e-300)
        inverse = np.stack([h2, -h1, -h1, h0], axis=-1).reshape(-1, 2, 2) / np.where(regular, determinant, 1.0)[:, None, None]
        step = np.einsum("bij,bj->bi", inverse, score)
        move = np.clip(move + step, -_FARTHEST, _FARTHEST)
        if np.abs(step).max() < _STILL:
            break
    # |x| d^8 is at most (1 + x^2) d^8 / 2.
    even = [_power(moments, move, _ORDER + 1, j) for j in (0, 2)]
    rest = _NEXT * np.column_stack([even[0], (even[0] + even[1]) / 2])
    error = (np.einsum("bij,bj->bi", np.abs(inverse), rest) + np.abs(step)).max(1)
    return move, np.where(regular & (np.abs(move) < _FARTHEST).all(1), error, np.inf)


def expanded_shift(offset: np.ndarray, y: np.ndarray, weight: np.ndarray, centre: float) -> tuple[np.ndarray, np.ndarray]:
    """As `expanded_line` for the intercept alone, logit P = a + offset: differences from the centre and a bound of their error, f64 (b,) each."""
    p = fast_expit(centre + offset)
    observed, *of_order, total = (weight @ np.stack([y - p, *_of(p), np.ones_like(p)]).T).T
    move = np.zeros(weight.shape[0])
    for _ in range(_STEPS):
        score = observed - sum(s * move**k / factorial(k) for k, s in enumerate(of_order, 1))
        information = sum(s * move ** (k - 1) / factorial(k - 1) for k, s in enumerate(of_order, 1))
        regular = information > 0
        step = score / np.where(regular, information, 1.0)
        move = np.clip(move + step, -_FARTHEST, _FARTHEST)
        if np.abs(step).max() < _STILL:
            break
    error = _NEXT * total * move ** (_ORDER + 1) / np.where(regular, information, 1.0) + np.abs(step)
    return move, np.where(regular & (np.abs(move) < _FARTHEST), error, np.inf)


def _parts(n: int) -> list[slice]:
    return [slice(first, first + _ROWS) for first in range(0, n, _ROWS)]


def _columns(x: np.ndarray, y: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """What rows add to the sums of `expanded_line`, f64 (k, n): (y - p) x^0..1, p_k x^0..(k+1) for each order k, and x^0..(order + 3)."""
    p = fast_expit(centre[0] + centre[1] * x)
    powers = np.ones((_ORDER + 4, x.size))
    for m in range(1, _ORDER + 4):
        np.multiply(powers[m - 1], x, out=powers[m])
    return np.concatenate([(y - p) * powers[:2], *(pk * powers[: k + 2] for k, pk in enumerate(_of(p), 1)), powers])


def _of(p: np.ndarray) -> list[np.ndarray]:
    """Derivatives of the first to the last order, f64 (n,) each."""
    q, odd = p * (1 - p), 1 - 2 * p
    made = []
    for k, coefficients in enumerate(_OF_Q, 1):
        value = np.full_like(q, coefficients[-1])
        for c in coefficients[-2::-1]:
            value *= q
            value += c
        value *= q
        made.append(value if k % 2 else value * odd)
    return made


def _sum(of_order: list[np.ndarray], move: np.ndarray, power: int, derived: int) -> np.ndarray:
    """sum_i w_i x_i^power sum_k p_k d^(k - derived) / (k - derived)!, f64 (b,)."""
    return np.asarray(sum(_power(s, move, k - derived, power) / factorial(k - derived) for k, s in enumerate(of_order, 1)))


def _power(moments: np.ndarray, move: np.ndarray, k: int, power: int) -> np.ndarray:
    """sum_i m_i x_i^power (da + db x_i)^k from the sums over x^0, x^1, ...: the binomial theorem, f64 (b,)."""
    return np.asarray(sum(comb(k, i, exact=True) * move[:, 0] ** (k - i) * move[:, 1] ** i * moments[:, power + i] for i in range(k + 1)))


def fast_expit(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)): numpy's exponential is several times faster than scipy's expit; beyond 500 nothing changes."""
    made = np.clip(x, -500.0, 500.0)
    np.negative(made, out=made)
    np.exp(made, out=made)
    made += 1
    return np.divide(1.0, made, out=made)
