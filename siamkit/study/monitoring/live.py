"""Telling in a terminal how a study goes: lines of what has ended, and below them what goes on now."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live as Display
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from siamkit.runs.configuration import Configuration
from siamkit.study.monitoring.progress import MARK, Plain, describe, one_line, spell

SHOWN = 12  # runs under way that are shown; of more, how many there are
STATES = ("complete", "pruned", "failed", "died")


@dataclass
class Run:
    """A run under way."""

    configuration: str
    since: float
    epoch: int = 0
    epochs: int = 0
    value: float | None = None


class Live(Plain):
    """The lines of `Plain`; below them a bar for the whole, counts, and each run under way.

    Args:
        stream: where to; standard output if not given.
        console: the terminal, instead of a stream.
    """

    def __init__(self, stream: TextIO | None = None, console: Console | None = None) -> None:
        super().__init__(stream)
        self._console = console or self._console
        self._title = ""
        self._running: dict[str, Run] = {}
        self._counts: Counter[str] = Counter()
        self._began, self._done_before = 0.0, 0
        # Drawn anew by the display's own thread, so that clocks go on while nothing happens.
        self._display = Display(
            get_renderable=self.render, console=self._console, transient=True, refresh_per_second=4
        )

    def __enter__(self) -> Live:
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

    def _over(self, label: str, state: str) -> None:
        self._running.pop(label, None)
        self._counts[state] += 1

    def _fitted(self, line: str, beside: int) -> str:
        rest = len(f"  complete  {self._objective} 0.0000{MARK}")
        room = max(20, min(60, self._console.width - beside - rest))
        return f"{line:<{room}}" if len(line) <= room else line[: room - 1] + "…"

    # ------------------------------------------------------------- drawing

    def render(self) -> RenderableType:
        """What stands below the lines."""
        if not self._title:
            return Text("reading what is there …", style="dim")
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
            parts.append(self._table(running[:SHOWN], now))
        if len(running) > SHOWN:
            parts.append(Text(f"  and {len(running) - SHOWN} more", style="dim"))
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
                f"{run.epoch}/{run.epochs}" if run.epochs else "",
                f"{run.value:.4f}" if run.value is not None else "",
                Text(spell(now - run.since), style="dim"),
            )
        return table

    def _end(self, now: float) -> str:
        """When the phase will be done, at the pace so far of all who work on it."""
        here = self._done - self._done_before
        if here <= 0 or self._done >= self._total:
            return ""
        left = (now - self._began) / here * (self._total - self._done)
        end = datetime.now() + timedelta(seconds=left)
        return f"done about {end:%H:%M}" if left < 86400 else f"done about {end:%a %H:%M}"
