"""The state of an attempt: its models after the last and the best epoch, and its results so far."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from siamkit.io.files import copy_file, write_atomic, write_json
from siamkit.runs.results import numbers
from siamkit.runs.run_folder import AttemptFolder
from siamkit.study.worker.messages import ResolvedParams, Row
from siamkit.study.worker.trainer import EpochEnd, Model

MAX_READS = 5  # of an attempt that still writes

MIN_SECONDS = 10.0
"""Seconds of training that are worth a checkpoint."""

SECONDS_BETWEEN_KILLS = 3600.0
"""The mean time between kills that checkpoints are written for."""


def seconds_between(cost: float) -> float:
    """Return how many seconds of training to wait before the next checkpoint.

    √(2 · cost · time between kills) minimizes the time spent for checkpoints plus the time that is trained
    again after a kill (Young 1974, "A first order approximation to the optimum checkpoint interval"). It is
    at least 10 s.

    Args:
        cost: the seconds that the last checkpoint took; 0 before the first.
    """
    return max(MIN_SECONDS, math.sqrt(2 * cost * SECONDS_BETWEEN_KILLS))


@dataclass
class State:
    """The state of an attempt, as plain data.

    Args:
        repeat: the current repeat, from 0.
        epoch: the number of epochs of this repeat that are done.
        model: the file of the model after these epochs; None before the first. If nothing is left to train,
            it is that of the best epoch.
        best_model: the file of the model after the best of these epochs.
        resolved_params: the parameters of this repeat as the API takes them.
        first_params: those of the first repeat, whose model is kept.
        history: the rows of all epochs so far.
        measures: the measures of the repeats that are done.
        epochs: the best epoch of each of these repeats.
    """

    repeat: int = 0
    epoch: int = 0
    model: str | None = None
    best_model: str | None = None
    resolved_params: ResolvedParams = field(default_factory=dict)
    first_params: ResolvedParams = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    measures: list[dict[str, float]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)


class Checkpoint:
    """The checkpoint of an attempt (one try at a trial), in its folder, replaced when it is due.

    Args:
        folder: the folder of the attempt.
        state: its state so far.
    """

    def __init__(self, folder: Path, state: State | None = None) -> None:
        self.files = AttemptFolder(folder)
        self.state = state or State()
        self._written, self._cost = time.monotonic(), 0.0

    @classmethod
    def resume(cls, folder: Path, earlier: Path | None) -> Checkpoint:
        """Return the checkpoint of a new attempt, copied from the earlier one that it continues.

        An attempt that was only suspended, and was taken for dead, can continue for a moment: its files
        change or disappear while they are read. Then they are read again. If that also fails, training starts
        from the beginning.
        """
        for _ in range(MAX_READS):
            if earlier is None or not AttemptFolder(earlier).checkpoint_state.is_file():
                break
            try:
                return _copied(folder, earlier)
            except FileNotFoundError:
                continue
        for file in _kept_files(AttemptFolder(folder)):
            file.unlink(missing_ok=True)
        return cls(folder)

    def files_to_continue(self) -> tuple[Path, Path] | None:
        """Return the files of the models after the last and the best epoch; None before the first epoch."""
        state, folder = self.state, self.files.path
        if state.model is None or state.best_model is None:
            return None
        return folder / state.model, folder / state.best_model

    def epochs_so_far(self) -> list[Row]:
        """Return the rows of the current repeat."""
        return [row for row in self.state.history if row["repeat"] == self.state.repeat]

    def save(self, end: EpochEnd) -> None:
        """Record an epoch; store its model if a checkpoint is due, or if it is the attempt's result.

        The file with the state names the models, and is written last. After the last epoch only the best
        model is of use; the first repeat's is the attempt's.
        """
        state, before = self.state, (self.state.model, self.state.best_model)
        state.epoch = int(end.row["epoch"])
        state.resolved_params = end.resolved_params
        state.history.append({"repeat": state.repeat, **end.row})
        is_result, start = end.is_last and state.repeat == 0, time.monotonic()
        if not is_result and start - self._written < seconds_between(self._cost):
            return
        state.best_model = self._stored(end.best_model, end.best_epoch, is_result)
        state.model = state.best_model if end.is_last else self._stored(end.model, state.epoch)
        self.write()
        self._remove(before)
        self._written = time.monotonic()
        self._cost = self._written - start

    def _stored(self, model: Model, epoch: int, is_result: bool = False) -> str:
        """Return the name of the file of a model after an epoch; it is written unless it is there."""
        name = self.files.model.name if is_result else f"resume-{self.state.repeat}-{epoch}.keras"
        if name not in (self.state.model, self.state.best_model):
            write_atomic(self.files.path / name, model.save)
        return name

    def next_repeat(self, measures: dict[str, float], epoch: int) -> None:
        """Record a repeat that is done: its measures, and its best epoch."""
        state, before = self.state, (self.state.model, self.state.best_model)
        state.measures.append(measures)
        state.epochs.append(epoch)
        state.repeat, state.epoch, state.model, state.best_model = state.repeat + 1, 0, None, None
        self.write()
        self._remove(before)

    def write(self) -> None:
        """Write the state."""
        write_json(self.files.checkpoint_state, asdict(self.state))

    def _remove(self, names: tuple[str | None, ...]) -> None:
        kept = {None, self.files.model.name, self.state.model, self.state.best_model}
        for name in {*names} - kept:
            (self.files.path / str(name)).unlink(missing_ok=True)


def _kept_files(files: AttemptFolder) -> list[Path]:
    """Return the files of an attempt that a later attempt takes over."""
    return [files.model, files.queries, files.embeddings, files.report_data]


def _copied(folder: Path, earlier: Path) -> Checkpoint:
    source = AttemptFolder(earlier)
    state = State(**json.loads(source.checkpoint_state.read_text(encoding="utf-8")))
    state.history = [numbers(row) for row in state.history]
    state.measures = [numbers(row) for row in state.measures]
    checkpoint = Checkpoint(folder, state)
    needed = {state.model, state.best_model, source.model.name if state.repeat else None} - {None}
    if earlier == folder:
        if not all((folder / str(name)).is_file() for name in needed):
            raise FileNotFoundError
        return checkpoint
    names = [file.name for file in _kept_files(source)]
    for name in dict.fromkeys((*names, *map(str, needed))):
        if name in needed or (earlier / name).is_file():
            write_atomic(folder / name, lambda path, name=name: copy_file(earlier / name, path))  # type: ignore[misc]
    checkpoint.write()
    return checkpoint


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of an attempt that has ended, and the temporary files of killed processes."""
    for file in list(folder.glob("resume*")):
        file.unlink(missing_ok=True)
    remove_temporary_files(folder)


def remove_temporary_files(folder: Path) -> None:
    """Remove the files that killed processes were writing, as `write_atomic` names them."""
    for file in list(folder.glob("." + "[0-9a-f]" * 8 + ".*")):
        file.unlink(missing_ok=True)
