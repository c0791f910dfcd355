"""A trial in a worker's hands: what the storage, the run folder and the user hear of it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.exceptions import UpdateFinishedTrialError

from siamkit.errors import StudyError
from siamkit.io.files import disk_full_as_error, write_json, write_table
from siamkit.io.paths import is_local
from siamkit.runs.configuration import factors_of
from siamkit.runs.results import mean_measures
from siamkit.study.sampling.pruners import collapsed, prunes_collapsed
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.trial_queue import ATTEMPTS, Claim
from siamkit.study.worker.checkpoint import sweep
from siamkit.study.worker.messages import Ended, Job

if TYPE_CHECKING:
    from siamkit.study.execution.scheduler import Search


class TrialWork:
    """One attempt at a trial, from the supervisor's side.

    Args:
        search: of which it is part.
        claim: the right to run it.
        job: what the worker is told.
        place: the folder it writes to, and nobody else.
    """

    def __init__(self, search: Search, claim: Claim, job: Job, place: Path) -> None:
        self.search, self.claim, self.job, self.place = search, claim, job, place
        self.history: list[dict[str, Any]] = []
        self.label = f"trial {claim.trial.number}"

    @property
    def lost(self) -> bool:
        return self.claim.lost

    def started(self) -> None:
        self.search.hand[self.claim.trial.number] = self
        self.search.progress.run(self.label, self.claim.configuration)
        self._log("trial started", configuration=self.claim.configuration, attempt=self.claim.attempt)

    def resumed(self, history: list[dict[str, Any]]) -> None:
        """The storage hears what it heard of the earlier attempt: pruners judge by it."""
        for row in history:
            self.history.append(row)
            self._report(row)
        self._log("trial resumed", epochs=len(history), earlier=self.claim.resume)

    def epoch(self, repeat: int, number: int, row: dict[str, float]) -> str | None:
        study, task = self.search.study.config, self.search.task
        last = self.history[-1] if self.history else {"repeat": -1, "epoch": 0}
        if (repeat, number) <= (last["repeat"], last["epoch"]):
            return None  # told twice: an answer got lost on its way
        self.history.append({"repeat": repeat, **row})
        self.search.progress.epoch(self.label, number, study.fixed.epochs, row)
        if not self._report(self.history[-1]):
            return "somebody else ended it"
        if number >= study.fixed.epochs:
            return None
        if prunes_collapsed(self.search.study):
            why = collapsed(row, self.claim.configuration["embedding_dim"], number)
            if why is not None:
                return why
        if repeat or len(task.objectives) > 1:
            return None
        pruned = with_retries(self.claim.trial.should_prune, tell=self.search.progress.note)
        return f"behind the others after epoch {number}" if pruned else None

    def _report(self, row: dict[str, Any]) -> bool:
        """Tells the storage the value of an epoch; False where the trial is somebody else's by now."""
        task = self.search.task
        if row["repeat"] or len(task.objectives) > 1:
            return True
        try:
            with_retries(
                self.claim.trial.report, row[task.objective], row["epoch"], tell=self.search.progress.note
            )
        except UpdateFinishedTrialError:
            self.claim.lost = True
        return not self.claim.lost

    def ended(self, ended: Ended, seconds: float) -> None:
        """Writes the result, then tells the storage: what the storage knows is there whole."""
        if ended.outcome == "outside":
            self.interrupted()
            raise StudyError(f"{str(self.place)!r} cannot be written: {ended.cause}")
        try:
            with disk_full_as_error(self.place):
                self._write(ended, seconds)
        except StudyError:
            self.interrupted()
            raise
        self.search.deaths = 0
        self._drop()
        values = ended.values if ended.outcome == "complete" else None
        if not self.search.ledger.finish(self.claim, ended.outcome, values, ended.cause):
            self.gone()
            return
        sweep(self.place)  # not before: without a result, what it could go on from is all there is
        self.search.ledger.look()
        if len(ended.measures) > 1:
            objective = self.search.task.objective
            self.search.spreads.append(float(np.var([each[objective] for each in ended.measures], ddof=1)))
        self._log(
            "trial ended",
            outcome=ended.outcome,
            cause=ended.cause,
            seconds=round(seconds, 2),
            memory=ended.memory,  # bytes that its worker holds after it
        )
        last = self.history[-1][self.search.task.objective] if self.history else None
        self.search.progress.ended(
            self.label,
            ended.outcome,
            values[0] if values else last,
            self.search.best_value(),
            ended.cause if ended.outcome == "failed" else "",
            len(self.search.ledger.counted),
        )

    def gone(self) -> None:
        """Somebody else goes on with it: what was written here nobody asks for, unless he started from it."""
        self._drop()
        self.search.ledger.drop(self.claim)
        self._log("trial lost")
        self.search.ledger.look()
        inside = self.search.folder.inside(self.place)
        if all(trial.user_attrs.get("resume") != inside for trial in self.search.ledger.open.values()):
            remove(self.place)
        self.search.progress.ended(
            self.label, "lost", None, self.search.best_value(), "another process took it over"
        )

    def died(self, cause: str, crashed: bool) -> None:
        """Its process is no more. One that crashes each time has itself to blame, and counts."""
        self._log("trial died", cause=cause)
        if crashed and self.claim.attempt > ATTEMPTS:
            self.ended(Ended("failed", f"{cause}, {self.claim.attempt} times"), 0.0)
            return
        self._drop()
        self.search.ledger.give_back(self.claim, died=True)
        self.search.progress.ended(self.label, "died", None, self.search.best_value(), cause)
        self.search.note_death(cause)

    def interrupted(self) -> None:
        """The user stopped it; it will go on another time."""
        self._drop()
        self._log("trial interrupted")
        self.search.ledger.give_back(self.claim, died=False)

    def _drop(self) -> None:
        self.search.hand.pop(self.claim.trial.number, None)

    def _log(self, event: str, **details: Any) -> None:
        self.search.folder.log(event, trial=self.claim.trial.number, token=self.claim.token, **details)

    def _write(self, ended: Ended, seconds: float) -> None:
        """The history and, last, the result."""
        if self.history:
            names = list(dict.fromkeys(name for row in self.history for name in row))
            columns = {name: [row.get(name) for row in self.history] for name in names}
            write_table(self.place / "history.parquet", columns)
        complete = ended.outcome == "complete"
        write_json(
            self.place / "result.json",
            {
                "trial": self.claim.trial.number,
                "token": self.claim.token,
                "key": self.claim.key,
                "outcome": ended.outcome,
                "cause": ended.cause,
                "traceback": ended.traceback,
                "configuration": self.claim.configuration,
                "factors": factors_of(self.claim.configuration),
                "literal": ended.literal,
                "values": ended.values if complete else None,
                "figures": mean_measures(ended.measures) if complete else {},
                "repeats": ended.measures,
                "seconds": round(seconds, 3),
                "versions": self.search.versions,
                "attempt": self.claim.attempt,
            },
        )


def remove(place: Path) -> None:
    """Removes the folder of an attempt that nobody asks for any more."""
    if is_local(place):
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # another attempt is in it
            place.parent.rmdir()
    elif place.exists():
        place.fs.rm(place.path, recursive=True)  # type: ignore[attr-defined]
