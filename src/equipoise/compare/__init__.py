"""`equipoise compare`: finished runs beside one another, on the same rows. No torch, no seal is opened: these rows were opened by each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.compare.configs import differing, settings, ways_of
from equipoise.compare.folder import Run, read_runs
from equipoise.compare.printed import print_comparison
from equipoise.compare.rows import common_rows
from equipoise.contract.errors import UserError
from equipoise.record import commit, versions, write_json
from equipoise.report.comparison import write_comparison
from equipoise.trial.beside import beside
from equipoise.trial.protocol import Protocol, protocol_of

SCHEMA = 1
_ROLES = {"select": "select rows (sealed)", "held_out": "held-out rows", "cross-validation": "the rows of a cross-validation"}


def compare(names: Sequence[str], *, out: str | None) -> int:
    """Compares runs and writes ``comparison.html``, ``comparison.json`` and ``tables/`` into a folder.

    Args:
        names: folders of runs or of sweeps; what is first is what the others are compared with.
        out: where to write; None: ``comparison``.

    Returns:
        The exit code 0.

    Raises:
        UserError: the runs cannot be compared, or the folder is not free for it.
    """
    home = Path(out or "comparison").expanduser()
    _refuse_home(home)
    runs, said = read_runs(names)
    results = compared(runs, said)
    write_json(home / "comparison.json", results)
    at = write_comparison(home, results)
    print_comparison(results)
    print(f"comparison: {at}")
    return 0


def compared(runs: Sequence[Run], said: Sequence[str]) -> dict[str, Any]:
    """What comparison.json holds.

    Args:
        runs: two or more, the reference first.
        said: sentences about runs that were left out.

    Returns:
        "schema", "role", "said", "configs" (key -> way -> value), "ways" (name -> runs), "runs" (name -> facts), "questions" (`trial.beside` for
        each task that all runs answer, with task, kind, target, unit and its own "said"), "versions", "commit".
    """
    role = _one_role(runs)
    tasks, about = _tasks(runs)
    ways, on_the_way = ways_of(runs)
    if len(ways) < 2 and len(next(iter(ways.values()))) < 2:
        raise UserError("There is nothing to compare", expected="two different runs", found="; ".join(on_the_way), mend="name other runs")
    kept = [run for group in ways.values() for run in group]
    protocol, of_protocols = _protocol(kept)
    return {
        "schema": SCHEMA,
        "role": role,
        "said": [*said, *about, *on_the_way, *of_protocols, *_of_cohorts(kept)],
        "configs": differing({way: settings(group[0].config) for way, group in ways.items()}),
        "ways": {way: [run.label for run in group] for way, group in ways.items()},
        "runs": {run.label: _facts(run) for run in kept},
        "questions": [_question(ways, kept, task, protocol, role) for task in tasks],
        "versions": versions(),
        "commit": commit(),
    }


def _refuse_home(home: Path) -> None:
    above = next(p for p in (home, *home.absolute().parents) if p.exists())
    if not above.is_dir():
        raise UserError(f"Option --out names {home}, and {above} is a file", mend="give a folder")
    if any((home / name).exists() for name in ("manifest.json", "results.json", "config.yaml", "sweep.csv")):
        raise UserError(f"Option --out names {home}, the folder of a run or of a sweep", mend="give a folder of its own")


def _one_role(runs: Sequence[Run]) -> str:
    """The role of the judged rows. A run that is still sealed is not put beside an opened one: their rows are others, and their figures mean another thing."""
    by_role: dict[str, list[str]] = {}
    for run in runs:
        by_role.setdefault(run.role, []).append(run.label)
    if len(by_role) > 1:
        found = "; ".join(f"{', '.join(labels)}: {_ROLES.get(role, role)}" for role, labels in by_role.items())
        mend = "compare sealed runs with sealed ones, opened with opened ones; a sealed run is opened by running it with sealed=false in a new run_dir"
        raise UserError("The runs were not judged on rows of one role", expected="one role", found=found, mend=mend)
    return next(iter(by_role))


def _tasks(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """The questions that every run answers, with the same kind and target; and sentences about the others."""
    first = runs[0]
    common = [task for task in first.questions if all(task in run.questions for run in runs)]
    every = list(dict.fromkeys(task for run in runs for task in run.questions))
    if not common:
        found = "; ".join(f"{run.label}: {', '.join(run.questions)}" for run in runs)
        raise UserError("The runs answer different questions", expected="a task that all of them have", found=found, mend="compare runs of one task")
    for task in common:
        asked = {run.label: tuple(str(run.questions[task].get(k) or "") for k in ("kind", "target", "unit")) for run in runs}
        if len(set(asked.values())) > 1:
            found = "; ".join(f"{label}: {' '.join(k for k in about if k)}" for label, about in asked.items())
            raise UserError(
                f"Task {task!r} is not the same question in every run", expected="one kind, target and unit", found=found, mend="compare runs of one question"
            )
    return common, [f"task {task} is left out: not every run has it" for task in every if task not in common]


def _protocol(runs: Sequence[Run]) -> tuple[Protocol, list[str]]:
    """The first run's protocol, by which all are judged here; and a sentence where other runs were judged by another."""
    first = protocol_of(runs[0].config["trial"])
    trials = {run.label: run.config["trial"] for run in runs}
    others = [label for label, trial in trials.items() if trial != runs[0].config["trial"]]
    if not others:
        return first, []
    keys = ", ".join(differing(trials))
    verb = "was" if len(others) == 1 else "were"
    return first, [f"{', '.join(others)} {verb} judged by another protocol (trial keys {keys}); here that of {runs[0].label} judges all"]


def _of_cohorts(runs: Sequence[Run]) -> list[str]:
    different = len({run.manifest.get("cohort_hash") for run in runs}) > 1
    return ["the runs' cohorts are not the same: their rows were matched by subject and prediction time, and their outcomes are equal"] if different else []


def _facts(run: Run) -> dict[str, Any]:
    """What is on record of a run: no figure of its own, and no path."""
    kept = ("opening", "config_hash", "cohort_hash", "predictions_hash", "commit", "started")
    about = {k: run.manifest.get(k) for k in kept}
    verdicts = {task: q.get("verdict") for task, q in run.questions.items()}
    return {"seed": run.seed, "members": run.config.get("members"), **about, "version": run.manifest.get("versions", {}).get("equipoise"), "verdicts": verdicts}


def _question(ways: Mapping[str, Sequence[Run]], runs: Sequence[Run], task: str, protocol: Protocol, role: str) -> dict[str, Any]:
    first = runs[0].questions[task]
    common = common_rows(runs, task)
    kind = str(first["kind"])
    labels = {way: [run.label for run in group] for way, group in ways.items()}
    judged = beside(common.table, protocol, kind=kind, ways=labels, comparators=common.comparators, role=role)
    return {
        "task": task,
        "kind": kind,
        "target": first.get("target", ""),
        "unit": first.get("unit", ""),
        "role": role,
        **judged,
        "said": [*common.said, *judged["analysis"]],
    }
