"""Ctrl-C: the first is heard where nothing is left half done, the second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def first_is_heard_later() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C only makes the function that this gives answer True.

    An exception at any point could leave a trial drawn but not run, or a result written but not told.
    Where somebody else listens to Ctrl-C already, or in other threads than the main one, nothing changes.
    """
    heard = False

    def hear(number: int, frame: Any) -> None:
        nonlocal heard
        if heard:
            raise KeyboardInterrupt
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
