"""Numbers as a reader wants them: the right digits, true minus signs, intervals as '0.862 (0.847 to 0.877)', and 'not estimated' for null."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from equipoise.report.markup import Html, esc, join, tag

NOT_ESTIMATED = "not estimated"
MINUS, FIGURE_SPACE, POINT_SPACE = "\N{MINUS SIGN}", "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}"
MAX_DIGITS = 6


def finite(value: object) -> float | None:
    """The number, or None where there is none: null, NaN, infinite, a string, a truth value.

    >>> finite(0), finite(None), finite(float("nan"))
    (0.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def number(value: object, digits: int, *, sign: bool = False) -> str:
    """A number with fixed decimals; never '-0.000'.

    >>> number(-0.0004, 3), number(0.25, 2, sign=True), number(None, 2)
    ('0.000', '+0.25', 'not estimated')
    """
    x = finite(value)
    if x is None:
        return NOT_ESTIMATED
    text = f"{abs(x):,.{digits}f}"
    if float(text.replace(",", "")) == 0.0:
        return text
    return (MINUS if x < 0 else "+" if sign else "") + text


def count(value: object) -> str:
    """A count with thousands separated.

    >>> count(12000)
    '12,000'
    """
    x = finite(value)
    return NOT_ESTIMATED if x is None else f"{x:,.0f}" if x == round(x) else f"{x:,.1f}"


def percent(value: object, digits: int = 1) -> str:
    """A share in per cent.

    >>> percent(0.1385)
    '13.9%'
    """
    x = finite(value)
    return NOT_ESTIMATED if x is None else f"{100 * x:.{digits}f}%"


def percent_plain(value: object) -> str:
    """A share in per cent, with a decimal only where it needs one.

    >>> percent_plain(0.1), percent_plain(0.975)
    ('10%', '97.5%')
    """
    x = finite(value)
    return percent(value, 0 if x is not None and round(100 * x, 6) % 1 == 0 else 1)


def p_value(value: object) -> str:
    """A p value as journals print it.

    >>> p_value(0.0004), p_value(0.034), p_value(0.25)
    ('<0.001', '0.034', '0.25')
    """
    x = finite(value)
    if x is None:
        return NOT_ESTIMATED
    return "<0.001" if x < 0.001 else f"{x:.3f}" if x < 0.1 else ">0.99" if x > 0.99 else f"{x:.2f}"


def p_shown(value: object) -> str:
    """A p value with its sign of relation, as it stands in a sentence.

    >>> p_shown(0.0004) == "p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001"
    True
    """
    text = p_value(value)
    relation, rest = (text[0], text[1:]) if text[0] in "<>" else ("=", text)
    return f"p\N{NO-BREAK SPACE}{relation}\N{NO-BREAK SPACE}{rest}"


def digits_for(least: int, triples: Iterable[tuple[object, object, object]], *, signed: bool = False) -> int:
    """Decimals for estimates with intervals that stand together.

    At least ``least``; more where an interval is so narrow that its half width would not show, and, for differences, where a bound
    that is not zero would be printed as zero (the reader must see which side of zero it lies on).

    Args:
        least: decimals that the metric has anyway.
        triples: (value, lo, hi) each.
        signed: the values are differences.

    >>> digits_for(3, [(0.0101, 0.00004, 0.0202)], signed=True)
    5
    """
    digits = least
    for value, lo, hi in triples:
        bounds = [finite(lo), finite(hi)]
        if bounds[0] is not None and bounds[1] is not None and bounds[1] > bounds[0]:
            digits = max(digits, -math.floor(math.log10((bounds[1] - bounds[0]) / 2)))
        if signed:
            sizes = [abs(b) for b in (*bounds, finite(value)) if b]
            digits = max([digits, *(_needed(size, digits) for size in sizes)])
    return min(digits, MAX_DIGITS)


def _needed(size: float, digits: int) -> int:
    while digits < MAX_DIGITS and round(size, digits) == 0.0:
        digits += 1
    return digits


def digits_of_scale(values: Iterable[object]) -> int:
    """Decimals that show three significant digits of the largest number: for quantities in a unit of their own.

    >>> digits_of_scale([0.0123]), digits_of_scale([151.2])
    (4, 0)
    """
    sizes = [abs(x) for x in map(finite, values) if x]
    return 3 if not sizes else min(max(2 - math.floor(math.log10(max(sizes))), 0), MAX_DIGITS)


def estimate(value: object, lo: object, hi: object, digits: int, *, sign: bool = False) -> str:
    """An estimate with its interval.

    >>> estimate(0.862, 0.847, 0.877, 3)
    '0.862 (0.847 to 0.877)'
    """
    if finite(value) is None:
        return NOT_ESTIMATED
    return f"{number(value, digits, sign=sign)} ({bounds(lo, hi, digits, sign=sign)})"


def bounds(lo: object, hi: object, digits: int, *, sign: bool = False) -> str:
    """The two ends of an interval, or a plain word that there is none."""
    if finite(lo) is None and finite(hi) is None:
        return "no interval"
    return f"{number(lo, digits, sign=sign)} to {number(hi, digits, sign=sign)}"


def align(numbers: Sequence[str]) -> list[str]:
    """Pads numbers with spaces as wide as digits, so that a column stands on its decimal point; words stay as they are.

    >>> align(["0.5", "12.25"])[0] == "\N{FIGURE SPACE}0.5\N{FIGURE SPACE}"
    True
    """
    split = [_split(n) for n in numbers]
    left = max((len(s[0]) for s in split if s), default=0)
    right = max((len(s[1]) for s in split if s), default=0)
    out = []
    for text, s in zip(numbers, split, strict=True):
        if s is None:
            out.append(text)
        else:
            point = "" if s[1] or not right else POINT_SPACE
            out.append(FIGURE_SPACE * (left - len(s[0])) + text + point + FIGURE_SPACE * (right - len(s[1])))
    return out


def _split(text: str) -> tuple[str, str] | None:
    if not text.lstrip(f"+<>{MINUS}")[:1].isdigit():
        return None
    whole, _, rest = text.rstrip("%").partition(".")  # a sign is as wide as a digit where figures are tabular
    return whole, rest


def value_html(value: object, shown: str) -> Html:
    """The number as shown, with the exact one behind it (``<data>``), so that a page can be read by a machine too."""
    x = finite(value)
    return tag("span", NOT_ESTIMATED, class_="missing") if x is None else tag("data", shown, value=repr(x))


def stacked(value: object, lo: object, hi: object, shown: str, interval: str) -> Html:
    """A table cell of two lines: the estimate, and its interval below."""
    if finite(value) is None:
        return tag("span", NOT_ESTIMATED, class_="missing")
    return join(value_html(value, shown), tag("span", interval, class_="ci"))


def listed(names: Iterable[object], last: str = "and") -> str:
    """Names as an English list.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    words = [str(n) for n in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else "none"


def sentence(text: object) -> str:
    """Text that starts with a capital and ends with a stop.

    >>> sentence("few events")
    'Few events.'
    """
    words = str(text).strip()
    return words if not words else words[0].upper() + words[1:] + ("" if words[-1] in ".!?…" else ".")


def sure(value: object) -> Html:
    """Any plain value as text: numbers with up to six digits, truth values as yes or no, null as not estimated, lists with commas."""
    match value:
        case None:
            return tag("span", NOT_ESTIMATED, class_="missing")
        case bool():
            return esc("yes" if value else "no")
        case int():
            return esc(f"{value:,}".replace("-", MINUS))
        case float():
            return esc(f"{value:.6g}".replace("-", MINUS)) if math.isfinite(value) else tag("span", NOT_ESTIMATED, class_="missing")
        case dict():
            return join(*[join(str(k).replace("_", " "), " ", sure(v)) for k, v in value.items()], by="; ") if value else esc("none")
        case list() | tuple():
            return join(*[sure(v) for v in value], by=", ") if value else esc("none")
        case _:
            return esc(value)
