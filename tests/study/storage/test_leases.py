"""Who is taken for dead, by a clock that is set; and the pulse that says one is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from siamkit.study.storage import leases
from siamkit.study.storage.leases import (
    HeartbeatThread,
    Lease,
    LeaseMonitor,
    Owner,
    is_running,
    machine_name,
    process_name,
)


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=found.monotonic))
    return found


def lease_of(beat: object) -> Lease | None:
    return None if beat is None else Lease(Owner("worker", "m", "1-1", "ab"), beat)  # type: ignore[arg-type]


def looks(watch: LeaseMonitor, clock: Clock, signs: list[object], every: float = 1.0) -> list[bool]:
    found = []
    for sign in signs:
        clock.now += every
        watch.start_round()
        found.append(watch.is_expired(1, lease_of(sign)))
    return found


def test_an_owner_is_dead_after_as_long_a_silence_as_the_lease(clock: Clock) -> None:
    watch = LeaseMonitor(10)
    assert looks(watch, clock, ["a"] * 13) == [False] * 11 + [True] * 2


def test_each_sign_begins_anew(clock: Clock) -> None:
    watch = LeaseMonitor(10)
    assert not any(looks(watch, clock, [beat // 9 for beat in range(60)]))


def test_no_sign_at_all_is_a_silence_too(clock: Clock) -> None:
    assert looks(LeaseMonitor(10), clock, [None] * 12)[-1]


def test_time_in_which_one_could_not_look_oneself_proves_nothing(clock: Clock) -> None:
    watch = LeaseMonitor(10)
    assert not any(looks(watch, clock, ["a"] * 8))
    clock.now += 3600  # stopped, or the storage did not answer
    assert looks(watch, clock, ["a"] * 13) == [False] * 11 + [True] * 2


def test_owners_are_told_apart_and_known_to_be_here_or_gone() -> None:
    mine = Owner.new("tune")
    assert mine.role == "tune"
    assert mine != Owner.new("tune")
    assert Owner.parse(str(mine)) == mine
    assert mine.is_running
    assert not mine.has_exited
    dead = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = process_name(dead.pid)
    dead.communicate(b"\n")
    for elsewhere, gone in ((machine_name(), True), ("another-machine", False)):
        owner = Owner("worker", elsewhere, name, "ab")
        assert owner.has_exited == gone
        assert not owner.is_running


def test_a_process_keeps_its_name_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    name = process_name()
    # Where the system tells starts by the time of day, all of them move with it.
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    assert process_name() == name
    assert is_running(name)
    assert not is_running(f"{os.getpid()}-1")
    assert not is_running("rubbish")


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = process_name(child.pid)
    assert is_running(name)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(name)
    child.communicate()


def test_a_pulse_beats_until_it_ends_and_keeps_its_error() -> None:
    beaten = threading.Event()
    with HeartbeatThread(beaten.set, 0.01) as pulse:
        assert beaten.wait(5)
    assert pulse.error is None

    def fail() -> None:
        beaten.clear()
        raise ValueError("no")

    with HeartbeatThread(fail, 0.01) as pulse:
        pulse._thread.join(5)
    assert str(pulse.error) == "no"
