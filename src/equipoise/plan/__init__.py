"""``equipoise plan KIND``: sample size and power, before anything is measured; with --out a page, and for a trial the skeleton of its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from equipoise.contract.errors import UserError
from equipoise.plan.result import Plan


def plan(names: Sequence[str], overrides: Sequence[str], *, out: str | None) -> int:
    """Prints a plan, and writes it where ``out`` says.

    Args:
        names: the kind, a file of ``configs/plan``.
        overrides: words ``KEY=VALUE``.
        out: a folder for plan.json, plan.html and, for a trial, spirit_ai.md; None: print only.

    Returns:
        0.

    Raises:
        UserError: no such kind or key, a value out of range, an aim that no sample size reaches, or a folder that cannot be made.
    """
    from equipoise.plan.settings import read

    kind = names[0] if names else ""
    _, meaning = read(kind)
    folder = None if out is None else _folder(out)
    made, settings = made_of(kind, overrides)
    from equipoise.plan.printed import printed

    print(printed(kind, made, settings, meaning))
    if folder is not None:
        _write(folder, kind, made, settings, meaning)
    return 0


def made_of(kind: str, words: Sequence[str]) -> tuple[Plan, dict[str, Any]]:
    """A plan with the settings that made it.

    Args:
        kind: a file of ``configs/plan``.
        words: ``KEY=VALUE``.

    Raises:
        UserError: see `plan`.
    """
    from equipoise.plan.kinds import KINDS
    from equipoise.plan.settings import settings_of

    settings = settings_of(kind, words, KINDS[kind].allowed)
    try:
        return KINDS[kind].make(**settings), settings
    except (ValueError, ZeroDivisionError, OverflowError) as e:
        raise UserError(
            f"`equipoise plan {kind}` finds no sample size for these settings", found=str(e), mend="see whether each value has the stated unit"
        ) from e


def _folder(out: str) -> Path:
    folder = Path(out)
    if any(p.is_file() for p in (folder, *folder.parents)):
        raise UserError(f"The folder {out} cannot be made", found="a file of that name, or above it", mend="choose another --out")
    return folder


def _text(text: str, file: BinaryIO) -> None:
    file.write(text.encode())


def _write(folder: Path, kind: str, made: Plan, settings: dict[str, Any], meaning: dict[str, str]) -> None:
    from equipoise import __version__
    from equipoise.plan.page import page
    from equipoise.plan.spirit_ai import skeleton
    from equipoise.record import write_json
    from equipoise.whole_file import write_whole

    said = {"equipoise": __version__, "kind": kind, "settings": settings, "answer": made.answer, **made.numbers}
    texts = {"plan.html": page(kind, made, settings, meaning)}
    if made.trial is not None:
        texts["spirit_ai.md"] = skeleton(kind, made, settings)
    try:
        write_json(folder / "plan.json", {**said, "assumes": made.assumes, "sources": made.sources})
        for name, text in texts.items():
            write_whole(folder / name, partial(_text, text))
    except OSError as e:
        raise UserError(f"The folder {folder} cannot be written", found=e.strerror or str(e), mend="choose another --out") from e
    print(f"\nwritten to {folder}: plan.json, {', '.join(texts)}")
