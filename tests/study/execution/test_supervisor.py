"""The supervisor, with workers that are played and a clock that is set."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from crowds import Crowd, environment, write_study

from siamkit.errors import StudyError
from siamkit.study.execution import supervisor as module
from siamkit.study.execution.signals import Interrupts, StoppedAtOnce, none_is_dropped
from siamkit.study.execution.supervisor import MAX_GROWTH, Supervisor
from siamkit.study.worker.messages import (
    Cause,
    Died,
    Ended,
    Epoch,
    FeedsJob,
    Finished,
    Job,
    JobEvent,
    Lost,
    Ready,
    Resumed,
    Started,
)
from siamkit.study.worker.trainer import Limits


class Clock:
    """Time passes when the pool waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def ended_by(how: str, kind: Any = "killed") -> Cause:
    return Cause(kind, f"its process ended {how}")


class Worker:
    """Sends the messages of its part for each round, and lives until a test sets its `end`."""

    def __init__(self, number: int, parts: list[list[Any]]) -> None:
        self.number, self.parts = number, parts
        self.answers: list[Cause | None] = []
        self.jobs: list[Job] = []
        self.end: Cause | None = None
        self.asleep = self.killed = False
        self.bytes = 0.0
        self.last: list[Any] = []

    def assign(self, job: Job, send: Any) -> None:
        self.jobs.append(job)

    def answer(self, cause: Cause | None) -> None:
        self.answers.append(cause)

    def poll(self) -> list[Any]:
        if self.end is not None:
            messages, self.last = self.last, []
            return messages
        return self.parts.pop(0) if self.parts else []

    def death(self) -> Cause | None:
        return self.end

    def is_suspended(self) -> bool:
        return self.asleep

    def memory(self) -> float:
        return self.bytes

    def error_output(self) -> str:
        return "first line\nlast line"

    def kill(self) -> None:
        self.killed = True


class Engine:
    """Starts the workers it was given, and has `each_round` happen while it waits."""

    def __init__(self, size: int, workers: list[Worker], clock: Clock) -> None:
        self.size, self.workers, self.clock = size, workers, clock
        self.started: list[int] = []
        self.rounds = 0
        self.each_round: Any = lambda number: None
        self.closed = False

    def start(self, number: int) -> Worker:
        self.started.append(number)
        return self.workers[len(self.started) - 1]

    def wait(self, workers: Any, seconds: float) -> None:
        self.clock.now += seconds
        self.rounds += 1
        assert self.rounds < 500, "it never ends"
        self.each_round(self.rounds)

    def close(self) -> None:
        self.closed = True


class Handle:
    """Notes its events."""

    attempt = None

    def __init__(self, source: Source) -> None:
        self.source = source
        self.job = FeedsJob((), ())
        self.is_lost = False
        self.events: list[Any] = []

    def on_event(self, event: JobEvent) -> Cause | None:
        match event:
            case Started():
                self.events.append("started")
            case Resumed(history):
                self.events.append(("resumed", len(history)))
            case Epoch(_, number, _):
                self.events.append(("epoch", number))
            case Finished(ended, _):
                self.events.append((ended.outcome, ended.cause.text if ended.cause else ""))
                self.source.left -= 1
            case Lost():
                self.events.append("lost")
                self.source.left -= 1
            case Died(cause):
                self.events.append(("died", cause.text, cause.kind))
                self.source.left -= 1
        return None


class Source:
    """So many jobs."""

    def __init__(self, many: int) -> None:
        self.left = many
        self.handles = [Handle(self) for _ in range(many)]
        self.todo = list(self.handles)

    def tick(self) -> None:
        pass

    def next_job(self) -> Handle | None:
        return self.todo.pop(0) if self.todo else None

    def max_workers(self) -> int:
        return self.left

    def is_done(self) -> bool:
        return self.left == 0


def supervised(
    engine: Engine, limits: Limits | None = None, max_suspended: float = 60.0, interrupts: Any = None
) -> Supervisor:
    return Supervisor(engine, limits or Limits(), max_suspended, interrupts or Interrupts(True))


READY, DONE = Ready(1), Ended("complete")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=found.monotonic))
    return found


def test_workers_get_work_once_they_are_ready_and_epochs_are_answered(clock: Clock) -> None:
    row = {"loss": 1.0}
    workers = [
        Worker(0, [[READY], [Resumed([row, row])], [Epoch(0, 3, row)], *[[DONE]] * 3]),
        Worker(1, [[], [READY], *[[DONE]] * 3]),
    ]
    engine, source = Engine(2, workers, clock), Source(3)
    supervised(engine).run(source)
    assert engine.started == [0, 1]
    assert sum(len(worker.jobs) for worker in workers) == 3
    assert [work.events[-1] for work in source.handles] == [("complete", "")] * 3
    assert workers[0].answers == [None]
    assert ["started", ("resumed", 2), ("epoch", 3), ("complete", "")] in [w.events for w in source.handles]


def test_no_more_workers_than_there_is_work_for(clock: Clock) -> None:
    engine = Engine(4, [Worker(0, [[READY], [DONE]])], clock)
    supervised(engine).run(Source(1))
    assert engine.started == [0]


@pytest.mark.parametrize("kind", ["crashed", "killed"])
def test_a_dead_worker_is_replaced_in_its_place_and_its_work_told(clock: Clock, kind: str) -> None:
    workers = [
        Worker(0, [[READY]]),
        Worker(1, [[READY], [], [], [], [DONE]]),
        Worker(2, [[READY], [], [DONE]]),
    ]
    engine, source = Engine(2, workers, clock), Source(3)

    def dies(number: int) -> None:
        if number == 1:
            workers[0].end = ended_by("by SIGSEGV", kind)

    engine.each_round = dies
    supervised(engine).run(source)
    assert engine.started == [0, 1, 0]
    assert source.handles[0].events == ["started", ("died", "its process ended by SIGSEGV", kind)]
    assert [work.events[-1] for work in source.handles[1:]] == [("complete", "")] * 2
    assert workers[0].killed


def test_the_last_words_of_a_dead_worker_are_heard(clock: Clock) -> None:
    worker = Worker(0, [[READY]])
    engine, source = Engine(1, [worker], clock), Source(1)

    def dies(number: int) -> None:
        worker.end, worker.last = ended_by("by SIGKILL"), [DONE]

    engine.each_round = dies
    supervised(engine).run(source)
    assert source.handles[0].events == ["started", ("complete", "")]


def test_when_no_worker_comes_to_life_it_is_a_sentence(clock: Clock) -> None:
    workers = [Worker(number, [[]]) for number in range(3)]
    engine = Engine(1, workers, clock)
    end = ended_by("with exit code 1", "crashed")
    engine.each_round = lambda number: setattr(workers[number - 1], "end", end)
    with pytest.raises(
        StudyError, match=r"cannot start a worker: 3 processes .* exit code 1\); last stderr line: last"
    ):
        supervised(engine).run(Source(1))


def test_work_that_somebody_else_took_over_is_let_go(clock: Clock) -> None:
    # Silent; ended in the meantime; dead in the meantime. It must not be waited for.
    for said, dead in (([], False), ([DONE], False), ([], True)):
        worker = Worker(0, [[READY], [], [], said])
        engine, source = Engine(1, [worker], clock), Source(1)

        def lose(number: int, dead: bool = dead, worker: Worker = worker, source: Source = source) -> None:
            if number == 2:
                source.handles[0].is_lost = True
                worker.end = ended_by("by SIGKILL") if dead else None

        engine.each_round = lose
        supervised(engine).run(source)
        assert source.handles[0].events == ["started", "lost"]


def test_a_trial_over_its_time_is_ended_and_fails(clock: Clock) -> None:
    workers = [Worker(0, [[READY]]), Worker(1, [[READY], [DONE]])]
    engine, source = Engine(1, workers, clock), Source(2)
    supervised(engine, Limits(seconds=5)).run(source)
    assert source.handles[0].events[-1] == ("failed", "took longer than the trial_time of 5 s")
    assert workers[0].killed
    assert clock.now - 100 >= 7  # the worker itself is given a moment to say so
    assert source.handles[1].events[-1] == ("complete", "")


def test_the_silence_of_the_storage_is_not_a_trials_time(clock: Clock) -> None:
    worker = Worker(0, [[READY], *[[]] * 8, [DONE]])
    engine, source = Engine(1, [worker], clock), Source(1)

    def stall(number: int) -> None:
        clock.now += 60 if number == 4 else 0

    engine.each_round = stall
    supervised(engine, Limits(seconds=5)).run(source)
    assert source.handles[0].events[-1] == ("complete", "")


def test_a_trial_over_its_memory_is_ended_and_fails(clock: Clock) -> None:
    workers = [Worker(0, [[READY]]), Worker(1, [[READY], [DONE]])]
    workers[0].bytes = 3e9
    source = Source(2)
    supervised(Engine(1, workers, clock), Limits(memory=2e9)).run(source)
    assert source.handles[0].events[-1] == ("failed", "took more memory than the trial_memory of 2 GB")
    assert source.handles[1].events[-1] == ("complete", "")


def test_a_stopped_worker_is_left_alone_for_the_lease_and_then_replaced(clock: Clock) -> None:
    for rounds, heard in (
        (8, ("complete", "")),
        (80, ("died", "its process was suspended for more", "stopped")),
    ):
        worker = Worker(0, [[READY], *[[]] * 300])
        engine, source = Engine(1, [worker, Worker(1, [[READY], [DONE]])], clock), Source(1)

        def stop(number: int, rounds: int = rounds, worker: Worker = worker) -> None:
            worker.asleep = 2 < number < rounds
            if number == rounds:
                worker.parts[0] = [DONE]

        engine.each_round = stop
        supervised(engine, max_suspended=5.0).run(source)
        found = source.handles[0].events[-1]
        assert (found[0], found[1][: len(heard[1])], *found[2:]) == heard


def test_a_worker_that_has_grown_too_much_is_replaced_between_trials(clock: Clock) -> None:
    first = Ended("complete", memory=1_000)
    workers = [
        Worker(0, [[READY], [first], [Ended("complete", memory=int(1_001 + MAX_GROWTH))]]),
        Worker(1, [[READY], [DONE]]),
    ]
    engine, source = Engine(1, workers, clock), Source(3)
    supervised(engine).run(source)
    assert engine.started == [0, 0]
    assert workers[0].killed
    assert [work.events for work in source.handles] == [["started", ("complete", "")]] * 3


@pytest.fixture
def ctrl_c() -> Iterator[Any]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_the_first_ctrl_c_is_heard_between_two_looks_the_second_at_once(clock: Clock, ctrl_c: Any) -> None:
    engine, source = Engine(1, [Worker(0, [[READY]])], clock), Source(1)
    with Interrupts(True) as interrupts:
        pool = supervised(engine, interrupts=interrupts)
        after: list[int] = []

        def press(number: int) -> None:
            if number == 3:
                ctrl_c()
                after.append(number)

        engine.each_round = press
        with pytest.raises(KeyboardInterrupt):
            pool.run(source)
        assert after == [3]  # what went on then was finished
        assert engine.rounds == 3
        with pytest.raises(StoppedAtOnce):
            ctrl_c()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_somebody_elses_way_of_hearing_ctrl_c_is_left_alone(ctrl_c: Any) -> None:
    presses: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: presses.append(number))
    with Interrupts(True) as interrupts:
        ctrl_c()
        assert not interrupts.requested
    assert presses == [signal.SIGINT]


@pytest.mark.waits
def test_a_ctrl_c_that_python_drops_comes_again(ctrl_c: Any, capsys: pytest.CaptureFixture[str]) -> None:
    class Key:
        pass

    with none_is_dropped():
        key = Key()
        reference = weakref.ref(key, lambda _: ctrl_c())
        del key  # the interrupt is raised in the callback, where nobody could catch it
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)
    assert capsys.readouterr().err == ""


@pytest.mark.waits
def test_a_second_ctrl_c_leaves_no_report_and_the_study_goes_on(tmp_path: Path) -> None:
    study = write_study(tmp_path, "sqlite", trials=6, workers=1, sampler="random")
    with Crowd(study, epoch=0.5) as crowd:
        first = crowd.start("tune")
        log = crowd.folder / "log.jsonl"
        while not (log.is_file() and "trial started" in log.read_text()):
            assert first.poll() is None, crowd.log.read_text()
            time.sleep(0.05)
        first.send_signal(signal.SIGINT)
        time.sleep(0.02)  # two at once would be one
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=60) in (130, -signal.SIGINT)
        assert "Traceback" not in crowd.log.read_text()
        assert not (crowd.folder / "report.html").exists()
        assert crowd.start("tune").wait(timeout=120) == 0, crowd.log.read_text()
        assert (crowd.folder / "report.html").is_file()


@pytest.mark.waits
def test_a_first_ctrl_c_lets_the_report_be_finished(tmp_path: Path) -> None:
    study = write_study(tmp_path, "sqlite", trials=2, epochs=1, workers=1, sampler="random")
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from siamkit.study import tune
from siamkit.study.execution import run, session
session.TRAINER = "stand_in_trainers:Timed"
write = run.write_report
run.write_report = lambda folder: (signal.raise_signal(signal.SIGINT), write(folder))
results = tune({str(study)!r}, progress="none")
assert results.report_path.is_file() and not results.interrupted
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(study, 0.01),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
