"""Where a report's data come from: the files of a run folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from siamkit.errors import StudyError


def read_results(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """The frozen study (empty if there is none), results of trials, and results of confirmation."""
    frozen = read_json(folder / "study.json") if (folder / "study.json").is_file() else {}
    return frozen, _collect(folder, "trials"), _collect(folder, "confirm")


def _collect(folder: Path, part: str) -> list[dict[str, Any]]:
    return [
        {**read_json(file), "folder": str(file.parent.relative_to(folder))}
        for file in sorted(folder.glob(f"{part}/*/*/result.json"), key=str)
    ]


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{str(path)!r} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise StudyError(f"{str(path)!r} is damaged: a mapping was expected")
    return value


def numbers(figures: dict[str, Any]) -> dict[str, float]:
    """Figures as they were: JSON lacks NaN and holds None in its place."""
    return {name: math.nan if value is None else value for name, value in figures.items()}
