"""Builds a cohort once, under a lock, and opens it ever after."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from equipoise.cohort.draft import Draft
from equipoise.cohort.frozen import FORMAT, Cohort, freeze, open_cohort
from equipoise.cohort.source import Source
from equipoise.contract.errors import UserError

REVISION = 1
"""Raised whenever the same sources would give another draft, so that old cohorts are not taken for new ones."""

log = logging.getLogger(__name__)


def cohort_hash(fingerprint: dict[str, Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of format, revision and fingerprint in canonical JSON.

    >>> cohort_hash({"a": 1, "b": 2}) == cohort_hash({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps({"format": FORMAT, "revision": REVISION, "fingerprint": fingerprint}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def build_cohort(source: Source, cohorts_dir: Path, *, truth_dir: Path | None = None) -> Cohort:
    """Opens the cohort of this source, after building it if it is not there.

    Several jobs may call at once: one builds, the others wait and open. A killed build leaves nothing that looks like a cohort.

    Args:
        source: where the cohort comes from.
        cohorts_dir: holds one folder a cohort, named by its hash; made when absent.
        truth_dir: where a generator writes what only it knows, in a folder of the same name; None when it need not.

    Raises:
        UserError: an input is wrong; the cohort on disk is damaged (naming the file); or the inputs changed while they were read.
    """
    fingerprint = source.fingerprint()
    name = cohort_hash(fingerprint)
    folder = cohorts_dir / name
    knows_truth = type(source).write_truth is not Source.write_truth
    truth = truth_dir / name if truth_dir is not None and knows_truth else None
    built = False
    if not folder.exists() or (truth is not None and not truth.exists()):
        with _lock(cohorts_dir, name):
            # Looked at again: another job may have built it while this one waited.
            draft = None if folder.exists() else _draft(source, fingerprint)
            if truth is not None and (draft is not None or not truth.exists()):
                _write_truth(source, truth)
            if draft is not None:
                _remove_leftovers(folder)
                freeze(draft, folder, name, fingerprint)
                built = True
    cohort = open_cohort(folder, verify=not built)
    if cohort.hash != name:
        raise UserError(f"Cohort folder {folder} holds cohort {cohort.hash}", expected=f"cohort {name}", mend="delete the folder and build the cohort again")
    if not built:  # the source has said them otherwise
        for note in cohort.notes:
            log.warning("%s", note)
    log.info("cohort %s: %d rows, %d subjects, roles %s", name, cohort.size, cohort.manifest["n_subjects"], cohort.manifest["roles"])
    return cohort


def _draft(source: Source, fingerprint: dict[str, Any]) -> Draft:
    started = time.perf_counter()
    draft = source.draft()
    if source.fingerprint() != fingerprint:
        raise UserError("The cohort's input files changed while they were read", mend="wait until they are written, and build again")
    _check_clusters(draft)
    for line in draft.flow:
        note = f" ({line['note']})" if line.get("note") else ""
        log.info("flow: %s: %d rows, %d subjects%s", line["step"], line["n_rows"], line["n_subjects"], note)
    log.info("cohort drafted in %.1f s", time.perf_counter() - started)
    return draft


def _check_clusters(draft: Draft) -> None:
    """The law by which dividing whole clusters divides whole subjects, whatever the source."""
    several = draft.rows.group_by("subject_id").agg(pl.col("cluster").n_unique() > 1)["cluster"].sum()
    if several:
        raise UserError(
            f"{several} subjects have rows in more than one cluster",
            expected="all rows of a subject in one cluster: a division by cluster would put them into two roles",
            mend="let the source join such clusters (equipoise.cohort.clusters.join_subjects)",
        )


def _write_truth(source: Source, folder: Path) -> None:
    """The truth appears whole or not at all, and before the cohort that it belongs to."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"The truth cannot be written to {folder.parent}", found=str(e), mend="set paths.truth to a folder that you may write to") from e
    _remove_leftovers(folder)
    work = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        source.write_truth(work)
        if work.exists():
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _remove_leftovers(folder: Path) -> None:
    """Half-written folders of builds that were killed; whoever holds the lock is the only builder."""
    for part in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _lock(cohorts_dir: Path, name: str) -> Iterator[None]:
    """One builder at a time. The kernel drops the lock when its process ends, however it ends, so a lock is never stale."""
    try:
        cohorts_dir.mkdir(parents=True, exist_ok=True)
        held = (cohorts_dir / f".{name}.lock").open("a")
    except OSError as e:
        raise UserError(f"Cohorts cannot be written to {cohorts_dir}", found=str(e), mend="set paths.cohorts to a folder that you may write to") from e
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("cohort %s is being built by another job; waiting for it", name)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
