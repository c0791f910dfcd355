"""Logging elsewhere: what TensorBoard and MLflow hear, and that they can hurt no trial."""

from __future__ import annotations

import importlib.util
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from training_stand_in import Training, die_at, run, training  # noqa: F401

from siamkit.errors import StudyFileError
from siamkit.study.results.results import Results
from siamkit.study.tracking import base
from siamkit.study.tracking.base import (
    AttemptEnded,
    AttemptStarted,
    EpochEnded,
    TrackerEvent,
    TrackerThread,
)
from siamkit.study.tracking.tensorboard import EventFile, _checksum
from siamkit.study.tracking.trackers import resolved_uri
from siamkit.study.worker.messages import Attempt

ON = ("confirm: null", "confirm: null\nlog: {tensorboard: true}")


def attempt(trial: int = 3, repeat: int | None = None) -> Attempt:
    configuration: Any = {"loss": {"name": "siamkit/triplet", "params": {}}, "embedding_dim": 8}
    return Attempt(trial, repeat, "0a1b2c3d", 1, configuration)


# ---------------------------------------------------------------- event files, read by their definition


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: numbers, and bytes of what is nested."""

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    at = 0
    while at < len(data):
        key = varint()
        field, kind = key >> 3, key & 7
        if kind == 0:
            yield field, varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or varint()
            raw, at = data[at : at + size], at + size
            yield (
                field,
                {1: lambda r: struct.unpack("<d", r)[0], 5: lambda r: struct.unpack("<f", r)[0]}.get(
                    kind, lambda r: r
                )(raw),
            )


def events(folder: Path) -> list[dict[int, Any]]:
    (file,) = folder.glob("events.out.tfevents.*")
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert data[8:12] == _checksum(data[:8])
        assert data[12 + length : 16 + length] == _checksum(data[12 : 12 + length])
        found.append(dict(fields(data[12 : 12 + length])))
        data = data[16 + length :]
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        for _, value in fields(event.get(5, b"")):
            each = dict(fields(value))
            if 2 in each:
                found.setdefault(each[1].decode(), []).append((event[2], each[2]))
    return found


def test_the_checksum_is_that_of_the_standard() -> None:
    crc = 0xE3069283  # CRC-32C of these digits, RFC 3720
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert _checksum(b"123456789") == struct.pack("<I", masked)


def test_hyperparameters_are_as_tensorboard_defines_them(tmp_path: Path) -> None:
    file = EventFile(tmp_path, "token")
    file.write_hyperparameters({"loss": "triplet", "swap": True, "dim": 300}, ["final/eer"], True)
    file.close()
    version, *parts = events(tmp_path)
    assert version[3] == b"brain.Event:2"
    read = {}
    for part in parts:
        value = dict(fields(dict(fields(part[5]))[1]))
        plugin = dict(fields(dict(fields(value[9]))[1]))
        assert plugin[1] == b"hparams"
        read[value[1].decode()] = dict(fields(plugin[2]))
    pairs = [dict(fields(pair)) for _, pair in fields(read["_hparams_/session_start_info"][3])]
    chosen = {pair[1].decode(): dict(fields(pair[2])) for pair in pairs}
    assert chosen == {"loss": {3: b"triplet"}, "swap": {4: 1}, "dim": {2: 300.0}}
    described = [(field, dict(fields(each))) for field, each in fields(read["_hparams_/experiment"][2])]
    assert [(each[1], each[4]) for field, each in described if field == 4] == [
        (b"loss", 1),
        (b"swap", 2),
        (b"dim", 3),
    ]
    assert [dict(fields(each[1]))[2] for field, each in described if field == 5] == [b"final/eer"]
    assert read["_hparams_/session_end_info"] == {4: b"\x08\x01"}


# ---------------------------------------------------------------- what is heard


def test_each_trial_and_finalist_has_its_curves_and_its_end(
    run: Callable[..., Results],
    training: Training,
) -> None:
    results = run(
        ("confirm: null", "confirm: {top: 1, seeds: 1}\nseeds: 2\nlog: {tensorboard: true}"),
        ("trials: 4", "trials: 2"),
    )
    place = results.folder / "tensorboard"
    best = max(results.trials, key=lambda each: each.measures["map_at_r"]).trial
    assert sorted(each.name for each in place.iterdir()) == ["0", "1", f"final-{best}-0"]
    for each in results.trials:
        value = pytest.approx(each.measures["map_at_r"])
        read = scalars(place / str(each.trial))
        assert read["map_at_r"] == [(1, value), (2, value), (3, value)]
        assert read["final/map_at_r"] == [(0, value)]
        assert scalars(place / str(each.trial) / "seed-1")["map_at_r"][-1] == (3, value)
    assert scalars(place / f"final-{best}-0")["final/test/map_at_r"] == [(0, pytest.approx(0.4))]


def test_what_goes_on_from_a_checkpoint_has_its_earlier_epochs_too(
    run: Callable[..., Results],
    training: Training,
) -> None:
    def during(dim: int, epoch: int) -> None:
        if epoch == 3 and len(training.dims) == 1:
            raise KeyboardInterrupt

    training.during = during
    assert run(ON).interrupted
    results = run()
    first, again = sorted(results.folder.glob("tensorboard/*"))[:2]
    assert [step for step, _ in scalars(first)["map_at_r"]] == [1, 2]
    assert [step for step, _ in scalars(again)["map_at_r"]] == [1, 2, 3]
    assert training.starts[:2] == [0, 2]
    outcomes = [b"interrupted" in file.read_bytes() for file in sorted(first.glob("events*"))]
    assert outcomes == [True]


def test_without_being_asked_nothing_is_logged(
    run: Callable[..., Results],
) -> None:
    assert not (run(("trials: 4", "trials: 1")).folder / "tensorboard").exists()


# ---------------------------------------------------------------- what goes wrong


class BrokenTracker:
    """A logger whose epochs cannot be written."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_event(self, event: TrackerEvent) -> None:
        if isinstance(event, EpochEnded):
            raise OSError(28, "No space left on device")
        self.heard.append(type(event).__name__)

    def close(self) -> None:
        self.heard.append("closed")


def test_one_that_fails_is_told_of_once_and_hears_no_more() -> None:
    told: list[str] = []
    broken = BrokenTracker()
    aside = TrackerThread("log.mlflow", lambda: broken, told.append)
    epoch = EpochEnded(attempt(), 0, {})
    for event in (AttemptStarted(attempt()), epoch, epoch, AttemptEnded(attempt(), "complete", "", {})):
        aside.on_event(event)
    aside.close()
    assert told == [
        "log.mlflow: tracking is switched off; the study continues (OSError: [Errno 28] No space left on "
        "device)"
    ]
    assert broken.heard == ["AttemptStarted"]


def test_one_that_cannot_be_made_is_told_of_too() -> None:
    told: list[str] = []

    def make() -> BrokenTracker:
        raise ConnectionError("nobody listens\nthere")

    aside = TrackerThread("log.mlflow", make, told.append)
    aside.close()
    assert [each.endswith("(ConnectionError: nobody listens)") for each in told] == [True]


def test_one_that_hangs_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(base, "MAX_QUEUED_EVENTS", 5)
    told: list[str] = []
    hanging, release = BrokenTracker(), threading.Event()
    hanging.on_event = lambda event: bool(release.wait(30))  # type: ignore[assignment,method-assign,return-value]
    aside = TrackerThread("log.mlflow", lambda: hanging, told.append)
    start = time.monotonic()
    for _ in range(20):
        aside.on_event(AttemptStarted(attempt()))
    assert [each.endswith("(it is 5 events behind)") for each in told] == [True]
    aside.close()
    slow = TrackerThread("log.mlflow", lambda: hanging, told.append)
    slow.on_event(AttemptStarted(attempt()))
    slow.close()
    assert time.monotonic() - start < 5
    assert len(told) == 2
    assert told[1].endswith("(it did not finish within 0.2 s)")
    release.set()


def test_a_study_whose_logs_cannot_be_written_goes_on(
    run: Callable[..., Results],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "runs" / "tiny"
    place.mkdir(parents=True)
    (place / "tensorboard").write_text("a file where a folder should be")
    assert len(run(ON).trials) == 4


def test_a_killed_process_leaves_what_it_had_logged(
    run: Callable[..., Results],
    training: Training,
    tmp_path: Path,
) -> None:
    training.before = die_at(2)
    with pytest.raises(BaseException):  # noqa: B017, PT011
        run(ON)
    read = scalars(tmp_path / "runs" / "tiny" / "tensorboard" / "0")
    assert [step for step, _ in read["map_at_r"]] == [1, 2, 3]


def test_a_missing_package_is_a_problem_of_the_file_before_anything_runs(
    run: Callable[..., Results],
    training: Training,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlflow" else real(name))
    with pytest.raises(StudyFileError) as caught:
        run(("confirm: null", "confirm: null\nlog: {mlflow: http://127.0.0.1:1}"))
    assert str(caught.value).endswith(
        "study.yaml:14: log.mlflow: needs the package mlflow-skinny (or mlflow); "
        "pip install 'siamkit[mlflow]'"
    )
    assert training.dims == []
    assert not (tmp_path / "runs").exists()


def test_tensorboard_wants_a_folder_of_this_machine(
    run: Callable[..., Results],
) -> None:
    with pytest.raises(StudyFileError, match=r"log\.tensorboard: needs a run folder on this machine, not "):
        run(("confirm: null", "confirm: null\nlog: {tensorboard: true}\nartifacts: memory://there"))


# ---------------------------------------------------------------- MLflow


@pytest.mark.parametrize(
    ("uri", "becomes"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:///runs/ml.db", "sqlite:////beside/runs/ml.db"),
        ("sqlite:////other/ml.db", "sqlite:////other/ml.db"),
        ("mlruns", "file:///beside/mlruns"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
    ],
)
def test_relative_paths_of_a_tracking_uri_are_relative_to_the_file(uri: str, becomes: str) -> None:
    assert resolved_uri(uri, Path("/beside")) == becomes


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_has_a_run_for_the_study_and_below_it_one_for_each_attempt(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    from siamkit.study.tracking.mlflow import MLflow, StudyRun

    uri, kept = f"sqlite:///{tmp_path}/ml.db", []
    tags = {"siamkit.study": "tiny", "siamkit.version.keras": "3"}
    for first in (True, False):  # the second goes on with the study
        parent = StudyRun(
            "tiny", tags, lambda: kept[0] if kept else None, kept.append, ends_with_process=not first
        )
        logger = MLflow(uri, parent)
        trial = attempt(3 if first else 4)
        logger.on_event(AttemptStarted(trial))
        for repeat, epoch in ((0, 1), (0, 2), (1, 1)):
            row: Any = {"repeat": repeat, "epoch": epoch, "eer": epoch / 4, "x": None}
            logger.on_event(EpochEnded(trial, repeat, row))
        outcome, cause = ("complete", "") if first else ("failed", "nan")
        logger.on_event(AttemptEnded(trial, outcome, cause, {"eer": 0.1}))
        logger.close()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = {each.info.run_name: each for each in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"tiny", "trial 3", "trial 4"}
    assert kept == [runs["tiny"].info.run_id]
    assert {name: each.info.status for name, each in runs.items()} == {
        "tiny": "FINISHED",
        "trial 3": "FINISHED",
        "trial 4": "FAILED",
    }
    data = runs["trial 3"].data
    assert data.params == {"loss": "triplet", "embedding_dim": "8"}
    assert data.metrics == {"eer": 0.5, "seed-1/eer": 0.25, "final/eer": 0.1}
    steps = client.get_metric_history(runs["trial 3"].info.run_id, "eer")
    assert [(each.step, each.value) for each in steps] == [(1, 0.25), (2, 0.5)]
    wanted = {
        **tags,
        "mlflow.parentRunId": kept[0],
        "siamkit.trial": "3",
        "siamkit.token": "0a1b2c3d",
        "siamkit.outcome": "complete",
    }
    assert {key: data.tags.get(key) for key in wanted} == wanted
    assert runs["trial 4"].data.tags["siamkit.cause"] == "nan"
