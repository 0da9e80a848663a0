"""Did you mean: the nearest known word to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], n: int = 3) -> str:
    """A sentence with the nearest known words, or "" when none is near.

    >>> nearest("fuson", ["fusion", "head"])
    'did you mean fusion?'
    >>> nearest("zzz", ["fusion", "head"])
    ''
    """
    known = list(dict.fromkeys(known))
    near = difflib.get_close_matches(word, known, n=n, cutoff=0.6)
    if not near:  # a right last part under a wrong parent: learner.d_model -> d_model
        tail = word.rsplit(".", 1)[-1]
        near = [k for k in known if k.rsplit(".", 1)[-1] == tail][:n]
    return f"did you mean {' or '.join(near)}?" if near else ""
