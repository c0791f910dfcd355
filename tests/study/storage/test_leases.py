"""Who is taken for dead, by a clock that is set; and the pulse that says one is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from siamkit.study.storage import leases
from siamkit.study.storage.leases import HeartbeatThread, Watch, is_gone, is_here, new_owner, role_of
from siamkit.study.storage.owner import is_running, machine, process


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


def looks(watch: Watch, clock: Clock, signs: list[object], every: float = 1.0) -> list[bool]:
    found = []
    for sign in signs:
        clock.now += every
        watch.begin()
        found.append(watch.is_silent(1, sign))
    return found


def test_an_owner_is_dead_after_as_long_a_silence_as_the_lease(clock: Clock) -> None:
    watch = Watch(10)
    assert looks(watch, clock, ["a"] * 13) == [False] * 11 + [True] * 2


def test_each_sign_begins_anew(clock: Clock) -> None:
    watch = Watch(10)
    assert not any(looks(watch, clock, [beat // 9 for beat in range(60)]))


def test_no_sign_at_all_is_a_silence_too(clock: Clock) -> None:
    assert looks(Watch(10), clock, [None] * 12)[-1]


def test_time_in_which_one_could_not_look_oneself_proves_nothing(clock: Clock) -> None:
    watch = Watch(10)
    assert not any(looks(watch, clock, ["a"] * 8))
    clock.now += 3600  # stopped, or the storage did not answer
    assert looks(watch, clock, ["a"] * 13) == [False] * 11 + [True] * 2


def test_owners_are_told_apart_and_known_to_be_here_or_gone() -> None:
    mine = new_owner("tune")
    assert role_of(mine) == "tune"
    assert mine != new_owner("tune")
    assert is_here(mine)
    assert not is_gone(mine)
    dead = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = process(dead.pid)
    dead.communicate(b"\n")
    for elsewhere, gone in ((machine(), True), ("another-machine", False)):
        owner = f"worker:{elsewhere}:{name}:ab"
        assert is_gone(owner) == gone
        assert not is_here(owner)


def test_a_process_keeps_its_name_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    name = process()
    # Where the system tells starts by the time of day, all of them move with it.
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    assert process() == name
    assert is_running(name)
    assert not is_running(f"{os.getpid()}-1")
    assert not is_running("rubbish")


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = process(child.pid)
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
