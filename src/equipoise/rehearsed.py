"""A finished rehearsal as a run reads it: checked against the run's cohort and protocol before anything is opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipoise.contract.errors import UserError
from equipoise.trial.protocol import protocol_of

FILE = "rehearsal.json"


def hash_of(content: Mapping[str, Any]) -> str:
    """16 hex digits of a rehearsal's content, its own hash left out.

    >>> hash_of({"a": 1, "hash": "x"}) == hash_of({"a": 1})
    True
    """
    kept = {k: v for k, v in content.items() if k != "hash"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def rehearsal_of(config: Mapping[str, Any], cohort_hash: str) -> dict[str, Any] | None:
    """The rehearsal that the config names, or None where it names none.

    Args:
        config: of a run.
        cohort_hash: of its cohort.

    Raises:
        UserError: there is no finished rehearsal, it was changed, or it is of another cohort or protocol.
    """
    if not config["rehearsal"]:
        return None
    at = Path(config["rehearsal"]).expanduser() / FILE
    try:
        content: dict[str, Any] = json.loads(at.read_text())
    except (OSError, ValueError) as e:
        mend = "finish it: equipoise rehearse run_dir=FOLDER with the words of this run; or leave rehearsal out"
        raise UserError(f"There is no finished rehearsal at {at}", found=str(e).splitlines()[0], mend=mend) from e
    if content.get("hash") != hash_of(content):
        raise UserError(
            f"The rehearsal {at} was changed after it was written", expected=f"hash {content.get('hash')}", found=hash_of(content), mend="rehearse again"
        )
    for what, own in (("cohort", cohort_hash), ("protocol", protocol_of(config["trial"]).hash)):
        if content.get(f"{what}_hash") != own:
            raise UserError(
                f"The rehearsal {at} is of another {what}",
                expected=f"{what} {own}, as in this run",
                found=str(content.get(f"{what}_hash")),
                mend=f"rehearse with this run's {what}, or leave rehearsal out",
            )
    return content


def ledger_note(rehearsal: Mapping[str, Any] | None) -> dict[str, str]:
    """What the line of the opening says of a rehearsal: its hash and when it was finished, before the opening."""
    return {} if rehearsal is None else {"rehearsal": str(rehearsal["hash"]), "rehearsed_at": str(rehearsal["finished"])}
