"""What the user sees while a study runs: lines, and below them in a terminal what goes on now."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from siamkit.errors import StudyError
from siamkit.study.monitoring.progress import (
    MAX_RUNS_SHOWN,
    LiveProgress,
    NullProgress,
    PlainProgress,
    make_progress,
    one_line,
)


def configuration(loss: str = "triplet", dim: int = 8) -> dict[str, Any]:
    return {
        "encoder": {"name": "siamkit/mlp", "params": {}},
        "metric": {"name": "siamkit/cosine", "params": {}},
        "loss": {"name": f"siamkit/{loss}", "params": {}},
        "embedding_dim": dim,
    }


def two_workers(progress: NullProgress) -> None:
    """Two at a time; what began first need not end first."""
    progress.begin("trials", 2, 12, "map_at_r")
    progress.run("trial 2", configuration(dim=8))
    progress.run("trial 3", configuration("multi_similarity", 16))
    progress.epoch("trial 2", 1, 3, {"loss": 1.0, "map_at_r": 0.25})
    progress.epoch("trial 3", 2, 3, {"loss": 1.0, "map_at_r": 0.5})
    progress.ended("trial 3", "complete", 0.5, 0.5, "", 3)
    progress.run("trial 4", configuration(dim=32))
    progress.ended("trial 2", "pruned", 0.25, 0.5, "", 4)
    progress.run("trial 5", configuration(dim=33))
    progress.ended("trial 4", "failed", None, 0.5, "the loss of epoch 1 is nan", 5)
    progress.ended("trial 5", "died", None, 0.5, "its process ended by SIGKILL")


def plain(tell: Callable[[NullProgress], None]) -> list[str]:
    stream = io.StringIO()
    with PlainProgress(stream) as progress:
        tell(progress)
    return stream.getvalue().splitlines()


# ---------------------------------------------------------------- plain lines


def test_plain_is_one_line_a_run_that_ended() -> None:
    assert plain(two_workers) == [
        "trials: 2 of 12 are done already",
        "trial 2 is training",
        "[ 3/12] trial 3    mlp · cosine · multi_similarity · 16-d            complete map_at_r 0.5000"
        "  ← best",
        "[ 4/12] trial 2    mlp · cosine · triplet · 8-d                      pruned   map_at_r 0.2500",
        "[ 5/12] trial 4    mlp · cosine · triplet · 32-d                     failed   "
        "  the loss of epoch 1 is nan",
        "[ 5/12] trial 5    mlp · cosine · triplet · 33-d                     died     "
        "  its process ended by SIGKILL",
    ]


def test_only_a_new_best_is_marked() -> None:
    def tell(progress: NullProgress) -> None:
        progress.begin("trials", 0, 3, "eer")
        for number, (value, best) in enumerate([(0.5, 0.5), (0.6, 0.5), (0.4, 0.4)]):
            progress.run(f"trial {number}", configuration())
            progress.ended(f"trial {number}", "complete", value, best, "", number + 1)

        progress.ended("trial 3", "complete", 0.35, 0.3, "", 5)  # another machine has found a better one

    assert [line.endswith("← best") for line in plain(tell)[1:]] == [True, False, True, False]


def test_what_a_cause_says_is_not_obeyed() -> None:
    def tell(progress: NullProgress) -> None:
        progress.begin("trials", 0, 1, "eer")
        progress.run("trial 0", configuration())
        progress.ended("trial 0", "failed", None, None, "[red]a :warning:\n\x1b[2J\x07 b", 1)

    _, line = plain(tell)
    assert line.endswith("failed     [red]a :warning: [2J b")


def test_a_long_silence_has_a_word(clock: list[float]) -> None:
    def tell(progress: NullProgress) -> None:
        progress.begin("trials", 0, 1, "eer")
        progress.run("trial 0", configuration())
        for epoch, seconds in enumerate((20.0, 20.0, 20.0, 20.0), 1):
            clock[0] += seconds
            progress.epoch("trial 0", epoch, 10, {"eer": 0.5 / epoch})

    assert plain(tell)[1:] == ["trial 0: epoch 2 of 10, eer 0.2500", "trial 0: epoch 4 of 10, eer 0.1250"]


def test_any_text_becomes_one_line() -> None:
    assert one_line(" a\r\n\tb\x1b[31m ü · ← ") == "a b [31m ü · ←"


# ---------------------------------------------------------------- live


class Terminal(LiveProgress):
    """A display whose drawing can be looked at, on a terminal of 80 columns."""

    def __init__(self, width: int = 80) -> None:
        self.stream = io.StringIO()
        super().__init__(console=Console(file=self.stream, width=width, force_terminal=True))

    def lines(self) -> list[str]:
        console = Console(file=io.StringIO(), width=self._console.width, highlight=False)
        console.print(self.render())
        assert isinstance(console.file, io.StringIO)
        return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_live_shows_the_whole_its_counts_and_what_runs(clock: list[float]) -> None:
    live = Terminal()
    assert live.lines() == ["reading results …"]
    live.begin("trials", 2, 12, "map_at_r")
    live.run("trial 2", configuration(dim=8))
    clock[0] += 30
    live.run("trial 3", configuration("multi_similarity", 16))
    live.epoch("trial 2", 1, 3, {"loss": 1.0, "map_at_r": 0.25})
    head, first, second = live.lines()
    assert re.fullmatch(r"trials ━{5} {26}2/12 30s", head)
    assert re.fullmatch(r"  trial 2 mlp · cosine · triplet · 8-d +━━╸? {5,12}1/3 0\.2500 +30s", first)
    assert re.fullmatch(r"  trial 3 mlp · cosine · multi_similarity · 16-d +compiling +0\.0s", second)
    live.ended("trial 3", "complete", 0.5, 0.5, "", 3)
    live.ended("trial 2", "died", None, 0.5, "its process ended by SIGKILL")
    head, facts = live.lines()
    assert re.fullmatch(r"trials ━{7}╸? {23,24}3/12 30s", head)
    assert facts.startswith("  1 complete, 1 died · best map_at_r 0.5000 · done about ")


def test_the_end_is_told_at_the_pace_of_all_workers_of_this_run(clock: list[float]) -> None:
    live = Terminal()
    live.begin("trials", 10, 20, "eer")
    clock[0] += 60
    for number in range(4):  # two workers, each two in a minute; and another machine one meanwhile
        live.ended(f"trial {number}", "complete", 0.5, 0.5, "", 12 + number)
    assert "done about" in live.lines()[1]
    told = live.lines()[1].rsplit(" ", 1)[1]
    wanted = datetime.now() + timedelta(seconds=60)  # 5 in 60 s, and 5 to go
    assert told in {f"{wanted + timedelta(seconds=late):%H:%M}" for late in (-2, 0, 2)}
    live.ended("trial 9", "complete", 0.5, 0.5, "", 20)
    assert "done about" not in live.lines()[1]


def test_a_new_phase_begins_anew(clock: list[float]) -> None:
    live = Terminal()
    live.begin("trials", 0, 1, "eer")
    live.run("trial 0", configuration())
    live.ended("trial 0", "complete", 0.5, 0.5, "", 1)
    live.run("trial 1", configuration())
    live.begin("confirming", 0, 6, "eer")
    (line,) = live.lines()
    assert re.fullmatch(r"confirming {32}0/6 0\.0s", line)
    live.run("final 0/0", configuration())
    live.ended("final 0/0", "complete", 0.4, None, "", 1)
    assert live.lines()[1].startswith("  1 complete · done about")


def test_long_names_are_cut_and_nothing_is_markup(clock: list[float]) -> None:
    live = Terminal()
    live.begin("trials", 0, 400, "tar_at_far_1e-3")
    for number in range(100, 100 + MAX_RUNS_SHOWN + 3):
        live.run(f"trial {number}", configuration("[bold]very_long_" * 9, 1024))
        live.epoch(f"trial {number}", 100, 300, {"tar_at_far_1e-3": 0.123456})
    for state, count in (("complete", 200), ("pruned", 100), ("failed", 20), ("died", 11)):
        for _ in range(count):
            live.ended("", state, 0.5, 0.5, "", 331)
    lines = live.lines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 2 + MAX_RUNS_SHOWN + 1
    assert "[bold]very_long_" in lines[2]
    assert re.search(r"… ━━╸ {6}100/300 0\.1235", lines[2])
    assert lines[-1] == "  and 3 more"


def test_the_lines_of_what_has_ended_stand_above_and_stay() -> None:
    live = Terminal(width=120)
    with live:
        two_workers(live)
        live.note("a [b]sentence[/b]")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", live.stream.getvalue())
    for line in plain(two_workers):
        assert (line[:70] in text) != line.endswith("is training")  # the display shows the runs under way
    assert "a [b]sentence[/b]" in text


def test_what_has_ended_fits_into_a_line_of_the_terminal() -> None:
    live = Terminal(width=80)
    live.begin("trials", 0, 40, "map_at_r")
    for number in range(2):
        live.run(f"trial {number}", configuration("cross_batch_memory", 211 + number))
        live.ended(f"trial {number}", "complete", 0.5 - number, 0.5, "", number + 1)
    first, second = live.stream.getvalue().splitlines()
    assert first == "[ 1/40] trial 0    mlp · cosine · cross_batch… complete map_at_r 0.5000  ← best"
    assert second == "[ 2/40] trial 1    mlp · cosine · cross_batch… complete map_at_r -0.5000"
    assert len(first) <= 80


# ---------------------------------------------------------------- the choice


def test_auto_is_live_in_a_terminal_and_plain_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert type(make_progress()) is PlainProgress
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert type(make_progress()) is LiveProgress
    assert type(make_progress("plain")) is PlainProgress
    assert type(make_progress("none")) is NullProgress
    with pytest.raises(StudyError, match="progress should be auto, live, plain or none, got 'loud'"):
        make_progress("loud")
