"""Engine local on accelerators that a stand-in for nvidia-smi plays: who gets which, and how many fit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray_cluster import STAND_IN, TRAINER, StandIn
from tiny_study import HEAD, Run, changing

from siamkit.backend import select
from siamkit.backend.diagnosis import Use, read_use
from siamkit.errors import DataError, StudyError
from siamkit.runs.results import Versions
from siamkit.study.config.load import resolve_study
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.yaml import parse_document
from siamkit.study.engines import local
from siamkit.study.engines.local import LocalEngine
from siamkit.study.worker.messages import Ended, Setup, TrialJob

MIB = 2**20
Gpus = Callable[..., None]


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gpus:
    """Plays a machine of 16 cores with so many accelerators, which do not say how they are used."""
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(local, "core_count", lambda: 16)
    monkeypatch.setattr(local.psutil, "virtual_memory", lambda: SimpleNamespace(available=64e9))
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")

    def play(count: int, use: str = "[N/A], [N/A], [N/A]") -> None:
        listed = "".join(f"echo 'GPU {number}: One (UUID: x)'\n" for number in range(count))
        tool.write_text(f"#!/bin/sh\nif [ $1 = -L ]; then\n{listed}exit\nfi\necho '{use}'\n")
        tool.chmod(0o755)

    return play


class Play:
    """Plays how accelerators of 80,000 MiB are used."""

    def __init__(self) -> None:
        self.reads = 0
        self.use(1000, 0)

    def use(self, used: int, percent: int) -> None:
        """Has so many MiB be in use from now on, and so much of the time."""
        self._now = Use(used * MIB, 80_000 * MIB, percent / 100)

    def read(self, device: str) -> Use:
        now = self._now
        self.reads += 1
        return now

    def sampled(self) -> None:
        """Waits until this was seen."""
        enough, end = self.reads + 3, time.monotonic() + 20
        while self.reads < enough:
            assert time.monotonic() < end
            time.sleep(0.005)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    played = Play()
    monkeypatch.setattr(local, "SAMPLE_SECONDS", 0.005)
    monkeypatch.setattr(local, "read_use", played.read)
    return played


class Workers:
    """Stand for the processes of workers, and note with what they were started."""

    def __init__(self) -> None:
        self.started: list[SimpleNamespace] = []

    def __call__(self, setup: Setup, environment: dict[str, str], cores: set[int], errors: Path) -> Any:
        worker = SimpleNamespace(
            setup=setup,
            devices=environment.get("CUDA_VISIBLE_DEVICES"),
            threads=environment["OMP_NUM_THREADS"],
            cores=cores,
            trial_seconds=(0.0, 0.0),
            is_open=False,
            is_killed=False,
            memory=lambda: 0.5e9,
        )
        worker.open = lambda: setattr(worker, "is_open", True)
        worker.kill = lambda: setattr(worker, "is_killed", True)
        self.started.append(worker)
        return worker


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()
    monkeypatch.setattr(local, "LocalWorker", made)
    return made


def engine(folder: Path, more: str, notes: list[str] | None = None) -> LocalEngine:
    config: StudyConfig = resolve_study(parse_document(f"{HEAD}{more}\n", folder / "study.yaml")).config
    setup = Setup("torch", config, "", TRAINER, "", (), (), (), Versions())
    return LocalEngine(config, setup, folder, (notes if notes is not None else []).append)


def started(found: LocalEngine, workers: Workers) -> list[Any]:
    for number in range(found.size):
        found.start(number)
    return workers.started


@pytest.mark.parametrize(
    ("count", "more", "devices", "share"),
    [
        (1, "resources: {gpus: 0.25}", ["0", "0", "0", "0"], 0.25),
        (2, "resources: {gpus: 0.5}", ["0", "1", "0", "1"], 0.5),
        (2, "resources: {gpus: 0.4}", ["0", "1", "0", "1"], 0.4),
        (2, "workers: 3\nresources: {gpus: 0.25}", ["0", "1", "0"], 0.25),
        (2, "workers: 4", ["0", "1", "0", "1"], 0.5),  # more than accelerators: they share them
        (2, "workers: 3", ["0", "1", "0"], 0.5),
        (2, "workers: 2", ["0", "1"], 1.0),
        (1, "workers: 1", ["0"], 1.0),
        (4, "resources: {gpus: 2}", ["0,1", "2,3"], 1.0),
        (2, "", ["0", "1"], 1.0),
        (2, "workers: 2\nresources: {gpus: 0}", ["", ""], 1.0),
        (0, "workers: 2", [None, None], 1.0),
    ],
)
def test_workers_take_turns_on_the_accelerators(
    tmp_path: Path, gpus: Gpus, workers: Workers, count: int, more: str, devices: list[str], share: float
) -> None:
    gpus(count)
    made = started(engine(tmp_path, more), workers)
    assert [worker.devices for worker in made] == devices
    assert {worker.setup.memory_share for worker in made} == {share}


@pytest.mark.parametrize(
    ("more", "threads", "cores"),
    [
        ("resources: {gpus: 0.25}", "4", 16),  # a share of the threads, but compiling may use every core
        ("resources: {gpus: 0.25, cpus: 2}", "2", 2),
        ("workers: 2\nresources: {gpus: 0}", "1", 1),
    ],
)
def test_cores_of_workers_with_an_accelerator(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: Gpus,
    workers: Workers,
    more: str,
    threads: str,
    cores: int,
) -> None:
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda pid: set(range(16)))
    gpus(1)
    made = started(engine(tmp_path, more), workers)
    assert {worker.threads for worker in made} == {threads}
    assert {len(worker.cores) for worker in made} == {cores}


def test_more_workers_than_fit_are_not_started(tmp_path: Path, gpus: Gpus) -> None:
    gpus(1)
    notes: list[str] = []
    assert engine(tmp_path, "workers: 9\nresources: {gpus: 0.25}", notes).size == 4
    assert notes == [
        "4 workers run at a time, not 9: resources.gpus is 0.25, and this machine has 1 accelerator"
    ]


@pytest.mark.parametrize(("count", "asked"), [(0, "0.25"), (1, "2")])
def test_accelerators_that_do_not_exist_are_refused(
    tmp_path: Path, gpus: Gpus, count: int, asked: str
) -> None:
    gpus(count)
    with pytest.raises(
        StudyError, match=rf"resources\.gpus asks for {asked} accelerators .* has {count}; lower it or leave"
    ):
        engine(tmp_path, f"workers: 2\nresources: {{gpus: {asked}}}")


# ------------------------------------------------------------------ before the data are there


def test_workers_start_before_the_data_are_there(tmp_path: Path, gpus: Gpus, workers: Workers) -> None:
    gpus(0)
    found = engine(tmp_path, "workers: 3")
    found.warm_up(2)
    first, second = workers.started
    assert not first.is_open
    assert not second.is_open
    found.open()
    assert first.is_open
    assert second.is_open
    made: list[Any] = [found.start(number) for number in (1, 0, 2)]
    assert made[:2] == [second, first]
    assert made[2].is_open
    found.warm_up(1)
    found.close()
    assert all(worker.is_killed for worker in workers.started)
    assert not cast(Any, found.start(0)).is_killed


def test_as_many_workers_stay_as_the_memory_that_the_data_left_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: Gpus, workers: Workers
) -> None:
    gpus(0)
    found = engine(tmp_path, "workers: auto")
    assert found.size == 16
    found.warm_up(4)
    monkeypatch.setattr(local.psutil, "virtual_memory", lambda: SimpleNamespace(available=4.5e9))
    found.open()  # 2 GB each: 4.5 are free, and the four hold 2
    assert found.size == 3
    assert [(worker.is_open, worker.is_killed) for worker in workers.started] == [
        *[(True, False)] * 3,
        (False, True),
    ]


def test_workers_end_if_the_data_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: Gpus, workers: Workers
) -> None:
    gpus(0)

    def refuse(*_: object, **__: object) -> None:
        raise DataError("no items")

    monkeypatch.setattr("siamkit.study.execution.session.prepare_data", refuse)
    run: Run = changing(tmp_path, f"{HEAD}workers: 2\n")
    with pytest.raises(DataError, match="no items"):
        run(("trials: 4", "trials: 3"))
    assert [worker.is_killed for worker in workers.started] == [True, True]


# ------------------------------------------------------------------ workers: auto


def filled(found: LocalEngine, notes: list[str]) -> int:
    """Waits for what the engine says on the first trial, and returns how many workers it then has."""
    end = time.monotonic() + 20
    while not notes and time.monotonic() < end:
        found.wait([], 0.01)
    return found.size


@pytest.mark.parametrize(
    ("count", "used", "percent", "said", "fit"),
    [
        # Of 79,000 free MiB half may be filled: by 19 trials of 2,000, of which four take all of the time.
        (1, 3000, 25, "2.1 GB of its accelerator and kept it busy for 25% of the time: 4 workers", ""),
        (1, 21_000, 10, "21 GB of its accelerator and kept it busy for 10% of the time: 1 worker", ""),
        (1, 9000, 3, "8.4 GB of its accelerator and kept it busy for 3% of the time: 4 workers", ""),
        (1, 1500, 1, "0.52 GB of its accelerator and kept it busy for 1% of the time: 16 workers", "79"),
        (2, 2000, 30, "1 GB of its accelerator and kept it busy for 30% of the time: 6 workers", ""),
    ],
)
def test_the_first_trial_shows_how_many_workers_fit(
    tmp_path: Path,
    gpus: Gpus,
    play: Play,
    workers: Workers,
    count: int,
    used: int,
    percent: int,
    said: str,
    fit: str,
) -> None:
    gpus(count)
    notes: list[str] = []
    found = engine(tmp_path, "", notes)
    first = started(found, workers)[0]
    assert len(workers.started) == count
    assert first.setup.memory_share is None  # what is reserved would hide what a trial needs
    play.sampled()  # the worker gets ready
    play.use(used, percent)
    start = time.monotonic()
    play.sampled()
    found.wait([], 0.01)
    assert not notes  # the trial still runs
    first.trial_seconds = start, time.monotonic()
    play.use(70_000, 100)  # by the next trial
    size = filled(found, notes)
    limit = f"; {fit} would fit on it, but the machine's cores and memory allow no more" if fit else ""
    assert notes == [f"the first trial took {said} at a time{limit}"]
    assert size == int(said.split()[-2])
    found.close()


def test_the_use_of_an_accelerator_is_what_nvidia_smi_says(gpus: Gpus) -> None:
    gpus(1, "1234, 81559, 37")
    assert read_use("0") == Use(1234 * MIB, 81559 * MIB, 0.37)
    gpus(1)
    assert read_use("0") is None


def test_without_nvidia_smi_each_accelerator_keeps_one_worker(
    tmp_path: Path, gpus: Gpus, workers: Workers
) -> None:
    gpus(2)  # whose use is not known
    found = engine(tmp_path, "")
    assert {worker.setup.memory_share for worker in started(found, workers)} == {1.0}
    workers.started[0].trial_seconds = (1.0, 2.0)
    found.wait([], 0.1)
    assert found.size == 2


def test_a_worker_notes_when_its_first_trial_began_and_ended() -> None:
    worker = local.LocalWorker.__new__(local.LocalWorker)
    worker.trial_seconds = (0.0, 0.0)
    worker._send = lambda message: None  # type: ignore[method-assign]
    trial = TrialJob("", {}, (1,), (1,), (0,))
    worker.assign(trial, lambda message: None)
    worker._note_end(Ended("failed"))
    assert worker.trial_seconds == (0.0, 0.0)  # which says nothing of what a trial needs
    worker.assign(trial, lambda message: None)
    worker._note_end(Ended("complete"))
    start, end = worker.trial_seconds
    assert 0 < start <= end
    worker.assign(trial, lambda message: None)
    worker._note_end(Ended("complete"))
    assert worker.trial_seconds == (start, end)


# ------------------------------------------------------------------ what a worker gets


def test_workers_of_a_study_share_an_accelerator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: Gpus
) -> None:
    gpus(1)
    (tmp_path / "stand-in").mkdir()
    monkeypatch.setenv("SIAMKIT_STAND_IN", str(tmp_path / "stand-in"))
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.setattr("siamkit.study.execution.session.TRAINER", TRAINER)
    stand_in = StandIn(tmp_path / "stand-in")
    monkeypatch.setenv("KERAS_BACKEND", select.installed()[0])
    monkeypatch.delitem(sys.modules, "keras", raising=False)  # of a test before
    run: Run = changing(tmp_path, f"{HEAD}confirm: null\npruner: none\nresources: {{gpus: 0.5}}\n")
    results = run(("trials: 4", "trials: 3"))
    assert [trial.outcome for trial in results.trials] == ["complete"] * 3
    names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION", "TF_FORCE_GPU_ALLOW_GROWTH")
    environments = {tuple(line["environment"].get(name) for name in names) for line in stand_in.done()}
    assert environments == {("0", "0.450", "true")}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "XLA_CLIENT_MEM_FRACTION",
        "XLA_PYTHON_CLIENT_MEM_FRACTION",
        "XLA_PYTHON_CLIENT_PREALLOCATE",
        "TF_FORCE_GPU_ALLOW_GROWTH",
    ):
        monkeypatch.setenv(name, "x")  # so that it is put back
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("variables")
def test_memory_is_limited_before_a_backend_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")

    def found() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith(("XLA_", "TF_FORCE"))}

    before = found()
    select.limit_memory(1)
    assert found() == before
    select.limit_memory(None)
    assert found() == before | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")  # the user's own choice
    select.limit_memory(None)
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.8")  # with which JAX would refuse the other one
    select.limit_memory(0.2)
    assert os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.180"
    assert "XLA_CLIENT_MEM_FRACTION" not in os.environ


@pytest.mark.keras
@pytest.mark.one_backend
@pytest.mark.usefixtures("variables")
def test_torch_gets_a_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from siamkit.backend import _torch

    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    monkeypatch.setattr(_torch, "_usable_share", 1.0)
    select.limit_memory(1)
    select.limit_memory(None)
    assert shares == []
    select.limit_memory(0.5)
    assert shares == [0.45]
    # Of 1,000 bytes it holds 300, of which 100 are in use: it may take 350 more of its 450.
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    tensor = SimpleNamespace(device=torch.device("cuda"))
    for free, room in ((700, 350), (50, 250)):  # others may take the rest of the device
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 1000))
        assert _torch.free_memory(tensor) == room
    assert _torch.free_memory(torch.zeros(1)) == 0


@pytest.mark.keras
@pytest.mark.one_backend("jax")
def test_jax_knows_what_is_left_of_its_memory() -> None:
    from siamkit.backend import _jax

    def on(platform: str, memory: dict[str, int] | None) -> Any:
        device = SimpleNamespace(platform=platform, memory_stats=lambda: memory)
        return SimpleNamespace(devices=lambda: [device])

    known = {"bytes_limit": 1000, "bytes_in_use": 100}
    assert _jax.free_memory(on("gpu", known)) == 900
    assert _jax.free_memory(on("cpu", known)) == 0
    assert _jax.free_memory(on("gpu", None)) == 0
