"""A cohort of events with a known truth for pretraining: codes in topics, people with a topic, and outcomes of a few of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from equipoise.cohort.draft import Draft, EventStore, TargetTable
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.counter import numpy_stream
from equipoise.contract.tables import TARGET, TIME

DAY_US = 86_400_000_000
N_TOPICS, CODES_OF_TOPIC, N_EVENTS = 4, 25, 14
UNLABELLED = {"train": 2000, "select": 200}
FEW = {"train": 80, "select": 80, "held_out": 1500}
MANY = {"train": 1000, "select": 200, "held_out": 1500}


def topics_cohort(folder: Path, roles: Mapping[str, int], *, seed: int, shared: bool) -> Cohort:
    """People with a topic each, from which most of their codes come; half of the topics mean risk.

    Args:
        folder: must not exist.
        roles: people by role; they have outcomes where there are held-out ones.
        seed: of the topics and, with the roles, of the people.
        shared: False: codes come evenly, so that none says anything of another, and the risk lies in how many of a person's codes are risky ones.
    """
    n, n_codes = sum(roles.values()), N_TOPICS * CODES_OF_TOPIC
    # Which codes form a topic is drawn, so that nothing else tells it.
    members = numpy_stream("topics", seed).permutation(n_codes).reshape(N_TOPICS, CODES_OF_TOPIC)
    rng = numpy_stream("people", seed, n, int(shared))
    topic = rng.integers(0, N_TOPICS, n)
    own = members[topic[:, None], rng.integers(0, CODES_OF_TOPIC, (n, N_EVENTS))]
    code = np.where(rng.random((n, N_EVENTS)) < (0.55 if shared else 0.0), own, rng.integers(0, n_codes, (n, N_EVENTS)))
    risky = np.isin(np.arange(n_codes), members[: N_TOPICS // 2])
    logit = np.where(topic < N_TOPICS // 2, 2.0, -2.0) if shared else 1.1 * (risky[code].sum(1) - N_EVENTS / 2)
    outcome = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    end = 1_600_000_000_000_000 + np.zeros(n, np.int64)
    time = end[:, None] - np.sort(rng.integers(1, 700, (n, N_EVENTS)) * DAY_US, 1)[:, ::-1]
    role = np.repeat(list(roles), list(roles.values()))
    labelled = "held_out" in roles
    start = np.arange(n) * N_EVENTS
    store = EventStore(
        codes=tuple(f"c//{i}" for i in range(n_codes)),
        units=("",) * n_codes,
        code=code.astype(np.int32).reshape(-1),
        value=np.full(n * N_EVENTS, np.nan, np.float32),
        time_us=time.reshape(-1),
        start=start,
        stop=start + N_EVENTS,
        time_of_row_us=end,
    )
    names = [f"{'L' if labelled else 'U'}{i}" for i in range(n)]
    columns = {"outcome": outcome, "observed": True, "time_days": np.nan, "event": -1, "entry_days": 0.0}
    table = pl.DataFrame(columns | {"treatment": -1, "weight": 1.0}).select([pl.col(k).cast(v) for k, v in TARGET.items()])
    rows = {"row_id": np.arange(n), "subject_id": names, "prediction_time": pl.Series(end).cast(TIME), "cluster": names, "site": ["s"] * n, "role": role}
    draft = Draft(pl.DataFrame(rows), np.ones((n, 1), bool), {"ehr": store}, {"outcome": TargetTable("binary", table)} if labelled else {})
    return freeze(draft, folder, f"topics-{seed}-{shared}-{n}", {})
