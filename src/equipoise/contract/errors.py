"""The one error that a user's mistake raises: it names the thing, what was expected, what was found, and the mend."""

from __future__ import annotations

NOT_RECORDED = "examples out of the data stand on the terminal only"


class UserError(Exception):
    """A mistake in what the user gave (a file, a row, a key): answered by one paragraph and exit code 2, never by a traceback.

    Its text is for the terminal; whatever is kept (a manifest, a log, a sweep's jobs) keeps `recorded`.

    Args:
        thing: what is wrong, by name: a file, a row, a column, a config key.
        expected: what should have been there.
        found: what was there instead.
        examples: some of it, out of the data: identifiers, cells of a table. It is printed and never recorded.
        mend: what to do about it.
    """

    def __init__(self, thing: str, *, expected: str = "", found: str = "", examples: str = "", mend: str = "") -> None:
        self.thing, self.expected, self.found, self.examples, self.mend = thing, expected, found, examples, mend
        super().__init__(self._text(examples))

    @property
    def recorded(self) -> str:
        """The text without what comes out of the data."""
        return self._text(f"({NOT_RECORDED})" if self.examples else "")

    def _text(self, examples: str) -> str:
        labelled = (("Expected", self.expected), ("Found", " ".join(t for t in (self.found, examples) if t)), ("To mend", self.mend))
        return " ".join([_sentence(self.thing), *(f"{label}: {_sentence(text)}" for label, text in labelled if text)])

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not survive pickling (data-loader workers, sweep launchers) without this.
        return _rebuild, (self.thing, self.expected, self.found, self.examples, self.mend)


def _sentence(text: str) -> str:
    return text if text.endswith(("?", "!", ".")) else f"{text}."


def _rebuild(thing: str, expected: str, found: str, examples: str, mend: str) -> UserError:
    return UserError(thing, expected=expected, found=found, examples=examples, mend=mend)
