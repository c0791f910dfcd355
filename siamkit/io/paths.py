"""Paths and URLs: local files and those behind a URL, databases without their passwords, checked."""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from siamkit.errors import DataError, StudyError

BROKEN_ARRAYS = (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for a file that is damaged or is not a NumPy file."""


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a local path, or one that behaves the same behind a URL (`s3://…`, `gs://…`, `memory://…`).

    Raises:
        DataError: the kind of URL is unknown.
    """
    if "://" not in str(path):
        return Path(path)
    # Late: slow to import, and most paths are local.
    from fsspec.implementations.local import LocalFileSystem
    from upath import UPath

    if isinstance(path, str) and path.startswith(("file://", "local://")):
        return Path(LocalFileSystem._strip_protocol(path))  # a local path, so with its locks and renames
    try:
        url: Any = UPath(path)
    except ValueError as error:
        raise DataError(f"{str(path)!r} cannot be reached: {error}") from None
    return url  # type: ignore[no-any-return]


def is_local(path: Path) -> bool:
    """Return whether the operating system itself can open a path."""
    return isinstance(path, os.PathLike) and "://" not in str(path)


def display_path(path: Path) -> str:
    """Return a local path relative to the current folder, and a URL unchanged."""
    return path_text(os.path.relpath(path)) if is_local(path) else str(path)


def path_text(path: str | os.PathLike[str]) -> str:
    """Return a path as text; bytes that are not UTF-8 become escapes such as `\\xe9`.

    Python holds such bytes as lone surrogates, which no file format and no terminal takes.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def unreachable_reason(path: str) -> str | None:
    """Return why the file system of a path or URL cannot be used here, or None if it can."""
    try:
        parsed: Any = as_path(path)
        if not is_local(parsed):
            parsed.fs  # noqa: B018  # creates the file system, which needs its package
    except DataError as error:
        return str(error)
    except (ValueError, ImportError) as error:
        return f"{path!r} cannot be reached: {error}"
    return None


def existing_file(path: str | os.PathLike[str], what: str) -> Path:
    """Return the path of an existing file.

    Args:
        path: the path that the user gave; `~` is expanded.
        what: the kind of file for the error, as in "an .npz file".

    Raises:
        DataError: the file does not exist, or the path is a folder.
    """
    existing = _existing(path, what)
    if not existing.is_file():
        raise DataError(f"{existing} should be {what}, got a folder")
    return existing


def existing_folder(path: str | os.PathLike[str], what: str) -> Path:
    """Return the path of an existing folder; the arguments and errors are those of `existing_file`."""
    existing = _existing(path, what)
    if not existing.is_dir():
        raise DataError(f"{existing} should be {what}, got a file")
    return existing


def arrow_file(path: Path, mode: str = "rb") -> Any:
    """Open a local file for Arrow, which takes only UTF-8 if it is given a name."""
    import pyarrow

    return pyarrow.OSFile(os.fsencode(path), mode)


@contextmanager
def unreadable_as_error(path: Path, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn the given errors, and those of the operating system, into one sentence about the path.

    Raises:
        DataError: one of these errors was raised inside the block.
    """
    expected: tuple[type[Exception], ...] = (OSError, *errors)
    try:
        yield
    except DataError:
        raise  # already such a sentence
    except expected as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        if "allow_pickle" in cause:  # the words of NumPy
            cause = "it holds Python objects; save numbers, or texts as np.asarray(x, dtype=str)"
        raise DataError(f"{path} cannot be read as {what}: {cause}") from error


def check_writable(path: Path) -> None:
    """Raise DataError if no file can be written at a local path; creates its parent folders."""
    if path.is_dir():
        raise DataError(f"{str(path)!r} cannot be written: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror or error}") from None


def _existing(path: str | os.PathLike[str], what: str) -> Path:
    try:
        expanded = Path(path).expanduser()
        if expanded.exists():
            return expanded
    except (TypeError, ValueError, OSError) as error:
        raise DataError(f"path should lead to {what}, got {path!r}") from error
    raise DataError(f"{expanded} does not exist; path should lead to {what}")


# ------------------------------------------------------------------ URLs of databases

# The drivers through which SQLAlchemy reaches a database, the preferred one first.
DRIVERS = {
    "postgresql": {"psycopg": "psycopg", "psycopg2": "psycopg2", "pg8000": "pg8000"},
    "mysql": {"mysqldb": "MySQLdb", "pymysql": "pymysql", "mysqlconnector": "mysql.connector"},
}

# user:password@host:port/database?options; a character that separates two parts is escaped within a part.
_SHAPE = re.compile(
    r"(?:[^:@/?#\[\]]*(?::[^:@/?#]*)?@)?"
    r"(?:\[[0-9a-fA-F:.%]+\]|[^:@/?#\[\]]*)(?::\d+)?"
    r"(?:/[^/?#@]*)?(?:\?[^#]*)?"
)
_SECRET = re.compile(r"(?i)([?&][^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&]*")


def is_database(storage: str) -> bool:
    """Return whether a storage is the URL of a database, not a file of the run folder."""
    return "://" in storage


def url_problem(url: str) -> str | None:
    """Return why a database URL is ambiguous, or None; the sentence repeats nothing of the URL."""
    if _SHAPE.fullmatch(url.partition("://")[2]):
        return None
    return (
        "should be kind://user:password@host:port/database, with special characters in the password "
        "percent-encoded (%40 for @, %3A for :, %2F for /)"
    )


def without_password(url: str) -> str:
    """Return a URL that is safe to display and to store: passwords and tokens become `***`."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority, slash, path = rest.partition("/")
    if "@" in rest and "@" not in authority:  # a slash in the password
        authority, slash, path = rest, "", ""
    user, at, host = authority.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        authority = f"{name}{':***' if colon else ''}@{host}"
    return scheme + separator + _SECRET.sub(r"\1***", authority + slash + path)


def redacted(value: Any) -> Any:
    """Return a copy of plain data in which no URL has a password."""
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return without_password(value) if isinstance(value, str) else value


def with_driver(url: str) -> str:
    """Return a database URL that names an installed driver.

    Raises:
        StudyError: no driver for this database is installed.
    """
    scheme, _, rest = url.partition("://")
    kind, _, driver = scheme.partition("+")
    if driver:
        return url
    for driver, module in DRIVERS[kind].items():
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            return f"{kind}+{driver}://{rest}"
    raise StudyError(f"the storage {kind}://… needs a driver; pip install 'siamkit[{kind}]'")
