"""The cohort on disk: immutable, memory-mapped, with a manifest that names every array and its hash."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.draft import Column, ColumnStore, Draft, EventStore, GenotypeStore, Store, TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tables import FOLDS, ROLES, ROWS, TARGET

FORMAT = 1


@dataclass(frozen=True)
class Cohort:
    """A frozen cohort. Opening one reads the manifest and the rows; arrays are mapped when they are asked for.

    Args:
        folder: where it lies.
        manifest: the manifest, as written.
        rows: the lines of rows.parquet.
    """

    folder: Path
    manifest: dict[str, Any]
    rows: pl.DataFrame

    @property
    def hash(self) -> str:
        return str(self.manifest["hash"])

    @property
    def size(self) -> int:
        """Number of rows n."""
        return self.rows.height

    @property
    def evidences(self) -> tuple[str, ...]:
        return tuple(self.manifest["evidences"])

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it was read: values dropped, relatives not known; sentences without identifiers."""
        counts = self.manifest["counts"]
        of_evidence = [f"evidence {name}: {note}" for name, own in counts.get("evidence", {}).items() for note in own.get("notes", [])]
        return [*(f"clusters: {note}" for note in counts.get("notes", [])), *of_evidence]

    @cached_property
    def present(self) -> np.ndarray:
        """bool (n, M) in the order of `evidences`."""
        return self._array("present")

    def present_in(self, evidence: str) -> np.ndarray:
        """bool (n,): does each row have this evidence."""
        return self.present[:, self.evidences.index(self._known(evidence))]

    def rows_in(self, role: str) -> np.ndarray:
        """Row numbers with this role, i64, increasing."""
        if role not in ROLES:
            raise ValueError(f"unknown role {role!r}; roles are {ROLES}")
        return np.flatnonzero((self.rows["role"] == role).fill_null(False).to_numpy())

    def store(self, evidence: str) -> Store:
        """The evidence's data, memory-mapped."""
        entry = self.manifest["evidences"][self._known(evidence)]
        at = f"evidence/{evidence}/"
        match entry["kind"]:
            case "events":
                arrays = {k: self._array(at + k) for k in ("code", "value", "time_us", "start", "stop", "time_of_row_us")}
                return EventStore(codes=tuple(entry["codes"]), units=tuple(entry["units"]), **arrays)
            case "columns":
                numbers, categories = (tuple(Column(**{**c, "levels": tuple(c["levels"])}) for c in entry[k]) for k in ("numbers", "categories"))
                return ColumnStore(numbers, categories, self._array(at + "number"), self._array(at + "category"))
            case "genotypes":
                return GenotypeStore(self._array(at + "packed"), self._array(at + "index"), self._table(at + "variants"))
            case kind:
                raise UserError(f"Cohort {self.folder} has an evidence of kind {kind!r}", mend="rebuild it with this version of equipoise")

    def kind_of(self, evidence: str) -> str:
        """ "events", "columns" or "genotypes"."""
        return str(self.manifest["evidences"][self._known(evidence)]["kind"])

    def target(self, name: str) -> TargetTable:
        """The outcomes called ``name``, row-aligned."""
        if name not in self.manifest["targets"]:
            raise UserError(
                f"The cohort has no target {name!r}", expected=f"one of {sorted(self.manifest['targets'])}", mend="set task.<name>.target to one of these"
            )
        entry = self.manifest["targets"][name]
        return TargetTable(entry["kind"], self._table(f"target/{name}"), tuple(entry["classes"]), entry["unit"])

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Published scores by name, f64 (n,); comparators only."""
        return {name: self._array(f"score/{name}") for name in self.manifest["scores"]}

    @cached_property
    def folds(self) -> pl.DataFrame | None:
        return self._table("folds") if self.manifest["folds"] else None

    def _known(self, evidence: str) -> str:
        if evidence not in self.manifest["evidences"]:
            raise UserError(
                f"The cohort has no evidence {evidence!r}",
                expected=f"one of {list(self.evidences)}",
                mend="choose views of these evidences, or add the source to the cohort",
            )
        return evidence

    def _array(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as e:
            raise _damaged(path, str(e)) from e

    def _table(self, name: str) -> pl.DataFrame:
        path = self.folder / f"{name}.parquet"
        try:
            return pl.read_parquet(path)
        except Exception as e:
            raise _damaged(path, str(e)) from e


def open_cohort(folder: Path, *, verify: bool = True) -> Cohort:
    """Opens a frozen cohort.

    Args:
        folder: the cohort's folder.
        verify: compare every file with its size and SHA-256 in the manifest.

    Raises:
        UserError: there is no cohort, its format is another version's, or a file is damaged or gone.
    """
    at = folder / "manifest.json"
    try:
        manifest = json.loads(at.read_text())
    except OSError as e:
        raise UserError(f"There is no cohort at {folder}", expected="a folder with manifest.json", mend="build it with `equipoise cohort`") from e
    except ValueError as e:
        raise _damaged(at, "not JSON") from e
    if manifest.get("format") != FORMAT:
        raise UserError(f"Cohort {folder} has format {manifest.get('format')}", expected=f"format {FORMAT}", mend="delete the folder and build it again")
    if verify:
        for name, entry in manifest["files"].items():
            _check(folder / name, entry)
    return Cohort(folder, manifest, pl.read_parquet(folder / "rows.parquet"))


def freeze(draft: Draft, folder: Path, cohort_hash: str, config: dict[str, Any]) -> Cohort:
    """Writes a draft to ``folder`` in one step: the folder appears whole or not at all.

    Args:
        draft: a validated, joined draft.
        folder: must not exist.
        cohort_hash: hash of the config and the sources.
        config: the cohort's config, JSON-able, without paths.
    """
    work = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        manifest = {
            "format": FORMAT,
            "hash": cohort_hash,
            "config": config,
            "n_rows": draft.rows.height,
            "n_subjects": draft.rows["subject_id"].n_unique(),
            "roles": {str(k): int(v) for k, v in draft.rows.group_by("role").len().iter_rows()},
            "evidences": {name: _write_store(work, name, store) for name, store in draft.stores.items()},
            "targets": {name: {"kind": t.kind, "classes": list(t.classes), "unit": t.unit} for name, t in draft.targets.items()},
            "scores": sorted(draft.scores),
            "folds": draft.folds is not None,
            "flow": draft.flow,
            "sources": draft.sources,
            "counts": draft.counts,
        }
        _save_table(work / "rows.parquet", draft.rows.select([pl.col(k).cast(v) for k, v in ROWS.items()]))
        _save(work / "present.npy", draft.present.astype(bool))
        for name, target in draft.targets.items():
            _save_table(work / f"target/{name}.parquet", target.table.select([pl.col(k).cast(v) for k, v in TARGET.items()]))
        for name, score in draft.scores.items():
            _save(work / f"score/{name}.npy", score.astype(np.float64))
        if draft.folds is not None:
            _save_table(work / "folds.parquet", draft.folds.select([pl.col(k).cast(v) for k, v in FOLDS.items()]))
        manifest["files"] = {str(p.relative_to(work)): _entry(p) for p in sorted(work.rglob("*")) if p.is_file()}
        (work / "manifest.json").write_text(json.dumps(manifest, indent=1))
        os.replace(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return open_cohort(folder, verify=False)


def _write_store(work: Path, evidence: str, store: Store) -> dict[str, Any]:
    at = work / "evidence" / evidence
    match store:
        case EventStore():
            dtypes = {"code": np.int32, "value": np.float32, "time_us": np.int64, "start": np.int64, "stop": np.int64, "time_of_row_us": np.int64}
            for name, dtype in dtypes.items():
                _save(at / f"{name}.npy", getattr(store, name).astype(dtype))
            return {"kind": "events", "codes": list(store.codes), "units": list(store.units)}
        case ColumnStore():
            _save(at / "number.npy", store.number.astype(np.float64))
            _save(at / "category.npy", store.category.astype(np.int32))
            return {"kind": "columns", "numbers": [asdict(c) for c in store.numbers], "categories": [asdict(c) for c in store.categories]}
        case GenotypeStore():
            _save(at / "packed.npy", store.packed.astype(np.uint8))
            _save(at / "index.npy", store.index.astype(np.int64))
            _save_table(at / "variants.parquet", store.variants)
            return {"kind": "genotypes", "n_variants": store.variants.height}


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def _save_table(path: Path, table: pl.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as f:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}


def _check(path: Path, entry: dict[str, Any]) -> None:
    if not path.is_file():
        raise _damaged(path, "the file is gone")
    if path.stat().st_size != entry["bytes"]:
        raise _damaged(path, f"{path.stat().st_size} bytes, the manifest says {entry['bytes']}")
    if _entry(path)["sha256"] != entry["sha256"]:
        raise _damaged(path, "its SHA-256 differs from the manifest's")


def _damaged(path: Path, found: str) -> UserError:
    return UserError(f"Cohort file {path} is damaged", found=found, mend="delete the cohort's folder and build the cohort again; nothing else depends on it")
