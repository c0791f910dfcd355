"""Telling how a study goes: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.text import Text

from siamkit.errors import StudyError
from siamkit.runs.configuration import Configuration, factors_of

MARK = "  ← best"


class NullProgress:
    """Hears everything and says nothing; the base of the others."""

    def __enter__(self) -> NullProgress:
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

    def epoch(self, label: str, number: int, epochs: int, measures: dict[str, float]) -> None:
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


def one_line(text: str) -> str:
    """A text from anywhere in one line, with nothing in it that a terminal would obey."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def spell(seconds: float) -> str:
    """A duration in a few letters: `45s`, `3m 20s`, `2h 05m`, `3d 4h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    minutes = whole // 60
    if minutes < 48 * 60:
        return f"{minutes // 60}h {minutes % 60:02}m"
    return f"{minutes // 1440}d {minutes % 1440 // 60}h"


class Plain(NullProgress):
    """A line for each run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stdout)
        self._done, self._total, self._objective = 0, 0, ""
        self._lines: dict[str, str] = {}
        self._best: float | None = None

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        self._done, self._total, self._objective = done, total, objective
        if done:
            self.note(f"{title}: {done} of {total} are there already")

    def run(self, label: str, configuration: Configuration) -> None:
        self._lines[label] = f"{label:<10} {one_line(describe(configuration))}"

    def ended(
        self,
        label: str,
        state: str,
        value: float | None,
        best: float | None,
        cause: str = "",
        done: int | None = None,
    ) -> None:
        self._over(label, state)
        self._done = self._done if done is None else done
        shown = f"{self._objective} {value:.4f}" if value is not None else ""
        new = best is not None and best != self._best and value == best and state == "complete"
        self._best = best
        mark = MARK if new else ""
        count = f"[{min(self._done, self._total):>{len(str(self._total))}}/{self._total}]"
        line = self._fitted(self._lines.pop(label, label), len(count))
        told = f"{count} {line} {state:<9}{shown}{mark}{'  ' + one_line(cause) if cause else ''}"
        self.note(told.rstrip())

    def _over(self, label: str, state: str) -> None:
        """A run is under way no more."""

    def _fitted(self, line: str, beside: int) -> str:
        """The part of a line that names the run, so that what follows stands in columns."""
        return f"{line:<60}"


def make_progress(choice: str = "auto") -> NullProgress:
    """`live`, `plain`, `none`, or `auto`: live in a terminal, plain elsewhere.

    Raises:
        StudyError: it is something else.
    """
    if choice not in ("live", "plain", "none", "auto"):
        raise StudyError(f"progress should be auto, live, plain or none, got {choice!r}")
    if choice == "none":
        return NullProgress()
    if choice == "live" or (choice == "auto" and sys.stdout.isatty()):
        from siamkit.study.monitoring.live import Live

        return Live()
    return Plain()
