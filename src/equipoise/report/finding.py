"""One question's results with what every section asks of them: names, n in words, the level of the intervals, the page's numbering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from equipoise.report.axes import house_style, to_svg
from equipoise.report.markup import Html, Numbering
from equipoise.report.reading import dig, level_of, mapping
from equipoise.report.text import count, digits_for, digits_of_scale, finite, percent_plain
from equipoise.report.vocabulary import GROUPS, Metric, metric, model_label


@dataclass(frozen=True)
class Finding:
    """Results of one question.

    Args:
        results: as in results.json.
        context: of the whole run.
        numbering: shared by the whole page.
        anchor: a prefix for identifiers, unique in the page; "" for the first question.
    """

    results: Mapping[str, Any]
    context: Mapping[str, Any]
    numbering: Numbering
    anchor: str = ""

    @property
    def model(self) -> str:
        return str(self.results.get("model") or "equipoise")

    @property
    def model_name(self) -> str:
        return model_label(self.model)

    @property
    def kind(self) -> str:
        return str(self.results.get("kind") or "")

    @property
    def target(self) -> str:
        return str(self.results.get("target") or self.results.get("task") or "the outcome").replace("_", " ")

    @property
    def unit(self) -> str:
        return str(self.results.get("unit") or "")

    @property
    def role(self) -> str:
        return str(self.results.get("role") or "held_out")

    @property
    def tuning(self) -> bool:
        """Whether these are select rows: metrics to tune by, never a claim."""
        return self.role == "select"

    @property
    def crossed(self) -> bool:
        return self.role.startswith("cross")

    @property
    def rows_in_words(self) -> str:
        """ "held-out rows", "select rows", "rows of the folds held out"."""
        return "select rows" if self.tuning else "cross-validated rows" if self.crossed else "held-out rows"

    @property
    def n_in_words(self) -> str:
        """ "4,000 held-out rows (554 events)"."""
        n, events = dig(self.results, "n", "rows"), finite(dig(self.results, "n", "events"))
        rows = f"{count(n)} {self.rows_in_words}" if finite(n) is not None else self.rows_in_words
        return rows + ("" if events is None else f" ({count(events)} events)")

    @property
    def level_in_words(self) -> str:
        """ "95%"."""
        return percent_plain(level_of(self.results))

    @property
    def exploratory(self) -> bool:
        return bool(dig(self.results, "verdict_detail", "exploratory")) or (finite(self.opening) or 0) > 1

    @property
    def opening(self) -> Any:
        """Which opening of these rows this is, or None."""
        from_trial = dig(self.results, "verdict_detail", "opening")
        return from_trial if from_trial is not None else self.context.get("opening")

    @property
    def primary(self) -> str | None:
        """The primary endpoint's key."""
        key = dig(self.results, "verdict_detail", "primary") or dig(self.results, "protocol", "primary")
        return str(key) if key else None

    @property
    def comparators(self) -> list[str]:
        """All comparators with endpoints or comparisons, the required ones first."""
        names = [*mapping(self.results, "comparators"), *[c for c in mapping(self.results, "comparisons") if c not in mapping(self.results, "comparators")]]
        return sorted(names, key=lambda c: not self.required(c))

    def required(self, comparator: str) -> bool:
        """Whether the verdict asks for a gain over this comparator."""
        declared = dig(self.results, "comparators", comparator, "required")
        return bool(declared) if declared is not None else comparator in (dig(self.results, "verdict_detail", "against") or ())

    @property
    def models(self) -> list[str]:
        """The model and its comparators."""
        return [self.model, *self.comparators]

    def endpoints(self, model: str) -> Mapping[str, Any]:
        """Endpoints of the model or of a comparator."""
        return mapping(self.results, "endpoints") if model == self.model else mapping(self.results, "comparators", model, "endpoints")

    @property
    def metrics(self) -> list[Metric]:
        """All metrics, in the order of their groups, the primary one marked nowhere: see `primary`."""
        keys: dict[str, Any] = {}
        for model in self.models:
            for key, entry in self.endpoints(model).items():
                keys.setdefault(key, entry)
        found = [metric(k, e if isinstance(e, Mapping) else None, self.unit, self.kind) for k, e in keys.items()]
        return sorted(found, key=lambda m: GROUPS.index(m.group))

    def metric(self, key: str) -> Metric:
        """The metric called ``key`` as this question declares it."""
        entry = mapping(self.endpoints(self.model), key)
        for comparator in self.comparators:
            entry = entry or mapping(self.results, "comparisons", comparator, key)
        return metric(key, entry, self.unit, self.kind)

    def digits(self, key: str, triples: Sequence[tuple[Any, Any, Any]], *, signed: bool = False) -> int:
        """Decimals for these (value, lo, hi) of one metric."""
        least = self.metric(key).digits
        if least is None:
            least = digits_of_scale([dig(self.endpoints(m), key, "value") for m in self.models])
        return digits_for(least, triples, signed=signed)

    def figure(self, caption: object, drawn: Figure, name: str, label: str, *, wide: bool = False) -> Html:
        """A numbered figure from one of matplotlib's; ``name`` is unique within the question."""
        with house_style():
            return self.numbering.figure(caption, to_svg(drawn, label, f"{self.anchor}{name}"), wide=wide)


def triple(entry: object, key: str = "value") -> tuple[Any, Any, Any]:
    """(value, lo, hi) of an endpoint, or of a comparison with ``key="difference"``."""
    return dig(entry, key), dig(entry, "lo"), dig(entry, "hi")


def of_task(finding: Finding, table: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are about this question: of keys ``name/task`` those of its task, and keys without a task, by name."""
    task = str(finding.results.get("task") or "")
    split = {key: str(key).rpartition("/") for key in table}
    return {(name if slash else key): table[key] for key, (name, slash, own) in split.items() if not slash or own == task or not task}
