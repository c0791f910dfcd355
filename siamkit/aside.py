"""Writing a user's file or folder so that it is there whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A place beside a path, to write a file or folder in; renamed at the end, gone after any error.

    Args:
        path: where it will be; its parents are made. A file is replaced, and an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays: Keras and others go by it.
    place = path.with_name(f".{secrets.token_hex(4)}{path.suffix}")
    try:
        yield place
        os.replace(place, path)
    finally:
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
