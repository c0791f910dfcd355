"""Standard output that cannot end a command: closed, without Unicode, on a full disk, or a closed pipe.

A command that trains for hours must not die because its output goes through `head`; one that prints has
done its work once nothing more is read. So what cannot be written is dropped, and the exit code stays; only
after a full disk an error is printed at the end, because the output is incomplete.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _StandardFile(io.FileIO):
    """The file of a standard stream; once it takes nothing more, the null device takes its place."""

    reader_exited = False
    disk_full: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self.reader_exited = True
        except OSError as error:
            self.disk_full = error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        return super().write(data)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let no write to standard output or standard error raise, inside the block.

    Raises:
        SystemExit: with code 2, after the block, if standard output was on a full disk.
    """
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    for name, stream in before.items():
        setattr(sys, name, _lasting(stream, getattr(sys, f"__{name}__")))
    try:
        yield
    finally:
        sys.stdout.flush()
        error, ending = getattr(_file(sys.stdout), "disk_full", None), sys.exception()
        if error is not None:
            print(f"Error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        for name, stream in before.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)
        if error is not None and (ending is None or isinstance(ending, SystemExit)):
            raise SystemExit(2)


def reader_exited() -> bool:
    """Return whether standard output is a pipe that nothing reads from any more."""
    file = _file(sys.stdout)
    return isinstance(file, _StandardFile) and file.reader_exited


def _file(stream: Any) -> Any:
    return getattr(getattr(stream, "buffer", None), "raw", None)


def _lasting(stream: Any, real: Any) -> Any:
    if stream is None:  # closed before the program started
        return open(os.devnull, "w")  # for as long as the process lives
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream is not real:  # a test captures it
        stream.reconfigure(errors="replace")
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_StandardFile(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
