"""Source files written from a known truth: a MEDS folder, a table, a PLINK fileset, labels, splits and folds of the same people."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.files import Files
from equipoise.cohort.labels import TableLabels
from equipoise.cohort.meds import Meds
from equipoise.cohort.plink import Plink
from equipoise.cohort.splits import RandomRoles
from equipoise.cohort.table import Table

T0 = datetime(2020, 1, 1)


def write_meds(folder: Path, events: list[tuple[int, float | None, str, float | None]], *, shards: int = 1, codes: pl.DataFrame | None = None) -> Path:
    """Events as (subject, hours since T0 or None, code, value); a subject's events go to one shard."""
    schema = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32}
    rows = [(s, None if h is None else T0 + timedelta(hours=h), c, v) for s, h, c, v in events]
    table = pl.DataFrame(rows, schema=schema, orient="row").sort("subject_id", "time", nulls_last=False, maintain_order=True)
    for shard in range(shards):
        at = folder / "data" / "part" / f"{shard}.parquet"
        at.parent.mkdir(parents=True, exist_ok=True)
        table.filter(pl.col("subject_id") % shards == shard).write_parquet(at)
    if codes is not None:
        (folder / "metadata").mkdir(exist_ok=True)
        codes.write_parquet(folder / "metadata" / "codes.parquet")
    return folder


def write_plink(prefix: Path, copies: np.ndarray, iid: list[str]) -> None:
    """Copies of the fifth .bim column's allele, (people, variants), -1 missing; written bit by bit, without any library."""
    n_people, n_variants = copies.shape
    code = np.select([copies == 2, copies == 1, copies == 0], [0, 2, 3], 1).astype(np.uint8)
    data = bytearray(b"\x6c\x1b\x01")
    for v in range(n_variants):
        for first in range(0, n_people, 4):
            byte = 0
            for k, c in enumerate(code[first : first + 4, v]):
                byte |= int(c) << (2 * k)
            data.append(byte)
    prefix.with_suffix(".bed").write_bytes(bytes(data))
    prefix.with_suffix(".bim").write_text("".join(f"{1 + v % 3}\trs{v}\t0\t{100 + v}\tA\tG\n" for v in range(n_variants)))
    prefix.with_suffix(".fam").write_text("".join(f"F{i // 2} {name} 0 0 0 -9\n" for i, name in enumerate(iid)))


def table_labels(path: Path, **more: Any) -> TableLabels:
    keys: dict[str, Any] = {"id": "id", "targets": {"died": {"kind": "binary", "column": "died"}}, **more}
    return TableLabels(path=str(path), **keys)


def files(evidence: dict[str, Any], labels: Any, **more: Any) -> Files:
    keys: dict[str, Any] = {
        "id_type": "str",
        "roles": RandomRoles(shares={"train": 0.5, "select": 0.1, "calibrate": 0.1, "held_out": 0.3}),
        "folds": None,
        "clusters": None,
        "relatives": None,
        "kinship": None,
        "site": None,
        "scores": {},
        "predict_only": False,
        "where": "ask the laboratory",
        **more,
    }
    return Files(evidence=evidence, labels=labels, **keys)


class World:
    """Forty people with three evidences; ids as texts for the table and PLINK, as numbers for MEDS."""

    def __init__(self, folder: Path, n: int = 40) -> None:
        rng = np.random.default_rng(5)
        self.folder, self.n = folder, n
        self.ids = [str(100 + i) for i in range(n)]
        self.age = rng.uniform(20, 90, n).round(1)
        self.copies = rng.integers(0, 3, (n, 11))
        self.copies[3, 4] = -1
        self.died = (rng.random(n) < 0.4).astype(int)
        events: list[tuple[int, float | None, str, float | None]] = []
        for i in range(n):
            events += [(100 + i, None, f"sex//{i % 2}", None)]
            events += [(100 + i, float(h), "lab//k", round(float(rng.normal(4, 0.5)), 2)) for h in rng.uniform(0, 96, 6)]
        self.meds = write_meds(folder / "meds", events, shards=2)
        pl.DataFrame({"id": self.ids, "age": self.age, "smoker": ["yes", "no"] * (n // 2)}).write_csv(folder / "clinical.csv")
        write_plink(folder / "geno", self.copies, self.ids)
        time = [(T0 + timedelta(hours=48)).isoformat()] * n
        pl.DataFrame({"id": self.ids, "when": time, "died": self.died}).write_csv(folder / "labels.csv")

    def evidence(self) -> dict[str, Any]:
        return {
            "ehr": Meds(path=str(self.meds)),
            "clinical": Table(path=str(self.folder / "clinical.csv"), id="id"),
            "genotype": Plink(path=str(self.folder / "geno")),
        }

    def source(self, **more: Any) -> Files:
        evidence = more.pop("evidence", self.evidence())
        return files(evidence, more.pop("labels", table_labels(self.folder / "labels.csv", time="when")), **more)
