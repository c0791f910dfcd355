"""Paths that a user gave, checked with a sentence."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamkit.errors import DataError

BROKEN_ARRAYS = (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises of files that are damaged, or none of its own."""


def file_at(path: str | os.PathLike[str], what: str) -> Path:
    """The path as one of a file that exists; `what` names it in the error, as in "an .npz file"."""
    place = _existing(path, what)
    if not place.is_file():
        raise DataError(f"{place} should be {what}, got a folder")
    return place


def folder_at(path: str | os.PathLike[str], what: str) -> Path:
    """The path as one of a folder that exists; `what` names it in the error."""
    place = _existing(path, what)
    if not place.is_dir():
        raise DataError(f"{place} should be {what}, got a file")
    return place


@contextmanager
def reading(path: Path, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn these errors, and those of the operating system, into a sentence about the path."""
    expected: tuple[type[Exception], ...] = (OSError, *errors)
    try:
        yield
    except DataError:
        raise  # a sentence already
    except expected as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as {what}: {cause}") from error


def _existing(path: str | os.PathLike[str], what: str) -> Path:
    try:
        place = Path(path).expanduser()
        if place.exists():
            return place
    except (TypeError, ValueError, OSError) as error:
        raise DataError(f"path should lead to {what}, got {path!r}") from error
    raise DataError(f"{place} does not exist; path should lead to {what}")
