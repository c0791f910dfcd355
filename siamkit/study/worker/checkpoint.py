"""The state of an attempt: its models after the last and the best epoch, and its results so far."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from siamkit.io.files import copy_file, write_atomic, write_json
from siamkit.runs.results import numbers
from siamkit.runs.run_folder import AttemptFolder
from siamkit.study.worker.messages import ResolvedParams, Row
from siamkit.study.worker.trainer import EpochEnd

MAX_READS = 5  # of an attempt that still writes


@dataclass
class State:
    """The state of an attempt, as plain data.

    Args:
        repeat: the current repeat, from 0.
        epoch: the number of epochs of this repeat that are done.
        model: the file of the model after these epochs; None before the first. If nothing is left to train,
            it is that of the best epoch.
        best_model: the file of the model after the best of these epochs.
        resolved_params: the parameters as the API takes them.
        history: the rows of all epochs so far.
        measures: the measures of the repeats that are done.
        epochs: the best epoch of each of these repeats.
    """

    repeat: int = 0
    epoch: int = 0
    model: str | None = None
    best_model: str | None = None
    resolved_params: ResolvedParams = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    measures: list[dict[str, float]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)


class Checkpoint:
    """The checkpoint of an attempt (one try at a trial), in its folder, replaced after each epoch.

    Args:
        folder: the folder of the attempt.
        state: its state so far.
    """

    def __init__(self, folder: Path, state: State | None = None) -> None:
        self.files = AttemptFolder(folder)
        self.state = state or State()

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
        """Store a model after an epoch. The file with the state names the models, and is written last.

        After the last epoch only the best model is of use; the first repeat's is the attempt's.
        """
        state, before = self.state, (self.state.model, self.state.best_model)
        state.epoch = int(end.row["epoch"])
        state.resolved_params = end.resolved_params
        state.history.append({"repeat": state.repeat, **end.row})
        name = f"resume-{state.repeat}-{state.epoch}.keras"
        if end.is_last and state.repeat == 0:
            name = self.files.model.name
        target, best = self.files.path / name, self.files.path / str(state.best_model)
        if end.is_best or not end.is_last:
            write_atomic(target, end.model.save)
        elif state.repeat == 0:
            write_atomic(target, lambda path: copy_file(best, path))
        else:
            name = str(state.best_model)
        state.model = name
        if end.is_best or end.is_last:
            state.best_model = name
        self.write()
        self._remove(before)

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
