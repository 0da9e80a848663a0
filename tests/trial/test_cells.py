"""Groups of risk: none is small, none can be taken apart again, and sites' groups add up to those of all people together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from equipoise.stats.net_benefit import net_benefit, treat_all
from equipoise.trial.cells import BINS, Judgeable, cells, decision, edges_of, told
from equipoise.trial.pooling import added_cells, added_decision

FEWEST = 10


def site(seed: int, n: int = 400, rows_a_person: int = 1) -> Judgeable:
    rng = np.random.default_rng(seed)
    risk = rng.beta(*rng.uniform(0.3, 4, 2), n)
    status = (rng.random(n) < risk).astype(float)
    person = np.arange(n) // rows_a_person
    return Judgeable(risk, status, np.ones(n), person, person)


def large_enough(rows: Judgeable) -> bool:
    return rows.fewest(np.ones(rows.risk.size, dtype=bool)) >= FEWEST


SITES = [s for s in (site(seed, n) for seed in range(24) for n in (60, 400)) if large_enough(s)]


def told_by(published: np.ndarray, cell: np.ndarray) -> bool:
    """Whether a sum over ``cell`` follows from the published sums (rows of ``published``): it lies in their span."""
    return np.linalg.matrix_rank(np.vstack([published, cell])) == np.linalg.matrix_rank(published)


def test_no_group_is_small_and_all_people_are_in_one() -> None:
    for rows in SITES:
        edges = edges_of(rows, 0.1, FEWEST)
        made = cells(rows, edges)
        assert sum(made["rows"]) == rows.risk.size
        assert edges[0] == 0
        assert edges[-1] == 1
        assert min(made["events"]) >= FEWEST
        assert min(n - e for n, e in zip(made["rows"], made["events"], strict=True)) >= FEWEST


def test_people_are_counted_and_not_rows() -> None:
    rows = site(3, 400, rows_a_person=8)
    assert large_enough(rows)
    edges = edges_of(rows, 0.1, FEWEST)
    for low, high in pairwise(edges):
        at = (rows.risk >= low) & ((rows.risk < high) | (high == 1))
        assert min(np.unique(rows.person[at & (rows.status == y)]).size for y in (0, 1)) >= FEWEST
    assert len(edges) < len(edges_of(site(3, 400), 0.1, FEWEST))


def test_no_small_stretch_of_bins_follows_from_what_is_published() -> None:
    """Groups, totals and net benefit at every published threshold are sums over bins; no run of bins with few events or non-events is in their span."""
    bins = np.union1d(BINS, [0.1])
    for rows in SITES[::3]:
        edges, shown = edges_of(rows, 0.1, FEWEST), []
        shown += [(bins[:-1] >= low) & (bins[1:] <= high) for low, high in pairwise(edges)]
        shown += [bins[:-1] >= t for t in decision(rows, edges)["threshold"]] + [np.ones(len(bins) - 1, dtype=bool)]
        published = np.array(shown, dtype=float)
        for first in range(len(bins) - 1):
            for last in range(first + 1, len(bins)):
                stretch = (bins[:-1] >= bins[first]) & (bins[1:] <= bins[last])
                inside = (rows.risk >= bins[first]) & ((rows.risk < bins[last]) | (bins[last] == 1))
                if rows.fewest(inside) < FEWEST:
                    assert not told_by(published, stretch.astype(float))


def test_moving_a_patient_within_a_group_changes_no_count() -> None:
    """Someone whose bin would be small alone may have any risk of the group: counts, edges and net benefit are the same."""
    changed = 0
    for rows in SITES:
        edges = edges_of(rows, 0.1, FEWEST)
        before, curve = cells(rows, edges), decision(rows, edges)
        low, high = edges[-2], edges[-1]
        at = np.flatnonzero((rows.risk >= low) & (rows.risk <= high))
        risk = rows.risk.copy()
        risk[at[0]] = (low + high) / 2 if abs(risk[at[0]] - (low + high) / 2) > 0.01 else low
        moved = Judgeable(risk, rows.status, rows.weight, rows.person, rows.cluster)
        after = cells(moved, edges)
        assert all(after[key] == before[key] for key in ("edges", "rows", "events", "weight", "observed"))
        assert decision(moved, edges) == curve
        changed += after["risk"] != before["risk"]
    assert changed == len(SITES)


def test_groups_of_sites_add_up_to_those_of_all_people() -> None:
    parts = {f"s{i}": site(i) for i in (1, 4, 7)}
    every = Judgeable(*(np.concatenate([getattr(p, name) for p in parts.values()]) for name in ("risk", "status", "weight", "person", "cluster")))
    each = {name: edges_of(rows, 0.1, FEWEST) for name, rows in parts.items()}
    own = {name: cells(rows, each[name]) for name, rows in parts.items()}
    added = added_cells(own)
    direct = cells(every, np.array(added["edges"]))
    assert added["rows"] == direct["rows"]
    assert added["events"] == direct["events"]
    assert len(added["rows"]) > 1
    np.testing.assert_allclose(added["risk"], direct["risk"], rtol=1e-14)
    np.testing.assert_allclose(added["observed"], direct["observed"], rtol=1e-14)
    curve = added_decision(own, {name: decision(rows, each[name]) for name, rows in parts.items()}, 0.95)
    assert curve["threshold"]
    np.testing.assert_allclose(curve["net_benefit"], net_benefit(every.risk, every.status, np.array(curve["threshold"])), rtol=1e-12)
    np.testing.assert_allclose(curve["treat_all"], treat_all(every.status, np.array(curve["threshold"])), rtol=1e-12)


def test_the_error_of_net_benefit_is_that_of_a_mean() -> None:
    rows = site(1)
    edges = edges_of(rows, 0.1, FEWEST)
    t = edges[1]
    gain = (rows.risk >= t) * (rows.status - (1 - rows.status) * t / (1 - t))
    assert decision(rows, edges)["se"][0] == pytest.approx(gain.std(ddof=1) / np.sqrt(gain.size), rel=1e-12)


@pytest.mark.parametrize(("threshold", "expected"), [(0.1, False), (0.37, True)])
def test_net_benefit_tells_a_small_count_where_only_one_fits(threshold: float, expected: bool) -> None:
    """Three events below the threshold: at odds of 1/9 many counts fit, at odds of 37/63 only steps of 37 events and 63 non-events."""
    rng = np.random.default_rng(0)
    risk = np.concatenate([rng.uniform(0, threshold, 200), rng.uniform(threshold, threshold + 0.09, 90)])
    status = np.concatenate([np.arange(200) < 3, np.arange(90) < 45]).astype(float)
    rows = Judgeable(risk, status, np.ones(290), np.arange(290), np.arange(290))
    edges = edges_of(rows, threshold, FEWEST)
    assert threshold not in edges
    assert told(rows, edges, threshold, FEWEST) is expected


def test_net_benefit_tells_nothing_at_an_edge_and_counts_as_told_under_weights() -> None:
    rows = next(s for s in SITES if 0.33 in edges_of(s, 0.33, FEWEST))
    assert not told(rows, edges_of(rows, 0.33, FEWEST), 0.33, FEWEST)
    weighted = Judgeable(rows.risk, rows.status, rows.weight * 1.5, rows.person, rows.cluster)
    assert told(weighted, np.array([0.0, 1.0]), 0.1, FEWEST)
