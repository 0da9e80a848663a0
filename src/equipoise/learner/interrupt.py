"""Ctrl-C: the first asks training to stop at the end of the batch (of the epoch, in its selection), the second stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(BaseException):
    """Training stopped where it should, its checkpoint written. Not KeyboardInterrupt, which Lightning turns into SystemExit."""


@dataclass
class Interrupt:
    """Whether the user has asked to stop."""

    asked: bool = False


@contextmanager
def answering() -> Iterator[Interrupt]:
    """Answers Ctrl-C in here. Whatever stops training by the keyboard leaves as KeyboardInterrupt, a Ctrl-C too late for any batch included.

    In a thread other than the main one signals cannot be answered, and nothing is changed.
    """
    interrupt = Interrupt()
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()

    def answer(number: int, frame: FrameType | None) -> None:
        if interrupt.asked:
            raise KeyboardInterrupt
        interrupt.asked = True

    if ours:
        signal.signal(signal.SIGINT, answer)
    try:
        yield interrupt
        if interrupt.asked:
            raise Interrupted
    except Interrupted:
        raise KeyboardInterrupt from None
    except SystemExit as e:
        if isinstance(e.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if ours:
            # Lightning leaves SIGINT ignored after a KeyboardInterrupt.
            signal.signal(signal.SIGINT, before)
