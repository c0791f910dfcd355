"""Telling how a study goes: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
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
        """A run begins."""

    def epoch(self, number: int, epochs: int, figures: dict[str, float]) -> None:
        """An epoch of it ended."""

    def ended(self, state: str, value: float | None, best: float | None, cause: str = "") -> None:
        """The run ended: complete, pruned, failed."""


def describe(configuration: Configuration) -> str:
    """A configuration in a few words."""
    factors = factors_of(configuration)
    names = " · ".join(str(factors[kind]) for kind in ("encoder", "metric", "loss"))
    return f"{names} · {factors['embedding_dim']}-d"


class Plain(Silent):
    """A line for each run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stdout, soft_wrap=True, highlight=False, markup=False)
        self._label, self._done, self._total, self._objective = "", 0, 0, ""
        self._best: float | None = None

    def note(self, text: str) -> None:
        self._console.print(text)

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        self._done, self._total, self._objective = done, total, objective
        if done:
            self.note(f"{title}: {done} of {total} are there already")

    def run(self, label: str, configuration: Configuration) -> None:
        self._label = f"{label:<8} {describe(configuration)}"

    def ended(self, state: str, value: float | None, best: float | None, cause: str = "") -> None:
        self._done += 1
        shown = f"{self._objective} {value:.4f}" if value is not None else ""
        new = best is not None and best != self._best and value == best and state == "complete"
        self._best = best
        mark = "  ← best" if new else ""
        self.note(
            f"[{min(self._done, self._total)}/{self._total}] {self._label:<60} {state:<9}"
            f"{shown}{mark}{'  ' + cause if cause else ''}"
        )


class Live(Plain):
    """The same lines, above a bar that moves with every epoch."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._phase: Any = None
        self._running: Any = None

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        self._progress.console.print(text)

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        super().begin(title, done, total, objective)
        for bar in (self._phase, self._running):
            if bar is not None:
                self._progress.remove_task(bar)
        self._phase = self._progress.add_task(title, total=total, completed=done, best="")
        self._running = self._progress.add_task("", total=1, best="", visible=False)

    def run(self, label: str, configuration: Configuration) -> None:
        super().run(label, configuration)
        self._progress.reset(self._running, description=f"  {describe(configuration)}", visible=True, best="")

    def epoch(self, number: int, epochs: int, figures: dict[str, float]) -> None:
        value = figures.get(self._objective)
        shown = f"{self._objective} {value:.4f}" if value is not None else ""
        self._progress.update(self._running, total=epochs, completed=number, best=shown)

    def ended(self, state: str, value: float | None, best: float | None, cause: str = "") -> None:
        super().ended(state, value, best, cause)
        self._progress.update(
            self._phase, completed=self._done, best=f"best {best:.4f}" if best is not None else ""
        )


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
