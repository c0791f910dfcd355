"""Report the progress of a study: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live as Display
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from siamkit.errors import StudyError
from siamkit.runs.configuration import Configuration, factors_of

MARK = "  ← best"
MAX_SILENCE = 30.0  # seconds without a line


class NullProgress:
    """A reporter that reports nothing; the base class of the other reporters."""

    def __enter__(self) -> NullProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """Report a sentence."""

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        """Begin a phase of `total` runs, of which `done` are done."""

    def run(self, label: str, configuration: Configuration) -> None:
        """Report that a run started; several may run at once."""

    def epoch(self, label: str, number: int, epochs: int, measures: dict[str, float]) -> None:
        """Report an epoch of a run."""

    def ended(
        self,
        label: str,
        state: str,
        value: float | None,
        best: float | None,
        cause: str = "",
        done: int | None = None,
    ) -> None:
        """Report that a run ended, complete, pruned, failed or died; `done` runs are done now."""


def describe(configuration: Configuration) -> str:
    """Return a configuration in a few words."""
    factors = factors_of(configuration)
    names = " · ".join(str(factors[kind]) for kind in ("encoder", "metric", "loss"))
    return f"{names} · {factors['embedding_dim']}-d"


def one_line(text: str) -> str:
    """Return a text in one line, without control characters."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def spell(seconds: float) -> str:
    """Return a duration in short form: `45s`, `3m 20s`, `2h 05m`, `3d 4h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    minutes = whole // 60
    if minutes < 48 * 60:
        return f"{minutes // 60}h {minutes % 60:02}m"
    return f"{minutes // 1440}d {minutes % 1440 // 60}h"


class PlainProgress(NullProgress):
    """A reporter that prints a line for each run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stdout)
        self._done, self._total, self._objective = 0, 0, ""
        self._lines: dict[str, str] = {}
        self._best: float | None = None
        self._has_run = False
        self._noted = time.monotonic()

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)
        self._noted = time.monotonic()

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        self._done, self._total, self._objective = done, total, objective
        if done:
            self.note(f"{title}: {done} of {total} are done already")

    def run(self, label: str, configuration: Configuration) -> None:
        self._lines[label] = f"{label:<10} {one_line(describe(configuration))}"
        if not self._has_run:
            self._while_silent(f"{label} is training")
        self._has_run = True

    def epoch(self, label: str, number: int, epochs: int, measures: dict[str, float]) -> None:
        if time.monotonic() - self._noted > MAX_SILENCE:
            value = measures.get(self._objective, math.nan)
            self._while_silent(f"{label}: epoch {number} of {epochs}, {self._objective} {value:.4f}")

    def _while_silent(self, text: str) -> None:
        """Report what happens while no run ends."""
        self.note(text)

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
        whole = f"{count} {line} {state:<9}{shown}{mark}{'  ' + one_line(cause) if cause else ''}"
        self.note(whole.rstrip())

    def _over(self, label: str, state: str) -> None:
        """Forget a run that ended."""

    def _fitted(self, line: str, prefix: int) -> str:
        """Return the name of a run, padded so that the values that follow line up."""
        return f"{line:<60}"


MAX_RUNS_SHOWN = 12
STATES = ("complete", "pruned", "failed", "died")


@dataclass
class Run:
    """A run under way, as the live display shows it."""

    configuration: str
    since: float
    epoch: int = 0
    epochs: int = 0
    value: float | None = None


class LiveProgress(PlainProgress):
    """A reporter with the lines of `PlainProgress`, and below them a bar, counts and the runs under way.

    Args:
        stream: output stream; by default standard output.
        console: `rich` console to use in place of a stream.
    """

    def __init__(self, stream: TextIO | None = None, console: Console | None = None) -> None:
        super().__init__(stream)
        self._console = console or self._console
        self._title = ""
        self._running: dict[str, Run] = {}
        self._counts: Counter[str] = Counter()
        self._began, self._done_before = 0.0, 0
        # The display's own thread draws it, so that clocks advance while nothing happens.
        self._display = Display(
            get_renderable=self.render, console=self._console, transient=True, refresh_per_second=4
        )

    def __enter__(self) -> LiveProgress:
        self._display.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._display.stop()

    def begin(self, title: str, done: int, total: int, objective: str) -> None:
        super().begin(title, done, total, objective)
        self._running.clear()
        self._counts.clear()
        self._best = None
        self._title, self._began, self._done_before = title, time.monotonic(), done

    def run(self, label: str, configuration: Configuration) -> None:
        super().run(label, configuration)
        self._running[label] = Run(one_line(describe(configuration)), time.monotonic())

    def epoch(self, label: str, number: int, epochs: int, measures: dict[str, float]) -> None:
        run = self._running.get(label)
        if run is not None:
            run.epoch, run.epochs, run.value = number, epochs, measures.get(self._objective)

    def _while_silent(self, text: str) -> None:
        pass  # the display shows it

    def _over(self, label: str, state: str) -> None:
        self._running.pop(label, None)
        self._counts[state] += 1

    def _fitted(self, line: str, prefix: int) -> str:
        rest = len(f"  complete  {self._objective} 0.0000{MARK}")
        room = max(20, min(60, self._console.width - prefix - rest))
        return f"{line:<{room}}" if len(line) <= room else line[: room - 1] + "…"

    # ------------------------------------------------------------- drawing

    def render(self) -> RenderableType:
        """Return the display below the lines."""
        if not self._title:
            return Text("reading results …", style="dim")
        now = time.monotonic()
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._title, style="bold"),
            ProgressBar(total=max(self._total, 1), completed=self._done, width=30),
            f"{min(self._done, self._total)}/{self._total}",
            Text(spell(now - self._began), style="dim"),
        )
        parts: list[RenderableType] = [head]
        if facts := self._facts(now):
            parts.append(Text("  " + facts, overflow="ellipsis", no_wrap=True))
        running = list(self._running.items())
        if running:
            parts.append(self._table(running[:MAX_RUNS_SHOWN], now))
        if len(running) > MAX_RUNS_SHOWN:
            parts.append(Text(f"  and {len(running) - MAX_RUNS_SHOWN} more", style="dim"))
        return Group(*parts)

    def _facts(self, now: float) -> str:
        counts = ", ".join(f"{self._counts[state]} {state}" for state in STATES if self._counts[state])
        best = f"best {self._objective} {self._best:.4f}" if self._best is not None else ""
        return " · ".join(part for part in (counts, best, self._end(now)) if part)

    def _table(self, running: list[tuple[str, Run]], now: float) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for _ in range(4):
            table.add_column(no_wrap=True, justify="right")
        for label, run in running:
            bar = ProgressBar(total=max(run.epochs, 1), completed=run.epoch, width=8)
            table.add_row(
                Text(f"  {label}"),
                Text(run.configuration),
                bar,
                f"{run.epoch}/{run.epochs}" if run.epochs else "compiling",
                f"{run.value:.4f}" if run.value is not None else "",
                Text(spell(now - run.since), style="dim"),
            )
        return table

    def _end(self, now: float) -> str:
        """Return the time when the phase will be done, at the pace so far."""
        here = self._done - self._done_before
        if here <= 0 or self._done >= self._total:
            return ""
        left = (now - self._began) / here * (self._total - self._done)
        end = datetime.now() + timedelta(seconds=left)
        return f"done about {end:%H:%M}" if left < 86400 else f"done about {end:%a %H:%M}"


def make_progress(choice: str = "auto") -> NullProgress:
    """Return a reporter: `live`, `plain`, `none`, or `auto`, live in a terminal and plain elsewhere.

    Raises:
        StudyError: the name is unknown.
    """
    if choice not in ("live", "plain", "none", "auto"):
        raise StudyError(f"progress should be auto, live, plain or none, got {choice!r}")
    if choice == "none":
        return NullProgress()
    if choice == "live" or (choice == "auto" and sys.stdout.isatty()):
        return LiveProgress()
    return PlainProgress()
