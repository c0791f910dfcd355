"""Where a report's data come from: the files of a run folder."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from siamkit.errors import StudyError, listed

STUDY = ("name", "study", "objectives", "data", "versions")
TRIAL = ("trial", "outcome", "factors", "figures")
REPEAT = ("trial", "key", "outcome")
TESTED = ("valid", "test")
"""What cannot be done without in the frozen study, in results of trials, and of repeats, those complete."""


def read_results(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """The frozen study (empty if there is none), results of trials, and results of confirmation."""
    frozen = read_json(folder / "study.json", STUDY) if (folder / "study.json").is_file() else {}
    return frozen, _collect(folder, "trials", TRIAL), _collect(folder, "confirm", REPEAT)


def _collect(folder: Path, part: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for file in sorted(folder.glob(f"{part}/*/*/result.json"), key=str):
        result = read_json(file, keys)
        if keys is REPEAT and result["outcome"] == "complete":
            _have(result, TESTED, file)
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
    _have(value, keys, path)
    return value


def _have(value: dict[str, Any], keys: Sequence[str], path: Path) -> None:
    if missing := [key for key in keys if value.get(key) is None]:
        raise StudyError(f"{str(path)!r} is damaged, or of another siamkit: it lacks {listed(missing)}")


def numbers(figures: dict[str, Any]) -> dict[str, float]:
    """Figures as they were: JSON lacks NaN and holds None in its place."""
    return {name: math.nan if value is None else value for name, value in figures.items()}
