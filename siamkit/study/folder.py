"""The run folder, layout 1: what a study leaves on disk. Every file is written aside, then renamed."""

from __future__ import annotations

import json
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from siamkit.errors import StudyError
from siamkit.report.store import read_results

LAYOUT = 1


class RunFolder:
    """A study's folder.

    Args:
        path: made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def database(self) -> Path:
        return self.path / "study.db"

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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `tune` at a time; the lock dies with its process.

        Raises:
            StudyError: another one holds it, or the folder cannot be made.
        """
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
        """Appends a line to `log.jsonl`."""
        line = json.dumps(
            {"time": round(time.time(), 3), "event": event, **plain(details)}, ensure_ascii=False
        )
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def results(self) -> list[dict[str, Any]]:
        """The stored results of all trials, one an attempt that ended."""
        return read_results(self.path)[1]

    def confirmations(self) -> list[dict[str, Any]]:
        """The stored results of all repeats of finalists."""
        return read_results(self.path)[2]


def new_token() -> str:
    """A name for one attempt."""
    return secrets.token_hex(4)


def write_json(path: Path, value: Any) -> None:
    text = json.dumps(plain(value), indent=1, ensure_ascii=False)
    write_aside(path, lambda aside: aside.write_text(text + "\n", encoding="utf-8"))


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Columns of one length as Parquet."""
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    write_aside(path, lambda aside: pq.write_table(table, aside))


def write_array(path: Path, array: np.ndarray) -> None:
    write_aside(path, lambda aside: np.save(aside, array, allow_pickle=False))


def write_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file beside its place and renames it, so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays: Keras and NumPy go by it.
    aside = path.with_name(f".{secrets.token_hex(4)}{path.suffix}")
    try:
        write(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """NumPy numbers as Python's, tuples as lists, and NaN and infinity, which JSON lacks, as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
