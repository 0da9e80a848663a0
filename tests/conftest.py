"""What every test shares: a ledger of its own, one thread a process, and properties that may take their time on a busy machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Before torch and numpy are imported. Two test processes with a thread a core each wait for one another; small models are fastest on one in any case.
for _library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_library, "1")

settings.register_profile("equipoise", deadline=None)
settings.load_profile("equipoise")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums split among threads round otherwise: bits are equal for an equal `trainer.threads`, which the verbs set and tests below them do not."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def own_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes an opening into the ledger of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_LEDGER", str(tmp_path_factory.mktemp("ledger")))
        yield
