"""TensorBoard: a run for each trial, in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from siamkit.study.tracking._event_file import EventFile
from siamkit.study.tracking.base import Attempt, is_number


class TensorBoard:
    """Writes epochs as scalars, and at the end factors and final figures as hyperparameters.

    Args:
        folder: the runs' parent; a trial's first seed is `<trial>`, its later ones `<trial>/seed-<n>`, a
            finalist's repeat `final-<trial>-<repeat>`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, int], EventFile] = {}

    def started(self, attempt: Attempt) -> None:
        self._file(attempt, 0)

    def epoch(self, attempt: Attempt, repeat: int, row: dict[str, Any]) -> None:
        measures = {k: v for k, v in row.items() if k not in ("epoch", "repeat") and is_number(v)}
        self._file(attempt, repeat).scalars(measures, int(row["epoch"]))

    def ended(self, attempt: Attempt, outcome: str, cause: str, measures: dict[str, float]) -> None:
        file = self._file(attempt, 0)
        final = {f"final/{name}": value for name, value in measures.items() if is_number(value)}
        if final:
            file.scalars(final, 0)
        chosen = {key: value for key, value in attempt.factors.items() if value is not None}
        plain = {
            key: each if isinstance(each, (str, int, float)) else str(each) for key, each in chosen.items()
        }
        file.hyperparameters({**plain, "outcome": outcome}, list(final), outcome in ("complete", "pruned"))
        for key in [key for key in self._files if key[0] == attempt.name]:
            self._files.pop(key).close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, attempt: Attempt, repeat: int) -> EventFile:
        key = attempt.name, repeat
        if key not in self._files:
            folder = self._folder / attempt.name
            self._files[key] = EventFile(folder / f"seed-{repeat}" if repeat else folder, attempt.token)
        return self._files[key]
