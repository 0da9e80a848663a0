"""Summary statistics of haplotypes, the same for our copying model and for a coalescent simulation."""

from __future__ import annotations

import numpy as np

MIN_MAF = 0.05
SPECTRUM_EDGES = np.linspace(0.05, 0.5, 10)
DISTANCE_EDGES_CM = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])


def common(haplotype: np.ndarray) -> np.ndarray:
    """Sites whose minor allele frequency in the mean of the populations reaches MIN_MAF; ``haplotype`` is (populations, haplotypes, sites)."""
    f = haplotype.mean(axis=(0, 1))
    return np.flatnonzero(np.minimum(f, 1 - f) >= MIN_MAF)


def spectrum(haplotype: np.ndarray) -> np.ndarray:
    """Shares of sites by minor allele frequency in the mean of the populations."""
    f = haplotype.mean(axis=(0, 1))
    counts = np.histogram(np.minimum(f, 1 - f), SPECTRUM_EDGES)[0]
    return counts / counts.sum()


def hudson_fst(a: np.ndarray, b: np.ndarray) -> float:
    """Hudson's F_ST as a ratio of averages (Bhatia et al. 2013, equation 10)."""
    p, q, n, m = a.mean(axis=0), b.mean(axis=0), a.shape[0], b.shape[0]
    between = (p - q) ** 2 - p * (1 - p) / (n - 1) - q * (1 - q) / (m - 1)
    return float(between.sum() / (p * (1 - q) + q * (1 - p)).sum())


def linkage(haplotype: np.ndarray, position_cm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of r^2 and number of pairs by distance, in one population and on one chromosome, over sites of MAF >= MIN_MAF in it."""
    f = haplotype.mean(axis=0)
    kept = np.minimum(f, 1 - f) >= MIN_MAF
    r = np.corrcoef(haplotype[:, kept].T.astype(float)) ** 2
    at = position_cm[kept]
    first, second = np.triu_indices(at.size, 1)
    where = np.digitize(np.abs(at[second] - at[first]), DISTANCE_EDGES_CM) - 1
    inside = where < DISTANCE_EDGES_CM.size - 1
    total = np.bincount(where[inside], weights=r[first, second][inside], minlength=DISTANCE_EDGES_CM.size - 1)
    return total, np.bincount(where[inside], minlength=DISTANCE_EDGES_CM.size - 1)


def statistics(chromosomes: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, list[float]]:
    """Spectrum, F_ST of each pair and mean r^2 by distance in each population.

    Args:
        chromosomes: (haplotypes (3, haplotypes, sites), positions in cM) of common sites.
    """
    joined = np.concatenate([h for h, _ in chromosomes], axis=2)
    out = {"spectrum": spectrum(joined).tolist(), "fst": [hudson_fst(joined[i], joined[j]) for i, j in ((0, 1), (0, 2), (1, 2))]}
    for k in range(joined.shape[0]):
        sums = [linkage(h[k], at) for h, at in chromosomes]
        out[f"r2_population_{k + 1}"] = (sum(s for s, _ in sums) / np.maximum(sum(c for _, c in sums), 1)).tolist()
    return out
