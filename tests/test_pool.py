"""``equipoise pool``: files in, pool.json and a page out; what does not fit together is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from equipoise.cli import main
from equipoise.contract.errors import UserError
from equipoise.pool import pool, pooled
from trial.simulated_predictions import protocol
from trial.simulated_sites import summary


@pytest.fixture(scope="module")
def sent() -> list[dict[str, Any]]:
    return [summary(seed, 400 + 100 * seed) for seed in range(3)] + [summary(9, 30)]


def copy(made: dict[str, Any], **over: Any) -> dict[str, Any]:
    return json.loads(json.dumps(made)) | over


def test_the_command_writes_results_and_a_page_and_prints_the_table(sent: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for made in sent:
        files.append(tmp_path / f"{made['site'].replace(' ', '_')}.json")
        files[-1].write_text(json.dumps(made))
    assert main(["pool", *map(str, files), "--out", str(tmp_path / "all")]) == 0
    said = capsys.readouterr().out
    assert "Calibration slope" in said
    assert "3 sites are few" in said
    assert "Pooled verdict:" in said
    results = json.loads((tmp_path / "all" / "pool.json").read_text())
    page = (tmp_path / "all" / "pool.html").read_text()
    question = results["questions"]["risk"]
    assert question["n"]["sites"] == 3
    assert question["n"]["people"] == 400 + 500 + 600
    assert len(results["sites"]) == 4
    for part in (
        "hospital 0",
        "New hospital",
        "not known",
        "population-weighted",
        "fewer than 10 people",
        "prediction interval",
    ):
        assert part in page
    assert f'value="{question["endpoints"]["equipoise"]["auroc"]["value"]!r}"' in page
    assert "<script" not in page
    assert "src=" not in page
    assert page.count('class="drawing"') == 4


def test_sites_that_do_not_fit_are_refused(sent: list[dict[str, Any]]) -> None:
    other_protocol = summary(5, own=protocol(n_bootstrap=100, threshold=0.2))
    other_target = summary(5, target="stroke")
    other_task = copy(sent[1])
    other_task["questions"] = {"other": other_task["questions"]["risk"]}
    cases = [
        ([sent[0]], "one site"),
        ([], "no site"),
        ([sent[0], other_protocol], "different protocols"),
        ([sent[0], other_target], "not the same"),
        ([sent[0], other_task], "different questions"),
        ([sent[0], copy(sent[1], site=sent[0]["site"])], "both of site"),
        ([sent[0], copy(sent[0], site="another")], "the same numbers"),
        ([copy(sent[0], fitted="a"), copy(sent[1], fitted="b")], "different fitted models"),
        ([sent[0], sent[3]], "Fewer than two sites send"),
    ]
    for summaries, why in cases:
        with pytest.raises(UserError, match=why):
            pooled(summaries, [f"{i}.json" for i in range(len(summaries))])
    with pytest.raises(UserError, match=r"threshold: 0\.1 and 0\.2"):
        pooled([sent[0], other_protocol], ["a.json", "b.json"])


def test_files_that_are_no_summaries_are_refused(sent: list[dict[str, Any]], tmp_path: Path) -> None:
    changed = copy(sent[1])
    changed["protocol"]["threshold"] = 0.3
    wrong = {"text.json": "{", "results.json": '{"endpoints": {}}', "old.json": json.dumps(copy(sent[1], schema=0)), "changed.json": json.dumps(changed)}
    whys = ("cannot be read", "no site summary", "another form", "does not have the hash")
    good = tmp_path / "good.json"
    good.write_text(json.dumps(sent[0]))
    for (name, text), why in zip(wrong.items(), whys, strict=True):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=why):
            pool([str(good), str(tmp_path / name)])
    with pytest.raises(UserError, match="There is no site summary"):
        pool([str(good), str(tmp_path / "nowhere.json")])


def test_sites_that_name_one_fitted_model_are_said_to_share_it(sent: list[dict[str, Any]]) -> None:
    assert pooled([copy(s, fitted="abc") for s in sent[:3]], ["a", "b", "c"])["same_fitted_model"] is True
    assert pooled(sent[:3], ["a", "b", "c"])["same_fitted_model"] is None
