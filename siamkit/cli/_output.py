"""Standard output that cannot end a command: closed, without Unicode, or a pipe whose reader has exited.

A command that trains for hours must not die because its output goes through `head`; one that prints has
done its work once nothing more is read. So what cannot be written is dropped, and the exit code stays.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _StandardFile(io.FileIO):
    """The file of a standard stream; once its pipe has no reader, the null device takes its place."""

    reader_exited = False

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self.reader_exited = True
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return super().write(data)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let no write to standard output or standard error raise, inside the block."""
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    for name, stream in before.items():
        setattr(sys, name, _lasting(stream, getattr(sys, f"__{name}__")))
    try:
        yield
    finally:
        for name, stream in before.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)


def reader_exited() -> bool:
    """Return whether standard output is a pipe that nothing reads from any more."""
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(file, _StandardFile) and file.reader_exited


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
