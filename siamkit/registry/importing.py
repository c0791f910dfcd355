"""Import modules from a folder that is not on `sys.path`, such as a user's code next to a study file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def importable_from(folder: Path | None) -> Iterator[None]:
    """Make the modules in a folder importable inside a `with` block.

    The folder comes last on `sys.path`, so it never hides an installed module. Modules that the block imports
    stay imported after it.

    Args:
        folder: the folder; None for no folder.
    """
    entry = None if folder is None else str(folder.resolve())
    if entry is None or entry in sys.path:
        yield
        return
    sys.path.append(entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
