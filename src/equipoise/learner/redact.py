"""Takes paths, identifiers and the machine's names out of a config, before anything of it leaves the run folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

# Groups that only say where things lie, or that name files and columns of the user's data.
_GROUPS = ("paths", "run_dir", "cohort", "model", "predictions", "logger", "hydra")
_KEYS = re.compile(r"(path|dir|folder|file|url|host|user|token|secret|key|password|subject|patient|identifier|(^|_)ids?$)", re.IGNORECASE)
# An absolute path, a home, a drive, a relative path with a slash, or an address.
_VALUE = re.compile(r"(^|[\s'\"=:,(])(~|\.{1,2})?[/\\]\w|[A-Za-z]:[\\/]|\w+[/\\]\w+[/\\]|://|@\w+\.")


def redacted(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a resolved config without the groups and values that could name a place or a person.

    >>> redacted({"seed": 1, "paths": {"data": "/home/me"}, "learner": {"note": "see /home/me/x", "lr": 0.1}})
    {'seed': 1, 'learner': {'note': '[redacted]', 'lr': 0.1}}
    """
    return {str(k): _clean(str(k), v) for k, v in config.items() if k not in _GROUPS}


def _clean(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _clean(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(key, v) for v in value]
    if isinstance(value, str) and (_KEYS.search(key) or _VALUE.search(value)):
        return REDACTED
    return value
