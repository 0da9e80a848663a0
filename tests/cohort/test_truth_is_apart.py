"""The house law of the truth: no room that makes, trains, predicts or judges may read it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "equipoise"
MAY_KNOW = ("cohort/synthetic.py", "cohort/generator/", "testing/")
MAY_PASS = {  # who hands the generator the folder to write to, and names it for that
    "cohort/build.py",
    "cohort/source.py",
    "run.py",
}
PLANTS = ("rehearse/", "report/rehearsal.py")
"""A rehearsal plants a truth of its own on twins (`rehearse.truth`); like everybody else it reads nothing of the generator's."""
FILES = ("truth.json", "best_risk", "best_risk_error")
MODULES = sorted(p.relative_to(SRC).as_posix() for p in SRC.rglob("*.py"))
APART = [m for m in MODULES if not m.startswith(MAY_KNOW)]


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found


def words(tree: ast.AST) -> set[str]:
    """Names, attributes and string constants, docstrings left out."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            found.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            found.add(node.value)
    return found


def readers(source: str) -> list[str]:
    """Why this module could read the truth; empty when it could not."""
    tree = ast.parse(source)
    out = [f"imports {m}" for m in imports(tree) if m.startswith(("equipoise.testing", "equipoise.cohort.generator"))]
    return out + [f"names {w!r}" for w in words(tree) if any(f in w for f in FILES)]


@pytest.mark.parametrize("module", APART)
def test_no_module_outside_generator_and_testing_can_read_the_truth(module: str) -> None:
    source = (SRC / module).read_text()
    assert not readers(source)
    if module not in MAY_PASS and not module.startswith(("config/", *PLANTS)):
        assert not {w for w in words(ast.parse(source)) if w in ("truth", "truth_dir", "paths.truth")}, "only the builder is told where the truth lies"


def test_the_builder_passes_the_folder_on_and_opens_nothing_in_it() -> None:
    tree = ast.parse((SRC / "cohort/build.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in ("open", "read_parquet", "read_text", "read_bytes", "load", "open_cohort"):
            assert "truth" not in ast.unparse(call)


def test_the_law_catches_a_reader() -> None:
    assert readers("from equipoise.testing.truth import Truth")
    assert readers("from equipoise.cohort.generator import truth")
    assert readers("import polars as pl\npl.read_parquet(folder / 'best_risk.parquet')")
    assert not readers('"""About truth.json."""\nimport polars')


def test_the_law_covers_every_room() -> None:
    assert {m.split("/")[0] for m in APART} >= {
        "modality",
        "encoder",
        "fusion",
        "head",
        "task",
        "learner",
        "comparator",
        "trial",
        "report",
        "predict.py",
        "run.py",
    }
