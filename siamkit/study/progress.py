"""Telling how a study goes: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from siamkit.errors import StudyError
from siamkit.study.space import Configuration, factors_of


class Silent:
    """Hears everything and says nothing; the base of the others."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """A sentence."""

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        """A phase of so many runs, some done already."""

    def run(self, label: str, configuration: Configuration) -> None:
        """A run begins; several may be under way at once."""

    def epoch(self, label: str, number: int, epochs: int, figures: dict[str, float]) -> None:
        """An epoch of it ended."""

    def ended(
        self,
        label: str,
        state: str,
        value: float | None,
        best: float | None,
        cause: str = "",
        done: int | None = None,
    ) -> None:
        """It ended: complete, pruned, failed, or died; `done` runs of the phase are done in all."""


def describe(configuration: Configuration) -> str:
    """A configuration in a few words."""
    factors = factors_of(configuration)
    names = " · ".join(str(factors[kind]) for kind in ("encoder", "metric", "loss"))
    return f"{names} · {factors['embedding_dim']}-d"


class Plain(Silent):
    """A line for each run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stdout, soft_wrap=True, highlight=False, markup=False)
        self._done, self._total, self._objective = 0, 0, ""
        self._lines: dict[str, str] = {}
        self._best: float | None = None

    def note(self, text: str) -> None:
        self._console.print(text)

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        self._done, self._total, self._objective = done, total, objective
        if done:
            self.note(f"{title}: {done} of {total} are there already")

    def run(self, label: str, configuration: Configuration) -> None:
        self._lines[label] = f"{label:<9} {describe(configuration)}"

    def ended(
        self,
        label: str,
        state: str,
        value: float | None,
        best: float | None,
        cause: str = "",
        done: int | None = None,
    ) -> None:
        self._done = self._done if done is None else done
        shown = f"{self._objective} {value:.4f}" if value is not None else ""
        new = best is not None and best != self._best and value == best and state == "complete"
        self._best = best
        mark = "  ← best" if new else ""
        line = self._lines.pop(label, label)
        self.note(
            f"[{min(self._done, self._total)}/{self._total}] {line:<60} {state:<9}"
            f"{shown}{mark}{'  ' + cause if cause else ''}"
        )


class Live(Plain):
    """The same lines, above a bar for the whole and one for each run under way."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._phase: TaskID | None = None
        self._title = ""
        self._running: dict[str, TaskID] = {}
        self._counts: Counter[str] = Counter()
        self._began, self._done_before = 0.0, 0

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        self._progress.console.print(text)

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        super().begin(title, done, total, objective)
        for bar in [*self._running.values(), *([] if self._phase is None else [self._phase])]:
            self._progress.remove_task(bar)
        self._running.clear()
        self._counts.clear()
        self._title, self._began, self._done_before = title, time.monotonic(), done
        self._phase = self._progress.add_task(title, total=total, completed=done, note="")

    def run(self, label: str, configuration: Configuration) -> None:
        super().run(label, configuration)
        self._running[label] = self._progress.add_task(f"  {describe(configuration)}", total=None, note="")

    def epoch(self, label: str, number: int, epochs: int, figures: dict[str, float]) -> None:
        value = figures.get(self._objective)
        shown = f"{self._objective} {value:.4f}" if value is not None else ""
        if label in self._running:
            self._progress.update(self._running[label], total=epochs, completed=number, note=shown)

    def ended(
        self,
        label: str,
        state: str,
        value: float | None,
        best: float | None,
        cause: str = "",
        done: int | None = None,
    ) -> None:
        super().ended(label, state, value, best, cause, done)
        if label in self._running:
            self._progress.remove_task(self._running.pop(label))
        self._counts[state] += 1
        counts = ", ".join(f"{number} {state}" for state, number in self._counts.items())
        parts = [counts, f"best {best:.4f}" if best is not None else "", self._end()]
        if self._phase is not None:
            note = " · ".join(part for part in parts if part)
            self._progress.update(self._phase, completed=self._done, note=note)

    def _end(self) -> str:
        """When the phase will be done, at the pace so far."""
        here = self._done - self._done_before
        if here <= 0 or self._done >= self._total:
            return ""
        left = (time.monotonic() - self._began) / here * (self._total - self._done)
        end = datetime.now() + timedelta(seconds=left)
        return f"done about {end:%H:%M}" if left < 86400 else f"done about {end:%a %H:%M}"


def make_progress(choice: str = "auto") -> Silent:
    """`live`, `plain`, `none`, or `auto`: live in a terminal, plain elsewhere.

    Raises:
        StudyError: it is something else.
    """
    if choice not in ("live", "plain", "none", "auto"):
        raise StudyError(f"progress should be auto, live, plain or none, got {choice!r}")
    if choice == "none":
        return Silent()
    if choice == "live" or (choice == "auto" and sys.stdout.isatty()):
        return Live()
    return Plain()
