"""Genotypes from a PLINK 1 fileset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.evidence import Asked, Delivery, EvidenceSource
from equipoise.cohort.ids import canonical_ids, join_counts, no_duplicates
from equipoise.contract.errors import UserError

_MAGIC = b"\x6c\x1b\x01"
_SAMPLE_MAJOR = b"\x6c\x1b\x00"
BLOCK_BYTES = 64_000_000
"""Hard calls held at once, one byte each: with 500,000 people, 128 variants."""

# copies of the counted allele -> PLINK's 2-bit code; indexed by the unsigned byte, so that pgenlib's -9 (missing) is 247
_CODE = np.full(256, 1, np.uint8)
_CODE[[0, 1, 2]] = (3, 2, 0)


@dataclass(frozen=True, kw_only=True)
class Plink(EvidenceSource):
    """Hard calls of ``path``.bed, .bim and .fam. The counted allele is the .bim's fifth column (PLINK's A1).

    Args:
        path: the three files' common prefix.
        chromosomes: names of the chromosomes to read, as the .bim spells them; null reads all.
        id: "iid" joins by the .fam's second column, "fid_iid" by ``FID_IID``.

    Source: PLINK 1 binary format (cog-genomics.org/plink/1.9/formats).
    """

    genotypes: ClassVar[bool] = True

    path: str
    chromosomes: Sequence[str] | None = None
    id: str = "iid"

    def inputs(self) -> dict[str, Path]:
        return {Path(self.path).name + end: self._file(end) for end in (".bed", ".bim", ".fam")}

    def _file(self, end: str) -> Path:
        prefix = Path(self.path).expanduser()
        return prefix.with_name(prefix.name + end)

    def read(self, asked: Asked) -> Delivery:
        variants = self._variants()
        people = self._people(asked.id_type)
        self._check_bed(variants.height, people.len())
        counts: dict[str, Any] = {"ids": join_counts(asked.subject_id, people, f"fileset {self.path}")}
        here = people.is_in(asked.subject_id.unique().implode()).to_numpy()
        line = np.full(people.len(), -1, np.int64)
        line[here] = np.arange(int(here.sum()))
        place = pl.DataFrame({"id": people, "line": line})
        index = pl.DataFrame({"id": asked.subject_id}).join(place, on="id", how="left", maintain_order="left")["line"].fill_null(-1).to_numpy()
        chosen = self._chosen(variants)
        packed, missing = _transposed(self._file(".bed"), people.len(), np.flatnonzero(here), chosen, variants.height)
        calls = max(packed.shape[0] * chosen.size, 1)
        counts["genotypes"] = {"variants": int(chosen.size), "people": packed.shape[0], "missing_calls_share": missing / calls}
        repeated = chosen.size - variants[chosen]["variant_id"].n_unique()
        notes = [f"{repeated} variant ids stand more than once in the .bim"] if repeated else []
        return Delivery(GenotypeStore(packed, index, variants[chosen]), index >= 0, counts, notes)

    def _variants(self) -> pl.DataFrame:
        lines = _fields(self._file(".bim"), "chromosome, id, centimorgans, position, allele 1, allele 2")
        position = pl.Series([line[3] for line in lines]).cast(pl.Int64, strict=False)
        if position.null_count():
            bad = int(position.is_null().arg_max() or 0) + 1
            raise UserError(f"Line {bad} of {self._file('.bim')} has no whole number as position", found=lines[bad - 1][3], mend="repair the file")
        names = {"chromosome": 0, "variant_id": 1, "counted_allele": 4, "other_allele": 5}
        table = pl.DataFrame({name: [line[i] for line in lines] for name, i in names.items()}, schema=dict.fromkeys(names, pl.String))
        return table.with_columns(position.alias("position")).select("chromosome", "variant_id", "position", "counted_allele", "other_allele")

    def _people(self, id_type: str) -> pl.Series:
        path = self._file(".fam")
        lines = _fields(path, "family, individual, father, mother, sex, phenotype")
        if self.id not in ("iid", "fid_iid"):
            raise UserError(f"Plink's id is {self.id!r}", expected="iid or fid_iid", mend="correct the key `id`")
        raw = pl.Series([line[1] if self.id == "iid" else f"{line[0]}_{line[1]}" for line in lines], dtype=pl.String)
        ids = canonical_ids(raw, id_type, f"Individuals of {path}")
        no_duplicates(ids, f"File {path}", "remove repeated samples, or set id: fid_iid where ids repeat between families")
        return ids

    def _check_bed(self, n_variants: int, n_people: int) -> None:
        path = self._file(".bed")
        with path.open("rb") as f:
            magic = f.read(3)
        if magic == _SAMPLE_MAJOR:
            raise UserError(f"File {path} is in PLINK's old sample-major order", expected="variant-major order", mend="rewrite it: plink2 --bfile X --make-bed")
        if magic != _MAGIC:
            raise UserError(f"File {path} is no PLINK 1 .bed file", expected="first bytes 6c 1b 01", found=magic.hex(" ") or "an empty file", mend="replace it")
        size, expected = path.stat().st_size, 3 + n_variants * -(-n_people // 4)
        if size != expected:
            raise UserError(
                f"File {path} is {'truncated' if size < expected else 'too long'}, or belongs to another .bim or .fam",
                expected=f"{expected} bytes for {n_variants} variants of {n_people} people",
                found=f"{size} bytes",
                mend="copy the three files again",
            )

    def _chosen(self, variants: pl.DataFrame) -> np.ndarray:
        if self.chromosomes is None:
            return np.arange(variants.height)
        wanted = [str(c) for c in self.chromosomes]
        chosen = np.flatnonzero(variants["chromosome"].is_in(wanted).to_numpy())
        if not chosen.size:
            known = variants["chromosome"].unique(maintain_order=True).to_list()
            raise UserError(f"No variant of {self.path} lies on {', '.join(wanted)}", expected=f"some of {', '.join(known[:30])}", mend="correct `chromosomes`")
        return chosen


def _fields(path: Path, what: str) -> list[list[str]]:
    """The six fields of every line of a .bim or .fam."""
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    except UnicodeDecodeError as e:
        raise UserError(f"File {path} is no text", mend="replace it") from e
    for number, line in enumerate(lines, 1):
        if len(line) != 6:
            raise UserError(f"Line {number} of {path} has {len(line)} fields", expected=f"6: {what}", mend="repair the file")
    if not lines:
        raise UserError(f"File {path} is empty", expected=what, mend="replace it")
    return lines


def _transposed(bed: Path, n_people: int, people: np.ndarray, variants: np.ndarray, n_variants: int) -> tuple[np.ndarray, int]:
    """Calls of these people and variants, sample-major u8 (G, ceil(V/4)), and the number of missing ones; a block of variants at a time."""
    from pgenlib import PgenReader

    packed = np.zeros((people.size, -(-variants.size // 4)), np.uint8)
    missing = 0
    if not packed.size:
        return packed, missing
    step = max(4, BLOCK_BYTES // people.size // 4 * 4)
    subset = None if people.size == n_people else people.astype(np.uint32)
    with PgenReader(str(bed).encode(), raw_sample_ct=n_people, variant_ct=n_variants, sample_subset=subset) as reader:
        for first in range(0, variants.size, step):
            block = variants[first : first + step].astype(np.uint32)
            calls = np.empty((block.size, people.size), np.int8)
            reader.read_list(block, calls)
            code = _CODE[calls.view(np.uint8)]
            missing += int((code == 1).sum())
            padded = np.zeros((-(-block.size // 4) * 4, people.size), np.uint8)
            padded[: block.size] = code
            quad = padded[0::4] | padded[1::4] << 2 | padded[2::4] << 4 | padded[3::4] << 6
            packed[:, first // 4 : first // 4 + quad.shape[0]] = quad.T
    return packed, missing
