"""The run folder, layout 1: the names of its files, its results, its lock and its log.

Every file is written under a temporary name and then renamed.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

from siamkit.errors import StudyError, listed
from siamkit.io.files import to_jsonable, write_text
from siamkit.io.paths import is_local
from siamkit.runs.results import BaselineResult, Objective, RepeatResult, Snapshot, TrialResult, read_record

LAYOUT = 1


@dataclass(frozen=True)
class AttemptFolder:
    """The folder of one attempt at a trial, or of one repeat of a finalist."""

    path: Path

    @property
    def result(self) -> Path:
        """Measures, parameters, versions, cause of failure; written last."""
        return self.path / "result.json"

    @property
    def history(self) -> Path:
        """Measures by epoch."""
        return self.path / "history.parquet"

    @property
    def queries(self) -> Path:
        """Scores by query on the validation split."""
        return self.path / "queries.parquet"

    @property
    def test_queries(self) -> Path:
        """Scores by query on the test split; only repeats of finalists have them."""
        return self.path / "test_queries.parquet"

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.path / "checkpoint.keras"

    @property
    def checkpoint_state(self) -> Path:
        """The state from which training can continue; removed once the attempt has ended."""
        return self.path / "resume.json"

    @property
    def embeddings(self) -> Path:
        """Embeddings of the validation items; only the best trials have them."""
        return self.path / "embeddings.npy"

    @property
    def report_data(self) -> Path:
        """The data that the report shows of the model: a sample of embeddings, neighbors, curves."""
        return self.path / "exhibit.npz"


class RunFolder:
    """A study's folder: the one place that knows the names of its files.

    Args:
        path: the folder, created when first written: local, or behind a URL (`siamkit.io.paths.as_path`).
        owner: the name of the process that writes here; part of each line of the log.
    """

    def __init__(self, path: Path, owner: str = "") -> None:
        self.path = path
        self.owner = owner
        self._lines: list[str] = []
        self._name = secrets.token_hex(4)

    # ------------------------------------------------------------------ files

    @property
    def snapshot_file(self) -> Path:
        """The study as it was started."""
        return self.path / "study.json"

    @property
    def items(self) -> Path:
        """The validation items, for people to look at: ids, targets, thumbnails or texts."""
        return self.path / "items.parquet"

    @property
    def report(self) -> Path:
        """The report as a page."""
        return self.path / "report.html"

    @property
    def best_model(self) -> Path:
        """The model of the winner."""
        return self.path / "best.keras"

    @property
    def log_file(self) -> Path:
        """The log of events, a line each; behind a URL each process has a file of its own."""
        return self.path / "log.jsonl"

    def log_files(self) -> list[Path]:
        """Return the logs of all processes."""
        return sorted(self.path.glob("log*.jsonl"))

    def attempt(self, trial: int, token: str) -> Path:
        """Return the folder of one attempt at a trial."""
        return self.path / "trials" / str(trial) / token

    def confirmation(self, key: str, repeat: int) -> Path:
        """Return the folder of one repeat of a finalist."""
        return self.path / "confirm" / key / str(repeat)

    def baseline(self, name: str) -> AttemptFolder:
        """Return the files of a baseline."""
        return AttemptFolder(self.path / "baselines" / name)

    def files(self, result: TrialResult | RepeatResult) -> AttemptFolder:
        """Return the files of a result that was read from this folder."""
        return AttemptFolder(self.path / result.folder)

    def inside(self, path: Path) -> str:
        """Return a path relative to the folder, the same on every machine that sees it."""
        return str(path.relative_to(self.path))

    # ------------------------------------------------------------------ reading

    def exists(self) -> bool:
        """Return whether a study was started here."""
        return self.snapshot_file.is_file()

    def snapshot(self) -> Snapshot:
        """Read the study as it was started.

        Raises:
            StudyError: no study was started here yet, or the file is damaged.
        """
        if not self.exists():
            raise StudyError(f"no study has started in {str(self.path)!r} yet; run it with 'siamkit tune'")
        return read_record(self.snapshot_file, Snapshot)

    def trials(self) -> list[TrialResult]:
        """Read the results of all trials by number, one for each attempt that ended.

        Raises:
            StudyError: a result is damaged.
        """
        results = [
            read_record(file, TrialResult, folder=self.inside(file.parent))
            for file in self.path.glob("trials/*/*/result.json")
        ]
        return sorted(results, key=lambda result: (result.trial, result.attempt, result.folder))

    def trial(self, number: int) -> TrialResult:
        """Read the result of a trial; of several attempts the last, a complete one if there is one.

        Raises:
            StudyError: the trial does not exist, or a result is damaged.
        """
        results = self.trials()
        numbers = sorted({result.trial for result in results})
        if not numbers:
            raise StudyError(
                f"the study in {str(self.path)!r} has no trial result yet; run it with 'siamkit tune'"
            )
        if number not in numbers:
            without_gaps = len(numbers) > 1 and numbers == list(range(len(numbers)))
            choice = f"{numbers[0]} to {numbers[-1]}" if without_gaps else listed(map(str, numbers))
            raise StudyError(f"the study has no trial {number}; choose from {choice}")
        attempts = [result for result in results if result.trial == number]
        return max(attempts, key=lambda result: (result.complete, result.attempt))

    def repeats(self) -> list[RepeatResult]:
        """Read the results of all repeats of finalists, by configuration and number.

        Raises:
            StudyError: a result is damaged.
        """
        results = [
            read_record(file, RepeatResult, folder=self.inside(file.parent))
            for file in self.path.glob("confirm/*/*/result.json")
        ]
        return sorted(results, key=lambda result: (result.key, result.repeat))

    def baselines(self) -> list[BaselineResult]:
        """Read the results of the baselines, by name.

        Raises:
            StudyError: a result is damaged.
        """
        return [
            read_record(file, BaselineResult) for file in sorted(self.path.glob("baselines/*/result.json"))
        ]

    def best_baseline(self, objective: Objective, split: str = "valid") -> BaselineResult | None:
        """Return the baseline that is best in an objective on a split; None if none has a value."""
        found = [each for each in self.baselines() if each.value(objective.name, split) is not None]
        return max(found, key=lambda each: objective.worth(each.value(objective.name, split)), default=None)

    # ------------------------------------------------------------------ writing

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder: one `tune` at a time.

        The lock ends with its process. Folders behind a URL are not locked.

        Raises:
            StudyError: another process holds the lock, or the folder cannot be written.
        """
        if not is_local(self.path):
            try:
                self.log("opened")
            except Exception as error:  # each file system has errors of its own
                raise StudyError(f"the run folder {str(self.path)!r} cannot be written: {error}") from error
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise StudyError(f"another 'siamkit tune' is running this study in {str(self.path)!r}") from None
        except OSError as error:
            raise StudyError(
                f"the run folder {str(self.path)!r} cannot be written: {error.strerror}"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def log(self, event: str, **details: object) -> None:
        """Append a line to the log.

        Each line is one write at the end of the file, so that lines of several processes never mix. A log
        that cannot be written stops no study: the storage and the results hold all that counts.
        """
        line = {"time": round(time.time(), 3), "event": event}
        line |= {"owner": self.owner} if self.owner else {}
        text = json.dumps({**line, **to_jsonable(details)}, ensure_ascii=False) + "\n"
        with suppress(OSError):
            if is_local(self.path):
                file = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
                try:
                    os.write(file, text.encode("utf-8"))
                finally:
                    os.close(file)
            else:  # objects cannot be appended to: a file of its own for each process
                self._lines.append(text)
                write_text(self.path / f"log-{self._name}.jsonl", "".join(self._lines))


def new_token() -> str:
    """Return a new name for an attempt."""
    return secrets.token_hex(4)
