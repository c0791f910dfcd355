"""Ctrl-C: the first is heard where nothing is left half done, the second at once, and none is lost."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

AGAIN = 0.05  # seconds


class StoppedAtOnce(KeyboardInterrupt):
    """A second Ctrl-C: nothing more is written, what runs is left for the next `tune` to find."""


@contextmanager
def first_is_heard_later() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C only makes the function that this gives answer True; later ones raise.

    An exception at any point could leave a trial drawn but not run, or a result written but not told.
    Where somebody else listens to Ctrl-C already, or in other threads than the main one, nothing changes.
    """
    heard = False

    def hear(number: int, frame: Any) -> None:
        nonlocal heard
        if heard:
            raise StoppedAtOnce
        heard = True

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, hear)
    try:
        yield lambda: heard
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def none_is_dropped() -> Iterator[None]:
    """Inside, a Ctrl-C that strikes where Python drops every exception comes once more a moment later.

    Such places are finalizers and callbacks of weak references, of which the libraries have many.
    """
    before = sys.unraisablehook

    def again(dropped: Any) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            threading.Timer(AGAIN, _thread.interrupt_main).start()
        else:
            before(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before
