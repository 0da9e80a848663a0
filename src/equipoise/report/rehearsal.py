"""What a rehearsal found, as a section of a report and as the body of its own page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from equipoise.report.axes import INK, MODEL_COLOUR, SOFT, house_style, light_grid, new_axes, to_svg
from equipoise.report.markup import Html, Numbering, bullets, paragraph, section
from equipoise.report.reading import dig, lines, mapping
from equipoise.report.text import count, finite, percent
from equipoise.report.vocabulary import humane

_OF_MODEL = {
    "small": "the run's own learner and comparators, made narrow and short",
    "config": "the run's own learner and comparators, untouched",
    "fast": "an additive regression in the learner's place, beside the run's comparators made small",
}


def rehearsal(context: Mapping[str, Any], numbering: Numbering) -> Html:
    """The section of a run's report; nothing where nothing was rehearsed."""
    found = mapping(context, "rehearsal")
    if not found:
        return Html("")
    first = _when(found, finite(context.get("opening")))
    if found.get("config_hash") != context.get("config_hash"):
        first += " The rehearsed config differs from this run's in settings other than cohort and protocol."
    return section("Rehearsal", paragraph(first), *body(found, numbering), anchor="rehearsal")


def _when(found: Mapping[str, Any], opening: float | None) -> str:
    """Whether the rehearsal came before the rows were opened, as far as the ledger shows."""
    told = f"finished {found.get('finished')}, hash {found.get('hash')}"
    if not found.get("in_ledger") or opening is None:
        return f"This protocol was rehearsed ({told}); the ledger does not show that this came before the rows were opened."
    if opening > 1:
        return f"Before this opening ({opening:.0f}) the protocol was rehearsed ({told}); the rows had been opened before."
    return f"Before the held-out rows were opened, this protocol was rehearsed ({told}). The hash stands in the ledger's line of the opening."


def body(found: Mapping[str, Any], numbering: Numbering) -> list[Html]:
    """Answer, table, figure and what was assumed.

    Args:
        found: rehearsal.json's content.
        numbering: of the page.
    """
    return [paragraph(answer(found)), _table(found, numbering), _figure(found, numbering), _coverage(found, numbering), bullets(assumptions(found))]


def answer(found: Mapping[str, Any]) -> str:
    """The rehearsal's answer in sentences."""
    by_gain = lines(found, "figures", "by_gain")
    null = next((line for line in by_gain if line["gain"] == 0), None)
    said = ""
    if null is not None:
        said += f"With nothing to be gained, a gain was claimed in {share(null['claims'])} of {count(null['claims']['n'])} twins, "
        said += f"and falsely in {share(null['false'])}"
        if null["claims"]["events"] > null["false"]["events"]:
            said += " (in the others the model that was fitted was truly the better one, by chance in fitting: a true claim about it, none about its kind)"
        said += ". "
    power = [f"{share(line['claims'])} at {line['gain']:g} (models truly better by {_plain(line['mean_true_gain'])})" for line in by_gain if line["gain"] > 0]
    said += f"Under planted gains a gain was claimed in {', '.join(power)}. " if power else ""
    planted, largest = (finite(dig(found, "figures", "smallest_demonstrable_gain", k)) for k in ("planted", "largest_planted"))
    if planted is not None:
        said += f"The smallest planted gain that is demonstrated with a power of 80% is about {planted:.2g}."
    elif power:
        said += f"No planted gain up to {largest:g} is demonstrated with a power of 80%."
    return said.strip()


def _table(found: Mapping[str, Any], numbering: Numbering) -> Html:
    head = ("Planted gain", "Gain claimed", "95% interval", "Falsely", "95% interval", "Model truly better", "Mean true gain", "80% by formula", "No verdict")
    rows = [
        (
            f"{line['gain']:g}",
            share(line["claims"]),
            _interval(line["claims"]),
            share(line["false"]),
            _interval(line["false"]),
            share(line["truly_better"]),
            _plain(line["mean_true_gain"], sign=True),
            _plain(line["mean_smallest"]),
            count(line["not_evaluable"]),
        )
        for line in lines(found, "figures", "by_gain")
    ]
    endpoint = humane(str(found.get("primary") or "primary endpoint")).lower()
    note = (
        f"Planted gain: by how much the best possible risk's {endpoint} beats the best one of the null's form. Truly: in expectation over outcomes, of the "
        "very models that were fitted, over all held-out rows, the least over the required comparators. Falsely: a gain was claimed where it is not above 0 "
        "against every required comparator, or net benefit is truly inferior. By formula: the multiple of the standard error of the primary "
        "difference that the verdict prints, the largest over comparators, on average. Intervals: Wilson's, over twins."
    )
    caption = f"What the protocol said of {count(dig(found, 'figures', 'twins'))} twins at each planted gain."
    return numbering.table(caption, head, rows, note=note, kind="wide")


def _figure(found: Mapping[str, Any], numbering: Numbering) -> Html:
    by_gain = lines(found, "figures", "by_gain")
    x = np.array([line["gain"] for line in by_gain], dtype=np.float64)
    with house_style():
        fig, ax = new_axes(4.6, 2.8)
        for key, colour, name in (("claims", MODEL_COLOUR, "gain claimed"), ("false", INK, "falsely")):
            y, lo, hi = (np.array([line[key][k] for line in by_gain], dtype=np.float64) for k in ("value", "lo", "hi"))
            ax.errorbar(
                x, y, yerr=[np.maximum(y - lo, 0), np.maximum(hi - y, 0)], color=colour, marker="o", markersize=3.5, linewidth=1.2, capsize=2, label=name
            )
        ax.axhline(0.8, color=SOFT, linewidth=0.7, linestyle=(0, (4, 2)))
        ax.axhline(0.025, color=SOFT, linewidth=0.7, linestyle=(0, (1, 2)))
        ax.set(xlabel="planted gain", ylabel="share of twins", ylim=(-0.02, 1.02))
        light_grid(ax)
        ax.legend(loc="upper left")
        drawn = to_svg(fig, "Share of twins in which a gain was claimed, by planted gain", "rehearsal")
    return numbering.figure("Share of twins in which a gain was claimed, with 95% interval. Dashed: 80%; dotted: 2.5%.", drawn)


def _coverage(found: Mapping[str, Any], numbering: Numbering) -> Html:
    rows: list[tuple[object, ...]] = []
    for line in lines(found, "figures", "by_gain"):
        rows += [(f"{line['gain']:g}", f"difference from {c}", share(hit), _interval(hit)) for c, hit in mapping(line, "coverage").items()]
        if finite(line.get("risk_coverage")) is not None:
            rows.append((f"{line['gain']:g}", "each row's own risk", percent(line["risk_coverage"]), "mean over twins"))
    level = finite(found.get("level"))
    caption = "How often intervals held what is true: of the primary difference, its true expectation over all held-out rows"
    caption += f" (declared: {percent(level)})." if level is not None else "."
    return numbering.table(caption, ("Planted gain", "Interval of", "Held the truth", "95% interval"), rows, text_columns=2)


def assumptions(found: Mapping[str, Any]) -> list[str]:
    """What was rehearsed, and on what it rests."""
    settings, declared = mapping(found, "settings"), mapping(found, "declared")
    kind = "the cohort's own rows, whole clusters drawn with replacement within each role" if settings.get("kind") == "plasmode" else "generated people"
    said = [
        f"Twins: {kind}; {count(found.get('tried'))} settings or seeds tried on select rows in each; fitted: {_OF_MODEL.get(str(settings.get('model')), '')}.",
        f"Null: risks of the comparator {settings.get('truth')}, fitted to train rows, at the train rows' prevalence "
        f"({percent(declared.get('prevalence'))}) and that comparator's AUROC on train rows left out ({_plain(declared.get('auroc'))}).",
    ]
    if declared.get("columns"):
        said.append(f"Planted: values far from the middle of {', '.join(declared['columns'])} raise the risk, on either side.")
    said.append("No held-out outcome was read: held-out rows lend their features, and outcomes are drawn.")
    said.append("Power holds for a truth of this kind; a learner that cannot represent it has none, and another truth may be easier or harder.")
    return said


def share(found: Mapping[str, Any]) -> str:
    """A rate in percent."""
    return str(percent(found.get("value")))


def _interval(found: Mapping[str, Any]) -> str:
    return f"{percent(found.get('lo'))} to {percent(found.get('hi'))}"


def _plain(value: object, *, sign: bool = False) -> str:
    known = finite(value)
    return "not estimated" if known is None else f"{known:+.3g}" if sign else f"{known:.3g}"
