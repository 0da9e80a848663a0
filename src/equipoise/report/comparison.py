"""The page of a comparison of runs: what differs in their configs, their endpoints on the same rows, paired differences, the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.report.beside import Beside, differences, each_run, endpoints, primary_figure, seeds
from equipoise.report.comparison_tables import comparison_csvs
from equipoise.report.document import document
from equipoise.report.markup import Html, Numbering, bullets, facts, join, paragraph, section, tag
from equipoise.report.reading import lines, mapping
from equipoise.report.text import count, finite, listed, percent, sentence, sure
from equipoise.report.vocabulary import VERDICTS, humane, lower
from equipoise.whole_file import write_whole


def write_comparison(folder: Path, results: Mapping[str, Any]) -> Path:
    """Writes the page and its tables; each file appears whole or not at all.

    Args:
        folder: where; made where it is missing.
        results: as in comparison.json.

    Returns:
        The path of ``comparison.html``. Beside it lie ``tables/configs.csv``, ``endpoints.csv`` and ``differences.csv``.
    """
    for name, text in comparison_csvs(results).items():
        _write(folder / "tables" / name, text)
    at = folder / "comparison.html"
    _write(at, comparison_page(results))
    return at


def _write(at: Path, text: str) -> None:
    write_whole(at, lambda f: f.write(text.encode()))


def comparison_page(results: Mapping[str, Any]) -> str:
    """The whole page as one HTML document without scripts or outside references; the same input gives the same bytes."""
    numbering = Numbering()
    questions = [Beside(q, numbering, f"q{i}-") for i, q in enumerate(lines(results, "questions"), start=1)]
    first = questions[0]
    title = f"{count(len(mapping(results, 'runs')))} runs beside one another"
    body = [
        tag(
            "header",
            paragraph(tag("span", "Equipoise comparison of runs"), kind="running"),
            tag("h1", title),
            paragraph(_question(first), kind="question"),
        ),
        _box(results, first),
        _seal(results, first),
        _glance(results, first),
        _configs(results, numbering),
        *[part for q in questions for part in _of_question(q, alone=len(questions) == 1)],
        _limits(results, first),
        _runs(results, numbering),
        _reproducibility(results, first),
        tag(
            "footer",
            f"Made by Equipoise {mapping(results, 'versions').get('equipoise', '')}. A research report, not a medical device: no decision about a patient may "
            "rest on it. Every number on this page stands in comparison.json beside it, and in tables/ as CSV.",
        ),
    ]
    return document(f"{title}: Equipoise comparison", body)


def _of_question(q: Beside, *, alone: bool) -> list[Html]:
    parts = [primary_figure(q), endpoints(q), differences(q), seeds(q), each_run(q)]
    heading = [] if alone else [tag("h1", f"Prediction of {q.finding.target}", class_="further")]
    said = [section("Rows and comparators", bullets([sentence(s) for s in q.said]), anchor=f"{q.finding.anchor}rows")] if q.said else []
    return [*heading, *[Html(p) for p in parts if p], *said]


def _question(q: Beside) -> str:
    metric = q.finding.metric(q.primary)
    rows = q.finding.n_in_words
    return f"How do these ways of predicting {q.finding.target} compare with {q.reference}, by {lower(metric.label)}, on the same {rows}?"


def _box(results: Mapping[str, Any], q: Beside) -> Html:
    """What may be concluded, before any number."""
    k = len(mapping(results, "runs"))
    if q.finding.tuning:
        eyebrow, label = "Tuning", "Tuning metrics, no claim"
        said = (
            "All runs are sealed: these rows chose their epochs or settings, so every figure is optimistic. The figures rank settings; they support no "
            "statement about performance, and no p-value is given."
        )
    else:
        eyebrow, label = "Comparison · exploratory", "A comparison, no verdict"
        said = (
            f"Whichever of these {count(k)} runs looks best was found by looking at these very rows. Choosing the best of several runs here makes its figures "
            "optimistic (the winner's curse), the more so the more runs there are and the closer they lie. A claim about the chosen one needs rows that no "
            "run was judged on."
        )
    box = (tag("p", eyebrow, class_="eyebrow"), tag("p", label, class_="label"), paragraph(said, kind="said"))
    return tag("section", *box, class_="verdict", id="verdict")


def _seal(results: Mapping[str, Any], q: Beside) -> Html:
    """How often the rows have been opened, as far as the runs' own records say."""
    numbers = {run: finite(found.get("opening")) for run, found in mapping(results, "runs").items()}
    known = {run: int(k) for run, k in numbers.items() if k is not None}
    if q.finding.tuning:
        text = "Select rows have no seal; the held-out rows were not opened by any of these runs."
    elif not known:
        text = "The runs' records say nothing of an opening of these rows."
    else:
        noun = "openings of these rows, or of held-out rows among them" if q.finding.crossed else "openings of these rows"
        own = ", ".join(f"{run}: {k}" for run, k in known.items())
        text = f"At least {max(known.values())} {noun} are on record (the number of each run's own: {own}). "
        text += "This comparison opens no row that the runs had not opened, and adds no line to the ledger."
    return paragraph(tag("b", "Seal. "), text, kind="seal")


def _glance(results: Mapping[str, Any], q: Beside) -> Html:
    n, prevalence = mapping(q.results, "n"), finite(q.results.get("prevalence"))
    pairs: list[tuple[object, object]] = [("rows", count(n.get("rows"))), ("clusters", count(n.get("clusters")))]
    if finite(n.get("events")) is not None:
        pairs.append(("events", join(count(n["events"]), tag("small", f" {percent(prevalence)}") if prevalence is not None else "")))
    pairs += [("runs", count(len(mapping(results, "runs")))), ("ways of making them", count(len(mapping(results, "ways"))))]
    return facts(pairs, "glance")


def _configs(results: Mapping[str, Any], numbering: Numbering) -> Html:
    """Section: the settings that differ, one line a key and one column a way."""
    table, ways = mapping(results, "configs"), mapping(results, "ways")
    if not table:
        return section("What differs", paragraph("The configs differ in the seed alone, or in nothing that a config says."), anchor="configs")
    rows = [[tag("code", key), *[_setting(line.get(way)) for way in ways]] for key, line in table.items()]
    caption = (
        f"Settings that are not the same in all of {len(ways)} ways of making a model; seeds and places are left out, an en dash marks a key that is not there."
    )
    return section("What differs", numbering.table(caption, ["Key", *ways], rows, kind="wide"), anchor="configs")


def _setting(value: Any) -> Html:
    if isinstance(value, str):
        # A class by its name, the module is the group.
        return tag("span", value.rsplit(".", 1)[-1] if value.startswith("equipoise.") else value)
    return tag("span", "null") if value is None else sure(value)


def _limits(results: Mapping[str, Any], q: Beside) -> Html:
    several = any(len(runs) > 1 for runs in mapping(results, "ways").values())
    found = [
        "intervals and p-values of the rows are about these fitted models: clusters of rows were resampled, training rows and seeds were not",
        "one seed says nothing about the way of making a model: another seed may turn the order round"
        if not several
        else "intervals over seeds are about the way of making a model on these training and evaluated rows: only seeds vary in them; no interval "
        "here joins the two kinds of chance",
        f"every run is compared with {q.reference} alone; to compare with another, name it first",
    ]
    if not q.finding.tuning:
        found.append("the adjustment of the p-values counts the pairs and endpoints on this page, not the settings that were tried before it")
    n = finite(mapping(q.results, "n").get("events"))
    if n is not None and n < 100:
        found.append(f"few events ({count(n)}): differences between runs are imprecise")
    return section("Limitations", bullets([sentence(f) for f in found]), anchor="limitations")


def _runs(results: Mapping[str, Any], numbering: Numbering) -> Html:
    """Section: each run with its seed, its hashes, and the verdict of its own report."""
    way_of = {run: way for way, runs in mapping(results, "ways").items() for run in runs}
    several = len(set(way_of.values())) < len(way_of)
    rows = []
    for run, found in mapping(results, "runs").items():
        verdicts = [VERDICTS.get(str(v), humane(str(v))) for v in mapping(found, "verdicts").values() if v]
        own = "Tuning metrics" if results.get("role") == "select" else listed(verdicts)
        versions = join(str(found.get("version") or "?"), tag("span", str(found.get("commit") or ""), class_="ci"))
        way = [way_of[run]] if several else []
        hashes = [tag("code", found.get(k) or "?") for k in ("config_hash", "cohort_hash")]
        rows.append([run, *way, own, str(found.get("seed")), "\N{EN DASH}" if found.get("opening") is None else count(found["opening"]), *hashes, versions])
    head = ["Run", *(["Way"] if several else []), "Its own verdict", "Seed", "Opening", "Config", "Cohort", "Version"]
    said = [sentence(s) for s in results.get("said") or ()]
    table = numbering.table("The runs, each with the verdict of its own report.", head, rows, text_columns=3 if several else 2, kind="wide")
    return section("The runs", table, bullets(said) if said else "", anchor="runs")


def _reproducibility(results: Mapping[str, Any], q: Beside) -> Html:
    protocol = [(humane(k), sure(str(v) if k == "seed" else v)) for k, v in mapping(q.results, "protocol").items() if v is not None]
    versions = ", ".join(f"{k} {v}" for k, v in mapping(results, "versions").items()) or "not recorded"
    pairs: list[tuple[object, object]] = [("Versions", versions), ("Commit", results.get("commit") or "not recorded")]
    return section("Reproducibility", facts(pairs), tag("h3", f"Protocol, that of {_first_run(results)}"), facts(protocol), anchor="reproducibility")


def _first_run(results: Mapping[str, Any]) -> str:
    ways: Sequence[Sequence[str]] = list(mapping(results, "ways").values())
    return str(ways[0][0])
