"""Train people whose calls a model keeps, so that a kernel can compare others with them."""

from __future__ import annotations

import numpy as np

from equipoise.contract.counter import numpy_stream
from equipoise.modality.calls import pack, unpack

_AT_ONCE = 256


def landmarks(packed: np.ndarray, line: np.ndarray, kept: np.ndarray, most: int) -> np.ndarray:
    """Packed calls of these people, each once, or of ``most`` of them drawn at random.

    The draw depends on nothing but their number, so that the same cohort gives the same people.

    Args:
        packed: u8 (G, ceil(V/4)).
        line: i64, the train rows' lines; a person may stand in several rows.
        kept: i64 (K,), the view's variants.
        most: >= 1.

    Returns:
        u8 (m, ceil(K/4)), m = min(people, most).
    """
    people = np.unique(line)
    if people.size > most:
        people = np.sort(numpy_stream("landmarks", people.size, most).choice(people, most, replace=False))
    out = np.empty((people.size, -(-kept.size // 4)), np.uint8)
    for a in range(0, people.size, _AT_ONCE):
        at = slice(a, a + _AT_ONCE)
        out[at] = pack(unpack(np.asarray(packed[people[at]]), packed.shape[1] * 4)[:, kept])
    return out
