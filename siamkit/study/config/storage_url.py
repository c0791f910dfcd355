"""URLs of storages: check them, choose an installed driver, and hide their passwords."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from siamkit.errors import StudyError

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
