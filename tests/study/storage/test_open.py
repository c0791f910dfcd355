"""Which storage a study gets, what is said of it, and what is never shown."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import psutil
import pytest
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.exc import DataError, OperationalError, ProgrammingError
from training_stand_in import Training, run, training  # noqa: F401  # fixtures

from siamkit.errors import StudyError
from siamkit.io.paths import is_database, redacted, url_problem, with_driver, without_password
from siamkit.report import write_report
from siamkit.runs.run_folder import RunFolder
from siamkit.study import tune
from siamkit.study.results.results import Results
from siamkit.study.storage import _optuna_rdb
from siamkit.study.storage import retry as patience
from siamkit.study.storage.open import StudyStorage, network_file_system, open_storage
from siamkit.study.storage.retry import with_retries

Run = Callable[..., Results]
FROZEN = {"layout": 1, "study": {"seed": 1}}


# ---------------------------------------------------------------- files of the run folder


def test_without_a_word_it_is_sqlite_in_the_run_folder(run: Run) -> None:
    folder = run().folder
    assert (folder / "study.db").is_file()
    assert not (folder / "study.journal").exists()


def test_a_journal_where_asked_for_and_it_goes_on_from_there(run: Run, training: Training) -> None:
    folder = run(("confirm: null", "confirm: null\nstorage: journal")).folder
    assert (folder / "study.journal").is_file()
    assert not (folder / "study.db").exists()
    assert len(run(("trials: 4", "trials: 6")).trials) == 6
    assert len(training.dims) == 6


def mounts(monkeypatch: pytest.MonkeyPatch, *table: tuple[str, str]) -> None:
    """Fakes the mounted file systems: where, and of which kind."""
    found = [SimpleNamespace(mountpoint=where, fstype=kind, opts="rw") for where, kind in table]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: found)


def test_on_a_network_file_system_it_is_a_journal_and_the_user_is_told_why(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mounts(monkeypatch, ("/", "ext4"), (str(tmp_path.resolve()), "nfs4"))
    folder = run().folder
    assert (folder / "study.journal").is_file()
    assert not (folder / "study.db").exists()
    tune(tmp_path / "study.yaml", progress="plain")
    told = " ".join(capsys.readouterr().out.split())
    assert "the run folder is on a network file system (nfs4), where SQLite's locks are not reliable" in told
    assert "the study is stored in a journal instead, study.journal" in told


def test_a_database_that_was_moved_to_a_network_file_system_is_warned_of(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run()
    mounts(monkeypatch, ("/", "cifs"))
    tune(tmp_path / "study.yaml", progress="plain")
    told = " ".join(capsys.readouterr().out.split())
    assert "study.db is on a network file system (cifs)" in told
    assert "let only one machine write to it" in told


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ([("/", "ext4")], ""),
        ([("/", "nfs")], "nfs"),
        ([("/", "nfs"), ("/data", "xfs")], ""),
        ([("/", "ext4"), ("/data", "autofs"), ("/data", "nfs4")], "nfs4"),
        ([("/", "ext4"), ("/dat", "nfs4")], ""),  # the name begins alike, the folder is another
        ([("/", "overlay"), ("/data", "fuse.sshfs")], "fuse.sshfs"),
        ([("/", "ext4"), ("/data", "fuseblk")], ""),  # a disk of Windows, here
        ([("/", "ext4"), ("/data", "smbfs")], "smbfs"),
        ([("/", "ext4"), ("/data/runs", "lustre")], "lustre"),
    ],
)
def test_the_file_system_that_counts_is_the_nearest(
    table: list[tuple[str, str]], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts(monkeypatch, *table)
    assert network_file_system(Path("/data/runs/fashion")) == kind


def test_a_share_of_windows_tells_itself_by_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    share = SimpleNamespace(mountpoint="/", fstype="NTFS", opts="rw,remote")
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [share])
    assert network_file_system(Path("/data")) == "remote NTFS"


def test_this_very_machine_can_be_asked(tmp_path: Path) -> None:
    assert isinstance(network_file_system(tmp_path), str)


def test_files_are_no_storage_for_a_run_folder_behind_a_url(run: Run) -> None:
    with pytest.raises(StudyError, match=r"'sqlite' is a file in the run folder, but 'memory:.*' is not"):
        run(("confirm: null", "confirm: null\nartifacts: memory://runs"))


# ---------------------------------------------------------------- locks


def opened(folder: Path, where: str = "sqlite") -> StudyStorage:
    return open_storage("crowd", RunFolder(folder), where, ["maximize"], FROZEN)


@pytest.mark.parametrize("where", ["sqlite", "journal"])
def test_of_two_who_take_a_queued_trial_one_gets_it(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages = [opened(tmp_path, where), opened(tmp_path, where)]
    one, two = (storage.optuna_study for storage in storages)
    one.enqueue_trial({"x": 1})
    found: list[int | None] = []
    other = threading.Thread(target=lambda: found.append(two._pop_waiting_trial_id()))
    find = models.TrialModel.find_or_raise_by_id

    def between(trial: int, session: Any, for_update: bool = False) -> Any:
        read = find(trial, session, for_update)
        if for_update and threading.current_thread() is threading.main_thread() and not other.ident:
            other.start()  # after this one has read that the trial waits, before it takes it
            other.join(0.3)
        return read

    monkeypatch.setattr(models.TrialModel, "find_or_raise_by_id", between)
    found.append(one._pop_waiting_trial_id())
    if not other.ident:  # a journal asks no tables
        other.start()
    other.join()
    assert sorted(found, key=str) == [one.trials[0]._trial_id, None]
    for storage in storages:
        storage.close()


@pytest.mark.parametrize("where", ["sqlite", "journal"])
def test_a_trial_ends_once_and_nothing_is_written_to_it_after(where: str, tmp_path: Path) -> None:
    storages = [opened(tmp_path, where), opened(tmp_path, where)]
    one, two = (storage.optuna_study for storage in storages)
    trial = one.ask()
    storages[0].write_trial(trial.number, {"configuration": {"a": 1}, "key": "k"})
    assert two.get_trials(deepcopy=False)[0].user_attrs == {"configuration": {"a": 1}, "key": "k"}
    two.tell(trial.number, 0.5)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storages[0].write_trial(trial.number, {"outcome": "failed"})
    with pytest.raises((optuna.exceptions.UpdateFinishedTrialError, ValueError)):
        one.tell(trial.number, state=TrialState.FAIL)
    (kept,) = two.get_trials(deepcopy=False)
    assert (kept.state, kept.values, "outcome" in kept.user_attrs) == (TrialState.COMPLETE, [0.5], False)
    for storage in storages:
        storage.close()


def test_trials_are_read_as_optuna_reads_them(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    study = storage.optuna_study

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("a", 0, 1)
        trial.suggest_categorical("c", ["x", "y"])
        trial.suggest_int("i", 1, 9, log=True)
        trial.set_user_attr("u", {"a": [1, "ü"]})
        for step, value in enumerate((0.1, float("nan"), float("inf"))):
            trial.report(value, step)
        if trial.number % 4 == 1:
            raise optuna.TrialPruned
        if trial.number % 4 == 2:
            raise ValueError
        return float("inf") if trial.number % 4 == 3 else 0.5

    study.optimize(objective, n_trials=8, catch=ValueError)
    study.enqueue_trial({"a": 0.5})
    study.ask()
    study.enqueue_trial({"a": 0.1}, user_attrs={"key": "k"})
    plain = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    others = optuna.load_study(study_name="crowd", storage=plain)
    assert [str(trial) for trial in study.get_trials()] == [str(trial) for trial in others.get_trials()]
    states = list(TrialState)
    for some in [(state,) for state in states] + [(one, two) for one in states for two in states]:
        found = [trial.number for trial in study.get_trials(states=some)]
        assert found == [trial.number for trial in others.get_trials(states=some)], some
    plain.engine.dispose()
    storage.close()


# ---------------------------------------------------------------- databases


@pytest.mark.parametrize(
    ("there", "url", "found"),
    [
        ({"psycopg", "psycopg2"}, "postgresql://h/d", "postgresql+psycopg://h/d"),
        ({"psycopg2"}, "postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ({"pg8000"}, "postgresql://h/d", "postgresql+pg8000://h/d"),
        ({"pymysql"}, "mysql://h/d", "mysql+pymysql://h/d"),
        ({"MySQLdb", "pymysql"}, "mysql://h/d", "mysql+mysqldb://h/d"),
        ({"mysql"}, "mysql://h/d", "mysql+mysqlconnector://h/d"),
        (set(), "mysql+asked://h/d", "mysql+asked://h/d"),
    ],
)
def test_the_driver_is_one_that_is_installed(
    there: set[str], url: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in there else None)
    assert with_driver(url) == found


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_missing_driver_is_a_sentence(
    kind: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from siamkit.io import paths

    monkeypatch.setattr(paths, "DRIVERS", {kind: {"none": "no_such_module"}})
    with pytest.raises(
        StudyError, match=rf"^the storage {kind}://… needs a driver; pip install 'siamkit\[{kind}\]'$"
    ):
        run(("confirm: null", f"confirm: null\nartifacts: runs/tiny\nstorage: {kind}://user:s3cret@host/db"))


def test_no_server_is_a_sentence_without_the_password(run: Run) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(
        StudyError, match=r"the storage 'postgresql://user:\*\*\*@127.0.0.1:1/db' cannot be"
    ) as told:
        run(
            (
                "confirm: null",
                "confirm: null\nartifacts: runs/tiny\nstorage: postgresql://user:s3cret@127.0.0.1:1/db",
            )
        )
    assert "s3cret" not in str(told.value)
    assert "refused" in str(told.value)


@pytest.mark.parametrize("password", ["s@cret", "s:cret", "s/cret", "s#cret", "s?cret"])
def test_a_password_that_would_be_read_otherwise_is_asked_to_be_encoded(
    password: str,
    run: Run,
) -> None:
    url = f"postgresql://user:{password}@host/db"
    assert url_problem(url) is not None
    with pytest.raises(StudyError, match="percent-encoded") as told:
        run(("confirm: null", f'confirm: null\nartifacts: runs/tiny\nstorage: "{url}"'))
    assert "cret" not in str(told.value)


def test_urls_that_are_read_as_they_are_meant() -> None:
    for rest in (
        "h", "h/d", "h:5432/d", "u@h/d", "u:p%40ss@h/d", "/d", "u:@h/d", "[::1]:5432/d",
        "h/d?sslmode=require", "u:p@/d?host=a:1&host=b:2", "u:p!$&'()*+,;=-._~@db.example.org:1/a-b",
    ):  # fmt: skip
        assert url_problem(f"postgresql://{rest}") is None, rest
    assert url_problem("postgresql://h:port/d") is not None


def test_passwords_are_starred_wherever_they_stand() -> None:
    shown = {
        "postgresql://u:p@h/d": "postgresql://u:***@h/d",
        "mysql+pymysql://u:p%40@h:1/d?charset=utf8": "mysql+pymysql://u:***@h:1/d?charset=utf8",
        "postgresql://h/d?user=u&password=p&sslmode=on": "postgresql://h/d?user=u&password=***&sslmode=on",
        "postgresql://u@h/d": "postgresql://u@h/d",
        "postgresql://u:a/b@h/d": "postgresql://u:***@h/d",
        "postgresql://u:a@b@h/d": "postgresql://u:***@h/d",
        "s3://key:secret@bucket/x@y": "s3://key:***@bucket/x@y",
        "https://h/?api_key=p": "https://h/?api_key=***",
        "runs/a@b": "runs/a@b",
        "sqlite": "sqlite",
    }
    assert {url: without_password(url) for url in shown} == shown
    assert redacted({"a": ["s3://k:s@b", 1, None]}) == {"a": ["s3://k:***@b", 1, None]}
    assert [is_database(each) for each in ("sqlite", "journal", "mysql://h")] == [False, False, True]


@pytest.mark.waits  # for a server of MLflow that does not answer
def test_what_is_written_of_a_study_has_no_password(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from siamkit.study.storage import open as storage

    # A database without a server: what matters is what is done with its URL.
    monkeypatch.setattr(
        storage, "open_database", lambda where: _optuna_rdb.open_sqlite(str(tmp_path / "there.db"))
    )
    url = "postgresql://user:s3cret@host/db?sslpassword=s3cret"
    results = run(
        (
            "confirm: null",
            f'confirm: null\nartifacts: runs/tiny\nstorage: "{url}"\n'
            'log: {mlflow: "http://u:s3cret@127.0.0.1:9"}',
        )
    )
    settings = json.loads((results.folder / "study.json").read_text())["settings"]
    assert settings["storage"] == "postgresql://user:***@host/db?sslpassword=***"
    assert settings["log"]["mlflow"] == "http://u:***@127.0.0.1:9"
    write_report(results.folder)
    for file in [tmp_path / "there.db", *(each for each in results.folder.rglob("*") if each.is_file())]:
        assert b"s3cret" not in file.read_bytes(), file
    assert "s3cret" not in "".join(capsys.readouterr())


def test_a_run_folder_goes_on_in_the_storage_it_was_begun_with(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from siamkit.study.storage import open as storage

    monkeypatch.setattr(
        storage, "open_database", lambda where: _optuna_rdb.open_sqlite(str(tmp_path / "there.db"))
    )
    run()
    with pytest.raises(StudyError, match=r"is not in the storage 'mysql://h/d'"):
        run(("confirm: null", "confirm: null\nartifacts: runs/tiny\nstorage: mysql://h/d"))


# ---------------------------------------------------------------- patience


def failing(*errors: BaseException) -> Callable[[], str]:
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "answered"

    return call


def wrapped(cause: BaseException) -> optuna.exceptions.StorageInternalError:
    error = optuna.exceptions.StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = cause
    return error


def test_a_storage_that_is_away_is_waited_for_and_the_user_hears_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: None)
    told: list[str] = []
    away = wrapped(OperationalError("SELECT", {}, Exception("the server is gone")))
    call = failing(away, OSError(errno.ESTALE, "stale handle"), ConnectionResetError("reset"), away)
    assert with_retries(call, notify=told.append) == "answered"
    assert len(told) == 1
    assert "the server is gone" in told[0]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            wrapped(DataError("INSERT", {}, Exception("Data too long"))),
            "the storage refuses .*too long",
        ),
        (wrapped(OperationalError("x", {}, Exception("disk is full"))), "the storage cannot be written"),
        (OSError(errno.ENOSPC, "No space left on device"), "the storage cannot be written"),
    ],
)
def test_a_storage_that_says_no_is_not_waited_for(error: BaseException, sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        with_retries(failing(error, error))


def test_an_error_of_the_driver_s_own_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: None)
    busy = ProgrammingError("", {}, psycopg.ProgrammingError("can't change 'autocommit' now"))
    assert with_retries(failing(wrapped(busy))) == "answered"


def test_ctrl_c_waits_for_an_answer_and_a_second_one_does_not() -> None:
    done: list[str] = []

    def answer(interrupts: int) -> None:
        for number in range(interrupts):
            os.kill(os.getpid(), signal.SIGINT)
            done.append(f"after {number + 1}")

    with pytest.raises(KeyboardInterrupt):
        with_retries(answer, 1)
    assert done == ["after 1"]
    with pytest.raises(KeyboardInterrupt):
        with_retries(answer, 2)
    assert done == ["after 1", "after 1"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_no_storage_s_fault_is_not_hidden() -> None:
    with pytest.raises(FileNotFoundError):
        with_retries(failing(FileNotFoundError(errno.ENOENT, "no such file")))


def test_in_the_end_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 300))
    monkeypatch.setattr(
        patience, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None)
    )
    gone = wrapped(OperationalError("SELECT", {}, Exception("gone")))
    with pytest.raises(StudyError, match=r"the storage has not answered for 900 s: .*gone"):
        with_retries(failing(*[gone] * 30))
