"""The first screen: title, question, verdict with the primary differences, the seal, and n at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.axes import house_style
from equipoise.report.differences import difference_panel
from equipoise.report.finding import Finding, triple
from equipoise.report.forest import forest
from equipoise.report.markup import Html, bullets, facts, join, paragraph, tag
from equipoise.report.reading import dig, mapping
from equipoise.report.text import (
    NOT_ESTIMATED,
    count,
    digits_for,
    estimate,
    finite,
    listed,
    number,
    p_shown,
    percent,
    percent_plain,
    sentence,
    sure,
    value_html,
)
from equipoise.report.vocabulary import VERDICTS, humane, lower


def masthead(finding: Finding) -> Html:
    """Title, question, and by which run."""
    context = finding.context
    line = [tag("span", t) for t in ("Equipoise trial report", context.get("name"), _day(context.get("started"))) if t]
    return tag(
        "header",
        paragraph(*[join(" · " if i else "", t) for i, t in enumerate(line)], kind="running"),
        tag("h1", title(finding)),
        paragraph(question(finding), kind="question"),
    )


def further(finding: Finding) -> Html:
    """Title and question of a network's second, third, ... task."""
    return join(tag("h1", title(finding), class_="further"), paragraph(question(finding), kind="question"))


def _day(started: object) -> str:
    return str(started)[:10] if started else ""


def title(finding: Finding) -> str:
    """What was studied, in a few words."""
    return {"time_to_event": f"Time to {finding.target}", "treatment_effect": f"Effect of treatment on {finding.target}"}.get(
        finding.kind, f"Prediction of {finding.target}"
    )


def question(finding: Finding) -> str:
    """The question in one sentence."""
    rivals = [c for c in finding.comparators if finding.required(c)] or finding.comparators
    than = f" better than {listed(rivals, 'and than')}" if rivals else ""
    what = {
        "multiclass": f"the class of {finding.target}",
        "time_to_event": f"the risk of {finding.target} over time",
        "treatment_effect": f"for whom treatment changes {finding.target}",
    }.get(finding.kind, finding.target)
    if finding.tuning:
        return f"How well does this setting of {finding.model_name} predict {what} in the rows kept for choosing settings?"
    n = finite(dig(finding.results, "n", "rows"))
    rows = f"{count(n)} rows" if n is not None else "rows"
    fitted = (
        ", each judged by models that were not fitted to it" if finding.crossed else " that no model was fitted to" if finding.context.get("training") else ""
    )
    return f"Does {finding.model_name} predict {what}{than} in {rows}{fitted}?"


def verdict(finding: Finding) -> Html:
    """The verdict: label, sentence, the primary difference against each required comparator, and the details of the rule."""
    return verdict_box(finding) if finding.tuning else join(verdict_box(finding), _primary_figure(finding), _details(finding))


def verdict_box(finding: Finding) -> Html:
    """The verdict's label, sentence and primary differences. All labels look alike: none is a failure."""
    if finding.tuning:
        said = "These rows chose epochs or settings, so the numbers below are optimistic. They rank settings; they support no statement about performance."
        return _box(finding, "Tuning", "Tuning metrics, no claim", said)
    detail = mapping(finding.results, "verdict_detail")
    label = str(finding.results.get("verdict") or "not evaluable")
    eyebrow = "Verdict · exploratory" if finding.exploratory else "Verdict"
    said = str(detail.get("sentence") or f"No verdict was written for {finding.target}.")
    # The sentence repeats the label that stands above it in large letters.
    said = said[len(label) + 2 :] if said.lower().startswith(f"{label}: ") else said
    # What the claim is about has a line of its own.
    said = said.replace(f" ({detail.get('claim')})", "")
    return _box(finding, eyebrow, VERDICTS.get(label, humane(label)), sentence(said), _primary_lines(finding))


def _box(finding: Finding, eyebrow: str, label: str, said: str, *parts: object) -> Html:
    lines = (tag("p", eyebrow, class_="eyebrow"), tag("p", label, class_="label"), paragraph(said, kind="said"))
    return tag("section", *lines, *parts, class_="verdict", id=f"{finding.anchor}verdict")


def _against(finding: Finding) -> list[str]:
    named = [str(c) for c in dig(finding.results, "verdict_detail", "against") or ()]
    return named or [c for c in finding.comparators if finding.required(c)]


def _primary_lines(finding: Finding) -> Html | str:
    """One line a required comparator: the difference with its interval, the size at which a reader on a phone sees it."""
    key, against = finding.primary, _against(finding)
    if key is None or not against:
        return paragraph("No required comparator stood beside the model.", kind="note") if not against else ""
    entries = {c: mapping(finding.results, "comparisons", c, key) for c in against}
    digits = finding.digits(key, [triple(e, "difference") for e in entries.values()], signed=True)
    rows = []
    for comparator, entry in entries.items():
        difference, lo, hi = triple(entry, "difference")
        shown = estimate(difference, lo, hi, digits, sign=True)
        p = f", {p_shown(entry['p'])}" if finite(entry.get("p")) is not None else ""
        rows.append((join("against ", tag("b", comparator)), join(value_html(difference, shown), p)))
    metric = finding.metric(key)
    unit = f" ({metric.unit})" if metric.unit else ""
    aim = f"; {metric.aim}" if metric.aim else ""
    head = f"Primary endpoint: {lower(metric.label)}{unit}{aim}. Difference, {finding.model_name} minus comparator ({finding.level_in_words} interval):"
    return join(paragraph(head, kind="primary"), facts(rows, "differences"))


def _primary_figure(finding: Finding) -> Html | str:
    if finding.primary is None:
        return ""
    panel = difference_panel(finding, finding.primary, _against(finding) or finding.comparators)
    if panel is None:
        return ""
    with house_style():
        drawn, _ = forest([panel])
    caption = f"Primary endpoint: {finding.model_name} minus each required comparator in {finding.n_in_words}, with {finding.level_in_words} interval. "
    caption += _method(finding)
    return finding.figure(caption, drawn, "primary", "Forest plot of the primary differences", wide=True)


def _method(finding: Finding) -> str:
    methods = {str(mapping(finding.results, "comparisons", c, finding.primary or "").get("method") or "") for c in _against(finding)} - {""}
    dotted = " The dotted line is the margin of non-inferiority." if finite(dig(finding.results, "verdict_detail", "margin")) else ""
    return (f"Paired intervals: {listed(sorted(methods))}." if methods else "") + dotted


def _details(finding: Finding) -> Html:
    """Obstacles, the smallest gain that could have been shown, net benefit, margin, and what the claim is about."""
    detail = mapping(finding.results, "verdict_detail")
    pairs: list[tuple[object, object]] = []
    if detail.get("claim"):
        pairs.append(("The claim is", detail["claim"]))
    if mapping(detail, "smallest_demonstrable_gain"):
        pairs.append(("Smallest gain that these data would have shown with a power of 80%", _smallest(finding)))
    if finite(detail.get("worthwhile_gain")):
        pairs.append(("Smallest gain worth a claim", sure(detail["worthwhile_gain"])))
    if finite(detail.get("margin")) is not None:
        pairs.append(("Margin of non-inferiority", sure(detail["margin"])))
    if mapping(detail, "net_benefit"):
        pairs.append(("Net benefit at the declared threshold", _net_benefit(mapping(detail, "net_benefit"))))
    pairs += [(f"Required, but not applicable: {c}", sentence(why)) for c, why in mapping(detail, "not_applicable").items()]
    pairs += [(humane(what), sentence(said)) for what, said in mapping(detail, "analysis").items()]
    if detail.get("propensity"):
        pairs.append(("Propensity", detail["propensity"]))
    return join(bullets(_reasons(finding)) if _reasons(finding) else "", facts(pairs) if pairs else "")


def _reasons(finding: Finding) -> list[str]:
    """What stood in the way of a verdict. Reasons about one comparator repeat the differences above (with the sign turned) and are left out."""
    found = dig(finding.results, "verdict_detail", "reasons")
    lines = [str(r) for r in (found.values() if isinstance(found, dict) else found if isinstance(found, list | tuple) else ())]
    about = tuple(f"{c}: " for c in finding.comparators)
    kept = [r for r in lines if not r.startswith(about) or "not estimated" in r]
    # Not capitalised: a reason may begin with a comparator's name.
    return [r.rstrip(".") + "." for r in kept]


def _smallest(finding: Finding) -> str:
    gains = mapping(finding.results, "verdict_detail", "smallest_demonstrable_gain")
    key = finding.primary or ""
    digits = finding.digits(key, [(g, 0.0, g) for g in gains.values()])
    unit = f" {finding.metric(key).unit}" if finding.metric(key).unit else ""
    return "; ".join(f"{number(g, digits)}{unit} over {c}" if finite(g) is not None else f"{NOT_ESTIMATED} over {c}" for c, g in gains.items())


def _net_benefit(found: Mapping[str, Any]) -> Html:
    """The difference in net benefit where it is least sure."""
    value, lo, hi = found.get("difference"), found.get("lo"), found.get("hi")
    digits = digits_for(3, [(value, lo, hi)], signed=True)
    parts: list[Any] = [value_html(value, estimate(value, lo, hi, digits, sign=True))]
    parts.append(f" against {found['against']}" if found.get("against") else "")
    parts.append(f" at a risk of {percent_plain(found['threshold'])}" if finite(found.get("threshold")) is not None else "")
    if isinstance(found.get("not_inferior"), bool):
        parts.append(f": {'not inferior' if found['not_inferior'] else 'not shown to be non-inferior'}")
        parts.append(f" by the margin of {found['margin']:.3g}" if finite(found.get("margin")) is not None else "")
        parts.append(f" ({percent_plain(found['margin_share'])} of the prevalence)" if finite(found.get("margin_share")) is not None else "")
    return join(*parts)


def seal(finding: Finding) -> Html:
    """How often these rows have been opened, and what else weakens the claim."""
    opening = finite(finding.opening)
    if finding.tuning:
        first = "Select rows have no seal; the held-out rows were not opened."
    elif finding.crossed:
        first = "Cross-validation has no seal: every row is held out once per repeat, and nothing stops a second look."
        if opening is not None:
            first += f" As far as is known, this is opening {opening:.0f} of these rows, or of the cohort's held-out rows among them."
    elif opening is None:
        first = "The seal was not recorded for these rows."
    elif opening <= 1:
        first = "Opening 1 of these rows: they were sealed until this report."
    else:
        first = f"Opening {opening:.0f} of these rows: what was seen before may have shaped this model, so the verdict is exploratory."
    rest = [finding.context.get("ledger_note"), finding.context.get("benchmark_note")]
    return paragraph(tag("b", "Seal. "), join(first, *[join(" ", sentence(r)) for r in rest if r]), kind="seal")


def glance(finding: Finding) -> Html:
    """n at a glance."""
    n = mapping(finding.results, "n")
    pairs: list[tuple[object, object]] = [("rows", count(n.get("rows")))]
    if finite(n.get("clusters")) is not None:
        pairs.append(("clusters", count(n["clusters"])))
    if finite(n.get("events")) is not None:
        prevalence = finite(finding.results.get("prevalence"))
        pairs.append(("events", join(count(n["events"]), tag("small", f" {percent(prevalence)}") if prevalence is not None else "")))
    for key, name in (("folds", "folds"), ("repeats", "repeats"), ("abstained", "abstained"), ("outcome_missing", "outcome missing")):
        if finite(n.get(key)) is not None and not (key in ("folds", "repeats") and not finding.crossed):
            pairs.append((name, count(n[key])))
    pairs.append(("comparators", str(len(finding.comparators))))
    return facts([(k, v if v != NOT_ESTIMATED else sure(None)) for k, v in pairs], "glance")
