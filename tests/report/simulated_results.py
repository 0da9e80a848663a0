"""Results and contexts as a run hands them over, computed from simulated risks: every number is a real estimate of a known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

N, BOOTSTRAPS = 1200, 40
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def log_score(y: np.ndarray, p: np.ndarray) -> float:
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def slope_and_large(y: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """Logistic recalibration by Newton steps: the slope, and the intercept with the slope held at one."""
    x, b = logit(p), np.zeros(2)
    for _ in range(12):
        m = expit(b[0] + b[1] * x)
        w, r = m * (1 - m), y - m
        h = np.array([[w.sum(), (w * x).sum()], [(w * x).sum(), (w * x * x).sum()]])
        b += np.linalg.solve(h, [r.sum(), (r * x).sum()])
    a = 0.0
    for _ in range(12):
        m = expit(a + x)
        a += (y - m).sum() / (m * (1 - m)).sum()
    return float(b[1]), float(a)


def net_benefit(y: np.ndarray, p: np.ndarray, t: float) -> float:
    treated = p >= t
    return float(np.mean(treated & (y == 1)) - np.mean(treated & (y == 0)) * t / (1 - t))


BINARY: dict[str, tuple[Any, str]] = {
    "auroc": (lambda y, p: float(roc_auc_score(y, p)), "higher"),
    "auprc": (lambda y, p: float(average_precision_score(y, p)), "higher"),
    "log_score": (log_score, "lower"),
    "brier": (lambda y, p: float(np.mean((y - p) ** 2)), "lower"),
    "calibration_slope": (lambda y, p: slope_and_large(y, p)[0], "one"),
    "calibration_in_the_large": (lambda y, p: slope_and_large(y, p)[1], "zero"),
    "net_benefit": (lambda y, p: net_benefit(y, p, 0.1), "higher"),
}
CONTINUOUS: dict[str, tuple[Any, str]] = {
    "pearson_r": (lambda y, p: float(np.corrcoef(y, p)[0, 1]), "higher"),
    "r2": (lambda y, p: float(1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2)), "higher"),
    "rmse": (lambda y, p: float(np.sqrt(np.mean((y - p) ** 2))), "lower"),
    "crps": (lambda y, p: float(np.mean(np.abs(y - p)) * 0.72), "lower"),
}


def estimated(metrics: dict[str, tuple[Any, str]], y: np.ndarray, risks: dict[str, np.ndarray], rng: np.random.Generator) -> tuple[dict, dict]:
    """Endpoints by model and paired differences from the first model, with percentile intervals of one bootstrap for all."""
    draws = [rng.integers(0, y.size, y.size) for _ in range(BOOTSTRAPS)]
    endpoints: dict[str, dict] = {m: {} for m in risks}
    differences: dict[str, dict] = {m: {} for m in list(risks)[1:]}
    first = next(iter(risks))
    for name, (f, better) in metrics.items():
        value = {m: f(y, p) for m, p in risks.items()}
        spread = {m: np.array([f(y[d], p[d]) for d in draws]) for m, p in risks.items()}
        for m in risks:
            lo, hi = np.quantile(spread[m], [0.025, 0.975])
            endpoints[m][name] = {"value": value[m], "lo": float(lo), "hi": float(hi), "method": f"percentile bootstrap ({BOOTSTRAPS} draws)", "better": better}
        for m in differences:
            moved = spread[first] - spread[m]
            lo, hi = np.quantile(moved, [0.025, 0.975])
            p = float(min(1.0, 2 * min(np.mean(moved <= 0), np.mean(moved >= 0)) + 1 / BOOTSTRAPS))
            differences[m][name] = {
                "difference": value[first] - value[m],
                "lo": float(lo),
                "hi": float(hi),
                "p": p,
                "better": better,
                "method": "paired bootstrap",
            }
    return endpoints, differences


def smooth(x: np.ndarray, y: np.ndarray, at: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Kernel mean of y at places, with its standard error."""
    w = np.exp(-0.5 * ((at[:, None] - x[None, :]) / width) ** 2)
    w /= w.sum(1, keepdims=True)
    mean = w @ y
    return mean, np.sqrt(np.sum(w**2 * (y[None, :] - mean[:, None]) ** 2, axis=1))


def calibration_curve(y: np.ndarray, p: np.ndarray, share: bool) -> dict[str, Any]:
    at = np.quantile(p, np.linspace(0.01, 0.99, 40))
    mean, se = smooth(p, y, at, float(np.std(p)) / 3)
    groups = np.array_split(np.argsort(p), 10)
    b = {"predicted": [], "observed": [], "lo": [], "hi": [], "n": []}
    for g in groups:
        half = 1.96 * y[g].std() / np.sqrt(g.size)
        b["predicted"].append(float(p[g].mean()))
        b["observed"].append(float(y[g].mean()))
        b["lo"].append(float(max(y[g].mean() - half, 0 if share else -np.inf)))
        b["hi"].append(float(y[g].mean() + half))
        b["n"].append(int(g.size))
    lo, hi = mean - 1.96 * se, mean + 1.96 * se
    return {"predicted": at.tolist(), "observed": mean.tolist(), "lo": lo.tolist(), "hi": hi.tolist(), "method": "kernel smoother", "bins": b}


def binary_curves(y: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    fpr, tpr, _ = roc_curve(y, p)
    t = np.linspace(0.01, 0.5, 50)
    nb = np.array([net_benefit(y, p, x) for x in t])
    edges = np.linspace(0, 1, 41)
    event, rest = np.histogram(p[y == 1], edges)[0], np.histogram(p[y == 0], edges)[0]
    return {
        "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
        "calibration": calibration_curve(y, p, True),
        "decision": {
            "threshold": t.tolist(),
            "net_benefit": nb.tolist(),
            "lo": (nb - 0.012).tolist(),
            "hi": (nb + 0.012).tolist(),
            "treat_all": [float(y.mean() - (1 - y.mean()) * x / (1 - x)) for x in t],
            "treat_none": [0.0] * t.size,
        },
        "risk_distribution": {"edges": edges.tolist(), "event": event.tolist(), "no_event": rest.tolist()},
    }


def binary_results(comparators: tuple[str, ...] = ("linear", "boosting", "saps"), seed: int = 0, only: tuple[str, ...] = (), **over: Any) -> dict[str, Any]:
    """A binary question: the model knows most of the truth, the comparators less of it; ``only`` these metrics, or all."""
    metrics = {k: v for k, v in BINARY.items() if not only or k in only}
    rng = np.random.default_rng(seed)
    truth = rng.normal(-2.1, 1.3, N)
    y = (rng.random(N) < expit(truth)).astype(float)
    risks = {"equipoise": expit(truth + rng.normal(0, 0.35, N))}
    for i, name in enumerate(comparators):
        risks[name] = expit(-2.1 + 0.8 * (truth + 2.1) + rng.normal(0, 0.9 + 0.35 * i, N))
    endpoints, differences = estimated(metrics, y, risks, rng)
    hidden, change = estimated(metrics, y, {"m": expit(truth + rng.normal(0, 1.1, N)), "all": risks["equipoise"]}, rng)
    required = comparators[:2]
    results = {
        "schema": 1,
        "task": "risk",
        "kind": "binary",
        "target": "died",
        "unit": "",
        "model": "equipoise",
        "role": "held_out",
        "n": {"rows": N, "clusters": N - 57, "events": int(y.sum()), "abstained": 3, "outcome_missing": 12, "folds": 1, "repeats": 1},
        "prevalence": float(y.mean()),
        "protocol": {"primary": "log_score", "level": 0.95, "alpha": 0.025, "threshold": 0.1, "margin": 0.01, "hash": "5d41402abc4b2a76"},
        "endpoints": endpoints["equipoise"],
        "comparators": {
            c: {"required": c in required, "endpoints": endpoints[c], "notes": {"features": 412, "C": 0.01 * (i + 1)}} for i, c in enumerate(comparators)
        },
        "comparisons": differences,
        "verdict": "demonstrated gain",
        "verdict_detail": {
            "sentence": "The log score of equipoise is better than that of every required comparator, and its net benefit is not inferior.",
            "primary": "log_score",
            "against": list(required),
            "reasons": [f"{c}: the difference in log score excludes 0 in favour of equipoise." for c in required],
            "smallest_demonstrable_gain": {c: 0.0101 + 0.001 * i for i, c in enumerate(required)},
            "net_benefit": {"threshold": 0.1, "difference": 0.004, "lo": -0.001, "hi": 0.009, "not_inferior": True},
            "margin": 0.01,
            "exploratory": False,
            "opening": 1,
        },
        "scenarios": {
            "masked:genotype": {"endpoints": hidden["m"], "difference": {k: {j: d[j] for j in ("difference", "lo", "hi")} for k, d in change["all"].items()}},
        },
        "curves": {m: binary_curves(y, p) for m, p in risks.items()},
        "uncertainty": {
            "interval": "credible interval of the mean outcome",
            "level": 0.9,
            "median_width": 0.0613,
            "mean_epistemic": 0.0042,
            "mean_aleatoric": 0.291,
            "estimated": True,
        },
    }
    return results | over


def continuous_results(seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(22.4, 2.2, N)
    y = truth + rng.normal(0, 1.6, N)
    risks = {"equipoise": 22.4 + 0.75 * (y - 22.4) * 0.7 + rng.normal(0, 0.7, N), "gblup": 22.4 + 0.5 * (y - 22.4) + rng.normal(0, 0.8, N)}
    endpoints, differences = estimated(CONTINUOUS, y, risks, rng)
    gain = differences["gblup"]["crps"]["hi"] < 0
    counts, px, oy = np.histogram2d(risks["equipoise"], y, bins=(18, 20))
    curves: dict[str, Any] = {m: {"calibration": calibration_curve(y, p, False)} for m, p in risks.items()}
    table = [[None if 0 < c < 10 else int(c) for c in row] for row in counts]
    curves["equipoise"]["scatter"] = {"predicted_edges": px.tolist(), "observed_edges": oy.tolist(), "n": table}
    return {
        "schema": 1,
        "task": "weight",
        "kind": "continuous",
        "target": "body_weight",
        "unit": "g",
        "model": "equipoise",
        "role": "cross-validation",
        "n": {"rows": N, "clusters": 180, "events": None, "abstained": 0, "outcome_missing": 0, "folds": 10, "repeats": 1},
        "prevalence": None,
        "protocol": {"primary": "crps", "level": 0.95, "hash": "7215ee9c7d9dc229"},
        "endpoints": endpoints["equipoise"],
        "comparators": {"gblup": {"required": True, "endpoints": endpoints["gblup"], "notes": {"heritability": 0.61}}},
        "comparisons": differences,
        "verdict": "demonstrated gain" if gain else "no demonstrated gain",
        "verdict_detail": {
            "sentence": f"The interval of the difference in CRPS from gblup {'excludes' if gain else 'includes'} 0.",
            "primary": "crps",
            "against": ["gblup"],
            "reasons": [f"gblup: the interval of the difference {'excludes' if gain else 'includes'} 0"],
            "exploratory": False,
            "opening": None,
        },
        "scenarios": {},
        "curves": curves,
        "uncertainty": {"interval": "not estimated", "level": None, "median_width": None, "mean_epistemic": None, "mean_aleatoric": None, "estimated": False},
    }


def endpoint_results(kind: str, metrics: dict[str, tuple[float, float, str]], primary: str) -> dict[str, Any]:
    """A question with endpoints and no curves: metrics are (value, half width, better)."""

    def table(shift: float) -> dict[str, Any]:
        return {
            k: {"value": v + shift, "lo": v + shift - h, "hi": v + shift + h, "method": "IPCW, cluster bootstrap", "better": b}
            for k, (v, h, b) in metrics.items()
        }

    moved = {k: {"difference": 0.01, "lo": 0.01 - h, "hi": 0.01 + h, "p": 0.2, "better": b, "method": "paired bootstrap"} for k, (_, h, b) in metrics.items()}
    return {
        "schema": 1,
        "task": kind,
        "kind": kind,
        "target": "event" if kind == "time_to_event" else "response",
        "model": "equipoise",
        "role": "held_out",
        "n": {"rows": 800, "clusters": 800, "events": 88, "abstained": 0, "outcome_missing": 0},
        "protocol": {"primary": primary, "level": 0.95},
        "endpoints": table(0.01),
        "comparators": {"linear": {"required": True, "endpoints": table(0.0), "notes": {}}},
        "comparisons": {"linear": moved},
        "verdict": "no demonstrated gain",
        "verdict_detail": {
            "sentence": "No gain was demonstrated.",
            "primary": primary,
            "against": ["linear"],
            "reasons": [],
            "exploratory": True,
            "opening": 3,
        },
        "scenarios": {},
        "curves": {},
        "uncertainty": {"estimated": False},
    }


def of_every_kind() -> dict[str, dict[str, Any]]:
    return {
        "binary": binary_results(),
        "continuous": continuous_results(),
        "multiclass": endpoint_results("multiclass", {"accuracy": (0.86, 0.03, "higher"), "log_score": (0.41, 0.05, "lower")}, "log_score"),
        "time_to_event": endpoint_results(
            "time_to_event",
            {"ipcw_brier@h=365": (0.12, 0.02, "lower"), "harrell_c": (0.71, 0.03, "higher"), "td_auc@h=365": (0.74, 0.03, "higher")},
            "ipcw_brier@h=365",
        ),
        "treatment_effect": endpoint_results("treatment_effect", {"average_effect": (0.05, 0.04, ""), "effect_loss": (0.02, 0.015, "lower")}, "effect_loss"),
    }


def context(**over: Any) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    epochs = np.arange(1, 26)
    curve = 0.33 + 0.3 * np.exp(-epochs / 4)
    return {
        "name": "001_synthetic",
        "command": "equipoise run experiments=001_synthetic/run run_dir=/home/ann/runs/7",
        "started": "2026-11-23T22:41:07+00:00",
        "seconds": 143.2,
        "versions": {"equipoise": "0.1.0", "python": "3.11.15", "torch": "2.13.0", "numpy": "2.4.1"},
        "commit": "a8146bf2d1",
        "config_hash": "c2f1a39be0d4",
        "config_yaml": "name: run\nseed: 0\npaths:\n  data: /home/ann/data\ntask:\n  risk:\n    target: died\n",
        "device": "cpu",
        "seeds": [0],
        "members": 1,
        "n_parameters": 48213,
        "cohort": {
            "hash": "0b9c2d7e51aa",
            "n_rows": 6000,
            "n_subjects": 5821,
            "sources": [{"name": "synthetic", "sha256": SHA, "bytes": 812345}, {"name": "/srv/data/labels.parquet", "sha256": SHA[::-1], "bytes": 40211}],
            "flow": [
                {"step": "people in the sources", "n_rows": 6610, "n_subjects": 6402},
                {"step": "with a label and a prediction time", "n_rows": 6144, "n_subjects": 5950, "note": "no label: 466"},
                {"step": "left out: in no split", "n_rows": 144, "n_subjects": 129},
                {"step": "rows with ehr", "n_rows": 6000, "n_subjects": 5821, "note": "5821 of 5950 subjects of the source matched, 129 unmatched"},
                {"step": "rows with genotype", "n_rows": 4270, "n_subjects": 4140, "note": "4140 of 4140 subjects of the source matched, 0 unmatched"},
                {"step": "included", "n_rows": 6000, "n_subjects": 5821},
            ],
            "roles": {"train": 3600, "select": 600, "calibrate": 600, "held_out": 1200},
            "counts": {"matched": 5821, "unmatched": 129, "impossible_values": {"heart_rate": 14, "albumin": 2}},
            "evidences": {"ehr": "events", "genotype": "genotypes", "biomarker": "columns"},
            "n_sites": 6,
        },
        "presence": {
            "ehr": {"train": 1.0, "select": 1.0, "calibrate": 0.998, "held_out": 1.0},
            "genotype": {"train": 0.712, "select": 0.704, "calibrate": 0.69, "held_out": 0.7225},
            "biomarker": {"train": 0.8, "select": 0.8, "calibrate": 0.81, "held_out": 0.795},
        },
        "opening": 1,
        "ledger_note": None,
        "benchmark_note": None,
        "not_run": {"gblup/risk": "the cohort has fewer than 100 genotyped people"},
        "training": [
            {
                "member": 0,
                "epochs": 25,
                "best_epoch": 19,
                "train_loss": (curve + rng.normal(0, 0.004, 25)).tolist(),
                "select_loss": (curve + 0.02 + 0.0012 * epochs + rng.normal(0, 0.004, 25)).tolist(),
            }
        ],
        "reader_notes": {"ehr": {"unknown_codes": 12}, "biomarker": {"missing_columns": []}},
        "tuned": {"modality.genotype.encoder.scale": 0.02},
        "failures": [],
    } | over
