"""What every test needs: a ledger of its own, so that no test writes down an opening in the ledger of whoever runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_LEDGER", str(tmp_path_factory.mktemp("ledger")))
        yield
