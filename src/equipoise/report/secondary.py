"""Secondary claims: which further gains were declared, and which of them are shown."""

from __future__ import annotations

from equipoise.report.finding import Finding
from equipoise.report.markup import Html, paragraph, section
from equipoise.report.protocol import MULTIPLICITY
from equipoise.report.reading import dig, mapping
from equipoise.report.text import p_value


def secondary(finding: Finding) -> Html:
    """Section: a line each declared secondary endpoint; nothing where none was declared."""
    claims = mapping(finding.results, "secondary")
    if not claims:
        return Html("")
    rows = [
        [finding.metric(key).label, entry.get("against") or "", p_value(entry.get("p")), p_value(entry.get("p_adjusted")), entry.get("sentence", "")]
        for key, entry in claims.items()
    ]
    lead = (
        "A secondary gain is claimed only behind the primary one, and only over every required comparator: the largest of their one-sided p counts. "
        f"Adjustment for the number of endpoints: {MULTIPLICITY.get(str(dig(finding.results, 'protocol', 'multiplicity')), 'not declared')}."
    )
    lead += " These rows had been opened before, so these claims are exploratory too." if finding.exploratory else ""
    head = ["Endpoint", "Least sure against", "p, one-sided", "p, adjusted", "Claim"]
    table = finding.numbering.table(f"Secondary claims in {finding.n_in_words}.", head, rows, text_columns=2)
    return section("Secondary claims", paragraph(lead), table, anchor=f"{finding.anchor}secondary")
