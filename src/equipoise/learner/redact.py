"""Takes paths, identifiers and the machine's names out of a config, before anything of it leaves the run folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

# What only says where things lie, names files and columns of the user's data, or is a sentence in the user's own words. `init` names a run by its file.
_GROUPS = ("name", "remark", "paths", "run_dir", "cohort", "model", "new", "predictions", "logger", "hydra")
_KEYS = re.compile(r"(path|dir|folder|file|url|host|user|token|secret|key|password|subject|patient|identifier|(^|_)ids?$)", re.IGNORECASE)
# An absolute path, a home, a drive, a relative path of two names or more (a double slash is a code's), a file by its ending, or an address.
_VALUE = re.compile(
    r"(^|[\s'\"=:,(])(~|\.{1,2})?[/\\]\w|[A-Za-z]:[\\/]|[^\s/\\][/\\][^\s/\\]|://|@\w+\."
    r"|\.(csv|tsv|txt|xlsx?|parquet|pq|arrow|feather|json|ya?ml|pt|ckpt|npy|npz|db|sqlite|sas7bdat|sav|dta|rds|bed|bim|fam|pgen|pvar|psam|vcf|bgen|gz|zst|zip)\b",
    re.IGNORECASE,
)


def redacted(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a resolved config without the groups and values that could name a place or a person.

    >>> redacted({"seed": 1, "paths": {"data": "/home/me"}, "learner": {"note": "see /home/me/x", "lr": 0.1}})
    {'seed': 1, 'learner': {'note': '[redacted]', 'lr': 0.1}}
    """
    return _cleaned({k: v for k, v in config.items() if k not in _GROUPS})


def _cleaned(node: Mapping[Any, Any]) -> dict[str, Any]:
    """A key can be a name of the user's too, as in learner.evidence_dropout."""
    return {REDACTED if _VALUE.search(str(k)) else str(k): _clean(str(k), v) for k, v in node.items()}


def _clean(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _cleaned(value)
    if isinstance(value, list | tuple):
        return [_clean(key, v) for v in value]
    if isinstance(value, str) and (_KEYS.search(key) or _VALUE.search(value)):
        return REDACTED
    return value
