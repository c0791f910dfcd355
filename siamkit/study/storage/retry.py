"""Patience with a storage that does not answer, which is not the same as one that says no."""

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

PATIENCE = 900.0  # seconds that a silent storage is waited for

# What a file system over a network says while its server is away.
AWAY = (errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EAGAIN, errno.ENOLCK)

T = TypeVar("T")


class StorageUnavailable(StudyError):
    """A storage that does not answer, or cannot be written."""


def with_retries(
    call: Callable[..., T],
    *args: Any,
    tell: Callable[[str], None] | None = None,
    most: float = 5.0,
    patience: float = PATIENCE,
    **more: Any,
) -> T:
    """Calls the storage; while it does not answer, waits and calls again, for a quarter of an hour.

    Args:
        call: what to call; may be called twice where an answer got lost.
        *args: handed on.
        tell: hears once that the storage is waited for.
        most: seconds between two calls.
        patience: seconds that it is waited for.
        **more: handed on.

    Raises:
        StorageUnavailable: it did not answer in all that time, its disk is full, or it refuses.
    """
    start, pause = time.monotonic(), 0.1
    while True:
        try:
            with _undisturbed():
                return call(*args, **more)
        except (StorageInternalError, DBAPIError, OSError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            if is_disk_full(error):
                raise StorageUnavailable(f"the storage cannot be written: {reason}") from error
            if isinstance(error, OSError) and not _is_away(error):
                raise
            if _is_refusal(error):
                raise StorageUnavailable(f"the storage refuses: {reason:.300}") from error
            if time.monotonic() - start > patience:
                raise StorageUnavailable(
                    f"the storage has not answered for {patience:g} s: {reason}"
                ) from error
            if tell is not None:
                tell(f"the storage does not answer ({reason:.100}); waiting for it")
                tell = None
        time.sleep(pause)
        pause = min(2 * pause, most)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Has Ctrl-C wait until the storage has answered; a second one does not wait.

    In the middle of an answer it leaves a connection in a state that nobody expects, and drivers that then
    fail to tidy up raise an error of theirs in its place.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    heard = False

    def later(number: int, frame: object) -> None:
        nonlocal heard
        heard = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if heard:
            raise KeyboardInterrupt


def _is_away(error: OSError) -> bool:
    return isinstance(error, (ConnectionError, TimeoutError)) or error.errno in AWAY


def _is_refusal(error: BaseException) -> bool:
    """Whether a database has answered, and would answer the same for ever: text too long, no such table."""
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    if not isinstance(cause, DBAPIError) or cause.connection_invalidated:
        return False
    if getattr(cause.orig, "sqlstate", "") is None:
        return False  # psycopg speaks for itself, not for the server
    return not isinstance(cause, (OperationalError, InterfaceError, InternalError))
