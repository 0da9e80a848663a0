"""`equipoise plan`: what is asked, refused, printed and written."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from equipoise.cli import main
from equipoise.config.help import first_comment, groups, help_text, plan_kinds
from equipoise.contract.errors import UserError
from equipoise.places import configs_dir
from equipoise.plan import made_of
from equipoise.plan.kinds import KINDS
from equipoise.plan.page import page
from equipoise.plan.printed import command
from equipoise.plan.settings import MISSING, read
from equipoise.plan.spirit_ai import TO_WRITE
from equipoise.plan.spirit_items import SECTIONS

EXAMPLES = {
    "development_binary": "parameters=24 prevalence=0.174 cox_snell_r2=0.288",
    "development_continuous": "parameters=25 r2=0.2 mean=1.9 sd=0.6",
    "development_time_to_event": "parameters=30 cox_snell_r2=0.051 rate_per_year=0.065 mean_follow_up_years=2.07 horizon_years=2",
    "validation_binary": "prevalence=0.3 c_statistic=0.75 threshold=0.2",
    "validation_continuous": "r2=0.5 sd=10 mean_width=2",
    "validation_time_to_event": "risk=0.2 horizon_years=5 lp_sd=0.8",
    "parallel": "control=0.4 treated=0.3 lost=0.1",
    "parallel_time_to_event": "control_risk=0.3 horizon_years=2 hazard_ratio=0.7 accrual_years=1.5 follow_up_years=2",
    "cluster": "control=0.4 treated=0.3 size=30 icc=0.02 cv=0.4",
    "stepped_wedge": "control=0.4 treated=0.33 steps=4 size=20 icc=0.05",
    "group_sequential": "control=10 treated=12 sd=6 boundary=pocock_spending information=[0.5,0.8,1]",
}
TRIALS = ("parallel", "parallel_time_to_event", "cluster", "stepped_wedge", "group_sequential")


def test_every_kind_has_its_yaml_its_function_and_its_ranges() -> None:
    assert set(plan_kinds()) == set(KINDS) == set(EXAMPLES)
    for kind, made in KINDS.items():
        settings, meaning = read(kind)
        keywords = inspect.signature(made.make).parameters
        assert list(settings) == list(meaning), f"a key of {kind} has no comment"
        assert set(settings) == set(keywords) == set(made.allowed)
        assert all(p.default is p.empty for p in keywords.values()), "defaults stand in the yaml"
        assert all(made.allowed[key].holds(value) for key, value in settings.items() if value != MISSING)


def test_a_kind_is_no_group_of_a_run_and_stands_in_the_help() -> None:
    assert "plan" not in groups()
    text = help_text()
    for path in (configs_dir() / "plan").glob("*.yaml"):
        assert 10 <= len(first_comment(path)) <= 160
        assert re.search(rf"^  {path.stem} +{re.escape(first_comment(path))}$", text, re.MULTILINE)


@pytest.mark.parametrize("kind", list(EXAMPLES))
def test_every_kind_prints_its_answer_and_writes_its_files(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan"
    assert main(["plan", kind, *EXAMPLES[kind].split(), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    said = json.loads((out / "plan.json").read_text())
    assert said["kind"] == kind
    assert set(said["settings"]) == set(KINDS[kind].allowed)
    assert " ".join(said["answer"].split())[:40] in " ".join(printed.split())
    html = (out / "plan.html").read_text()
    assert html.count("<svg") == 1
    assert not re.search(r"(?:src|href)=\"(?!#)", html), "the page is whole in itself"
    assert (out / "spirit_ai.md").exists() == (kind in TRIALS)


@pytest.mark.parametrize("kind", ["parallel", "group_sequential"])
def test_the_command_on_the_page_gives_the_same_page(kind: str) -> None:
    plan, settings = made_of(kind, EXAMPLES[kind].split())
    again, same = made_of(kind, command(kind, settings).split()[3:])
    meaning = read(kind)[1]
    assert page(kind, plan, settings, meaning) == page(kind, again, same, meaning)


@pytest.mark.parametrize("kind", TRIALS)
def test_the_protocol_has_every_item_and_fills_only_what_the_plan_knows(kind: str, tmp_path: Path) -> None:
    assert main(["plan", kind, *EXAMPLES[kind].split(), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "spirit_ai.md").read_text()
    parts = dict(re.findall(r"^### ([^.]+)\. [^\n]+\n\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    numbers = [number for _, items in SECTIONS for number, _ in items]
    assert list(parts) == numbers
    assert len({n.strip("abcd") for n in numbers if "AI" not in n}) == 33
    assert sum("SPIRIT-AI" in n for n in numbers) == 15
    filled = {number for number, body in parts.items() if body.strip() != TO_WRITE}
    assert filled == {"8", "12", "14", "16a", "20a", "20c", "21b"}
    assert all("To be written" in body for body in parts.values()), "no item is complete"
    assert all(number in parts["14"] for number in json.loads((tmp_path / "plan.json").read_text())["answer"].split()[:2])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a kind of study"),
        (["paralel"], "did you mean parallel"),
        (["cluster", "control=0.4", "treted=0.3"], "did you mean treated?"),
        (["cluster", "control=0.4", "treated=0.3"], "needs size=, icc="),
        (["parallel", "control=0.4", "treated=0.4"], "control and treated are equal"),
        (["parallel", "control=0.4", "treated=1.4"], "treated is no share"),
        (["parallel", "control=0.4", "treated=0.3", "power=0.01"], "power is not above alpha"),
        (["parallel", "control=0.4", "treated=0.3", "alpha=inf"], "Key alpha"),
        (["parallel", "control=0.4", "treated=0.3", "n_per_arm=20.5"], "a whole number >= 2, or null"),
        (["parallel", "control=0.4", "treated=0.3999999"], "finds no sample size"),
        (["stepped_wedge", "control=0.4", "treated=0.3", "steps=4", "size=20", "icc=0.05", "clusters=10"], "a multiple of 4"),
        (["group_sequential", "control=0.4", "treated=0.3", "information=[0.5,0.4,1]"], "rising shares"),
        (["group_sequential", "control=0.4", "treated=0.3", "boundary=obf"], "one of obrien_fleming_spending"),
        (["development_binary", "parameters=24", "prevalence=0.174"], "needs cox_snell_r2 or c_statistic"),
        (["development_binary", "parameters=24", "prevalence=0.174", "cox_snell_r2=0.7"], "cox_snell_r2 is not possible"),
        (["development_binary", "parameters=40", "prevalence=0.174", "cox_snell_r2=0.2", "absolute_error=0.05"], "at most 30 parameters"),
        (["validation_binary", "prevalence=0.3", "c_statistic=0.75", "lp_sd=1"], "go together"),
        (["parallel", "control=0.4", "treated=0.3", "--out", "a_file"], "a file of that name"),
    ],
)
def test_a_mistake_is_answered_in_one_paragraph(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert [p.name for p in tmp_path.iterdir()] == ["a_file"], "a mistake leaves nothing behind"


def test_a_given_number_has_its_power_and_the_planned_one_is_the_least() -> None:
    plan, _ = made_of("cluster", EXAMPLES["cluster"].split())
    k = plan.numbers["clusters_per_arm"]
    assert plan.numbers["power"] >= 0.9
    fewer, _ = made_of("cluster", [*EXAMPLES["cluster"].split(), f"clusters_per_arm={k - 1}"])
    assert fewer.numbers["power"] < 0.9


def test_a_harder_question_needs_more_people() -> None:
    def n(kind: str, more: str = "") -> float:
        found = made_of(kind, [*EXAMPLES[kind].split(), *more.split()])[0].numbers
        return float(found.get("n") or found.get("recruited") or found.get("people"))

    harder = {
        "development_binary": "parameters=40",
        "development_continuous": "shrinkage=0.95",
        "development_time_to_event": "parameters=50",
        "validation_binary": "slope_width=0.1",
        "validation_continuous": "mean_width=0.5",
        "validation_time_to_event": "lost_per_year=0.1",
        "parallel": "lost=0.2",
        "parallel_time_to_event": "lost_per_year=0.1",
        "cluster": "icc=0.05",
        "stepped_wedge": "cac=0.8",
        "group_sequential": "power=0.95",
    }
    for kind, more in harder.items():
        assert n(kind, more) > n(kind), kind


def test_a_c_statistic_serves_where_no_r2_was_reported() -> None:
    plan, _ = made_of("development_binary", ["parameters=24", "prevalence=0.174", "c_statistic=0.89"])
    assert plan.numbers["cox_snell_r2"] == pytest.approx(0.291, abs=0.001)


def test_log_odds_that_contradict_the_prevalence_are_named() -> None:
    words = ["prevalence=0.5", "c_statistic=0.8", "lp_mean=-5", "lp_sd=2.5"]
    assert any("one is wrong" in line for line in made_of("validation_binary", words)[0].assumes)


def test_a_look_too_early_to_spend_anything_has_no_bound() -> None:
    plan, _ = made_of("group_sequential", ["control=0.4", "treated=0.3", "information=[0.02,0.5,1]"])
    assert plan.tables[0].rows[0][3] == "none"
    assert sum(plan.numbers["stops_null"]) == pytest.approx(0.025, abs=1e-9)


def test_a_plan_is_light() -> None:
    words = ["plan", "parallel", *EXAMPLES["parallel"].split()]
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "equipoise", *words], capture_output=True, text=True, check=True)
    assert not re.search(r"\b(torch|hydra|omegaconf|polars|matplotlib|sklearn)\b", done.stderr)


def test_an_unreadable_value_is_a_word_and_refused() -> None:
    with pytest.raises(UserError, match="Key control"):
        made_of("parallel", ["control={", "treated=0.3"])


def test_the_yaml_gives_numbers_as_numbers() -> None:
    for path in (configs_dir() / "plan").glob("*.yaml"):
        values = yaml.safe_load(path.read_text()).values()
        assert not [v for v in values if isinstance(v, str) and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", v, re.IGNORECASE)], path
