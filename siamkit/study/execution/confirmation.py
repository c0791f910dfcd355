"""The finalists, trained afresh over several seeds; the test part is scored here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamkit.errors import StudyError
from siamkit.io.files import copy_file, disk_full_as_error, write_atomic, write_json
from siamkit.runs.configuration import Configuration, factors_of
from siamkit.runs.run_folder import AttemptFolder
from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.execution.scheduler import Search
from siamkit.study.execution.supervisor import JobHandle
from siamkit.study.storage.trial_queue import ATTEMPTS
from siamkit.study.worker.checkpoint import STATE, sweep
from siamkit.study.worker.messages import Ended, Job


class Confirmation:
    """The best configurations, each to be trained afresh: a source of work for the pool.

    Repeats that are stored already are not run again.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        asked = search.study.config.confirm
        best = search.ledger.ranked(asked.top) if asked else []
        runs = [(trial, repeat) for trial in best for repeat in range(asked.seeds if asked else 0)]
        stored = {(repeat.key, repeat.repeat) for repeat in search.folder.repeats()}
        self.todo = [
            Repeat(self, trial.user_attrs["configuration"], trial.user_attrs["key"], trial.number, repeat)
            for trial, repeat in runs
            if (trial.user_attrs["key"], repeat) not in stored
        ]
        self.left, self.total = len(self.todo), len(runs)
        if asked:
            search.progress.begin("confirming", self.total - self.left, self.total, search.task.objective)

    def room(self) -> int:
        return self.left

    def tick(self) -> None:
        pass

    def next(self) -> JobHandle | None:
        return self.todo.pop(0) if self.todo else None

    def done(self) -> bool:
        return self.left == 0


@dataclass
class Repeat:
    """One finalist, trained afresh with one seed."""

    source: Confirmation
    configuration: Configuration
    key: str
    trial: int
    repeat: int
    lost: bool = False
    deaths: int = 0

    def __post_init__(self) -> None:
        self._search = self.source.search
        self._seed = derive_seed(self._search.study.config.seed, self.configuration, "confirm", self.repeat)
        self._place = self._search.folder.confirmation(self.key, self.repeat)
        self.label = f"final {self.trial}/{self.repeat}"

    @property
    def job(self) -> Job:
        here = str(self._place)
        resume = here if (self._place / STATE).is_file() else None
        data = derive_seed(self._search.study.config.seed, "data", "confirm", self.repeat)
        return Job("confirm", here, self.configuration, (self._seed,), (data,), resume=resume)

    def started(self) -> None:
        self._search.progress.run(self.label, self.configuration)
        self._search.folder.log("final started", trial=self.trial, key=self.key, repeat=self.repeat)

    def resumed(self, history: list[dict[str, float]]) -> None:
        pass

    def epoch(self, repeat: int, number: int, row: dict[str, float]) -> str | None:
        self._search.progress.epoch(self.label, number, self._search.study.config.fixed.epochs, row)
        return None

    def ended(self, ended: Ended, seconds: float) -> None:
        if ended.outcome == "outside":
            raise StudyError(f"{str(self._place)!r} cannot be written: {ended.cause}")
        search, complete = self._search, ended.outcome == "complete"
        result: dict[str, Any] = {
            "repeat": self.repeat,
            "key": self.key,
            "trial": self.trial,
            "seed": self._seed,
            "configuration": self.configuration,
            "factors": factors_of(self.configuration),
            "versions": search.versions,
            "outcome": "complete" if complete else "failed",
            "cause": ended.cause,
            "traceback": ended.traceback,
            "seconds": round(seconds, 3),
        }
        if complete:
            result |= {"valid": ended.measures[0], "test": ended.test, "literal": ended.literal}
        with disk_full_as_error(self._place):
            write_json(AttemptFolder(self._place).result, result)
            sweep(self._place)
        search.folder.log(
            "confirmed",
            trial=self.trial,
            key=self.key,
            repeat=self.repeat,
            outcome=result["outcome"],
            cause=ended.cause,
            seconds=round(seconds, 2),
        )
        self.source.left -= 1
        value = ended.measures[0][search.task.objective] if complete else None
        done = self.source.total - self.source.left
        search.progress.ended(self.label, result["outcome"], value, None, ended.cause, done)

    def gone(self) -> None:
        raise AssertionError("nobody else confirms")

    def died(self, cause: str, crashed: bool) -> None:
        self.deaths += 1
        self._search.folder.log("final died", trial=self.trial, key=self.key, repeat=self.repeat, cause=cause)
        if self.deaths > ATTEMPTS:
            self.ended(Ended("failed", f"{cause}, {self.deaths} times"), 0.0)
        else:
            self._search.progress.ended(self.label, "died", None, None, cause)
            self.source.todo.insert(0, self)


def publish_best(search: Search, model: Path) -> None:
    """Copy the model of the winner to its place.

    Raises:
        StudyError: the model is missing, and none was published before.
    """
    if not model.is_file():
        if search.folder.best_model.is_file():
            return  # it was published before its trial was cleared away
        raise StudyError(
            f"the model of the best trial, {str(model)!r}, is missing; train it with siamkit retrain"
        )
    write_atomic(search.folder.best_model, lambda path: copy_file(model, path))
