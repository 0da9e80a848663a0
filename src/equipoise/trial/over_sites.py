"""Random effects of every endpoint and paired difference over sites, from estimates and standard errors alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

from equipoise.stats.meta_analysis import random_effects, unweighted_mean
from equipoise.stats.pooling_scale import IDENTITY, Scale, scale_of
from equipoise.trial.compare import number

FEW_SITES = 5
"""With fewer sites a prediction interval is unreliable."""

LARGE_SHARE = 0.5
"""A site with more of the weight decides the mean nearly alone, and its interval is too narrow (simulated in `tests/trial/test_over_sites.py`)."""

Table = dict[str, dict[str, Any]]


def pooled_tables(sites: Mapping[str, Mapping[str, Any]], level: float) -> dict[str, dict[str, Table]]:
    """Every model's endpoints and every comparator's paired differences, pooled.

    Args:
        sites: by site, "endpoints" and "differences" as `site_summary.estimates_of` gives them.
        level: in (0, 1).

    Returns:
        {"endpoints": {model: {endpoint: see `over_sites`}}, "differences": {comparator: {endpoint: likewise}}}.
    """
    made: dict[str, dict[str, Table]] = {}
    for part in ("endpoints", "differences"):
        names = _names(site[part] for site in sites.values())
        made[part] = {name: _table({s: site[part].get(name, {}) for s, site in sites.items()}, part, level) for name in names}
    return made


def _table(tables: Mapping[str, Mapping[str, Any]], part: str, level: float) -> Table:
    made = {}
    for name in _names(tables.values()):
        entries = {site: table.get(name, {}) for site, table in tables.items()}
        scale = IDENTITY if part == "differences" else scale_of(name.partition("@")[0])
        made[name] = over_sites(entries, level, scale) | {"better": next(e["better"] for e in entries.values() if e)}
    return made


def _names(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def over_sites(entries: Mapping[str, Mapping[str, Any]], level: float, scale: Scale = IDENTITY) -> dict[str, Any]:
    """The mean of one quantity over sites, on its scale, read back in its own unit.

    Args:
        entries: by site, "value" and "se", null or missing where it was not estimated.
        level: in (0, 1).
        scale: on which sites are averaged.

    Returns:
        "value", "lo", "hi" (modified Hartung-Knapp), "prediction_lo", "prediction_hi" (of the true value at a further site); on the scale "mean",
        "se", "tau2"; "q", "q_p", "i2", "scale", "method", "n_sites"; "unweighted" (value, lo, hi of the t interval over sites), "sites" (by site
        value, lo, hi, weight), "left_out" (sites without an estimate and a standard error on the scale), "note". Null is not estimated.

    Source: Riley et al. (2016) and Debray et al. (2017) for a model's performance over sites; see `stats.meta_analysis`.

    >>> found = over_sites({"a": {"value": 0.1, "se": 0.1}, "b": {"value": 0.4, "se": 0.1}, "c": {"value": None}}, 0.95)
    >>> round(found["value"], 3), found["n_sites"], found["left_out"], found["prediction_lo"] is None
    (0.25, 2, ['c'], True)
    """
    value, se = (np.array([np.nan if e.get(key) is None else e[key] for e in entries.values()], dtype=np.float64) for key in ("value", "se"))
    on, error = scale.of(value, se)
    kept = np.isfinite(on) & np.isfinite(error) & (error > 0)
    names = [site for site, there in zip(entries, kept, strict=True) if there]
    head: dict[str, Any] = {"n_sites": len(names), "left_out": [site for site in entries if site not in names], "scale": scale.name}
    if len(names) < 2:
        nothing = dict.fromkeys(("value", "lo", "hi", "prediction_lo", "prediction_hi", "mean", "se", "tau2", "q", "q_p", "i2", "unweighted"))
        return head | nothing | {"method": "", "sites": {}, "note": "fewer than two sites give an estimate with a standard error"}
    on, error = on[kept], error[kept]
    found, plain = random_effects(on, error, level), unweighted_mean(on, level)
    ends = scale.back(np.array([found.mean.value, found.mean.lo, found.mean.hi, found.lo, found.hi, plain.value, plain.lo, plain.hi]))
    keys = ("value", "lo", "hi", "prediction_lo", "prediction_hi")
    half = float(ndtri((1 + level) / 2)) * error
    sites = zip(names, scale.back(on), scale.back(on - half), scale.back(on + half), found.weight, strict=True)
    return head | {
        **{key: number(x) for key, x in zip(keys, ends[:5], strict=True)},
        "mean": found.mean.value,
        "se": found.mean.se,
        "tau2": found.tau2,
        "q": found.q,
        "q_p": found.q_p,
        "i2": found.i2,
        "method": found.mean.method,
        "unweighted": {key: number(x) for key, x in zip(keys[:3], ends[5:], strict=True)},
        "sites": {site: {"value": float(v), "lo": float(lo), "hi": float(hi), "weight": float(w)} for site, v, lo, hi, w in sites},
        "note": _note(names, found.weight),
    }


def _note(names: list[str], weight: np.ndarray) -> str:
    """What should be said of the intervals, "" nothing."""
    said = []
    if len(names) < FEW_SITES:
        said.append(f"{len(names)} sites: " + ("no prediction interval is possible" if len(names) < 3 else "the prediction interval is unreliable"))
    if len(names) > 2 and weight.max() > LARGE_SHARE:
        said.append(f"{names[int(weight.argmax())]} has {weight.max():.0%} of the weight, and the interval may be too narrow")
    return "; ".join(said)
