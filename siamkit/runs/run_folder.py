"""The run folder, layout 1: what a study leaves on disk. Every file is written aside, then renamed."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from siamkit.errors import StudyError
from siamkit.io.files import to_jsonable, write_text
from siamkit.io.paths import is_local
from siamkit.runs.results import read_results

LAYOUT = 1


class RunFolder:
    """A study's folder.

    Args:
        path: a local folder or one behind a URL (`siamkit.io.paths.as_path`); created if it does not exist.

    Attributes:
        owner: the process that writes here, as `leases.new_owner` names it; put into each line of the log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = ""
        self._lines: list[str] = []
        self._name = secrets.token_hex(4)

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def best_model(self) -> Path:
        return self.path / "best.keras"

    def attempt(self, trial: int, token: str) -> Path:
        """The folder of one attempt at a trial."""
        return self.path / "trials" / str(trial) / token

    def confirmation(self, key: str, repeat: int) -> Path:
        """The folder of one repeat of a finalist."""
        return self.path / "confirm" / key / str(repeat)

    def inside(self, place: Path) -> str:
        """A place in the folder as it is called from within, wherever the folder is seen from."""
        return str(place.relative_to(self.path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `tune` at a time; the lock dies with its process. Behind a URL there are no locks.

        Raises:
            StudyError: another one holds it, or the folder cannot be made.
        """
        if not is_local(self.path):
            try:
                self.log("opened")
            except Exception as error:  # each file system has errors of its own
                raise StudyError(f"the run folder {str(self.path)!r} cannot be written: {error}") from error
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise StudyError(f"another 'siamkit tune' is running this study in {str(self.path)!r}") from None
        except OSError as error:
            raise StudyError(
                f"the run folder {str(self.path)!r} cannot be written: {error.strerror}"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def log(self, event: str, **details: Any) -> None:
        """Appends a line to `log.jsonl`.

        In one write at the file's end, so that lines of several processes never run into one another. A
        log that cannot be written stops nobody: what counts is in the storage and in the results.
        """
        line = {"time": round(time.time(), 3), "event": event}
        line |= {"owner": self.owner} if self.owner else {}
        text = json.dumps({**line, **to_jsonable(details)}, ensure_ascii=False) + "\n"
        with suppress(OSError):
            if is_local(self.path):
                file = os.open(self.path / "log.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
                try:
                    os.write(file, text.encode("utf-8"))
                finally:
                    os.close(file)
            else:  # objects cannot be appended to: a file of its own for each process
                self._lines.append(text)
                write_text(self.path / f"log-{self._name}.jsonl", "".join(self._lines))

    def results(self) -> list[dict[str, Any]]:
        """The stored results of all trials, one an attempt that ended."""
        return read_results(self.path)[1]

    def confirmations(self) -> list[dict[str, Any]]:
        """The stored results of all repeats of finalists."""
        return read_results(self.path)[2]


def new_token() -> str:
    """A name for one attempt."""
    return secrets.token_hex(4)
