"""The command ``equipoise``: words -> config -> `run`. Imports nothing heavy until a verb needs it.

Exit codes: 0 done, 2 a mistake of the user, 1 a fault, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from equipoise.config.help import VERBS, help_text
from equipoise.contract.errors import UserError


@dataclass
class Words:
    """A parsed command line."""

    verb: str = ""
    overrides: list[str] = field(default_factory=list)
    multirun: bool = False
    experiments: str | None = None
    show: bool = False
    help: bool = False
    version: bool = False
    names: list[str] = field(default_factory=list)
    outcome: str = ""
    id: str | None = None
    out: str | None = None


NAMES = {"init": 1, "verify": 1, "plan": 1, "pool": 1000, "compare": 1000}
"""How many names without ``=`` a verb takes: a file, a folder, a kind of study."""

_VALUED = {"--experiments": "experiments", "--outcome": "outcome", "--id": "id", "--out": "out"}
_FLAGS = {"-m": "multirun", "--multirun": "multirun", "--cfg": "show", "-h": "help", "--help": "help", "--version": "version"}
_OF_VERBS = {"--outcome": ("init",), "--id": ("init",), "--out": ("init", "plan", "pool", "compare")}


def parse(words: Sequence[str]) -> Words:
    """Reads the command line.

    Raises:
        UserError: an unknown verb or option, with the nearest ones.
    """
    from equipoise.config.nearest import nearest

    parsed, rest, given = Words(), list(words), []
    while rest:
        word = rest.pop(0)
        name, _, inline = word.partition("=")
        if word in _FLAGS:
            setattr(parsed, _FLAGS[word], True)
        elif name in _VALUED and word.startswith("--"):
            given.append(name)
            if not inline and not rest:
                raise UserError(f"Option {name} needs a value", mend="see `equipoise --help`")
            setattr(parsed, _VALUED[name], inline or rest.pop(0))
        elif word.startswith("-"):
            raise UserError(f"Unknown option {word}", expected=f"one of {', '.join([*_FLAGS, *_VALUED])}", mend=nearest(word, [*_FLAGS, *_VALUED]))
        elif not parsed.verb:
            if word not in VERBS:
                raise UserError(f"Unknown verb {word!r}", expected=f"one of {', '.join(VERBS)}", mend=nearest(word, VERBS))
            parsed.verb = word
        elif "=" not in word and len(parsed.names) < NAMES.get(parsed.verb, 0):
            parsed.names.append(word)
        elif "=" in word or word.startswith("~"):
            parsed.overrides.append(word)
        else:
            raise UserError(f"Cannot read the word {word!r}", expected="KEY=VALUE or GROUP=OPTION", mend="see `equipoise --help`")
    for name in given:
        if parsed.verb not in _OF_VERBS.get(name, (parsed.verb,)):
            mend = f"leave it out of `equipoise {parsed.verb}`" if parsed.verb else "add the verb"
            raise UserError(f"Option {name} belongs to {' and '.join(f'`equipoise {v}`' for v in _OF_VERBS[name])}", mend=mend)
    return parsed


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    try:
        return _dispatch(parse(sys.argv[1:] if words is None else words))
    except UserError as e:
        print(f"equipoise: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("equipoise: interrupted; the same command with the same run_dir goes on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as e:
        import traceback

        traceback.print_exc()
        print(f"equipoise: a fault, not a mistake of yours: {type(e).__name__}: {e}", file=sys.stderr)
        return 1


def _refuse_extra(words: Words) -> None:
    """Raises UserError for words that a verb without a config would pass over in silence."""
    given = {"-m": words.multirun, "--cfg": words.show, "--experiments": words.experiments is not None and words.verb != "doctor"}
    overrides = [] if words.verb == "plan" else words.overrides
    if extra := [*overrides, *(name for name, there in given.items() if there)]:
        mend = "edit the run.yaml that it writes" if words.verb == "init" and words.overrides else "leave it out"
        raise UserError(f"`equipoise {words.verb}` takes no {extra[0]}", mend=mend)


def _init(words: Words) -> int:
    from equipoise.init import init

    init(words.names[0] if words.names else "", outcome=words.outcome, id_column=words.id, out=words.out)
    return 0


def _doctor(words: Words) -> int:
    from equipoise.doctor import doctor

    return doctor(words.experiments)


def _verify(words: Words) -> int:
    from equipoise.verify import verify

    return verify(words.names)


def _pool(words: Words) -> int:
    from equipoise.pool import pool

    return pool(words.names, out=words.out)


def _compare(words: Words) -> int:
    from equipoise.compare import compare

    return compare(words.names, out=words.out)


def _plan(words: Words) -> int:
    from equipoise.plan import plan

    return plan(words.names, words.overrides, out=words.out)


WITHOUT_CONFIG = {"init": _init, "doctor": _doctor, "verify": _verify, "pool": _pool, "compare": _compare, "plan": _plan}
"""Verbs whose words do not compose a run's config."""


def _dispatch(words: Words) -> int:
    if words.version:
        from equipoise import __version__

        print(f"equipoise {__version__}")
        return 0
    if words.help or not words.verb:
        print(help_text(words.experiments))
        return 0 if words.help else 2
    if words.verb in WITHOUT_CONFIG:
        _refuse_extra(words)
        return WITHOUT_CONFIG[words.verb](words)
    from equipoise.launch import launch

    return launch(words.verb, words.overrides, multirun=words.multirun, experiments=words.experiments, show=words.show)
