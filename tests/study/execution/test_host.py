"""The machine's scratch folders, its accelerators and cores, and the data that its workers share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from siamkit.backend.diagnosis import accelerators
from siamkit.data import Dataset, fit_preprocessor
from siamkit.study.engines import local
from siamkit.study.engines.local import max_workers, room_on
from siamkit.study.execution import session
from siamkit.study.execution.session import process_scratch
from siamkit.study.storage.leases import machine_name, process_name
from siamkit.study.worker.prepared_data import PreparedData
from siamkit.study.worker.shared_arrays import map_data, write_data


def test_scratch_folders_of_the_dead_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.tempfile, "gettempdir", lambda: str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        alive = f"siamkit.{machine_name()}-{process_name(child.pid)}"
        dead = f"siamkit.{machine_name()}-{child.pid}-12345"  # an earlier process of that number
        others = ["siamkit.elsewhere-1-1", f"siamkit-{machine_name()}-1-1", "something"]
        for name in (alive, dead, *others):
            (tmp_path / name / "inside").mkdir(parents=True)
        mine = process_scratch()
        assert sorted(each.name for each in tmp_path.iterdir()) == sorted([alive, mine.name, *others])
        assert process_scratch() == mine
        assert mine.stat().st_mode & 0o777 == 0o700
    finally:
        child.communicate(b"\n")
    process_scratch()
    assert not (tmp_path / alive).exists()


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,2"}, ["0", "2"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-ab, GPU-cd"}, ["GPU-ab", "GPU-cd"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"HIP_VISIBLE_DEVICES": "1"}, ["1"]),
    ],
)
def test_accelerators_are_those_one_may_see(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], found: list[str]
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert accelerators() == found


def test_accelerators_are_counted_without_a_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: One (UUID: x)'\necho 'GPU 1: Other (UUID: y)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert accelerators() == ["0", "1"]


@pytest.mark.parametrize(
    ("cores", "free", "cpus", "memory", "running", "workers"),
    [
        (8, 64e9, 1, None, 0, 8),
        (8, 64e9, 3, None, 0, 2),
        (8, 5e9, 1, None, 0, 2),
        (8, 64e9, 1, 30e9, 0, 2),
        (1, 1e9, 4, None, 0, 1),
        (8, 64e9, 2, None, 1, 3),
        (1, 64e9, 1, None, 1, 0),
    ],
)
def test_how_many_workers_a_machine_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    free: float,
    cpus: int,
    memory: float | None,
    running: int,
    workers: int,
) -> None:
    monkeypatch.setattr(local, "core_count", lambda: cores)
    monkeypatch.setattr(local.psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert max_workers(cpus, memory, running) == workers


@pytest.mark.parametrize(
    ("count", "gpus", "workers"),
    [(2, 1.0, 2), (2, 0.5, 4), (1, 0.25, 4), (3, 0.1, 30), (2, 0.4, 4), (1, 0.7, 1), (5, 2.0, 2)],
)
def test_how_many_workers_accelerators_have_room_for(count: int, gpus: float, workers: int) -> None:
    assert room_on(count, gpus) == workers


def same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            same(one[name], other[name])
    else:
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize("kind", ["vectors", "pairs", "tabular", "texts"])
def test_workers_see_the_supervisors_data(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(12, 3)).astype("float32")
    labels = np.array(["é", "b c", "'"] * 4)
    data = {
        "vectors": Dataset((vectors,), labels, "labels", "vector"),
        "pairs": Dataset((vectors, vectors + 1), np.arange(12) % 2, "pairs", "vector"),
        "tabular": Dataset(
            ({"a": vectors[:, 0], "b/..": np.array(["x", "y", "é"] * 4, dtype=object)},),
            np.arange(12) % 3,
            "labels",
            "tabular",
        ),
        "texts": Dataset((np.array(["ein Wort", "two words"] * 6, dtype=object),), labels, "labels", "text"),
    }[kind]
    prepare = fit_preprocessor(data)
    needs = {**prepare.facts, "num_classes": 3}
    task = PreparedData(
        data, data.take(np.arange(6)), data, prepare, {"map_at_r": "maximize"}, needs, {"a": [1]}
    )
    write_data(task, tmp_path / "task")
    found = map_data(tmp_path / "task")
    assert (found.objectives, found.needs, found.record) == (task.objectives, task.needs, task.record)
    for part in ("train", "valid", "test"):
        mine, theirs = getattr(task, part), getattr(found, part)
        assert (theirs.supervision, theirs.input) == (mine.supervision, mine.input)
        same(mine.target, theirs.target)
        assert [str(each) for each in theirs.ids] == [str(each) for each in mine.ids]
        for view, read in zip(mine.views, theirs.views, strict=True):
            for name in view if isinstance(view, dict) else [slice(None)]:
                assert read[name].tolist() == view[name].tolist()
    same(prepare(data.views[0]), found.preprocessor(found.train.views[0]))
    assert [*(tmp_path / "task").rglob("*b*..*")] == []  # names are not made file names


def test_workers_import_neither_the_storage_nor_the_report() -> None:
    code = (
        "import sys, siamkit.study.worker.process, siamkit.study.worker.runner; "
        "import siamkit.study.worker.shared_arrays; "
        "print([name for name in ('optuna', 'sqlalchemy', 'plotly', 'keras') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
