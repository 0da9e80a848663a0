"""Both pretexts against a plain loop over rows, codes and pieces; waits of a known hazard are found again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Exponential

from equipoise.contract.errors import UserError
from equipoise.contract.packed import offsets_of
from equipoise.contract.tensors import EventsSpec, Future
from equipoise.pretext.next_event import NextEvent
from equipoise.pretext.pieces import Pieces, log_rates
from equipoise.pretext.time_to_codes import TimeToCodes
from equipoise.testing.network_laws import seeded
from equipoise.testing.pretext_laws import N_CODES, WIDTH, random_future

EDGES = [0.5, 7.0, 90.0]
N = 40


def _log_survival_and_hazard(log_hazard: Tensor, wait: float) -> tuple[float, float]:
    """Piece by piece: log S(wait), and log of the hazard there; survival within a piece is that of torch's exponential distribution."""
    survived, low = 0.0, 0.0
    for value, high in zip(log_hazard.exp().tolist(), [*EDGES, math.inf], strict=True):
        lived = min(wait, high) - low
        survived += math.log(1 - float(Exponential(torch.tensor(value, dtype=torch.float64)).cdf(torch.tensor(lived, dtype=torch.float64))))
        if wait <= high:
            return survived, math.log(value)
        low = high
    raise AssertionError


def _row(future: Future, row: int) -> tuple[list[int], list[float], float]:
    here = slice(int(future.offsets[row]), int(future.offsets[row + 1]))
    return future.code[here].tolist(), future.days[here].tolist(), float(future.followed_days[row])


def test_next_event_is_the_likelihood_of_a_censored_wait_and_of_a_set_of_codes() -> None:
    with seeded(0):
        pretext = NextEvent(spec=EventsSpec(N_CODES), d_model=WIDTH, edges_days=EDGES, cuts=1, at_moments=0.5, prior_scale=1.0).double()
        z = torch.randn(N, WIDTH, dtype=torch.float64)
    future = random_future(N, 5)
    pretext.setup(future)
    found = pretext(z, replace(future, days=future.days.double(), followed_days=future.followed_days.double())).detach()
    kinds = set()
    for row in range(N):
        code, days, followed = _row(future, row)
        log_hazard = pretext.base_wait + pretext.wait.weight @ z[row]
        survived, at_end = _log_survival_and_hazard(log_hazard.detach(), days[0] if days else followed)
        expected = -survived
        if days:
            brought = {c for c, d in zip(code, days, strict=True) if d == days[0]}
            there = torch.tensor([float(c in brought) for c in range(N_CODES)], dtype=torch.float64)
            expected -= at_end + float(Bernoulli(logits=(pretext.base_codes + pretext.codes.weight @ z[row]).detach()).log_prob(there).sum())
            kinds.add(len(brought))
        assert float(found[row]) == pytest.approx(expected, rel=1e-9)
        kinds.add((bool(days) and "ended") or "silent")
    assert {"ended", "silent", 1, 2} <= kinds, "the test met every case"


def test_time_to_codes_is_the_likelihood_of_each_codes_first_time() -> None:
    with seeded(0):
        settings = {"edges_days": EDGES, "codes": 5, "rank": 3, "cuts": 1, "at_moments": 0.5, "prior_scale": 1.0}
        pretext = TimeToCodes(spec=EventsSpec(N_CODES), d_model=WIDTH, **settings).double()  # type: ignore[arg-type]
        z = torch.randn(N, WIDTH, dtype=torch.float64)
    future = random_future(N, 5)
    pretext.setup(future)
    found = pretext(z, replace(future, days=future.days.double(), followed_days=future.followed_days.double())).detach()
    rows = [_row(future, r) for r in range(N)]
    counts = [sum(c in code for code, _, _ in rows) for c in range(N_CODES)]
    told = [c for c in range(N_CODES) if int(pretext.place[c]) < 5]
    assert sorted(counts[c] for c in told) == sorted(counts)[2:], "the most frequent codes are foretold"
    for row, (code, days, followed) in enumerate(rows):
        expected = 0.0
        for c in told:
            k = int(pretext.place[c])
            maps = pretext.maps.weight.reshape(4, 3, WIDTH)
            log_hazard = torch.stack([pretext.base[j, k] + (maps[j] @ z[row]) @ pretext.codes.weight[k] for j in range(4)])
            first = min((d for own, d in zip(code, days, strict=True) if own == c), default=None)
            survived, at_event = _log_survival_and_hazard(log_hazard.detach(), followed if first is None else first)
            expected -= survived + (at_event if first is not None else 0.0)
        assert float(found[row]) == pytest.approx(expected, rel=1e-9)


def test_an_event_at_an_edge_has_lived_in_the_piece_that_ends_there() -> None:
    pieces = Pieces([1.0, 7.0])
    days = torch.tensor([0.5, 1.0, 1.5, 7.0, 8.0])
    assert pieces.of(days).tolist() == [0, 0, 1, 1, 2]
    assert pieces.lived(days).tolist() == [[0.5, 0, 0], [1, 0, 0], [1, 0.5, 0], [1, 6, 0], [1, 6, 1]]
    for wrong in ([0.0, 1.0], [2.0, 1.0], [1.0, 1.0]):
        with pytest.raises(UserError, match="edges_days"):
            Pieces(wrong)


def test_rates_of_a_known_hazard_are_found_from_waits_cut_off_at_random() -> None:
    rng = np.random.default_rng(0)
    n, true = 20_000, np.array([0.5, 0.05, 0.2])
    wait = rng.exponential(1.0, n) / true[0]
    for low, rate in ((1.0, true[1]), (10.0, true[2])):  # beyond each edge the wait starts anew at the next rate
        wait = np.where(wait > low, low + rng.exponential(1.0, n) / rate, wait)
    end = rng.uniform(0.5, 30.0, n)
    happened, days = wait <= end, np.minimum(wait, end)
    pieces = Pieces([1.0, 10.0])
    lived = pieces.lived(torch.from_numpy(days))
    events = torch.bincount(pieces.of(torch.from_numpy(days[happened])), minlength=3)
    np.testing.assert_allclose(log_rates(events, lived.sum(0)).exp().numpy(), true, rtol=0.05)


def test_waits_by_the_day_leave_the_likelihood_bounded() -> None:
    """All waits are one day: a density of the wait would grow without bound there; a hazard up to the edge does not."""
    n = 50
    day = Future(torch.ones(n, dtype=torch.int32), torch.ones(n), offsets_of(torch.ones(n, dtype=torch.int64)), torch.full((n,), 9.0))
    with seeded(0):
        pretext = NextEvent(spec=EventsSpec(2), d_model=1, edges_days=[1.0, 7.0], cuts=1, at_moments=0.5, prior_scale=100.0)
    z, optimizer = torch.ones(n, 1), torch.optim.Adam(pretext.parameters(), lr=0.1)
    pretext.setup(day)
    for _ in range(300):
        optimizer.zero_grad()
        loss = pretext(z, day).mean()
        loss.backward()
        optimizer.step()
    assert float(pretext.wait.weight.detach().abs().max()) < 20
    assert 0.9 < float(loss.detach()) < 1.1, "one day at the best constant hazard, 1 a day, is 1 nat"


@pytest.mark.parametrize("wrong", [{"cuts": 0}, {"at_moments": 1.5}, {"codes": 0}, {"rank": 0}])
def test_settings_that_would_foretell_nothing_are_refused(wrong: dict[str, float]) -> None:
    settings = {"edges_days": EDGES, "codes": 5, "rank": 3, "cuts": 1, "at_moments": 0.5, "prior_scale": 1.0}
    with pytest.raises(UserError, match=r"The pretext's moments|foretells nothing"):
        TimeToCodes(spec=EventsSpec(N_CODES), d_model=WIDTH, **{**settings, **wrong})  # type: ignore[arg-type]
