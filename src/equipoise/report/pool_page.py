"""The page of a pooled validation: verdict, forest plots with a line a site, tables, added-up curves, and what each site sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from equipoise.report.axes import FAINT, INK, MODEL_COLOUR, SOFT, house_style, light_grid, new_axes, to_svg
from equipoise.report.document import document
from equipoise.report.figures import HALF, HEIGHT, decision
from equipoise.report.forest import Line, Panel, forest
from equipoise.report.markup import Html, Numbering, bullets, facts, join, paragraph, section, tag
from equipoise.report.pool_table import ENDS, difference_said, digits_of, metric_of, texts
from equipoise.report.reading import array, lines, mapping
from equipoise.report.text import NOT_ESTIMATED, count, estimate, finite, listed, percent, percent_plain, sentence, value_html
from equipoise.report.vocabulary import GROUPS, VERDICTS, metric, model_label

MEAN, NEW = "Mean over sites", "Expected in a new hospital"
_FORESTS = (
    "auroc",
    "td_auc",
    "harrell_c",
    "uno_c",
    "calibration_slope",
    "calibration_in_the_large",
    "observed_expected",
    "net_benefit",
    "pearson_r",
    "effect_slope",
)


def pool_page(results: Mapping[str, Any]) -> str:
    """The whole page as one HTML document without scripts or outside references.

    Args:
        results: as in pool.json.
    """
    numbering, level = Numbering(), float(results["protocol"]["level"])
    body: list[Html | str] = []
    for i, (task, question) in enumerate(results["questions"].items()):
        body += _question(task, question, results, numbering, level, f"q{i}")
    body += [_sites(results, numbering), _reading(results, level)]
    return document("Pooled validation: Equipoise", body)


def _question(task: str, question: Mapping[str, Any], results: Mapping[str, Any], numbering: Numbering, level: float, anchor: str) -> list[Html | str]:
    n = question["n"]
    people = f"{count(n['people'])} people" + (f", {count(n['events'])} with the event" if "events" in n else "")
    title = f"{model_label(question['model'])} at {n['sites']} sites: {str(question['target'] or task).replace('_', ' ')}"
    masthead = join(paragraph("Equipoise · pooled validation", kind="running"), tag("h1", title), paragraph(f"{people}. No row left a site.", kind="question"))
    return [
        masthead,
        _verdict(question, numbering, level, anchor),
        section(
            "Performance over sites",
            _forests(question, numbering, level, anchor),
            _table(question, "endpoints", numbering, level),
            anchor=f"{anchor}-endpoints",
        ),
        section("Paired differences over sites", _table(question, "differences", numbering, level), anchor=f"{anchor}-differences"),
        _curves(question, results, numbering, level, anchor),
    ]


def _verdict(question: Mapping[str, Any], numbering: Numbering, level: float, anchor: str) -> Html:
    detail, label = question["verdict_detail"], str(question["verdict"])
    said = str(detail["sentence"])
    said = sentence(said[len(label) + 2 :] if said.lower().startswith(f"{label}: ") else said)
    eyebrow = "Pooled verdict · exploratory" if detail["exploratory"] else "Pooled verdict"
    top = (tag("p", eyebrow, class_="eyebrow"), tag("p", VERDICTS[label], class_="label"), paragraph(said, kind="said"))
    box = tag("section", *top, *[paragraph(difference_said(question, c, level)) for c in question["required"]], class_="verdict", id=f"{anchor}-verdict")
    panels = [_panel(question, "differences", c, question["primary"]) for c in question["required"]]
    warnings = [paragraph(sentence(w), kind="seal") for w in question["warnings"]]
    caption = f"Primary endpoint by site, {model_label(question['model'])} minus comparator; {_intervals(level)}"
    return join(box, *warnings, bullets([sentence(r) for r in detail["reasons"]]), _drawn(panels, caption, numbering, f"{anchor}-primary"))


def _intervals(level: float) -> str:
    return f"lines are {percent_plain(level)} intervals, the diamond is the mean over sites with its interval, the bar below it the prediction interval."


def _forests(question: Mapping[str, Any], numbering: Numbering, level: float, anchor: str) -> Html | str:
    own = mapping(question, "endpoints", question["model"])
    shown = [name for name in own if name.partition("@")[0] in _FORESTS]
    panels = [_panel(question, "endpoints", question["model"], name) for name in shown]
    return _drawn(panels, f"{model_label(question['model'])} by site; {_intervals(level)}", numbering, f"{anchor}-forest")


def _panel(question: Mapping[str, Any], part: str, model: str, name: str) -> Panel | None:
    """Sites, the mean over them, and the prediction interval; None where nothing was pooled."""
    entry = mapping(question, part, model, name)
    if finite(entry.get("value")) is None:
        return None
    signed, shown = part == "differences", metric_of(name, entry, question)
    digits = digits_of(shown, entry, signed=signed)
    each = [*((site, e, False) for site, e in entry["sites"].items()), (MEAN, entry, True)]
    made = [Line.of(who, [e[k] for k in ENDS], estimate(e["value"], e["lo"], e["hi"], digits, sign=signed), strong=strong) for who, e, strong in each]
    if finite(entry["prediction_lo"]) is not None:
        ends = (None, entry["prediction_lo"], entry["prediction_hi"])
        made.append(Line.of(NEW, ends, texts(shown, entry, signed=signed)[2]))
    title = f"{shown.label}{f', minus {model}' if signed else ''} ({', '.join(t for t in (shown.unit, shown.aim) if t) or 'no direction'})"
    arrows = (
        ("\N{LEFTWARDS ARROW} favours comparator", f"favours {model_label(question['model'])} \N{RIGHTWARDS ARROW}") if signed and shown.directed else ("", "")
    )
    reference = 0.0 if signed else {"zero": 0.0, "one": 1.0}.get(shown.better)
    return Panel(title, tuple(made), reference, signed and shown.better == "lower", *arrows)


def _drawn(panels: Sequence[Panel | None], caption: str, numbering: Numbering, name: str) -> Html | str:
    there = [p for p in panels if p is not None]
    if not there:
        return ""
    with house_style():
        fig, axes = forest(there)
        for ax, panel in zip(axes, there, strict=True):
            _diamond(ax, panel)
        return numbering.figure(caption, to_svg(fig, caption, name), wide=True)


def _diamond(ax: Axes, panel: Panel) -> None:
    at = next(i for i, line in enumerate(panel.lines) if line.label == MEAN)
    line = panel.lines[at]
    ax.fill([line.lo, line.value, line.hi, line.value], [at, at - 0.32, at, at + 0.32], color=MODEL_COLOUR, linewidth=0, zorder=4)


def _table(question: Mapping[str, Any], part: str, numbering: Numbering, level: float) -> Html:
    head = ["", "Mean over sites", f"{percent_plain(level)} interval", "New hospital", "tau\N{SUPERSCRIPT TWO}", "I\N{SUPERSCRIPT TWO}", "Sites"]
    rows: list[list[object]] = []
    notes: dict[str, list[str]] = {}
    for model, table in mapping(question, part).items():
        rows.append([f"{model_label(question['model'])} minus {model}" if part == "differences" else model_label(model)])
        for name in sorted(table, key=lambda k: GROUPS.index(metric(k).group)):
            entry, shown = table[name], metric_of(name, table[name], question)
            value, interval, expected = texts(shown, entry, signed=part == "differences")
            label = join(shown.label, tag("span", shown.aim, class_="soft line") if shown.aim else "")
            spread = [f"{entry['tau2']:.2g}", percent(entry["i2"], 0)] if finite(entry["tau2"]) is not None else ["", ""]
            rows.append([label, value_html(entry["value"], value), interval, expected, *spread, entry["n_sites"]])
            for said in filter(None, [entry["note"], f"not given by {listed(entry['left_out'])}" if entry["left_out"] and entry["n_sites"] else ""]):
                notes.setdefault(said, []).append(shown.label)
    scales = {metric_of(n, e, question).label: e["scale"] for t in mapping(question, part).values() for n, e in t.items() if e["scale"] != "as it is"}
    note = " ".join(f"{listed(dict.fromkeys(labels))}: {said}." for said, labels in notes.items())
    note += "".join(f" {label}: averaged on the scale of {scale}, tau\N{SUPERSCRIPT TWO} is on it." for label, scale in scales.items())
    caption = (
        f"Means over sites by random effects (REML), with modified Hartung-Knapp {percent_plain(level)} intervals and prediction intervals for a new hospital."
    )
    return numbering.table(caption, head, rows, note=note, kind="wide")


def _curves(question: Mapping[str, Any], results: Mapping[str, Any], numbering: Numbering, level: float, anchor: str) -> Html | str:
    model = question["model"]
    added = mapping(question, "calibration", model)
    if not added:
        return ""
    with house_style():
        fig, ax = new_axes(HALF, HEIGHT)
        x, y, n = array(added, "risk"), array(added, "observed"), array(added, "rows")
        high = min(1.05 * max(float(x.max()), float(y.max())), 1.0)
        ax.plot([0, high], [0, high], color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
        ax.plot(x, y, color=FAINT, linewidth=0.8)
        ax.scatter(x, y, s=8 + 60 * n / n.max(), color=MODEL_COLOUR, linewidths=0, zorder=3)
        ax.set(xlim=(0, high), ylim=(0, high), xlabel="Predicted risk (group mean)", ylabel="Observed share")
        light_grid(ax)
        ax.xaxis.label.set_color(INK)
        curve = to_svg(fig, "Calibration of all sites' people together", f"{anchor}-calibration")
    n_sites = len(added["sites"])
    caption = f"Calibration of {count(n.sum())} rows of {n_sites} sites together; groups end where every one of these sites' do, area by rows."
    parts = [numbering.figure(caption, curve)]
    given = {m: {"decision": d | {"treat_none": [0.0] * len(d["threshold"])}} for m, d in mapping(question, "decision").items() if len(d["threshold"]) > 1}
    if model in given:
        with house_style():
            fig, _ = decision(given, model, threshold=float(results["protocol"]["threshold"]))
            drawing = to_svg(fig, "Decision curve of all sites' people together", f"{anchor}-decision")
        caption = (
            f"Decision curve of the same people, at thresholds that all {n_sites} sites give; the band is the {percent_plain(level)} interval for these sites."
        )
        parts.append(numbering.figure(caption, drawing))
    lead = "These curves add up people: a fixed, population-weighted mean, in which a large site counts more. They say nothing of how sites differ."
    absent = [site for site in question["endpoints"][model][question["primary"]]["sites"] if site not in added["sites"]]
    lead += f" {listed(absent)} sent too few groups of risk for a curve and {'is' if len(absent) == 1 else 'are'} left out." if absent else ""
    return section("All people together", paragraph(lead), *parts, anchor=f"{anchor}-curves")


def _sites(results: Mapping[str, Any], numbering: Numbering) -> Html:
    rows: list[list[object]] = []
    notes = []
    for site in lines(results, "sites"):
        for task, q in mapping(site, "questions").items():
            n = mapping(q, "n")
            shown = [count(n.get(k)) if finite(n.get(k)) is not None else "" for k in ("people", "rows", "events")]
            rows.append([site["site"], task, *shown, "yes" if q["exported"] else f"no: {q['reason']}"])
            notes += [f"{site['site']}, {what}: {why}." for what, why in mapping(q, "withheld").items()]
    table = numbering.table(
        "What the sites sent.", ["Site", "Question", "People", "Rows", "Events", "Numbers sent"], rows, text_columns=2, note=" ".join(notes)
    )
    return section("Sites", table, anchor="sites")


def _reading(results: Mapping[str, Any], level: float) -> Html:
    protocol = results["protocol"]
    same = {None: "not known: the summaries do not all name it", True: "yes, by its hash"}[results["same_fitted_model"]]
    said = [
        "A mean over sites is about the average hospital of this kind; the prediction interval is about the true value at one more of them.",
        "The verdict takes the wider bounds of the Hartung-Knapp interval and of the t interval over sites: where one site is much larger than the others, "
        "the first alone errs more often than it says.",
        "Standard errors of the sites are taken as known. Endpoints without one are not pooled.",
        f"Nothing about fewer than {protocol['min_cell']} people left a site: groups of risk are joined until each holds as many with and without the event.",
        "Sites are taken to share no people. Whether two sites saw the same person cannot be told from aggregates.",
    ]
    kept = [("Protocol", f"{protocol['name']} ({protocol['hash']})"), ("Level", f"{level:g}"), ("The same fitted model at every site", same)]
    kept += [("Equipoise", mapping(results, "versions").get("equipoise", NOT_ESTIMATED))]
    return section("How to read this", bullets(said), facts(kept), anchor="reading")
