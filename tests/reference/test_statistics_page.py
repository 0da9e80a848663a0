"""docs/statistics.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def test_every_test_and_function_named_on_the_statistics_page_exists() -> None:
    page = (TOP / "docs" / "statistics.md").read_text()
    there = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 20
    assert {t for t in named if f"def {t}(" not in there} == set()
    assert {p for p in re.findall(r"`(tests/[\w/]+(?:\.py)?)/?`", page) if not (TOP / p).exists()} == set()
    for module, function in re.findall(r"^\| `(\w+)\.(\w+)`", page, re.MULTILINE):
        source = TOP / "src" / "equipoise" / "stats" / f"{module}.py"
        assert f"def {function}(" in source.read_text(), f"{module}.{function}"
