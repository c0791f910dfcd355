"""How far an attempt has come: its model after the last epoch, and what it has found so far."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siamkit.io.files import copy_file, write_atomic, write_json
from siamkit.runs.results import numbers

STATE = "resume.json"
FINAL = "checkpoint.keras"  # the model that a trial leaves
EXHIBIT = "exhibit.npz"  # what a report shows of it
CARRIED = (FINAL, "queries.parquet", "embeddings.npy", EXHIBIT)
TRIES = 5  # at reading an attempt that is not dead yet


@dataclass
class Progress:
    """The state of an attempt, as it stands in its folder.

    Args:
        place: the folder.
        repeat: the repeat that it is at, from 0.
        epoch: how many epochs of that were done.
        model: the file of the model after them; None before the first.
        literal: the parameters as the API takes them.
        history: the rows of all epochs so far.
        measures: of the repeats that are done.
    """

    place: Path
    repeat: int = 0
    epoch: int = 0
    model: str | None = None
    literal: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    measures: list[dict[str, float]] = field(default_factory=list)

    def save(self, model: Any, last: bool) -> None:
        """Keeps a model after an epoch; the file with the state is written last, and names it.

        Args:
            model: a Keras model.
            last: whether the repeat is done; the first repeat's model then is the one that stays.
        """
        before = self.model
        self.model = FINAL if last and self.repeat == 0 else f"resume-{self.repeat}-{self.epoch}.keras"
        write_atomic(self.place / self.model, model.save)
        self._write()
        self._drop(before)

    def next_repeat(self, measures: dict[str, float]) -> None:
        """The repeat is done."""
        before = self.model
        self.measures.append(measures)
        self.repeat, self.epoch, self.model = self.repeat + 1, 0, None
        self._write()
        self._drop(before)

    def _write(self) -> None:
        state = {key: value for key, value in vars(self).items() if key != "place"}
        write_json(self.place / STATE, state)

    def _drop(self, name: str | None) -> None:
        if name is not None and name not in (FINAL, self.model):
            (self.place / name).unlink(missing_ok=True)


def take_over(place: Path, earlier: Path | None) -> Progress:
    """The progress of a new attempt, in its own folder, where an earlier one left off.

    One that was only stopped, and taken for dead, may go on for a moment: its files change, or go, while they
    are read. Then they are read again, and if nothing whole comes of it, training starts afresh.
    """
    for _ in range(TRIES):
        if earlier is None or not (earlier / STATE).is_file():
            break
        try:
            return _copied(place, earlier)
        except FileNotFoundError:
            continue
    for name in CARRIED:
        (place / name).unlink(missing_ok=True)
    return Progress(place)


def _copied(place: Path, earlier: Path) -> Progress:
    state = Progress(place, **json.loads((earlier / STATE).read_text(encoding="utf-8")))
    state.history = [numbers(row) for row in state.history]
    state.measures = [numbers(row) for row in state.measures]
    needed = {state.model, FINAL if state.repeat else None} - {None}
    if earlier == place:
        if not all((place / str(name)).is_file() for name in needed):
            raise FileNotFoundError
        return state
    for name in dict.fromkeys((*CARRIED, *map(str, needed))):
        if name in needed or (earlier / name).is_file():
            write_atomic(place / name, lambda aside, name=name: copy_file(earlier / name, aside))  # type: ignore[misc]
    state._write()
    return state


def sweep(place: Path) -> None:
    """An attempt is done: what it could have gone on from goes, and files half-written by a killed one."""
    for file in list(place.glob("resume*")):
        file.unlink(missing_ok=True)
    sweep_asides(place)


def sweep_asides(place: Path) -> None:
    """What killed processes were writing when they died, as `write_atomic` names it."""
    for file in list(place.glob("." + "[0-9a-f]" * 8 + ".*")):
        file.unlink(missing_ok=True)
