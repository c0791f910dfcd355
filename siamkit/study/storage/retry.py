"""Retries: wait for a storage that does not answer, but not for one that refuses."""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError

from siamkit.errors import StudyError
from siamkit.io.files import is_disk_full

PATIENCE_SECONDS = 900.0

# The errors of a network file system while its server does not answer.
UNREACHABLE_CODES = (
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EAGAIN,
    errno.ENOLCK,
)

T = TypeVar("T")


class StorageUnavailable(StudyError):
    """A storage that does not answer, or cannot be written."""


def with_retries(
    call: Callable[..., T],
    *args: Any,
    notify: Callable[[str], None] | None = None,
    max_pause: float = 5.0,
    patience: float = PATIENCE_SECONDS,
    **kwargs: Any,
) -> T:
    """Call the storage; while it does not answer, wait and call again.

    Args:
        call: function that calls the storage; it may run twice if an answer was lost.
        *args: the function's arguments.
        notify: function that gets one sentence for the user when the first call fails.
        max_pause: longest pause between two calls, in seconds.
        patience: seconds after which to give up.
        **kwargs: the function's keyword arguments.

    Raises:
        StorageUnavailable: the storage did not answer in that time, its disk is full, or it refuses the call.
    """
    start, pause = time.monotonic(), 0.1
    while True:
        try:
            with _interrupt_after_answer():
                return call(*args, **kwargs)
        except (StorageInternalError, DBAPIError, OSError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            if is_disk_full(error):
                raise StorageUnavailable(f"the storage cannot be written: {reason}") from error
            if isinstance(error, OSError) and not _is_unreachable(error):
                raise
            if _is_refusal(error):
                raise StorageUnavailable(f"the storage refuses the data: {reason:.300}") from error
            if time.monotonic() - start > patience:
                raise StorageUnavailable(
                    f"the storage has not answered for {patience:g} s: {reason}"
                ) from error
            if notify is not None:
                notify(f"the storage does not answer ({reason:.100}); waiting for it")
                notify = None
        time.sleep(pause)
        pause = min(2 * pause, max_pause)


@contextmanager
def _interrupt_after_answer() -> Iterator[None]:
    """Delay Ctrl-C until the storage has answered; a second Ctrl-C is not delayed.

    In the middle of an answer Ctrl-C leaves a connection in an undefined state, and drivers that then fail
    to clean up raise an error of their own instead.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    interrupted = False

    def remember(number: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if interrupted:
            raise KeyboardInterrupt


def _is_unreachable(error: OSError) -> bool:
    return isinstance(error, (ConnectionError, TimeoutError)) or error.errno in UNREACHABLE_CODES


def _is_refusal(error: BaseException) -> bool:
    """Return whether a database answered, and would always answer the same: text too long, no such table."""
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    if not isinstance(cause, DBAPIError) or cause.connection_invalidated:
        return False
    if getattr(cause.orig, "sqlstate", "") is None:
        return False  # an error of psycopg itself, not of the server
    return not isinstance(cause, (OperationalError, InterfaceError, InternalError))
