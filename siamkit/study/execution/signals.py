"""Ctrl-C: the first one takes effect when no work is half done, the second at once; none is lost."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

REPEAT_SECONDS = 0.05


class StoppedAtOnce(KeyboardInterrupt):
    """A second Ctrl-C: nothing more is written; the next `tune` finds the trials that were running."""


class Interrupts:
    """A context in which the first Ctrl-C only sets `requested`, and later ones raise `StoppedAtOnce`.

    An exception at any point could leave a trial that is sampled but does not run, or a result that is
    written but not reported. If another handler is set, or in another thread than the main one, nothing
    changes.

    Args:
        is_deferred: whether to defer Ctrl-C; False if training runs in this process.
    """

    def __init__(self, is_deferred: bool) -> None:
        self.requested = False
        self._is_deferred = is_deferred
        self._is_installed = False

    def __enter__(self) -> Interrupts:
        is_main = threading.current_thread() is threading.main_thread()
        is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_deferred and is_main and is_default:
            signal.signal(signal.SIGINT, self._on_signal)
            self._is_installed = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_installed:
            self._is_installed = False
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.requested:
            raise StoppedAtOnce
        self.requested = True


@contextmanager
def none_is_dropped() -> Iterator[None]:
    """Raise a Ctrl-C again, a moment later, if it arrives where Python drops every exception.

    Such places are finalizers and callbacks of weak references, of which the libraries have many.
    """
    original_hook = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            threading.Timer(REPEAT_SECONDS, _thread.interrupt_main).start()
        else:
            original_hook(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = original_hook
