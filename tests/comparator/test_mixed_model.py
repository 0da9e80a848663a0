"""REML in the eigenbasis against the textbook's dense formulas, and against a truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from equipoise.comparator.mixed_model import MixedModel, Spectrum, fit_reml, mean_self


def make(seed: int, n: int = 60, n_unknown: int = 15, p: int = 3, q: int = 0, share: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, fixed columns, random columns, dense relationship of all n rows (the last unknown ones unrelated)."""
    rng = np.random.default_rng(seed)
    g = n - n_unknown
    z = rng.standard_normal((g, 40))
    z[g // 2 :] += 0.7 * z[: g - g // 2]  # relatives
    k = np.eye(n)
    k[:g, :g] = z @ z.T / 40
    k[g:, g:] *= mean_self(k[:g, :g])
    x = np.column_stack([np.ones(n), rng.standard_normal((n, p - 1))])
    w = rng.standard_normal((n, q)) / np.sqrt(max(q, 1))
    effect = np.linalg.cholesky(k + 1e-9 * np.eye(n)) @ rng.standard_normal(n)
    y = x @ rng.standard_normal(p) + w @ rng.standard_normal(q) * 1.5 + 2 * (np.sqrt(share) * effect + np.sqrt(1 - share) * rng.standard_normal(n))
    return y, x, w, k


def restricted(y: np.ndarray, x: np.ndarray, v: np.ndarray) -> float:
    """Restricted log likelihood of y ~ N(X b, V), the constant log|X'X| included: the likelihood of orthonormal error contrasts."""
    n, p = x.shape
    contrast = np.linalg.svd(x, full_matrices=True)[0][:, p:]
    a, s = contrast.T @ y, contrast.T @ v @ contrast
    return float(-0.5 * ((n - p) * np.log(2 * np.pi) + np.linalg.slogdet(s)[1] + a @ np.linalg.solve(s, a)))


def dense(model: MixedModel, w: np.ndarray, k: np.ndarray) -> np.ndarray:
    return model.variance * (model.tau * w @ w.T + model.share * k + (1 - model.share) * np.eye(len(k)))


def fitted(y: np.ndarray, x: np.ndarray, w: np.ndarray, k: np.ndarray, n_unknown: int = 15) -> MixedModel:
    g = len(y) - n_unknown
    return fit_reml(y, x, w, Spectrum.of(k[:g, :g], n_unknown))


@pytest.mark.parametrize("q", [0, 8])
@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_is_that_of_the_error_contrasts(seed: int, q: int) -> None:
    y, x, w, k = make(seed, q=q)
    model = fitted(y, x, w, k)
    assert model.log_likelihood == pytest.approx(restricted(y, x, dense(model, w, k)), rel=1e-8)


@pytest.mark.parametrize("q", [0, 8])
@pytest.mark.parametrize("seed", range(3))
def test_no_variances_found_by_brute_force_are_likelier(seed: int, q: int) -> None:
    y, x, w, k = make(seed, q=q)
    model = fitted(y, x, w, k)

    def minus(z: np.ndarray) -> float:
        genetic, residual, random = np.exp(np.clip(z, -12, 6))
        return -restricted(y, x, genetic * k + residual * np.eye(len(y)) + (random * w @ w.T if q else 0.0))

    best = min(minimize(minus, start, method="Nelder-Mead", options={"maxfev": 3000}).fun for start in ([0.0, 0, 0], [1.0, -1, 0], [-3.0, 1, 0]))
    assert model.log_likelihood >= -best - 1e-3


@pytest.mark.parametrize("q", [0, 8])
def test_prediction_and_its_variance_are_those_of_the_joint_gaussian(q: int) -> None:
    y, x, w, k = make(5, n=80, q=q)
    new = np.array([0, 3, 7])  # related to the rest, and left out of the fit
    old = np.setdiff1d(np.arange(80), new)
    g = 65 - len(new)
    model = fit_reml(y[old], x[old], w[old], Spectrum.of(k[np.ix_(old[:g], old[:g])], 15))
    mean, total = model.predict(np.concatenate([x[new], w[new]], 1), k[np.ix_(new, old[:g])], np.diag(k)[new])

    # The unknown rows of the fit have the fit's own mean self-relationship.
    prior = k.copy()
    unknown = old[g:]
    prior[unknown, unknown] = mean_self(k[np.ix_(old[:g], old[:g])])
    v = dense(model, w, prior)
    v_old, cross = v[np.ix_(old, old)], v[np.ix_(new, old)]
    solved = np.linalg.solve(v_old, np.column_stack([y[old], x[old], cross.T]))
    vy, vx, vc = solved[:, 0], solved[:, 1:4], solved[:, 4:]
    information = np.linalg.inv(x[old].T @ vx)
    b = information @ x[old].T @ vy
    left = x[new] - cross @ vx
    np.testing.assert_allclose(mean, x[new] @ b + cross @ (vy - vx @ b), rtol=1e-6)
    expected = np.diag(v)[new] - np.einsum("ij,ji->i", cross, vc) + np.einsum("ij,jk,ik->i", left, information, left)
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_a_row_of_unknown_genome_gets_its_covariates_prediction_and_the_genomes_variance() -> None:
    y, x, w, k = make(6)
    model = fitted(y, x, w, k)
    mean, total = model.predict(x[:2], np.zeros((2, 45)), np.full(2, mean_self(k[:45, :45])))
    np.testing.assert_allclose(mean, x[:2] @ model.coefficient)
    assert (total > model.variance * (1 - model.share)).all()


def test_without_heritability_the_share_is_near_zero_and_with_much_it_is_near_the_truth() -> None:
    none = [fitted(*make(s, n=150, share=0.0)).share for s in range(8)]
    much = [fitted(*make(s, n=150, share=0.8)).share for s in range(8)]
    assert np.median(none) < 0.15
    assert np.median(much) == pytest.approx(0.8, abs=0.15)


def test_predictive_intervals_cover_new_rows_at_their_level() -> None:
    inside, count = 0, 0
    for seed in range(20):
        y, x, w, k = make(100 + seed, n=120, n_unknown=0)
        old, new = np.arange(100), np.arange(100, 120)
        model = fit_reml(y[old], x[old], w[old], Spectrum.of(k[:100, :100], 0))
        mean, total = model.predict(x[new], k[100:, :100], np.diag(k)[100:])
        inside += int((np.abs(y[new] - mean) <= norm.ppf(0.95) * np.sqrt(total)).sum())
        count += len(new)
    assert inside / count == pytest.approx(0.9, abs=0.04)
