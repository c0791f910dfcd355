"""Where a report's data come from: the files of a run folder."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from siamkit.errors import StudyError, listed

TRIAL = ("trial", "outcome", "factors", "figures")
REPEAT = ("trial", "key", "outcome")
TESTED = ("valid", "test")
"""What cannot be done without in results of trials, of repeats, and of those that are complete."""


def read_results(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """The frozen study (empty if there is none), results of trials, and results of confirmation."""
    frozen = read_json(folder / "study.json") if (folder / "study.json").is_file() else {}
    return frozen, _collect(folder, "trials", TRIAL), _collect(folder, "confirm", REPEAT)


def _collect(folder: Path, part: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for file in sorted(folder.glob(f"{part}/*/*/result.json"), key=str):
        result = read_json(file, keys)
        if keys is REPEAT and result["outcome"] == "complete":
            have(result, TESTED, file)
        found.append({**result, "folder": str(file.parent.relative_to(folder))})
    return found


def read_json(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """A mapping that has these keys, each with a value.

    Raises:
        StudyError: it is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{str(path)!r} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise StudyError(f"{str(path)!r} is damaged: a mapping was expected")
    have(value, keys, path)
    return value


def have(value: dict[str, Any], keys: Sequence[str], path: Path) -> None:
    """Raises StudyError where a file lacks something that it was made with."""
    if missing := [key for key in keys if value.get(key) is None]:
        raise StudyError(f"{str(path)!r} is damaged, or of another siamkit: it lacks {listed(missing)}")


def numbers(measures: dict[str, Any]) -> dict[str, float]:
    """Figures as they were: JSON lacks NaN and holds None in its place."""
    return {name: math.nan if value is None else value for name, value in measures.items()}
