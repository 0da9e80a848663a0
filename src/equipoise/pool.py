"""``equipoise pool``: sites' summaries -> what they say together. No row leaves a site, and none is read here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.contract.errors import UserError
from equipoise.record import versions, write_json
from equipoise.report.pool_page import pool_page
from equipoise.report.pool_table import pool_table
from equipoise.trial.pooling import pooled_question
from equipoise.trial.protocol import protocol_of
from equipoise.trial.site_summary import SCHEMA, WHAT
from equipoise.whole_file import write_whole

FOLDER = "pool"
_QUESTION = ("kind", "target", "unit", "model", "role", "primary")
"""What must be the same at all sites, besides the protocol."""


def pool(paths: Sequence[str], *, out: str | None = None) -> int:
    """Pools site summaries, writes pool.json and pool.html, prints the table.

    Args:
        paths: files that `trial.site_summary.write_site_summary` wrote, one a site.
        out: folder for the results; None: ``pool``.

    Returns:
        0, the command's exit code.

    Raises:
        UserError: a file cannot be read, is no site summary, or does not fit to the others; fewer than two sites.
    """
    results = pooled([_read(Path(path)) for path in paths], [Path(path).name for path in paths])
    folder = Path(out or FOLDER)
    write_json(folder / "pool.json", results)
    page = pool_page(json.loads((folder / "pool.json").read_text()))
    write_whole(folder / "pool.html", lambda f: f.write(page.encode()))
    for task, question in results["questions"].items():
        print(pool_table(task, question))
    print(f"report: {folder / 'pool.html'}")
    return 0


def pooled(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """The pooled results of several sites.

    Args:
        summaries: what `site_summary` gives, one a site.
        names: of their files, for error messages.

    Returns:
        Plain values: schema, versions, protocol, sites (site, exported, reason, n by task), questions (see `trial.pooling.pooled_question`).

    Raises:
        UserError: see `pool`.
    """
    if len(summaries) < 2:
        raise UserError(f"There {'is one site' if summaries else 'is no site'} to pool", expected="at least two site summaries", mend="name more files")
    for summary, name in zip(summaries, names, strict=True):
        _refuse_other(summary, name, summaries[0], names[0])
    _refuse_twice(summaries, names)
    tasks = list(summaries[0]["questions"])
    protocol = summaries[0]["protocol"]
    questions = {}
    for task in tasks:
        own = {s["site"]: s["questions"][task] for s in summaries}
        sending = {site: q for site, q in own.items() if q["exported"]}
        if len(sending) < 2:
            reasons = "; ".join(f"{site}: {q['reason']}" for site, q in own.items() if not q["exported"])
            raise UserError(f"Fewer than two sites send numbers for {task}", found=reasons, mend="name more files, or sites with more people")
        _refuse_other_question(task, sending, dict(zip((s["site"] for s in summaries), names, strict=True)))
        questions[task] = pooled_question(sending, protocol, len(own) - len(sending))
    sites = [{"site": s["site"], "questions": {t: _shown(q) for t, q in s["questions"].items()}} for s in summaries]
    unsaid = not all(s["fitted"] for s in summaries)
    return {
        "schema": SCHEMA,
        "versions": versions(),
        "protocol": protocol,
        "same_fitted_model": None if unsaid else True,
        "sites": sites,
        "questions": questions,
    }


def _shown(question: Mapping[str, Any]) -> dict[str, Any]:
    return {k: question[k] for k in ("exported", "reason", "n", "withheld", "opening") if k in question}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"There is no site summary {path}", mend="give the site.json that each site made")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"Site summary {path} cannot be read", expected="a JSON file", found=str(e).splitlines()[0], mend="ask the site for it again") from e
    if not isinstance(found, dict) or found.get("what") != WHAT:
        raise UserError(f"File {path} is no site summary", expected="the site.json that each site made", mend="give that file; results.json is not one")
    lacking = [k for k in ("site", "fitted", "protocol", "questions") if k not in found]
    if found.get("schema") != SCHEMA or lacking:
        raise UserError(
            f"Site summary {path} has another form",
            expected=f"schema {SCHEMA}",
            found=f"schema {found.get('schema')}" + (f", without {', '.join(lacking)}" if lacking else ""),
            mend="make it with the same version of Equipoise at every site",
        )
    if protocol_of({k: v for k, v in found["protocol"].items() if k != "hash"}).hash != found["protocol"].get("hash"):
        raise UserError(f"The protocol in {path} does not have the hash that stands beside it", mend="the file was changed: ask the site for it again")
    return found


def _refuse_other(summary: Mapping[str, Any], name: str, first: Mapping[str, Any], first_name: str) -> None:
    """Refuses a summary that was made by another protocol, of other questions, or of another fitted model than the first."""
    mine, theirs = summary["protocol"], first["protocol"]
    if mine["hash"] != theirs["hash"]:
        differing = [k for k in theirs if k != "hash" and mine.get(k) != theirs[k]]
        raise UserError(
            f"Sites {first_name} and {name} were judged by different protocols",
            expected=f"{theirs['name']} ({theirs['hash']}) at every site",
            found=f"{mine['name']} ({mine['hash']}); they differ in {', '.join(f'{k}: {theirs[k]} and {mine.get(k)}' for k in differing)}",
            mend="evaluate every site with the same trial",
        )
    if set(summary["questions"]) != set(first["questions"]):
        found = f"{', '.join(summary['questions'])} in {name}, {', '.join(first['questions'])} in {first_name}"
        raise UserError("The sites answer different questions", expected="the same tasks at every site", found=found, mend="evaluate the same tasks")
    if summary["fitted"] and first["fitted"] and summary["fitted"] != first["fitted"]:
        found = f"{summary['fitted']} in {name}, {first['fitted']} in {first_name}"
        raise UserError("The sites judged different fitted models", expected="one model", found=found, mend="evaluate the same model file at every site")


def _refuse_twice(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Refuses a site that is there twice, by its name or by its numbers."""
    for i, summary in enumerate(summaries):
        for j in range(i):
            same = any(q["exported"] for q in summary["questions"].values()) and summary["questions"] == summaries[j]["questions"]
            if summary["site"] == summaries[j]["site"] or same:
                what = "hold the same numbers" if same else f"are both of site {summary['site']}"
                raise UserError(f"{names[j]} and {names[i]} {what}", expected="each site once", mend="leave one out, or give the sites names of their own")


def _refuse_other_question(task: str, questions: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> None:
    (first, theirs), *others = questions.items()
    for site, own in others:
        for key in _QUESTION:
            if own[key] != theirs[key]:
                raise UserError(
                    f"The question {task} is not the same in {names[first]} and {names[site]}",
                    expected=f"{key} {theirs[key]!r} at every site",
                    found=f"{own[key]!r}",
                    mend="evaluate the same question at every site",
                )
