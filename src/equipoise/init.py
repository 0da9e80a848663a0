"""``equipoise init``: looks at one flat table and writes a runnable experiment, the first thing anybody tries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from equipoise.contract.errors import UserError
from equipoise.look import Look, look_at, read_flat
from equipoise.record import write_json

SHARES = {"train": 0.55, "select": 0.1, "calibrate": 0.1, "held_out": 0.25}
MIN_CALIBRATE_EVENTS = 20
"""With fewer expected events among the calibrate rows recalibration would add more noise than it removes."""
_KINDS = {"risk": "binary", "multiclass": "multiclass", "regression": "continuous"}


def init(table: str, *, outcome: str, id_column: str | None, out: str | None) -> Path:
    """Writes ``NNN_name/`` with run.yaml, predict.yaml, README.md and an empty results.csv, and says how to run it.

    Args:
        table: a CSV or Parquet file, one line a person.
        outcome: the column to predict.
        id_column: the column of identifiers; None to guess, else lines are people.
        out: the experiments folder, default ``./experiments``.

    Returns:
        The experiment's folder.

    Raises:
        UserError: a word is missing, or the table cannot be used (see `look.look_at`).
    """
    if not table:
        raise UserError("`equipoise init` needs a table", mend="equipoise init my.csv --outcome died")
    if not outcome:
        raise UserError("`equipoise init` needs the column to predict", mend=f"equipoise init {table} --outcome COLUMN")
    path = Path(table).expanduser().resolve()
    flat = read_flat(path)
    _can_be_written(path, flat.columns)
    seen = look_at(flat, outcome=outcome, id_column=id_column)
    top = Path(out or "experiments").resolve()
    name = f"{_next_number(top):03d}_{_slug(path.stem)}"
    folder = top / name
    try:
        folder.mkdir(parents=True)
    except OSError as e:
        raise UserError(f"The experiment cannot be written to {folder}", found=str(e), mend="give --out DIR a folder that you may write to") from e
    (folder / "run.yaml").write_text(_run_yaml(name, path, seen), encoding="utf-8")
    (folder / "predict.yaml").write_text(_predict_yaml(name, path, seen), encoding="utf-8")
    (folder / "README.md").write_text(_readme(name, path, seen), encoding="utf-8")
    (folder / "results.csv").write_text("date,commit,seed,metric,value,lo,hi\n", encoding="utf-8")
    write_json(
        folder / "looked.json", {"rows": seen.n_rows, "task": seen.task, "counts": seen.counts, "left_out": seen.left_out, "remarks": list(seen.remarks)}
    )
    _say(seen, name, top)
    return folder


def _can_be_written(path: Path, columns: Sequence[str]) -> None:
    """A config reads ``${...}`` as the name of another key, however often it is quoted."""
    for what, name in (("path", str(path)), *(("column", c) for c in columns)):
        if "${" in name:
            raise UserError(f"The {what} {name!r} holds the signs '${{'", expected="a name that a config can hold", mend=f"rename the {what}")


def _next_number(top: Path) -> int:
    numbers = [int(m[1]) for p in top.glob("*") if (m := re.match(r"(\d{3})_", p.name))] if top.is_dir() else []
    return max(numbers, default=0) + 1


def _slug(stem: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_") or "table"


def _cohort(path: Path, seen: Look) -> dict[str, Any]:
    """The cohort's overlay over configs/cohort/files.yaml."""
    columns = [*seen.numbers, *seen.categories]
    clinical = {"_target_": "equipoise.cohort.table.Table", "path": str(path), "id": seen.id_column, "columns": columns, "categories": list(seen.categories)}
    target: dict[str, Any] = {"kind": _KINDS[seen.task], "column": seen.outcome}
    if seen.task == "risk" and not _holds_0_and_1(seen):
        target["positive"] = _event(seen)[0]
    return {
        "evidence": {"clinical": clinical},
        "labels": {"_target_": "equipoise.cohort.labels.TableLabels", "path": str(path), "id": seen.id_column, "targets": {"outcome": target}},
        "roles": {"shares": SHARES, "stratum": "outcome" if seen.task != "regression" else None},
    }


def _holds_0_and_1(seen: Look) -> bool:
    """Such a column needs no word for its event."""
    return set(seen.counts) <= {"0", "1", "0.0", "1.0"}


def _event(seen: Look) -> tuple[str, str]:
    """Which of a risk's two values is the event, and why: 1 of 0 and 1, a word for yes, else the rarer."""
    values = list(seen.counts)
    if _holds_0_and_1(seen):
        return next(v for v in values if float(v) == 1), "of 0 and 1"
    yes = [v for v in values if v.lower() in ("yes", "true", "y", "t", "positive", "dead", "died", "case")]
    if yes:
        return yes[0], "a word for yes"
    return min(seen.counts, key=lambda v: (seen.counts[v], v)), "no word for yes, so the rarer of the two"


def _event_sentence(seen: Look) -> str:
    """What the user must agree with: a risk of the wrong value is a right answer to another question."""
    event, why = _event(seen)
    other = next(v for v in seen.counts if v != event)
    mend = f"if it is {other}, set cohort.labels.targets.outcome.positive in run.yaml"
    return f"event: {seen.outcome} = {event} ({why}), {seen.counts[event]} of {seen.n_rows} rows; {mend}"


def _run_yaml(name: str, path: Path, seen: Look) -> str:
    events = min(seen.counts.values()) * SHARES["calibrate"] if seen.counts else seen.n_rows * SHARES["calibrate"]
    calibration = "logistic" if events >= MIN_CALIBRATE_EVENTS else "none"
    defaults = [
        {"override /cohort": "files"},
        {"override /modality": ["clinical"]},
        {"override /task": [seen.task]},
        {"override /head": "variational"},
        {"override /calibration": calibration},
        {"override /comparator": ["linear", "boosting"]},
    ]
    body: dict[str, Any] = {"defaults": defaults, "name": name, "cohort": _cohort(path, seen), "task": {seen.task: {"target": "outcome"}}}
    return f"# @package _global_\n# {seen.outcome} from {len(seen.numbers) + len(seen.categories)} columns of {path.name}, {seen.n_rows} rows\n" + _yaml(body)


def _predict_yaml(name: str, path: Path, seen: Look) -> str:
    """The same evidence from another file, without outcomes."""
    cohort = _cohort(path, seen)
    cohort["evidence"]["clinical"]["path"] = "${new}"
    cohort["labels"] = {"_target_": "equipoise.cohort.labels.Unlabelled", "path": "${new}", "id": seen.id_column}
    cohort["roles"] = None
    body = {"defaults": [{"override /cohort": "files"}], "name": f"{name}_predict", "new": "???", "cohort": cohort}
    return f"# @package _global_\n# New people without outcomes: equipoise predict experiments={name}/predict model=RUN new=FILE\n" + _yaml(body)


def _yaml(body: dict[str, Any]) -> str:
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=160)


def _readme(name: str, path: Path, seen: Look) -> str:
    counts = ", ".join(f"{k}: {v}" for k, v in seen.counts.items()) or "a quantity"
    left = "\n".join(f"- {k}: {v}" for k, v in seen.left_out.items()) or "- nothing"
    remarks = "\n".join(f"- {r}" for r in seen.remarks) or "- nothing"
    event = f"\n\nWhich value is the event: {_event_sentence(seen).removeprefix('event: ')}.\n" if seen.task == "risk" else "\n"
    columns = f"{len(seen.numbers)} numbers and {len(seen.categories)} categories of `{path.name}`"
    return f"""# {name}
Question: how well do {columns} predict `{seen.outcome}` ({counts}) in {seen.n_rows} rows,
and does a neural net beat penalised regression and boosted trees?{event}
Prior expectation: on one flat table, no demonstrated gain over boosted trees.

Run: `equipoise run experiments={name}/run`; new people: `equipoise predict experiments={name}/predict model=RUN new=FILE`.

Left out of the inputs:
{left}

To look at before you believe a result:
{remarks}
- Is every column known at the time of the prediction? A column measured after it makes any model look good.
- Are several lines of one person, family or ward? Then name `cohort.clusters`.
"""


def _say(seen: Look, name: str, top: Path) -> None:
    print(
        f"{seen.n_rows} rows; outcome {seen.outcome!r} is {_KINDS[seen.task]}"
        + (f" ({', '.join(f'{k}: {v}' for k, v in seen.counts.items())})" if seen.counts else "")
    )
    if seen.task == "risk":
        print(_event_sentence(seen))
    people = "lines" if seen.id_column is None else f"named by {seen.id_column}"
    print(f"inputs: {len(seen.numbers)} numbers, {len(seen.categories)} categories; people are {people}")
    for column, why in seen.left_out.items():
        print(f"left out: {column}: {why}")
    for remark in seen.remarks:
        print(f"look at: {remark}")
    where = "" if top == Path("experiments").resolve() else f" --experiments {top}"
    print(f"experiment: {top / name}")
    print(f"next: equipoise run experiments={name}/run{where}")
