"""The one error that a user's mistake raises: it names the thing, what was expected, what was found, and the mend."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what the user gave (a file, a row, a key): answered by one paragraph and exit code 2, never by a traceback.

    Args:
        thing: what is wrong, by name: a file, a row, a column, a config key.
        expected: what should have been there.
        found: what was there instead.
        mend: what to do about it.
    """

    def __init__(self, thing: str, *, expected: str = "", found: str = "", mend: str = "") -> None:
        self.thing, self.expected, self.found, self.mend = thing, expected, found, mend
        labelled = (("Expected", expected), ("Found", found), ("To mend", mend))
        super().__init__(" ".join([_sentence(thing), *(f"{label}: {_sentence(text)}" for label, text in labelled if text)]))

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not survive pickling (data-loader workers, sweep launchers) without this.
        return _rebuild, (self.thing, self.expected, self.found, self.mend)


def _sentence(text: str) -> str:
    return text if text.endswith(("?", "!", ".")) else f"{text}."


def _rebuild(thing: str, expected: str, found: str, mend: str) -> UserError:
    return UserError(thing, expected=expected, found=found, mend=mend)
