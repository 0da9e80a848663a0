"""A known truth that lies in elapsed times: the encoders that read them must find it on new rows.

With the order of a row's events kept and their times lost (ranks for days), the state space explains .59 and GRU-D .50.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equipoise.contract.make import make
from equipoise.contract.packed import offsets_of
from equipoise.contract.tensors import Events, EventsSpec
from equipoise.testing.discovery import options
from equipoise.testing.network_laws import seeded

HALF_LIFE, N_CODES, MEASURED, PULSE = 30.0, 5, 1, 2
SMALL = {"grud": {"d_hidden": 16, "bin_days": 1.0}, "gru": {"d_hidden": 16, "bin_days": 1.0}}


def _cohort(n: int, seed: int) -> tuple[Events, Tensor]:
    """Outcome: what is left of the last measurement, and the sum of what is left of all pulses, half-life 30 days. Rows differ in how far back they reach."""
    rng = np.random.default_rng(seed)
    rows, outcome = [], np.zeros(n)
    for i in range(n):
        k = rng.integers(5, 16)
        days = np.sort(rng.exponential(40.0 * np.exp(1.5 * rng.standard_normal()), k))[::-1]
        code = rng.integers(0, N_CODES, k)
        observed = code != PULSE
        value = np.where(observed, rng.standard_normal(k), 0.0)
        left = 0.5 ** (days / HALF_LIFE)
        last = np.flatnonzero(code == MEASURED)[-1:]
        outcome[i] = 1.5 * float((value * left)[last].sum()) + float(left[code == PULSE].sum())
        rows.append((code, value, observed, days))
    code, value, observed, days = (np.concatenate(x) for x in zip(*rows, strict=True))
    part = Events(
        rows=torch.arange(n),
        size=n,
        code=torch.from_numpy(code.astype(np.int32)),
        value=torch.from_numpy(value.astype(np.float32)),
        observed=torch.from_numpy(observed),
        time_days=torch.from_numpy(days.astype(np.float32)),
        timed=torch.ones(code.size, dtype=torch.bool),
        offsets=offsets_of(torch.tensor([r[0].size for r in rows])),
    )
    return part, torch.from_numpy(((outcome - outcome.mean()) / outcome.std()).astype(np.float32))


def explained(name: str, steps: int = 150) -> float:
    """R^2 on 1000 new rows after so many steps on 2000."""
    (train, y), (new, truth) = _cohort(2000, 0), _cohort(1000, 1)
    with seeded(0):
        node = {**options("encoder")[name], "dropout": 0.0, **SMALL.get(name, {})}
        network = nn.ModuleList([make(node, spec=EventsSpec(N_CODES), d_model=16), nn.Linear(16, 1)])
    encoder, readout = network
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        loss = (readout(encoder(train).h)[:, 0] - y).square().mean() + encoder.penalty() / 2000
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return 1 - float((readout(encoder(new).h)[:, 0] - truth).square().mean() / truth.var())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grud", "set_transformer", "state_space"])
def test_what_is_left_of_events_after_their_time_is_found(name: str) -> None:
    assert explained(name) > 0.85
