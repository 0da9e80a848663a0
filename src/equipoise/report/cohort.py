"""Who was studied: the flow of rows, the sources, the roles, what is present."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.flow import flow
from equipoise.report.markup import Html, Numbering, facts, join, paragraph, section, tag
from equipoise.report.reading import dig, lines, mapping
from equipoise.report.text import align, count, finite, percent, sure
from equipoise.report.vocabulary import ROLES, humane


def presence(context: Mapping[str, Any], numbering: Numbering) -> Html:
    """Section: the share of rows that have each evidence, by role."""
    table = mapping(context, "presence")
    if not table:
        return section("Missing data", paragraph("The presence of evidences was not counted.", kind="missing"), anchor="presence")
    roles = [r for r in (*ROLES, *dict.fromkeys(k for v in table.values() if isinstance(v, Mapping) for k in v)) if any(r in mapping(table, e) for e in table)]
    roles = list(dict.fromkeys(roles))
    body = []
    columns = [align([percent(dig(table, e, r)) if finite(dig(table, e, r)) is not None else "\N{EN DASH}" for e in table]) for r in roles]
    for i, evidence in enumerate(table):
        body.append([str(evidence).replace("_", " "), *[c[i] for c in columns]])
    heads = [ROLES[r][0] if r in ROLES else humane(r) for r in roles]
    note = "Present: the row has the evidence at all. An evidence that is absent is left out of the model's input, not filled in."
    return section("Missing data", numbering.table("Rows in which an evidence is present, by role.", ["Evidence", *heads], body, note=note), anchor="presence")


def cohort(context: Mapping[str, Any], numbering: Numbering) -> Html:
    """Section: flow from raw to included, sources with their hashes, counts of the join."""
    manifest = mapping(context, "cohort")
    if not manifest:
        return section("Cohort", paragraph("The cohort's manifest was not given.", kind="missing"), anchor="cohort")
    steps, roles = lines(manifest, "flow"), mapping(manifest, "roles")
    size = f"{count(manifest.get('n_rows'))} rows of {count(manifest.get('n_subjects'))} subjects"
    parts: list[Any] = []
    if steps or roles:
        use = "; ".join(f"{ROLES[r][0].lower()}: {ROLES[r][1]}" for r in roles if r in ROLES)
        caption = f"From the raw sources to {size}, and their roles" + (f" ({use}). " if use else ". ") + "Rows of one cluster share a role."
        parts.append(numbering.figure(caption, flow(steps, roles), wide=True))
    parts += [_sources(manifest, numbering), _counts(manifest)]
    return section("Cohort", *parts, anchor="cohort")


def _sources(manifest: Mapping[str, Any], numbering: Numbering) -> Html | str:
    sources = lines(manifest, "sources")
    if not sources:
        return ""
    sizes = align([count(s.get("bytes")) if finite(s.get("bytes")) is not None else "\N{EN DASH}" for s in sources])
    # A source may have been noted by its path; only its name belongs here.
    rows = [[_base(s.get("name")), tag("code", str(s.get("sha256") or "not recorded")), size] for s, size in zip(sources, sizes, strict=True)]
    return numbering.table("Sources.", ["Source", "SHA-256", "Bytes"], rows, text_columns=2, kind="sources")


def _base(name: object) -> str:
    return str(name or "unnamed").replace("\\", "/").rstrip("/").split("/")[-1]


def _counts(manifest: Mapping[str, Any]) -> Html | str:
    counts = mapping(manifest, "counts")
    evidences = mapping(manifest, "evidences")
    pairs: list[tuple[object, object]] = [(f"Evidence: {name}".replace("_", " "), _evidence(entry)) for name, entry in evidences.items()]
    pairs += [(humane(k), sure(v)) for k, v in counts.items()]
    return join(tag("h3", "What was joined and checked"), facts(pairs)) if pairs else ""


def _evidence(entry: Any) -> str:
    match entry:
        case {"kind": "events", "codes": codes}:
            return f"coded events, {count(len(codes))} codes"
        case {"kind": "columns", "numbers": numbers, "categories": categories}:
            return f"{count(len(numbers))} numbers, {count(len(categories))} categories"
        case {"kind": "genotypes", "n_variants": n}:
            return f"{count(n)} variants"
        case {"kind": kind}:
            return str(kind)
        case _:
            return {"events": "coded events", "columns": "columns of a table", "genotypes": "genotypes"}.get(str(entry), "present")
