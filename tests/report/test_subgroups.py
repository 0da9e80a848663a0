"""The page's section on subgroups says what the results say; small groups show nothing."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.report import write_report
from trial.simulated_predictions import binary, judged, protocol


def test_the_page_and_the_csv_show_every_group_and_hide_small_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    number = pl.col("subject_id").str.slice(1).cast(pl.Int64)
    made = binary(600, 2, equipoise=0.3, linear=1.0).with_columns(site=pl.when(number < 4).then(pl.lit("tiny")).otherwise(pl.format("site {}", number % 3)))
    results = judged(made, protocol=protocol(subgroups=["site"]))
    write_report(tmp_path, results, {})
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    html = (tmp_path / "report.html").read_text()
    section = html[html.index('id="subgroups"') :]
    section = section[: section.index("</section>")]
    groups = results["subgroups"]["site"]["groups"]
    assert section.count("<svg") == 1
    assert "Not shown (fewer than 10): tiny." in section
    assert "Not shown (a smaller group could be found from the total): site " in section
    assert "cannot all be equal" in section
    lines = list(csv.DictReader(io.StringIO((tmp_path / "tables" / "subgroups.csv").read_text())))
    hidden = [line for line in lines if line["note"] and not line["kind"]]
    assert {line["group"] for line in hidden} == {g for g, e in groups.items() if "suppressed" in e}
    assert all(not line["rows"] and not line["value"] for line in hidden)
    shown = next(g for g, e in groups.items() if "suppressed" not in e)
    value = groups[shown]["endpoints"]["auroc"]["value"]
    assert f'value="{value!r}"' in section
    found = next(line for line in lines if line["group"] == shown and line["metric"] == "auroc" and line["kind"] == "endpoint")
    assert np.float64(found["value"]) == value


def test_without_subgroups_there_is_no_section_and_no_file(tmp_path: Path) -> None:
    write_report(tmp_path, judged(binary(200, 2, equipoise=0.3, linear=1.0)), {})
    assert 'id="subgroups"' not in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "tables" / "subgroups.csv").exists()
