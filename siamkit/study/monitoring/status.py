"""The status of a study, read from outside while others work on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue

from siamkit.errors import StudyError
from siamkit.evaluation.measures import broken
from siamkit.report.checks import check_reliability, verdict
from siamkit.report.load import load_study_results
from siamkit.runs.outcome import Winner, finalists, winner_kind
from siamkit.runs.results import Direction, Objective, Snapshot, as_record
from siamkit.runs.run_folder import AttemptFolder
from siamkit.study.config.schema import EVALUATIONS
from siamkit.study.monitoring.event_log import Event, EventLog, Owner, Owners, is_here
from siamkit.study.monitoring.locate import StudyLocation, find_study, open_to_read, reading
from siamkit.study.monitoring.progress import describe
from siamkit.study.storage.leases import RENEWALS
from siamkit.study.storage.open import read_snapshot
from siamkit.study.storage.trial_log import StoredTrial

OUTCOMES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass
class TrialCounts:
    """The trials of a study, counted as its budget counts them.

    Args:
        outcomes: the outcome of each configuration that used up budget, by key: complete, pruned or failed.
        complete: the completed trials that keep all constraints, the best in the first objective first.
        infeasible: the constraints that each of the other completed trials breaks, by the trial's number.
        failed: trials that failed because of their configuration, and those whose process died.
        duplicates: the number of samples whose configuration already existed.
        died: the number of attempts whose process died.
        waiting: the number of queued trials.
        running: trials under way.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    complete: list[FrozenTrial] = field(default_factory=list)
    infeasible: dict[int, list[str]] = field(default_factory=dict)
    failed: list[FrozenTrial] = field(default_factory=list)
    duplicates: int = 0
    died: int = 0
    waiting: int = 0
    running: list[FrozenTrial] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """Return the number of configurations with an outcome."""
        return list(self.outcomes.values()).count(outcome)


def count_trials(trials: Sequence[FrozenTrial], maximize: bool) -> TrialCounts:
    """Count trials.

    Args:
        trials: all trials of a study.
        maximize: whether higher first objectives are better.
    """
    found = TrialCounts()
    retries = {each.user_attrs["retries"]: each for each in trials if "retries" in each.user_attrs}
    for trial in trials:
        outcome = trial.user_attrs.get("outcome")
        if trial.state == TrialState.RUNNING:
            found.running.append(trial)
        elif trial.state == TrialState.WAITING:
            found.waiting += 1
        elif StoredTrial(trial).counts:
            found.outcomes.setdefault(trial.user_attrs["key"], OUTCOMES[trial.state])
            if StoredTrial(trial).can_win:
                found.complete.append(trial)
            elif trial.state == TrialState.COMPLETE:
                found.infeasible[trial.number] = broken(trial.constraints)
            elif trial.state == TrialState.FAIL:
                found.failed.append(trial)
        elif outcome == "duplicate":
            found.duplicates += 1
        elif outcome is None and has_died(trial, retries.get(trial.number)):
            found.died += 1
            found.failed.append(trial)
    sign = -1 if maximize else 1
    found.complete.sort(key=lambda trial: (sign * trial.values[0], trial.number))
    return found


def has_died(trial: FrozenTrial, retry: FrozenTrial | None) -> bool:
    """Return whether the process of an unfinished trial died; else the user stopped it."""
    if retry is not None:  # only a death adds to the attempts
        return bool(retry.user_attrs.get("attempt", 1) > trial.user_attrs.get("attempt", 1))
    return not trial.user_attrs.get("interrupted")


@dataclass(frozen=True)
class Running:
    """A trial under way; `epoch` and `value` are the last ones in the storage, if any."""

    trial: int
    configuration: str
    epoch: int | None
    value: float | None
    seconds: float
    owner: str


@dataclass(frozen=True)
class Best:
    """The winner so far: its trial, its configuration, and its objectives on the validation split.

    Args:
        trial: the number of its trial.
        configuration: the configuration, in short.
        values: the value of each objective on the validation split; the mean over the repeats of a finalist.
        kind: what it is, as `siamkit best` and the report name it: the search's best trial or the confirmed
            winner.
    """

    trial: int
    configuration: str
    values: dict[str, float]
    kind: Winner


@dataclass(frozen=True)
class Untrained:
    """The best baseline: its description, and its value in the first objective on the validation split."""

    description: str
    value: float


@dataclass(frozen=True)
class Failure:
    """A trial that failed because of its configuration, or whose process died."""

    trial: int
    kind: Literal["failed", "died"]
    cause: str


@dataclass(frozen=True)
class Status:
    """The status of a study: its progress, trials, processes and best trial.

    Args:
        name: the study's name.
        folder: its run folder.
        state: `running`; `stopped`, which `tune` continues; `done`; or `unsure`: it may run on other
            machines, which have shown no sign of life yet.
        why: the reason why it stopped or is done, if not its budget; else empty.
        owners: the processes that work on it.
        objectives: the direction of each measure to optimize.
        counted: the number of configurations that used up budget.
        target: the budget, as a number of configurations.
        complete, pruned, failed: the numbers of counted configurations with each outcome.
        duplicates: the number of samples whose configuration already existed.
        died: the number of attempts whose process died; they were or will be tried again.
        waiting: the number of queued trials.
        epochs: the number of epochs of one training.
        running: trials under way.
        confirmed, confirming, to_confirm: the numbers of repeats of finalists that are done, under way, and
            planned in total.
        best: the winner so far, the same that `siamkit best` names.
        seconds_each: seconds for one more configuration, at the pace of this run of `tune`, else of all runs.
        end: the time when the search ends at that pace, if it runs.
        worked: seconds that `tune` has spent on the study.
        time: seconds that it may spend, if limited.
        failures: the failed and died trials, the latest first.
        baseline: the best embedding without training, if baselines were evaluated.
        trust: one line about how reliable the numbers are, if the study is done.
        infeasible: the constraints that complete trials break, by the number of the trial; they cannot win.
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
    baseline: Untrained | None = None
    infeasible: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def plain(self) -> dict[str, JsonValue]:
        """Return the status as plain data, for JSON."""
        return {**asdict(self), "end": self.end.isoformat(timespec="seconds") if self.end else None}


def read_status(
    path: str | os.PathLike[str], artifacts: str | os.PathLike[str] | None = None, *, wait: bool = False
) -> Status:
    """Return the status of the study in a file. Nothing is locked or written, and no data are loaded.

    Args:
        path: the study file.
        artifacts: the run folder, in place of the file's own.
        wait: whether to wait for a heartbeat if no worker runs on this machine but others may run elsewhere.

    Raises:
        StudyError: the file has problems, or the study was never started or cannot be read.
    """
    reader = StatusReader(find_study(path, artifacts))
    status = reader.read()
    until = time.monotonic() + reader.patience
    while wait and status.state == "unsure" and time.monotonic() < until:
        time.sleep(1.0)
        status = reader.read()
    return status


class StatusReader:
    """A reader of the status of one study, which can read it any number of times.

    Raises:
        StudyError: the study was never started, or cannot be read.
    """

    def __init__(self, where: StudyLocation) -> None:
        self._where = where
        self._study = open_to_read(where)
        self._log = EventLog(where.folder.path)
        lease = self._snapshot().required("lease")
        self._owners = Owners(lease)
        self.patience = 1.5 * lease / RENEWALS  # seconds within which a living owner shows a sign of life

    def read(self) -> Status:
        """Return the status now."""
        snapshot, attrs = self._snapshot(), reading(self._where, lambda: self._study.user_attrs)
        trials = reading(self._where, lambda: self._study.get_trials(deepcopy=False))
        self._log.refresh()
        objectives = snapshot.objectives
        start = self._log.last_start()
        stop = self._log.stopped.get(start.owner) if start is not None else None
        found = count_trials(trials, next(iter(objectives.values())) == "maximize")
        counted = len(found.outcomes)
        target = start.target if start is not None and start.target is not None else None
        target = int(snapshot.required("budget")["trials"]) if target is None else target
        confirmed, to_confirm = self._confirmed(found, snapshot.required("confirm"), snapshot.folds)
        owners = [
            replace(owner, alive=False) if owner.name in self._log.stopped else owner
            for owner in self._owners.judge(self._signs(found.running))
        ]
        alive = [owner.alive for owner in owners]
        over = counted >= target and confirmed >= to_confirm if stop is None else stop.finished
        idle = "unsure" if None in alive else "done" if over else "stopped"
        worked, limit = float(attrs.get("worked", 0.0)), snapshot.required("budget")["time"]
        each = worked / counted if counted and worked else None
        each = (_pace(start, counted) if True in alive else None) or each
        ends = True in alive and counted < target and each is not None
        fixed = snapshot.required("fixed")
        state: Any = "running" if True in alive else idle
        return Status(
            name=self._where.name,
            folder=str(self._where.folder.path),
            state=state,
            why=stop.cause if stop is not None and True not in alive else "",
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
            epochs=fixed["epochs"] or EVALUATIONS,
            running=tuple(map(_running, found.running)),
            confirmed=confirmed,
            confirming=len(self._log.repeats) if True in alive else 0,
            to_confirm=to_confirm,
            best=self._best(found, objectives, to_confirm - confirmed),
            seconds_each=each,
            end=_end(each * (target - counted), worked, limit) if ends and each is not None else None,
            worked=worked,
            time=limit,
            failures=tuple(self._failure(trial) for trial in found.failed[:-6:-1]),
            trust=self._trust() if state == "done" else "",
            baseline=self._baseline(Objective.first(objectives)),
            infeasible=found.infeasible,
        )

    def _baseline(self, objective: Objective) -> Untrained | None:
        folder = self._where.folder
        best = folder.best_baseline(objective) if folder.exists() else None
        value = None if best is None else best.value(objective.name)
        return None if best is None or value is None else Untrained(best.description, value)

    def _snapshot(self) -> Snapshot:
        """Return the snapshot in the run folder, or else the one in the storage."""
        if self._where.folder.exists():
            return self._where.folder.snapshot()
        stored = reading(self._where, lambda: read_snapshot(self._study))
        if stored is None:
            raise self._where.absent()
        return as_record(stored, Snapshot, self._where.name)

    def _trust(self) -> str:
        """Return how reliable the numbers are; empty if results are damaged."""
        try:
            return verdict(check_reliability(load_study_results(self._where.folder.path)))
        except StudyError:
            return ""

    def _signs(self, running: list[FrozenTrial]) -> Iterator[tuple[str, Any]]:
        """Yield signs of life: leases, and what processes without a trial wrote to the log."""
        for trial in running:
            if (lease := trial.user_attrs.get("lease")) is not None:
                yield lease["owner"], (trial.number, lease["beat"])
        for owner, line in self._log.started.items():
            if owner not in self._log.stopped:
                repeats = [key for key, start in self._log.repeats.items() if start.owner == owner]
                if repeats or is_here(owner):
                    yield owner, (line.time, *repeats)

    def _confirmed(self, found: TrialCounts, confirm: dict[str, int] | None, folds: int) -> tuple[int, int]:
        """Return how many repeats of finalists are done, and how many there will be."""
        if confirm is None:
            return 0, 0
        folder, repeats = self._where.folder, range(confirm["seeds"] * folds)
        keys = [trial.user_attrs["key"] for trial in found.complete[: confirm["top"]]]
        files = [AttemptFolder(folder.confirmation(key, repeat)).result for key in keys for repeat in repeats]
        return sum(file.is_file() for file in files), len(files)

    def _best(self, found: TrialCounts, objectives: Mapping[str, Direction], pending: int) -> Best | None:
        """Return the winner that `read_outcome` would choose; None without one, or if results are damaged."""
        folder = self._where.folder
        try:
            repeats = folder.repeats() if folder.exists() else []
        except StudyError:
            return None
        again = finalists(repeats, Objective.first(objectives))
        kind = winner_kind(bool(again), pending)
        if again:
            values = {name: again[0].mean("valid", name) for name in objectives}
            configuration: Any = again[0].repeats[0].configuration
            return Best(again[0].trial, describe(configuration), values, kind)
        if not found.complete:
            return None
        trial = found.complete[0]
        values = dict(zip(objectives, trial.values, strict=True))
        return Best(trial.number, describe(trial.user_attrs["configuration"]), values, kind)

    def _failure(self, trial: FrozenTrial) -> Failure:
        attrs = trial.user_attrs
        if attrs.get("outcome") == "failed":
            return Failure(trial.number, "failed", str(attrs.get("cause", "")))
        return Failure(trial.number, "died", self._log.causes.get(trial.number, "") or "its process exited")


def _running(trial: FrozenTrial) -> Running:
    attrs, values = trial.user_attrs, trial.intermediate_values
    epoch = max(values, default=None)
    start = trial.datetime_start or datetime.now()
    return Running(
        trial.number,
        describe(attrs["configuration"]) if "configuration" in attrs else "being drawn",
        epoch,
        None if epoch is None else values[epoch],
        max(0.0, (datetime.now() - start).total_seconds()),
        str((attrs.get("lease") or {}).get("owner", "")),
    )


def _pace(start: Event | None, counted: int) -> float | None:
    """Return the seconds per configuration since `tune` last started; None before the first configuration."""
    if start is None or start.counted is None:
        return None
    here = counted - start.counted
    passed = time.time() - start.time
    return passed / here if here > 0 and passed > 0 else None


def _end(left: float, worked: float, limit: float | None) -> datetime:
    return datetime.now() + timedelta(seconds=left if limit is None else min(left, max(0.0, limit - worked)))
