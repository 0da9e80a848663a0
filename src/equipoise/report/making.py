"""How the numbers were made: training, comparators, notes of the readers, and what is needed to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report import figures
from equipoise.report.axes import house_style, to_svg
from equipoise.report.finding import Finding, of_task
from equipoise.report.markup import Html, Numbering, bullets, facts, fold, join, paragraph, section, tag
from equipoise.report.reading import array, dig, lines, mapping
from equipoise.report.text import count, finite, number, sentence, sure
from equipoise.report.vocabulary import humane


def training(context: Mapping[str, Any], numbering: Numbering) -> Html:
    """Section: members, epochs, learning curves, what was tuned."""
    members = lines(context, "training")
    drawn = [m for m in members if array(m, "train_loss").size or array(m, "select_loss").size]
    n = context.get("members") or len(members)
    pairs: list[tuple[object, object]] = [("Members, joined as an ensemble" if (finite(n) or 0) > 1 else "Members", sure(n or None))]
    if context.get("n_parameters") is not None:
        pairs.append(("Parameters of one member", sure(context["n_parameters"])))
    if members:
        pairs.append(("Epochs run, by member", sure([m.get("epochs") for m in members])))
        pairs.append(("Epoch kept, by member", sure([m.get("best_epoch") for m in members])))
    if known := lines(context, "pretrained"):
        said = sorted({f"{k.get('view')}: {k.get('pretext')}, on {count(k.get('n_people'))} people without outcomes" for k in known})
        pairs.append(("Encoder, pretrained", sure(said)))
    pairs += [(join("Tuned: ", tag("code", k)), sure(v)) for k, v in _tuned(context.get("tuned")).items()]
    parts: list[Any] = [facts(pairs)]
    if drawn:
        with house_style():
            fig, _ = figures.learning(drawn)
            picture = to_svg(fig, "Learning curves", "learning")
        shown = f"{len(drawn)} trainings" if len(drawn) > 1 else "the one member"
        caption = f"Learning curves of {shown}: mean loss of train rows (broken) and select rows (solid) by epoch; dot: the epoch that was kept."
        parts.append(numbering.figure(caption, picture))
    else:
        parts.append(paragraph("Learning curves were not recorded.", kind="missing"))
    failures = context.get("failures") or []
    if failures:
        parts += [tag("h3", "Failures during the run"), bullets([sure(f) for f in failures])]
    return section("Training", *parts, anchor="training")


def _tuned(found: object) -> Mapping[str, Any]:
    """Chosen settings; of a cross-validation, where each fold chose its own, every setting with the list of its choices."""
    if isinstance(found, Mapping):
        return found
    folds = [f for f in found if isinstance(f, Mapping)] if isinstance(found, list | tuple) else []
    keys = dict.fromkeys(k for f in folds for k in f)
    return {k: [f.get(k) for f in folds] for k in keys}


def comparators(finding: Finding) -> Html:
    """Section: how each comparator was tuned, and which did not apply and why."""
    not_run = of_task(finding, mapping(finding.context, "not_run"))
    noted = of_task(finding, mapping(finding.context, "comparator_notes"))
    rows: list[tuple[object, object]] = []
    for name in finding.comparators:
        notes = mapping(finding.results, "comparators", name, "notes") or mapping(noted, name)
        said = join(*[join(humane(k), " ", sure(v)) for k, v in notes.items()], by="; ") if notes else "no notes"
        use = "required for the verdict" if finding.required(name) else "for reference"
        rows.append((join(name, tag("span", use, class_="soft line")), said))
    alone = "No comparator was run, so nothing here says that the model is better than a simpler one."
    parts: list[Any] = [facts(rows) if rows else paragraph(alone, kind="missing")]
    if not_run:
        parts += [tag("h3", "Not run"), facts([(name, sentence(reason)) for name, reason in not_run.items()])]
    return section("Comparators", paragraph(_terms(finding)) if rows else "", *parts, anchor=f"{finding.anchor}comparators")


def _terms(finding: Finding) -> str:
    """On which rows model and comparators were fitted and recalibrated: only what the record of this run says."""
    if not lines(finding.context, "training"):
        return "How the comparators were fitted is not recorded here: their predictions came with the table."
    rows = "train rows" if finding.tuning else "train and select rows together"
    said = [f"Comparators were fitted on the {rows}, and tuned by inner folds of these; the model was fitted on train rows, its select rows chose the epoch."]
    said.append(_recalibrated(finding))
    if finding.kind == "continuous":
        said.append(
            "The spread behind CRPS: the model's is sized by its errors on its select rows, which also chose its epoch; that of linear models and boosting by "
            "their errors in inner folds, which also chose their penalty or size; that of GBLUP by REML on the rows that it was fitted to."
        )
    return " ".join(said)


def _words(name: str) -> str:
    """A class name in words.

    >>> _words("LogisticCalibration")
    'logistic calibration'
    """
    return "".join(f" {c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _recalibrated(finding: Finding) -> str:
    found = finding.context.get("calibration")
    if not isinstance(found, Mapping):
        return "Whether anything was recalibrated was not recorded."
    own = str(found.get(str(finding.results.get("task") or "")) or "")
    if not own:
        return "There were no calibrate rows: neither the model nor a comparator was recalibrated."
    method, _, note = own.partition(": ")
    if method == "NoCalibration":
        return "No recalibration was chosen: neither the model nor a comparator was recalibrated."
    n = finite(finding.context.get("n_calibrate"))
    rows = "the same calibrate rows" if n is None else f"the same {count(n)} calibrate rows"
    text = f"The model and each comparator were recalibrated on {rows}, by the same method ({_words(method)})."
    return f"{text} Of the model{' in the first fold' if finding.crossed else ''}: {sentence(note)}" if note else text


def reader_notes(context: Mapping[str, Any]) -> Html:
    """Section: what the cohort has and the fitted views did not know."""
    found = mapping(context, "reader_notes")
    notes = {view: {k: v for k, v in said.items() if v} if isinstance(said, Mapping) else said for view, said in found.items()}
    notes = {view: said for view, said in notes.items() if said}
    if not notes:
        return Html("")
    pairs = [(str(view).replace("_", " "), sure(said)) for view, said in notes.items()]
    return section("What the fitted views did not know", facts(pairs), anchor="readers")


def reproducibility(finding: Finding) -> Html:
    """Section: command, versions, hashes, protocol, and the whole config folded away."""
    context = finding.context
    seconds = finite(context.get("seconds"))
    pairs: list[tuple[object, object]] = [
        ("Command", _code(context.get("command"))),
        ("Started", sure(context.get("started"))),
        ("Time", "not recorded" if seconds is None else _duration(seconds)),
        ("Commit", _code(context.get("commit"))),
        ("Config hash", _code(context.get("config_hash"))),
        ("Cohort hash", _code(dig(context, "cohort", "hash"))),
        ("Device", sure(context.get("device")) if context.get("device") else "not recorded"),
        ("Seeds", ", ".join(str(s) for s in context.get("seeds") or ()) or "not recorded"),
        ("Versions", ", ".join(f"{k} {v}" for k, v in mapping(context, "versions").items()) or "not recorded"),
    ]
    config = context.get("config_yaml")
    return section(
        "Reproducibility",
        facts(pairs),
        fold("The full config", tag("pre", tag("code", config))) if config else "",
        anchor="reproducibility",
    )


def _code(value: object) -> Html | str:
    return tag("code", value) if value not in (None, "") else "not recorded"


def _duration(seconds: float) -> str:
    """A duration in words.

    >>> _duration(3725)
    '1 h 2 min'
    """
    if seconds < 90:
        return f"{number(seconds, 0 if seconds >= 10 else 1)} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds % 60:.0f} s"
