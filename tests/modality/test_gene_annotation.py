from pathlib import Path

import polars as pl
import pytest

from equipoise.cohort.frozen import freeze
from equipoise.contract.errors import UserError
from equipoise.modality.gene_annotation import gene_annotation
from equipoise.modality.genotype import Genotype
from equipoise.testing.cohorts import tiny_draft

KNOWN = pl.Series([f"rs{i}" for i in range(8)])
KEPT = pl.Series(["rs3", "rs1", "rs6"])


def _file(folder: Path, text: str) -> Path:
    path = folder / "genes.csv"
    path.write_text(text)
    return path


def test_pairs_name_the_view_s_variants_by_number_once(tmp_path: Path) -> None:
    path = _file(tmp_path, "gene,variant_id,pathway\nb,rs1,p\na,rs3,p\na,rs3,p\na,rs3,q\na,rs6,\nc,rs2,p\n,rs1,p\n")
    found = gene_annotation(path, KNOWN, KEPT, 1.0)
    assert found.rows() == [(0, "a", "p"), (0, "a", "q"), (2, "a", None), (1, "b", "p")]
    assert gene_annotation(_file(tmp_path, "gene\tvariant_id\nb\trs1\n"), KNOWN, KEPT, 1.0).rows() == [(1, "b", None)]


@pytest.mark.parametrize(
    ("text", "share", "said"),
    [
        ("variant_id,gene\nrs1,a\nrs98,a\nrs99,a\n", 0.5, "1 of the file's 3 annotated variants are among the cohort's 8"),
        ("variant_id,gene\nrs98,a\n", 0.0, "0 of the file's 1 annotated variants"),
        ("variant_id,gene\nrs2,a\n", 0.5, "no variant that the view keeps"),
        ("variant,gene\nrs1,a\n", 0.5, "no column 'variant_id'"),
    ],
)
def test_a_file_of_other_variants_is_refused_with_counts(text: str, share: float, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        gene_annotation(_file(tmp_path, text), KNOWN, KEPT, share)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*nowhere\.csv"):
        gene_annotation(tmp_path / "nowhere.csv", KNOWN, KEPT, 0.5)


def test_the_view_keeps_its_genes_without_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "variant_id,gene,pathway\nrs1,a,p\nrs2,b,\n")
    asked = {"evidence": "genotype", "min_maf": 0.0, "screen": None, "landmarks": 0, "genes": str(path), "scores": None, "components": 0, "min_found": 0.5}
    cohort = freeze(tiny_draft(n=60, seed=4), tmp_path / "cohort", "cohort", {})
    view = Genotype(**asked)
    view.fit(cohort, cohort.rows_in("train"))
    assert view.spec.genes.rows() == [(1, "a", "p"), (2, "b", None)]
    path.unlink()
    other = Genotype(**asked)
    other.load_state(view.state())
    assert other.spec.genes.equals(view.spec.genes)
