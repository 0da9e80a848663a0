"""The linear mixed model ``y = X b + W a + g + e`` with one relationship matrix, fitted by restricted maximum likelihood in its eigenbasis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize, minimize_scalar

_MOST = 0.999  # heritability at most: beyond, a singular relationship makes the residual variance vanish


@dataclass(frozen=True)
class Spectrum:
    """Eigenbasis of the relationship of the rows fitted on: genotyped rows first, then rows whose genome is unknown.

    A row of unknown genome is taken as unrelated to all, with the mean self-relationship: it informs the fixed effects, and the genome only
    through the total variance.

    Args:
        value: f64 (n,), eigenvalues, >= 0; the last n - g are the mean self-relationship.
        vector: f64 (g, g), eigenvectors in columns.
    """

    value: np.ndarray
    vector: np.ndarray

    @classmethod
    def of(cls, k: np.ndarray, n_unknown: int) -> Spectrum:
        """Of the relationship (g, g) of the genotyped rows."""
        value, vector = np.linalg.eigh(k)
        return cls(np.concatenate([np.maximum(value, 0.0), np.full(n_unknown, mean_self(k))]), vector)

    def rotate(self, a: np.ndarray) -> np.ndarray:
        """``U' a`` of (n, ...), where the relationship is diagonal."""
        g = len(self.vector)
        return np.concatenate([self.vector.T @ a[:g], a[g:]])


def mean_self(k: np.ndarray) -> float:
    """Mean diagonal of a relationship; 1 where it is empty."""
    return float(np.trace(k) / len(k)) if len(k) else 1.0


@dataclass(frozen=True)
class MixedModel:
    """A fitted model, ``V = variance (tau W W' + share K + (1 - share) I)``.

    Args:
        share: variance of g over variance of g + e, in [0, 1): the heritability given the covariates, on the scale of K.
        tau: variance of each random coefficient over that of g + e; 0 without W.
        variance: of g + e, squared units of y.
        coefficient: f64 (p + q,), fixed then random.
        covariance: f64 (p + q, p + q), of their errors, over ``variance``.
        weight: f64 (g,): ``share K_new weight`` is the predicted g.
        log_likelihood: restricted, at the optimum.
        spectrum: of the rows fitted on.
        terms: f64 (n, p + q), ``U' [X W]``.
    """

    share: float
    tau: float
    variance: float
    coefficient: np.ndarray
    covariance: np.ndarray
    weight: np.ndarray
    log_likelihood: float
    spectrum: Spectrum
    terms: np.ndarray

    def predict(self, terms: np.ndarray, k: np.ndarray, k_self: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Best linear unbiased prediction of new rows.

        Args:
            terms: f64 (m, p + q), ``[X W]``.
            k: f64 (m, g), relationship with the genotyped rows fitted on; zeros where the genome is unknown.
            k_self: f64 (m,), self-relationship.

        Returns:
            Mean (m,), and total predictive variance (m,): prediction error variance plus residual variance.

        Source: Henderson 1975.
        """
        g = len(self.spectrum.vector)
        rotated = k @ self.spectrum.vector
        scaled = rotated / (self.share * self.spectrum.value[:g] + 1 - self.share)
        left = terms - self.share * scaled @ self.terms[:g]
        genetic = self.share * k_self - self.share**2 * (rotated * scaled).sum(axis=1)
        error = np.maximum(genetic, 0.0) + ((left @ self.covariance) * left).sum(axis=1)
        return terms @ self.coefficient + self.share * k @ self.weight, self.variance * (error + 1 - self.share)


def fit_reml(y: np.ndarray, fixed: np.ndarray, random: np.ndarray, spectrum: Spectrum) -> MixedModel:
    """Variance ratios by restricted maximum likelihood, coefficients by generalised least squares and BLUP.

    With D = share S + (1 - share) I in the eigenbasis, T = U'[X W] and C = T' D^-1 T + diag(0, I / tau):
    ``-2 l = (n - p) (log(2 pi variance) + 1) + log|D| + q log tau + log|C| - log|X'X|``, ``variance = (y' D^-1 y - c' T' D^-1 y) / (n - p)``.

    Args:
        y: f64 (n,), in the spectrum's order of rows.
        fixed: f64 (n, p), of full column rank, p < n.
        random: f64 (n, q), q >= 0.
        spectrum: of the rows' relationship.

    Source: Patterson and Thompson 1971; Kang et al. 2008 (EMMA); Lippert et al. 2011 (FaST-LMM); Henderson's equations for W.
    """
    problem = _Problem(spectrum, spectrum.rotate(y), spectrum.rotate(np.concatenate([fixed, random], axis=1)), fixed.shape[1])
    share, tau = _best(problem) if random.shape[1] else (_best_share(problem), 0.0)
    minus_twice, variance, coefficient, factor = problem.solve(share, tau)
    g = len(spectrum.vector)
    residual = (problem.y - problem.t @ coefficient)[:g] / (share * spectrum.value[:g] + 1 - share)
    _, log_xx = np.linalg.slogdet(fixed.T @ fixed)
    covariance = cho_solve(factor, np.eye(len(coefficient)))
    return MixedModel(share, tau, variance, coefficient, covariance, spectrum.vector @ residual, -0.5 * (minus_twice - log_xx), spectrum, problem.t)


@dataclass(frozen=True)
class _Problem:
    spectrum: Spectrum
    y: np.ndarray
    t: np.ndarray
    n_fixed: int

    def solve(self, share: float, tau: float) -> tuple[float, float, np.ndarray, tuple[np.ndarray, bool]]:
        """-2 log restricted likelihood + log|X'X|, variance, coefficients, and the Cholesky factor of C."""
        n, n_random = len(self.y), self.t.shape[1] - self.n_fixed
        d = share * self.spectrum.value + 1 - share
        scaled = self.t / d[:, None]
        c = scaled.T @ self.t
        if n_random:
            at = np.arange(self.n_fixed, self.t.shape[1])
            c[at, at] += 1 / tau
        factor = cho_factor(c, lower=True)
        right = scaled.T @ self.y
        coefficient = cho_solve(factor, right)
        free = n - self.n_fixed
        variance = max(float(self.y @ (self.y / d) - coefficient @ right), 1e-300) / free
        log_c = 2 * float(np.log(np.diag(factor[0])).sum())
        minus_twice = free * (np.log(2 * np.pi * variance) + 1) + float(np.log(d).sum()) + log_c
        return minus_twice + (n_random * float(np.log(tau)) if n_random else 0.0), variance, coefficient, factor

    def at(self, share: float, tau: float) -> float:
        return self.solve(share, tau)[0]


def _best_share(problem: _Problem) -> float:
    """The profile likelihood may have two peaks: a grid finds the higher, a bounded search its top; an optimum at 0 is exactly 0."""
    grid = np.concatenate([np.linspace(0, 0.95, 20), [0.98, _MOST]])
    score = [problem.at(float(h), 0.0) for h in grid]
    i = int(np.argmin(score))
    found = minimize_scalar(
        lambda h: problem.at(float(h), 0.0), bounds=(grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]), method="bounded", options={"xatol": 1e-6}
    )
    return float(found.x) if found.fun < score[i] else float(grid[i])


def _best(problem: _Problem) -> tuple[float, float]:
    start = min((problem.at(h, tau), h, tau) for h in (0.01, 0.2, 0.5, 0.8) for tau in (0.01, 0.1, 1.0, 10.0))

    def unpack(z: np.ndarray) -> tuple[float, float]:
        return float(_MOST / (1 + np.exp(-z[0]))), float(np.exp(np.clip(z[1], -16, 8)))

    first = np.array([np.log(start[1] / (_MOST - start[1])), np.log(start[2])])
    found = minimize(lambda z: problem.at(*unpack(z)), first, method="Nelder-Mead", options={"xatol": 0.01, "fatol": 1e-4, "maxfev": 120})
    return unpack(found.x)
