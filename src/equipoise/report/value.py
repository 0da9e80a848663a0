"""What each evidence adds: gains of content and of presence, apart, for every declared population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from equipoise.report.axes import house_style
from equipoise.report.differences import metric_label
from equipoise.report.finding import Finding, triple
from equipoise.report.forest import Line, Panel, forest
from equipoise.report.markup import Html, bullets, fold, join, paragraph, section, tag
from equipoise.report.reading import dig, mapping
from equipoise.report.text import bounds, count, estimate, finite, listed, number, percent, sentence, stacked
from equipoise.report.vocabulary import humane, lower

LEAD = (
    "Total gain: the model beside one that was fitted without the evidence. Content gain: beside models in which the evidence's rows had changed places "
    "among people of like strata (named below), so that who has it was kept and what it says was not. Presence gain: the rest, which is what the model takes "
    "from who has the evidence, and from site and ancestry as far as the strata keep them. Positive is better; a presence gain below 0 is the "
    "price of fitting what says nothing. Only the content gain among those with the "
    "evidence carries a verdict; everything else is secondary."
)
POPULATIONS = (
    "Three populations: rows that have the evidence; all rows as they are, with it or without; and the population had everyone had it, for which rows "
    "with the evidence stand for like rows without it (weights by the columns named below: right if nothing else decides who lacks it)."
)
ABSENCE = (
    "Presence masked at random: among rows with the evidence, it is hidden from as many as lack it, by chance. A gain that is there as observed and not "
    "at random comes from the care process. Shifts: had everyone the evidence, and were the outcome of those without it by so much more frequent (higher) "
    "than that of like people with it."
)
GAINS = ("content", "total", "presence")
GENETIC = "genetic group"


def value(finding: Finding) -> Html:
    """Section: the worth of every evidence for which it was claimed; nothing where none was."""
    entries = {str(k): v for k, v in mapping(finding.results, "value", "evidences").items() if isinstance(v, Mapping)}
    if not mapping(finding.results, "value"):
        return Html("")
    anchor, title = f"{finding.anchor}value", "What each evidence adds"
    if not entries:
        return section(title, paragraph("Not estimated: the predictions hold no placebo of any evidence.", kind="missing"), anchor=anchor)
    return section(
        title,
        bullets([sentence(e.get("sentence") or f"{name}: not estimated") for name, e in entries.items()]),
        paragraph(LEAD),
        _figure(finding, entries),
        paragraph(POPULATIONS, " ", _adjusted(finding)),
        _gains_table(finding, entries),
        _secondary_table(finding, entries),
        _within_table(finding, entries),
        paragraph(ABSENCE),
        _absence_table(finding, entries),
        bullets(turned) if (turned := [f"{humane(n)}. {sentence(s)}" for n, e in entries.items() if (s := dig(e, "absence", "delta", "sentence"))]) else "",
        _subsets(finding),
        _contributions(finding),
        anchor=anchor,
    )


def _adjusted(finding: Finding) -> str:
    """For what the nested models adjust, for what they cannot, and within what placebos were permuted."""
    base, strata = mapping(finding.results, "value", "base"), mapping(finding.results, "value", "strata")
    kept = [str(c) for c in base.get("kept") or []]
    lacking = [str(p) for p in base.get("patterns") or [] if not _matched(str(p), kept)]
    text = f"Every nested model keeps {listed(kept)}." if kept else "No column was there that every nested model keeps."
    others = [str(e).replace("_", " ") for e in dig(finding.results, "value", "not_claimed") or []]
    text += f" No worth of {listed(others, 'or')} is claimed." if others else ""
    text += f" Not adjusted for {listed(lacking, 'or')}: no such column." if lacking else ""
    found = {name: levels for name, levels in strata.items() if levels}
    within = [f"{name} ({len(v)} groups{' found in the genotypes' if str(v[0]).startswith(GENETIC) else ''})" for name, v in found.items()]
    text += f" Placebos were permuted within {listed(within)}." if within else " Placebos were permuted among all people with the evidence."
    unknown = [name for name in strata if name not in found]
    return text + (f" Not within {listed(unknown, 'or')}: not known in this cohort." if unknown else "")


def _matched(pattern: str, names: list[str]) -> bool:
    return any(fnmatch(n.lower(), pattern.lower()) for n in names)


def _populations(entries: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(p for e in entries.values() for p in mapping(e, "estimands")))


def _figure(finding: Finding, entries: Mapping[str, Any]) -> Html | str:
    key = finding.primary or ""
    metric, panels = finding.metric(key), []
    for population in _populations(entries):
        own = {(n, g): mapping(e, "estimands", population, "gains", g, key) for n, e in entries.items() for g in GAINS}
        own = {k: g for k, g in own.items() if finite(g.get("gain")) is not None}
        if not own:
            continue
        digits = _digits(finding, key)
        lines = [
            Line.of(f"{n.replace('_', ' ')}: {g}", triple(e, "gain"), estimate(*triple(e, "gain"), digits, sign=True), strong=g == "content")
            for (n, g), e in own.items()
        ]
        unit = f" ({metric.unit})" if metric.unit else ""
        title = f"Gain in {lower(metric.label)}{unit}, {population}"
        panels.append(Panel(title, tuple(lines), 0.0, False, "\N{LEFTWARDS ARROW} worse with it", "better with it \N{RIGHTWARDS ARROW}"))
    if not panels:
        return ""
    with house_style():
        drawn, _ = forest(panels)
    caption = f"What each evidence adds, in {finding.n_in_words}, with {finding.level_in_words} interval; content gains, which carry the verdicts, in colour."
    return finding.figure(caption, drawn, "value", "Forest plot of total, content and presence gain by evidence and population", wide=True)


def _digits(finding: Finding, key: str) -> int:
    """One decimal more than the metric has. The gain of an evidence from which nothing was learnt is all but 0: no decimals are spent on it."""
    return finding.digits(key, []) + 1


def _cell(finding: Finding, key: str, entry: Mapping[str, Any]) -> Html:
    if finite(entry.get("gain")) is None:
        return tag("span", "\N{EN DASH}", title="not estimated")
    digits = _digits(finding, key)
    shown = number(entry["gain"], digits, sign=True)
    return stacked(*triple(entry, "gain"), shown, bounds(entry.get("lo"), entry.get("hi"), digits, sign=True))


def _gains_table(finding: Finding, entries: Mapping[str, Any]) -> Html:
    key = finding.primary or ""
    rows: list[list[object]] = []
    for name, entry in entries.items():
        rows.append([join(humane(name), tag("span", f" present in {percent(entry.get('share'))} of rows", class_="soft"))])
        for population, own in mapping(entry, "estimands").items():
            if not mapping(own, "gains"):
                rows.append([join(humane(population), tag("span", str(own.get("note") or ""), class_="soft line")), *["\N{EN DASH}"] * 4])
                continue
            rows.append([_population(population, own), _n(own), *[_cell(finding, key, mapping(own, "gains", g, key)) for g in GAINS]])
    head = ["", "n", *[f"{humane(g)} gain" for g in GAINS]]
    caption = f"Gain in {lower(finding.metric(key).label)} of {finding.model_name} by evidence and population, with {finding.level_in_words} interval."
    k = max((int(e.get("n_placebos") or 0) for e in entries.values()), default=0)
    note = f"Placebos: the mean of {k} fits with different permutations; the verdict asks for a gain over each. " if k > 1 else ""
    note += "Intervals resample clusters of evaluated rows, not training rows or seeds; weights count as known."
    return finding.numbering.table(caption, head, rows, note=note, kind="endpoints")


def _population(name: str, own: Mapping[str, Any]) -> Html:
    effective = finite(own.get("effective_rows"))
    if effective is None:
        return join(humane(name))
    by = listed(dict.fromkeys(str(c) for c in own.get("by") or []))
    cut = f", {own['truncated']} weights cut" if own.get("truncated") else ""
    return join(humane(name), tag("span", f"by {by}; effective rows {effective:,.0f}{cut}", class_="soft line"))


def _n(own: Mapping[str, Any]) -> str:
    rows, events = dig(own, "n", "rows"), finite(dig(own, "n", "events"))
    return count(rows) + ("" if events is None else f" ({count(events)})")


def _secondary_table(finding: Finding, entries: Mapping[str, Any]) -> Html | str:
    population = next(iter(_populations(entries)), "")
    found = {n: mapping(e, "estimands", population, "gains", "content") for n, e in entries.items()}
    keys = [k for k in dict.fromkeys(k for table in found.values() for k in table) if k != finding.primary]
    if not keys:
        return ""
    rows = [[humane(n), *[_cell(finding, k, mapping(table, k)) for k in keys]] for n, table in found.items()]
    caption = f"Content gain in the secondary endpoints, {population}, with {finding.level_in_words} interval, not adjusted for their number."
    return finding.numbering.table(caption, ["", *[metric_label(finding, finding.metric(k)) for k in keys]], rows, kind="endpoints wide")


def _within_table(finding: Finding, entries: Mapping[str, Any]) -> Html:
    key = finding.primary or ""
    rows: list[list[object]] = []
    for name, entry in entries.items():
        rows.append([humane(name)])
        rows += list(_within(finding, mapping(entry, "within"), key))
    caption = f"Where the gain is, among those with the evidence: {lower(finding.metric(key).label)} within each ancestry and at sites that taught nothing; "
    caption += f"between relatives the measure named. With {finding.level_in_words} interval."
    return finding.numbering.table(caption, ["", "n", "Content gain", "Total gain"], rows, kind="endpoints")


def _within(finding: Finding, within: Mapping[str, Any], key: str) -> Iterator[list[object]]:
    for group, own in mapping(within, "ancestry", "groups").items():
        gains = mapping(own, "gains")
        cells = [_cell(finding, key, mapping(gains, g, key)) if gains else tag("span", str(own.get("note") or ""), class_="soft") for g in GAINS[:2]]
        yield [join("Ancestry: ", group), count(own["rows"]) if own.get("rows") is not None else "few", *cells]
    for part, words in (("ancestry", "Within ancestry"), ("sites", "Left-out sites"), ("families", "Between relatives")):
        own = mapping(within, part)
        if own.get("note"):
            yield [join(words, tag("span", str(own["note"]), class_="soft line")), *["\N{EN DASH}"] * 3]
    sites, families = mapping(within, "sites"), mapping(within, "families")
    if mapping(sites, "gains"):
        yield ["Left-out sites, mean over sites", f"{sites.get('sites')} sites", *[_cell(finding, key, mapping(sites, "gains", g)) for g in GAINS[:2]]]
    if mapping(families, "gains"):
        measure = join("Between relatives", tag("span", f"{families.get('measure')}; {_own(families)}", class_="soft line"))
        yield [measure, f"{families.get('families')} families", *[_cell(finding, "auroc", mapping(families, "gains", g)) for g in GAINS[:2]]]


def _own(families: Mapping[str, Any]) -> str:
    return f"the model's own {estimate(*triple(mapping(families, 'value'), 'gain'), 3)}"


def _absence_table(finding: Finding, entries: Mapping[str, Any]) -> Html:
    key = finding.primary or ""
    shifts = list(dict.fromkeys(d for e in entries.values() for d in mapping(e, "absence", "delta", "shifts")))
    unit = next((str(u) for e in entries.values() if (u := dig(e, "absence", "delta", "unit"))), "")
    rows: list[list[object]] = []
    for name, entry in entries.items():
        random, delta = mapping(entry, "absence", "at_random"), mapping(entry, "absence", "delta", "shifts")
        hidden = finite(random.get("hidden"))
        about = f"hidden from {percent(hidden)}" if hidden is not None else str(random.get("note") or "")
        label = join(humane(name), tag("span", about, class_="soft line"))
        shifted = [_cell(finding, key, mapping(delta, d, "gains", "content", key)) for d in shifts]
        rows.append([label, _cell(finding, key, mapping(random, "observed")), _cell(finding, key, mapping(random, "random")), *shifted])
    head = ["", "Total gain, presence as observed", "Total gain, presence at random", *[f"Content gain, shift {d}" for d in shifts]]
    caption = f"Gain in {lower(finding.metric(key).label)} and absence, with {finding.level_in_words} interval."
    caption += f" Shifts in {unit}; a shift of 0 is the reweighted population." if shifts else ""
    note = "Pattern mixture: Rubin (1977); Carpenter and Kenward (2013), chapter 10." if shifts else ""
    return finding.numbering.table(caption, head, rows, note=note, kind="endpoints wide" if shifts else "endpoints")


def _subsets(finding: Finding) -> Html | str:
    table = {k: v for k, v in mapping(finding.results, "value", "subsets").items() if isinstance(v, Mapping)}
    if not table:
        return ""
    key = finding.primary or ""
    metric = finding.metric(key)
    digits = finding.digits(key, [triple(v) for v in table.values()])
    rows = [
        [listed(str(h).replace("_", " ") for h in v.get("hidden") or []), estimate(*triple(v), digits), _cell(finding, key, mapping(v, "change"))]
        for v in table.values()
    ]
    caption = f"{metric.label} of the fitted model with every subset of the evidences hidden, and the change from the model as it is (positive is better)."
    made = finding.numbering.table(caption, ["Hidden", metric.label, "Change"], rows, kind="endpoints")
    return fold(f"Every subset of missing evidences ({len(rows)})", made)


def _contributions(finding: Finding) -> Html | str:
    told = mapping(finding.results, "value", "contribution")
    lines = {k: v for k, v in mapping(told, "evidences").items() if isinstance(v, Mapping)}
    if not lines:
        return paragraph(f"Contributions to the fitted model: {told['note']}.", kind="missing") if told.get("note") else ""
    metric = finding.metric(finding.primary or "")
    digits = finding.digits(finding.primary or "", [triple(v) for v in lines.values()])
    rows = [[humane(name), estimate(*triple(v), digits)] for name, v in lines.items()]
    caption = f"Contribution of each evidence to the fitted model's {lower(metric.label)}: Shapley values over every subset hidden (positive is better), "
    caption += f"among the {told['n']:,} rows that have every evidence. They add up to what the model gains over the same answer for everybody, "
    caption += f"{number(told.get('whole'), digits)}. What a model without the evidence would have reached, only the refits tell."
    return finding.numbering.table(caption, ["Evidence", "Contribution"], rows, note="Shapley (1953).", kind="endpoints")
