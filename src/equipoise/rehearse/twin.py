"""A twin of a cohort in memory: its own rows, clusters drawn with replacement within each role, outcomes drawn from a known risk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.contract.counter import numpy_stream
from equipoise.contract.tables import ROLES, TARGET

_OF_ROWS = ("present", "start", "stop", "time_of_row_us", "index", "number", "category")
"""Arrays with one line a row, by the last part of their name; scores too."""


@dataclass(frozen=True)
class Twin(Cohort):
    """Rows of another cohort with drawn outcomes; nothing is written to disk, and no other target of the source can be read.

    Args:
        source: whose rows.
        at: i64 (n,), rows of the source, repeats allowed.
        outcomes: the one target's table, n lines.
        opened: arrays that were read before; models ask for the same ones many times.
    """

    source: Cohort
    at: np.ndarray
    outcomes: pl.DataFrame
    opened: dict[str, np.ndarray] = field(default_factory=dict)

    def _array(self, name: str) -> np.ndarray:
        if name not in self.opened:
            whole = self.source._array(name)
            own = name.startswith("score/") or name.rpartition("/")[2] in _OF_ROWS
            self.opened[name] = np.asarray(whole)[self.at] if own else whole
        return self.opened[name]

    def _table(self, name: str) -> pl.DataFrame:
        return self.outcomes if name.startswith("target/") else self.source._table(name)


@dataclass(frozen=True)
class Draw:
    """Which rows a twin has.

    Args:
        at: i64 (n,), rows of the source: drawn train, select and calibrate rows, then every held-out row once.
        cluster: i64 (n,), the number of the drawn cluster.
        split: roles as positions in ``at``.
        judged: i64 (m,), drawn held-out rows as positions in ``split.held_out``; the twin's trial is held on them.
        judged_cluster: i64 (m,).
    """

    at: np.ndarray
    cluster: np.ndarray
    split: Split
    judged: np.ndarray
    judged_cluster: np.ndarray


def draw_rows(cohort: Cohort, seed: int, twin: int) -> Draw:
    """Draws whole clusters with replacement within each role; a cluster that is drawn twice counts as two.

    Held-out rows stand in the twin once each, because models are fitted without them: their predictions are drawn afterwards, and the mean over
    all of them, with known risks, is the truth that the twin's trial estimates.

    Args:
        cohort: the source.
        seed: of the rehearsal.
        twin: its number.
    """
    _, label = np.unique(cohort.rows["cluster"].to_numpy(), return_inverse=True)
    rng = numpy_stream("rehearse-rows", seed, twin)
    drawn = {role: _drawn(cohort.rows_in(role), label, rng) for role in ROLES}
    *taught, (judged, judged_cluster) = (drawn[role] for role in ROLES)
    held_out = cohort.rows_in("held_out")
    at = np.concatenate([*(rows for rows, _ in taught), held_out])
    sizes = [rows.size for rows, _ in taught]
    offsets = np.cumsum([0, *sizes])
    first = np.cumsum([0, *(1 + int(c.max(initial=-1)) for _, c in taught)])
    cluster = np.concatenate([*(c + o for (_, c), o in zip(taught, first, strict=False)), first[-1] + label[held_out]])
    places = [np.arange(o, o + s) for o, s in zip(offsets, sizes, strict=False)]
    split = Split(places[0], places[1], places[2], np.arange(offsets[-1], at.size))
    return Draw(at, cluster, split, np.searchsorted(held_out, judged), judged_cluster)


def _drawn(rows: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of as many drawn clusters as there are, and the number of each row's draw."""
    if not rows.size:
        return rows, rows
    order = rows[np.argsort(label[rows], kind="stable")]
    _, start, count = np.unique(label[order], return_index=True, return_counts=True)
    chosen = rng.integers(0, start.size, start.size)
    size = count[chosen]
    inside = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    return order[np.repeat(start[chosen], size) + inside], np.repeat(np.arange(chosen.size), size)


def twin_of(cohort: Cohort, target: str, draw: Draw, outcome: np.ndarray, observed: np.ndarray, name: str) -> Twin:
    """The twin cohort: the models' world.

    Args:
        cohort: the source.
        target: whose outcomes were drawn.
        draw: its rows.
        outcome: f64 (n,); held-out rows' are not known here.
        observed: bool (n,), likewise False there.
        name: what makes it this twin, for its hash.
    """
    n = draw.at.size
    role = np.empty(n, dtype=object)
    for each in ROLES:
        role[draw.split.rows(each)] = each
    rows = cohort.rows[draw.at].with_columns(
        pl.Series("row_id", np.arange(n)),
        pl.Series("subject_id", [f"T{i:07d}" for i in range(n)]),
        pl.Series("cluster", [f"C{c:07d}" for c in draw.cluster]),
        pl.Series("role", role.tolist(), dtype=pl.String),
    )
    known = cohort.target(target)
    table = known.table[draw.at].with_columns(
        pl.Series("outcome", np.where(observed, outcome, np.nan)),
        pl.Series("observed", observed),
    )
    entry = {"kind": known.kind, "classes": list(known.classes), "unit": known.unit}
    digest = hashlib.sha256(f"{cohort.hash} {name}".encode() + draw.at.tobytes() + np.nan_to_num(outcome).tobytes()).hexdigest()[:16]
    manifest = {**cohort.manifest, "hash": digest, "targets": {target: entry}, "folds": False, "n_rows": n}
    return Twin(cohort.folder, manifest, rows, cohort, draw.at, table.select([pl.col(k).cast(v) for k, v in TARGET.items()]))
