"""PLINK 1 filesets: written bit by bit here, read by the source, compared with the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort.written_sources import write_plink
from equipoise.cohort import plink
from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.evidence import Asked
from equipoise.cohort.plink import Plink
from equipoise.contract.errors import UserError
from equipoise.contract.tables import TIME


def asked(ids: list[str], id_type: str = "str") -> Asked:
    return Asked(pl.Series(ids, dtype=pl.String), pl.Series([None] * len(ids), dtype=TIME), id_type)


def decoded(store: GenotypeStore) -> np.ndarray:
    """Copies of the counted allele by person and variant, -1 missing, as `contract.tensors.Genotypes` defines the code."""
    n_variants = store.variants.height
    code = (store.packed[:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    return np.array([2, -1, 1, 0])[code.reshape(store.packed.shape[0], -1)[:, :n_variants]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 23), st.integers(1, 21), st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_a_fileset_comes_back_as_it_was_written(tmp_path: Path, n_people: int, n_variants: int, seed: int, block_bytes: int) -> None:
    rng = np.random.default_rng(seed)
    copies = rng.integers(-1, 3, (n_people, n_variants))
    ids = [f"P{i}" for i in range(n_people)]
    write_plink(tmp_path / "g", copies, ids)
    rows = rng.integers(0, n_people + 2, 30)
    rows[0] = 0
    names = [f"P{i}" for i in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plink, "BLOCK_BYTES", block_bytes)  # many blocks, however few the variants
        delivery = Plink(path=str(tmp_path / "g")).read(asked(names))
    store = delivery.store
    assert isinstance(store, GenotypeStore)
    assert store.packed.shape == (np.unique(rows[rows < n_people]).size, -(-n_variants // 4))
    assert (delivery.present == (rows < n_people)).all()
    here = rows < n_people
    assert (decoded(store)[store.index[here]] == copies[rows[here]]).all()
    people = np.unique(rows[here])
    assert delivery.counts["genotypes"]["missing_calls_share"] == pytest.approx((copies[people] == -1).mean())


def test_the_counted_allele_is_the_fifth_bim_column(tmp_path: Path) -> None:
    write_plink(tmp_path / "g", np.array([[2, 0]]), ["a"])
    store = Plink(path=str(tmp_path / "g")).read(asked(["a"])).store
    assert isinstance(store, GenotypeStore)
    assert store.variants.row(1, named=True) == {"chromosome": "2", "variant_id": "rs1", "position": 101, "counted_allele": "A", "other_allele": "G"}
    assert decoded(store).tolist() == [[2, 0]]


def test_chromosomes_are_chosen_by_name(tmp_path: Path) -> None:
    copies = np.random.default_rng(0).integers(0, 3, (9, 20))
    write_plink(tmp_path / "g", copies, [f"P{i}" for i in range(9)])
    store = Plink(path=str(tmp_path / "g"), chromosomes=["3", "1"]).read(asked([f"P{i}" for i in range(9)])).store
    assert isinstance(store, GenotypeStore)
    chosen = [v for v in range(20) if v % 3 != 1]
    assert store.variants["variant_id"].to_list() == [f"rs{v}" for v in chosen]
    assert (decoded(store) == copies[:, chosen]).all()
    with pytest.raises(UserError, match=r"No variant .* lies on X.*some of 1, 2, 3"):
        Plink(path=str(tmp_path / "g"), chromosomes=["X"]).read(asked(["P0"]))


def test_memory_does_not_grow_with_the_number_of_variants(tmp_path: Path) -> None:
    import tracemalloc

    n_people, n_variants = 400, 4000
    rng = np.random.default_rng(0)
    body = rng.integers(0, 256, n_variants * n_people // 4, dtype=np.uint8).tobytes()
    (tmp_path / "g.bed").write_bytes(b"\x6c\x1b\x01" + body)
    (tmp_path / "g.bim").write_text("".join(f"1 rs{v} 0 {v} A G\n" for v in range(n_variants)))
    (tmp_path / "g.fam").write_text("".join(f"0 P{i} 0 0 0 -9\n" for i in range(n_people)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plink, "BLOCK_BYTES", 20_000)
        tracemalloc.start()
        packed, _ = plink._transposed(tmp_path / "g.bed", n_people, np.arange(n_people), np.arange(n_variants), n_variants)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert packed.nbytes == n_people * n_variants // 4
    assert peak < packed.nbytes + 12 * 20_000


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.with_suffix(".bed").write_bytes(p.with_suffix(".bed").read_bytes()[:-1]), r"g\.bed is truncated.*Expected: 18 bytes.*Found: 17 bytes"),
        (lambda p: p.with_suffix(".bed").write_bytes(p.with_suffix(".bed").read_bytes() + b"\0"), r"g\.bed is too long"),
        (lambda p: p.with_suffix(".bed").write_bytes(b"\x6c\x1b\x00" + bytes(15)), r"g\.bed is in PLINK's old sample-major order.*plink2"),
        (lambda p: p.with_suffix(".bed").write_bytes(b"GZIP" + bytes(14)), r"g\.bed is no PLINK 1 \.bed file.*47 5a 49"),
        (lambda p: p.with_suffix(".bed").write_bytes(b""), r"g\.bed is no PLINK 1 \.bed file.*an empty file"),
        (lambda p: p.with_suffix(".bim").write_text(p.with_suffix(".bim").read_text() + "1 rsX 0 9 A G\n"), r"g\.bed is truncated, or belongs to another"),
        (lambda p: p.with_suffix(".bim").write_text("1 rs0 0 1 A\n"), r"Line 1 of .*g\.bim has 5 fields"),
        (lambda p: p.with_suffix(".bim").write_text("1 rs0 0 here A G\n"), r"Line 1 of .*g\.bim has no whole number as position"),
        (lambda p: p.with_suffix(".fam").write_text("F P0 0 0 0 -9\n" * 9), r"g\.fam has 1 subjects on more than one line.*'P0'"),
        (lambda p: p.with_suffix(".fam").write_text(""), r"g\.fam is empty"),
    ],
)
def test_a_damaged_fileset_is_refused_by_name(tmp_path: Path, damage: object, message: str) -> None:
    write_plink(tmp_path / "g", np.ones((9, 5), int), [f"P{i}" for i in range(9)])
    damage(tmp_path / "g")  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        Plink(path=str(tmp_path / "g")).read(asked(["P0"]))


def test_ids_that_repeat_between_families_can_be_joined_with_the_family(tmp_path: Path) -> None:
    write_plink(tmp_path / "g", np.array([[0], [2]]), ["x", "x"])
    (tmp_path / "g.fam").write_text("A x 0 0 0 -9\nB x 0 0 0 -9\n")
    store = Plink(path=str(tmp_path / "g"), id="fid_iid").read(asked(["B_x"])).store
    assert isinstance(store, GenotypeStore)
    assert decoded(store).tolist() == [[2]]
