"""The status of a study, read from outside while others work on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from optuna.trial import FrozenTrial

from siamkit.errors import StudyError
from siamkit.report.checks import findings, verdict
from siamkit.report.load import load_study_results
from siamkit.runs.results import read_json
from siamkit.study.monitoring._owners import Owner, Owners, is_here
from siamkit.study.monitoring._tally import Tally, tally
from siamkit.study.monitoring.event_log import Logbook
from siamkit.study.monitoring.locate import StudyLocation, find_study, open_to_read, reading
from siamkit.study.monitoring.progress import describe
from siamkit.study.storage.leases import RENEWALS
from siamkit.study.storage.snapshot import read_snapshot


@dataclass(frozen=True)
class Running:
    """A trial in somebody's hands; `epoch` and `value` are the last that the storage heard, if any."""

    trial: int
    configuration: str
    epoch: int | None
    value: float | None
    seconds: float
    owner: str


@dataclass(frozen=True)
class Best:
    """The best trial so far; `values` by objective, the first of which decides."""

    trial: int
    configuration: str
    values: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """A trial that failed by its own fault, or one that `died`."""

    trial: int
    kind: Literal["failed", "died"]
    cause: str


@dataclass(frozen=True)
class Status:
    """How a study stands.

    Args:
        name: of the study.
        folder: its run folder.
        state: running; stopped, to be gone on with; done; or unsure, where it runs at most on other
            machines and those have given no sign of life since one began to look.
        why: why it stopped or is done, where that is not by its budget.
        owners: who works on it.
        objectives: figure to direction.
        counted: configurations that used up budget.
        target: how many there are to be.
        complete, pruned, failed: of those counted.
        duplicates: draws that were there already.
        died: attempts whose process died; they were or will be tried again.
        waiting: trials that are queued.
        epochs: of one training.
        running: trials under way.
        confirmed, confirming, to_confirm: repeats of finalists that are done, under way, and to be in all.
        best: the best so far.
        seconds_each: seconds for one more configuration, at the pace of this run of `tune`, else of all.
        end: when the search will be over at that pace, if it runs.
        worked: seconds that `tune` has spent on it.
        time: seconds it may spend, if limited.
        failures: the latest first.
        trust: of a study that is done, whether its numbers can be trusted, in a line.
    """

    name: str
    folder: str
    state: Literal["running", "stopped", "done", "unsure"]
    why: str
    owners: tuple[Owner, ...]
    objectives: dict[str, str]
    counted: int
    target: int
    complete: int
    pruned: int
    failed: int
    duplicates: int
    died: int
    waiting: int
    epochs: int
    running: tuple[Running, ...]
    confirmed: int
    confirming: int
    to_confirm: int
    best: Best | None
    seconds_each: float | None
    end: datetime | None
    worked: float
    time: float | None
    failures: tuple[Failure, ...]
    trust: str = ""

    def plain(self) -> dict[str, Any]:
        """For machines: the same as JSON takes it."""
        return {**asdict(self), "end": self.end.isoformat(timespec="seconds") if self.end else None}


def read_status(
    path: str | os.PathLike[str], artifacts: str | os.PathLike[str] | None = None, *, wait: bool = False
) -> Status:
    """How the study in a file stands. Nothing is locked or written, and no data are loaded.

    Args:
        path: the study file.
        artifacts: the run folder, instead of the file's own.
        wait: whether to wait for a sign of life where only other machines may be at work.

    Raises:
        StudyError: the file is wrong, or the study was never begun or cannot be read.
    """
    watch = Watch(find_study(path, artifacts))
    status = watch.look()
    until = time.monotonic() + watch.patience
    while wait and status.state == "unsure" and time.monotonic() < until:
        time.sleep(1.0)
        status = watch.look()
    return status


class Watch:
    """Looks at one study again and again.

    Raises:
        StudyError: it was never begun, or cannot be read.
    """

    def __init__(self, where: StudyLocation) -> None:
        self._where = where
        self._study = open_to_read(where)
        self._log = Logbook(where.folder.path)
        lease = self._frozen()["settings"]["lease"]
        self._owners = Owners(lease)
        self.patience = 1.5 * lease / RENEWALS  # in which the living give a sign

    def look(self) -> Status:
        """How it stands now."""
        frozen, attrs = self._frozen(), reading(self._where, lambda: self._study.user_attrs)
        trials = reading(self._where, lambda: self._study.get_trials(deepcopy=False))
        self._log.look()
        settings, objectives = frozen["settings"], frozen["objectives"]
        start = self._log.last_start() or {}
        stop = self._log.stopped.get(start.get("owner", ""))
        found = tally(trials, next(iter(objectives.values())) == "maximize")
        counted, target = len(found.outcomes), int(start.get("target", settings["budget"]["trials"]))
        confirmed, to_confirm = self._confirmed(found, settings["confirm"])
        owners = [
            replace(owner, alive=False) if owner.name in self._log.stopped else owner
            for owner in self._owners.judge(self._signs(found.running))
        ]
        alive = [owner.alive for owner in owners]
        over = counted >= target and confirmed >= to_confirm if stop is None else stop.get("finished")
        idle = "unsure" if None in alive else "done" if over else "stopped"
        worked, limit = float(attrs.get("worked", 0.0)), settings["budget"]["time"]
        each = worked / counted if counted and worked else None
        each = (_pace(start, counted) if True in alive else None) or each
        ends = True in alive and counted < target and each is not None
        state: Any = "running" if True in alive else idle
        return Status(
            name=self._where.name,
            folder=str(self._where.folder.path),
            state=state,
            why=str(stop.get("cause") or "") if stop is not None and True not in alive else "",
            owners=tuple(owners),
            objectives=dict(objectives),
            counted=counted,
            target=target,
            complete=found.count("complete"),
            pruned=found.count("pruned"),
            failed=found.count("failed"),
            duplicates=found.duplicates,
            died=found.died,
            waiting=found.waiting,
            epochs=frozen["study"]["fixed"]["epochs"],
            running=tuple(map(_running, found.running)),
            confirmed=confirmed,
            confirming=len(self._log.finals) if True in alive else 0,
            to_confirm=to_confirm,
            best=_best(found.complete[0], objectives) if found.complete else None,
            seconds_each=each,
            end=_end(each * (target - counted), worked, limit) if ends and each is not None else None,
            worked=worked,
            time=limit,
            failures=tuple(self._failure(trial) for trial in found.failed[:-6:-1]),
            trust=self._trust() if state == "done" else "",
        )

    def _frozen(self) -> dict[str, Any]:
        """The frozen study as this run of `tune` has it, or as it was begun."""
        written = self._where.folder.path / "study.json"
        frozen = read_json(written) if written.is_file() else None
        frozen = frozen or reading(self._where, lambda: read_snapshot(self._study))
        if frozen is None:
            raise self._where.absent()
        return frozen

    def _trust(self) -> str:
        """Whether the numbers can be trusted; nothing where results are damaged, which is not asked here."""
        try:
            return verdict(findings(load_study_results(self._where.folder.path)))
        except StudyError:
            return ""

    def _signs(self, running: list[FrozenTrial]) -> Iterator[tuple[str, Any]]:
        """Signs of life: the leases; of processes that have no trial now, what they wrote into the log."""
        for trial in running:
            if (lease := trial.user_attrs.get("lease")) is not None:
                yield lease["owner"], (trial.number, lease["beat"])
        for owner, line in self._log.started.items():
            if owner not in self._log.stopped:
                finals = [key for key, each in self._log.finals.items() if each.get("owner") == owner]
                if finals or is_here(owner):
                    yield owner, (line["time"], *finals)

    def _confirmed(self, found: Tally, confirm: dict[str, int] | None) -> tuple[int, int]:
        """How many repeats of finalists are done, and how many there are to be."""
        if confirm is None:
            return 0, 0
        folder, seeds = self._where.folder, range(confirm["seeds"])
        keys = [trial.user_attrs["key"] for trial in found.complete[: confirm["top"]]]
        places = [folder.confirmation(key, repeat) / "result.json" for key in keys for repeat in seeds]
        return sum(place.is_file() for place in places), len(places)

    def _failure(self, trial: FrozenTrial) -> Failure:
        attrs = trial.user_attrs
        if attrs.get("outcome") == "failed":
            return Failure(trial.number, "failed", str(attrs.get("cause", "")))
        return Failure(
            trial.number, "died", self._log.causes.get(trial.number, "") or "its process is no more"
        )


def _running(trial: FrozenTrial) -> Running:
    attrs, heard = trial.user_attrs, trial.intermediate_values
    epoch = max(heard, default=None)
    start = trial.datetime_start or datetime.now()
    return Running(
        trial.number,
        describe(attrs["configuration"]) if "configuration" in attrs else "being drawn",
        epoch,
        None if epoch is None else heard[epoch],
        max(0.0, (datetime.now() - start).total_seconds()),
        str((attrs.get("lease") or {}).get("owner", "")),
    )


def _best(trial: FrozenTrial, objectives: dict[str, str]) -> Best:
    values = dict(zip(objectives, trial.values, strict=True))
    return Best(trial.number, describe(trial.user_attrs["configuration"]), values)


def _pace(start: dict[str, Any], counted: int) -> float | None:
    """Seconds a configuration since `tune` last started; None before the first one."""
    here = counted - int(start.get("counted", counted))
    passed = time.time() - float(start.get("time", 0.0))
    return passed / here if here > 0 and passed > 0 else None


def _end(left: float, worked: float, limit: float | None) -> datetime:
    return datetime.now() + timedelta(seconds=left if limit is None else min(left, max(0.0, limit - worked)))
