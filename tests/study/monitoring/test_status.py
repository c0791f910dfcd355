"""How a study stands, told from outside: counts, who lives, pace, end; and looking changes nothing."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click.testing
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from rich.console import Console
from status_study import FROZEN, STUDY, configuration

from siamkit.cli import main
from siamkit.errors import StudyError, StudyFileError
from siamkit.study.monitoring import status as status_module
from siamkit.study.monitoring.locate import find_study
from siamkit.study.monitoring.progress import spell
from siamkit.study.monitoring.status import StatusReader, read_status
from siamkit.study.monitoring.views import status_table
from siamkit.study.storage.leases import Owner, machine_name
from siamkit.study.storage.open import store_snapshot

pytestmark = pytest.mark.filterwarnings("ignore:JournalStorage is experimental", "ignore:.*is experimental")

GONE = f"tune:{machine_name()}:999999999-1:ab"  # no such process
ELSEWHERE = "worker:other-host-0a1b2c3d-4026531836:77-1:cd"


class Made:
    """A study made by hand."""

    def __init__(self, folder: Path, text: str = STUDY, frozen: dict[str, Any] = FROZEN) -> None:
        self.path, self.folder = folder / "study.yaml", folder / "runs" / "tiny"
        self.path.write_text(text)
        self.folder.mkdir(parents=True)
        storage: Any = f"sqlite:///{self.folder}/study.db"
        if "storage: journal" in text:
            storage = JournalStorage(JournalFileBackend(str(self.folder / "study.journal")))
        directions = list(frozen["objectives"].values())
        self.storage = optuna.create_study(storage=storage, study_name="tiny", directions=directions)
        (self.folder / "study.json").write_text(json.dumps(frozen))

    def log(self, event: str, **more: Any) -> None:
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.time(), "event": event, **more}) + "\n")

    def add(self, state: TrialState, value: float | None = None, dim: int = 0, **attrs: Any) -> None:
        dim = dim or 1 + len(self.storage.get_trials(deepcopy=False))
        self.storage.add_trial(
            optuna.create_trial(
                state=state,
                values=None if value is None else [value] * len(FROZEN["objectives"]),
                params={"x": 0.5},
                distributions={"x": FloatDistribution(0, 1)},
                user_attrs={"key": f"key{dim}", "configuration": configuration(dim), **attrs},
            )
        )

    def run(self, owner: str, beat: int, dim: int = 30) -> optuna.Trial:
        trial = self.storage.ask()
        trial.set_user_attr("lease", {"owner": owner, "beat": beat})
        trial.set_user_attr("configuration", configuration(dim))
        trial.set_user_attr("key", f"key{dim}")
        return trial


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def text_of(status: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(status_table(status))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [each for each in folder.rglob("*") if each.is_file()]
    return {str(each): (each.read_bytes(), each.stat().st_mtime_ns) for each in files}


# ---------------------------------------------------------------- counting


def test_every_kind_of_end_is_counted_as_the_budget_counts_it(made: Made) -> None:
    made.add(TrialState.COMPLETE, 0.4)
    made.add(TrialState.COMPLETE, 0.7)
    made.add(TrialState.COMPLETE, 0.7)  # as good, but later
    made.add(TrialState.PRUNED)
    made.add(TrialState.FAIL, outcome="failed", cause="the loss of epoch 1 is nan")
    made.add(TrialState.COMPLETE, 0.7, dim=2, outcome="duplicate", duplicate_of=1)
    made.add(TrialState.FAIL, dim=4, outcome="duplicate")
    made.add(TrialState.FAIL, outcome="withdrawn")
    made.add(TrialState.FAIL, dim=50)  # 8: died, tried again below
    made.add(TrialState.FAIL, dim=51)  # 9: stopped by the user, goes on below
    made.add(TrialState.COMPLETE, 0.1, dim=50, retries=8, attempt=2)
    made.add(TrialState.WAITING, dim=51, retries=9, attempt=1)
    made.add(TrialState.FAIL, dim=52)  # 12: died, nobody has seen to it yet
    made.log("trial died", trial=12, cause="its process ended by SIGKILL")
    status = read_status(made.path)
    assert (status.counted, status.target) == (6, 8)
    assert (status.complete, status.pruned, status.failed) == (4, 1, 1)
    assert (status.duplicates, status.died, status.waiting) == (2, 2, 1)
    assert status.best is not None
    assert (status.best.trial, status.best.values) == (1, {"map_at_r": 0.7})
    assert status.best.configuration == "mlp · cosine · triplet · 2-d"
    assert [(each.trial, each.kind, each.cause) for each in status.failures] == [
        (12, "died", "its process ended by SIGKILL"),
        (8, "died", "its process exited"),
        (4, "failed", "the loss of epoch 1 is nan"),
    ]
    assert (status.state, status.owners, status.running) == ("stopped", (), ())


def test_without_its_study_json_the_storage_is_asked(made: Made) -> None:
    (made.folder / "study.json").unlink()
    with pytest.raises(StudyError, match="the study 'tiny' has not started"):  # it is just being made
        read_status(made.path)
    store_snapshot(made.storage, {**FROZEN, "objectives": {"eer": "minimize"}}, made.folder, "")
    assert read_status(made.path).objectives == {"eer": "minimize"}


def test_lower_is_better_where_the_objective_says_so(tmp_path: Path) -> None:
    made = Made(tmp_path, frozen={**FROZEN, "objectives": {"eer": "minimize"}})
    made.add(TrialState.COMPLETE, 0.4)
    made.add(TrialState.COMPLETE, 0.2)
    status = read_status(made.path)
    assert status.best is not None
    assert (status.best.trial, status.best.values) == (1, {"eer": 0.2})


def test_a_trial_that_was_killed_while_it_was_drawn_has_no_configuration(made: Made) -> None:
    made.storage.ask()
    status = read_status(made.path)
    assert [(each.configuration, each.owner) for each in status.running] == [("being drawn", "")]
    assert status.state == "stopped"
    assert "being drawn" in text_of(status)


# ---------------------------------------------------------------- who lives


def test_a_process_of_this_machine_runs_while_it_is_there(made: Made) -> None:
    owner = str(Owner.new("tune"))
    trial = made.run(owner, beat=3)
    trial.report(0.25, 1)
    trial.report(0.5, 2)
    status = read_status(made.path)
    assert status.state == "running"
    assert [(each.role, each.pid, each.alive) for each in status.owners] == [("tune", os.getpid(), True)]
    (running,) = status.running
    assert (running.trial, running.epoch, running.value, running.owner) == (0, 2, 0.5, owner)
    assert 0 <= running.seconds < 60
    assert f"tune on {status.owners[0].host}, process {os.getpid()}" in text_of(status)


def test_a_process_that_is_no_more_runs_nothing(made: Made) -> None:
    made.run(GONE, beat=3)
    status = read_status(made.path)
    assert (status.state, status.end) == ("stopped", None)
    assert [each.alive for each in status.owners] == [False]
    assert "exited; its trials will be tried again" in text_of(status)


def test_elsewhere_the_beat_tells(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    trial = made.run(ELSEWHERE, beat=3)
    watch = StatusReader(find_study(made.path))
    first = watch.read()
    assert first.state == "unsure"
    assert [(each.host, each.pid, each.alive) for each in first.owners] == [("other-host", 77, None)]
    assert "no sign of life yet" in text_of(first)
    now[0] += 30
    assert watch.read().state == "unsure"
    trial.set_user_attr("lease", {"owner": ELSEWHERE, "beat": 4})
    assert watch.read().state == "running"
    now[0] += 59
    assert watch.read().state == "running"
    now[0] += 2
    assert watch.read().state == "stopped"
    trial.set_user_attr("lease", {"owner": ELSEWHERE, "beat": 5})
    assert watch.read().state == "running"


def test_one_look_waits_for_a_sign_where_only_others_may_be_at_work(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = made.run(ELSEWHERE, beat=3)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        trial.set_user_attr("lease", {"owner": ELSEWHERE, "beat": 3 + len(slept)})

    monkeypatch.setattr(status_module.time, "sleep", sleep)
    assert read_status(made.path, wait=True).state == "running"
    assert len(slept) == 1


def test_tune_between_trials_is_known_by_its_log(made: Made) -> None:
    owner = str(Owner.new("tune"))
    made.log("started", owner=owner, counted=0, target=8)
    made.log("started", owner=GONE, counted=0, target=8)
    status = read_status(made.path)
    assert status.state == "running"
    assert [each.name for each in status.owners] == [owner]
    made.log("stopped", owner=owner, finished=False, cause="")
    status = read_status(made.path)
    assert (status.state, status.owners) == ("stopped", ())


def test_done_is_what_tune_said_or_what_is_all_there(made: Made) -> None:
    owner = str(Owner.new("tune"))
    made.log("started", owner=owner, counted=0, target=8)
    made.add(TrialState.COMPLETE, 0.5)
    made.log("stopped", owner=owner, finished=True, cause="the time of 2 s is spent")
    status = read_status(made.path)
    assert (status.state, status.why) == ("done", "the time of 2 s is spent")
    (made.folder / "log.jsonl").unlink()
    assert read_status(made.path).state == "stopped"
    for dim in range(2, 9):
        made.add(TrialState.COMPLETE, dim / 100, dim)
    assert read_status(made.path).state == "stopped"  # the finalists are missing
    for key in ("key1", "key8"):
        for repeat in "01":
            place = made.folder / "confirm" / key / repeat
            place.mkdir(parents=True)
            (place / "result.json").write_text('{"outcome": "failed"}')
    status = read_status(made.path)
    assert (status.state, status.confirmed, status.to_confirm) == ("done", 4, 4)


def test_finalists_under_way_are_told(made: Made) -> None:
    owner = str(Owner.new("tune"))
    made.add(TrialState.COMPLETE, 0.5)
    made.log("started", owner=owner, counted=0, target=1)
    made.log("final started", owner=owner, trial=0, key="key1", repeat=0)
    made.log("final started", owner=owner, trial=0, key="key1", repeat=1)
    made.log("confirmed", owner=owner, trial=0, key="key1", repeat=0, outcome="complete")
    status = read_status(made.path)
    assert (status.state, status.confirming, status.to_confirm) == ("running", 1, 2)
    assert "confirmed  0 of 2, 1 under way" in text_of(status)


def test_a_line_that_is_being_written_is_read_when_it_is_there(made: Made) -> None:
    owner = str(Owner.new("tune"))
    watch = StatusReader(find_study(made.path))
    line = json.dumps({"time": time.time(), "event": "started", "owner": owner, "counted": 0, "target": 5})
    for part in ("no line\n" + line[:30], line[30:] + "\n"):
        with (made.folder / "log.jsonl").open("a") as file:
            file.write(part)
        status = watch.read()
    assert (status.state, status.target) == ("running", 5)


# ---------------------------------------------------------------- pace and end


def test_the_end_is_told_at_the_pace_of_this_run(made: Made) -> None:
    owner = str(Owner.new("tune"))
    for value in (0.1, 0.2, 0.3, 0.4):
        made.add(TrialState.COMPLETE, value)
    with (made.folder / "log.jsonl").open("w") as file:
        line = {"time": time.time() - 60, "event": "started", "owner": owner, "counted": 1, "target": 8}
        file.write(json.dumps(line) + "\nhalf a li")
    status = read_status(made.path)
    assert status.seconds_each == pytest.approx(20, abs=1)  # three in a minute
    assert status.end is not None
    assert status.end - datetime.now() == pytest.approx(timedelta(seconds=80), abs=timedelta(seconds=4))
    made.storage.set_user_attr("worked", 3590.0)
    status = read_status(made.path)
    assert status.end is not None
    assert status.end - datetime.now() < timedelta(seconds=11)  # the time is over before
    assert "worked   59m 50s of 1h 00m" in text_of(status)


def test_a_stopped_study_tells_the_pace_it_had_and_no_end(made: Made) -> None:
    made.add(TrialState.COMPLETE, 0.1)
    made.add(TrialState.COMPLETE, 0.2)
    made.storage.set_user_attr("worked", 30.0)
    status = read_status(made.path)
    assert (status.seconds_each, status.end, status.worked, status.time) == (15.0, None, 30.0, 3600.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (9.94, "9.9s"), (59.4, "59s"), (59.6, "1m 00s"), (3599.7, "1h 00m"), (7500, "2h 05m"),
     (200000, "2d 7h")],
)  # fmt: skip
def test_durations_are_short(seconds: float, text: str) -> None:
    assert spell(seconds) == text


# ---------------------------------------------------------------- how it looks


def test_names_do_not_break_the_table_or_speak_markup(made: Made) -> None:
    made.add(TrialState.COMPLETE, 0.5)
    made.add(TrialState.FAIL, outcome="failed", cause="[bold]no[/bold] [/] " + "so long " * 30)
    trial = made.run(str(Owner.new("tune")), 1)
    trial.set_user_attr(
        "configuration",
        {**configuration(4), "loss": {"name": "siamkit/" + "[red]very_long_" * 12, "params": {}}},
    )
    text = text_of(read_status(made.path))
    assert "[bold]no[/bold] [/] so long" in text
    assert "[red]very_long" in text
    assert "…" in text
    assert all(len(line) <= 80 for line in text.splitlines())


# ---------------------------------------------------------------- only looking


def broken_in_the_middle(database: Path) -> None:
    """Leaves the file as a process does that is killed while it writes."""
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE trial_user_attributes SET value_json = '\"" + "x" * 500_000 + "\"'")
    journal = database.with_name(database.name + "-journal")
    half, undo = database.read_bytes(), journal.read_bytes()
    writer.execute("ROLLBACK")
    writer.close()
    database.write_bytes(half)
    journal.write_bytes(undo)


def test_looking_changes_nothing_and_needs_no_right_to_write(tmp_path: Path) -> None:
    made = Made(tmp_path, STUDY.replace("journal", "sqlite"))
    made.add(TrialState.COMPLETE, 0.5)
    made.run(str(Owner.new("tune")), 1)
    before = snapshot(tmp_path)
    writer = sqlite3.connect(made.folder / "study.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")  # somebody is about to write
    try:
        status = read_status(made.path)
    finally:
        writer.close()
    assert (status.counted, len(status.running)) == (1, 1)
    assert snapshot(tmp_path) == before
    study = status_module.open_to_read(find_study(made.path))
    with pytest.raises(StorageInternalError) as caught:
        study.set_user_attr("a", 1)
    assert "readonly" in str(caught.value.__cause__)
    broken_in_the_middle(made.folder / "study.db")
    assert read_status(made.path).counted == 1


def test_a_study_that_was_never_begun_is_a_sentence_and_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    for storage, file in (("journal", "study.journal"), ("sqlite", "study.db")):
        path.write_text(STUDY.replace("storage: journal", f"storage: {storage}"))
        with pytest.raises(
            StudyError, match=rf"^the study 'tiny' has not started in '.*{file}' yet; run it with"
        ):
            read_status(path)
        assert [each.name for each in tmp_path.iterdir()] == ["study.yaml"]
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    (folder / "study.db").touch()  # made, but nothing is in it yet
    with pytest.raises(StudyError, match="the study 'tiny' has not started"):
        read_status(path)
    assert (folder / "study.db").read_bytes() == b""
    (folder / "study.db").write_bytes(b"SQLite format 3\0 and then nothing")
    with pytest.raises(StudyError, match=r"^the storage '.*study\.db' cannot be read: "):
        read_status(path)


def test_a_wrong_file_says_what_is_wrong_with_its_lines(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("trials: 8", "trials: none"))
    with pytest.raises(StudyFileError, match=r"study\.yaml:6: budget\.trials: should be a whole number"):
        find_study(tmp_path / "study.yaml")


def test_where_it_is_agrees_with_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siamkit.study.config.load import load_study

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for text in (STUDY, STUDY + "artifacts: there\n", STUDY + "artifacts: memory://there\n"):
        (tmp_path / "sub" / "study.yaml").write_text(text)
        for artifacts in (None, "mine"):
            path = "sub/study.yaml"
            assert find_study(path, artifacts).folder.path == load_study(path, (), artifacts).folder


# ---------------------------------------------------------------- the command


def invoke(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, arguments)


def test_the_command_prints_a_table_or_json(made: Made) -> None:
    made.add(TrialState.COMPLETE, 0.5)
    result = invoke("status", str(made.path))
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0] == "tiny  stopped; siamkit tune continues it"
    assert "counted  1 of 8: 1 complete, 0 pruned, 0 failed" in result.output
    found = json.loads(invoke("status", str(made.path), "--json").output)
    assert (found["name"], found["state"], found["counted"]) == ("tiny", "stopped", 1)
    assert found["best"] == {
        "trial": 0,
        "configuration": "mlp · cosine · triplet · 1-d",
        "values": {"map_at_r": 0.5},
        "kind": "best trial of the search",
    }


def test_before_the_study_ran_the_command_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    result = invoke("status", str(tmp_path / "study.yaml"))
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: the study 'tiny' has not started in")
    assert result.stderr.count("\n") == 1


def test_watching_ends_when_the_study_is_done_or_the_user_has_seen_enough(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = str(Owner.new("tune"))
    made.log("started", owner=owner, counted=0, target=8)
    then: list[Callable[[], None]] = [
        lambda: made.add(TrialState.COMPLETE, 0.5),
        lambda: made.log("stopped", owner=owner, finished=True),
    ]
    monkeypatch.setattr("siamkit.cli._studies.time.sleep", lambda seconds: then.pop(0)())
    result = invoke("status", str(made.path), "--watch", "--json")
    assert result.exit_code == 0
    looks = [json.loads(line) for line in result.output.splitlines()]
    assert [(each["state"], each["counted"]) for each in looks] == [
        ("running", 0),
        ("running", 1),
        ("done", 1),
    ]

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    made.log("started", owner=owner, counted=1, target=8)
    monkeypatch.setattr("siamkit.cli._studies.time.sleep", interrupt)
    result = invoke("status", str(made.path), "--watch")
    assert (result.exit_code, result.stderr) == (0, "")


def test_no_backend_is_imported_and_no_plugin(made: Made) -> None:
    made.path.write_text(STUDY + "plugins: [nowhere_to_be_found]\n")
    code = (
        "import sys; from siamkit.cli import main\n"
        f"try: main(['status', {str(made.path)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('\\nIMPORTED', [m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "IMPORTED []"
