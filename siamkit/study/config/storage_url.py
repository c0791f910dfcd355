"""URLs of storages: whether they can be read, which driver serves them, and how they are shown."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from siamkit.errors import StudyError

# What SQLAlchemy may talk to a database by, in order of preference.
DRIVERS = {
    "postgresql": {"psycopg": "psycopg", "psycopg2": "psycopg2", "pg8000": "pg8000"},
    "mysql": {"mysqldb": "MySQLdb", "pymysql": "pymysql", "mysqlconnector": "mysql.connector"},
}

# user:password@host:port/database?options; what stands for itself in one part is escaped in the others.
_SHAPE = re.compile(
    r"(?:[^:@/?#\[\]]*(?::[^:@/?#]*)?@)?"
    r"(?:\[[0-9a-fA-F:.%]+\]|[^:@/?#\[\]]*)(?::\d+)?"
    r"(?:/[^/?#@]*)?(?:\?[^#]*)?"
)
_SECRET = re.compile(r"(?i)([?&][^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&]*")


def is_database(where: str) -> bool:
    """Whether a storage is the URL of a database, not a file of the run folder."""
    return "://" in where


def misread(where: str) -> str | None:
    """Why a database's URL would not be read as it is meant; says nothing that is in it."""
    rest = where.partition("://")[2]
    if _SHAPE.fullmatch(rest):
        return None
    return (
        "should be kind://user:password@host:port/database, with what is special in a password "
        "percent-encoded (%40 for @, %3A for :, %2F for /)"
    )


def without_password(url: str) -> str:
    """A URL as it may be shown and written down: whatever opens a door is starred."""
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
    """Plain data in which no URL shows a password."""
    if isinstance(value, dict):
        return {key: redacted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [redacted(each) for each in value]
    return without_password(value) if isinstance(value, str) else value


def with_driver(url: str) -> str:
    """The URL with a driver that is installed.

    Raises:
        StudyError: none is.
    """
    scheme, _, rest = url.partition("://")
    kind, _, driver = scheme.partition("+")
    if driver:
        return url
    for driver, module in DRIVERS[kind].items():
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            return f"{kind}+{driver}://{rest}"
    raise StudyError(f"the storage {kind}://… wants a driver; pip install 'siamkit[{kind}]'")
