"""A short study on MySQL's protocol: MariaDB stands in for MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from crowds import Crowd, audit, read_trials, write_study
from servers import PASSWORD, MariaDB, missing

from siamkit.errors import StudyError
from siamkit.runs.run_folder import RunFolder
from siamkit.study.storage.open import ATTRIBUTE, open_storage, read_snapshot, store_snapshot
from siamkit.study.storage.retry import with_retries

pytestmark = pytest.mark.waits


@pytest.fixture(scope="session")
def server() -> Iterator[MariaDB]:
    try:
        mariadb = MariaDB()
    except FileNotFoundError:
        missing("mariadb-server")
    yield mariadb
    mariadb.close()


def test_two_supervisors_meet_the_budget_exactly(server: MariaDB, tmp_path: Path) -> None:
    url = server.create("crowd")
    study = write_study(tmp_path, url, trials=12, dims="{low: 2, high: 15}")
    with Crowd(study, 0.02) as crowd:
        crowd.begin(1)
        crowd.wait(240)
    assert audit(read_trials(url), crowd.folder, 12) == []
    assert PASSWORD not in crowd.log.read_text()


def test_a_snapshot_longer_than_a_text_of_mysql_is_stored_in_parts(server: MariaDB, tmp_path: Path) -> None:
    url = server.create("long")
    people = [f"person {number * 7919 % 1_000_003} ÄÖ" for number in range(20_000)]
    snapshot = {"layout": 1, "data": {"split": {"values": {"train": people}}}}
    study = open_storage("long", RunFolder(tmp_path), url, ["maximize"], snapshot)
    assert read_snapshot(study.optuna_study) == snapshot
    assert study.optuna_study.user_attrs[ATTRIBUTE]["parts"] > 1
    open_storage("long", RunFolder(tmp_path), url, None, snapshot).close()
    snapshot["data"]["split"]["values"]["train"] = people[1:]  # type: ignore[index]
    with pytest.raises(StudyError, match=r"started with another data\.split\.values\.train"):
        store_snapshot(study.optuna_study, snapshot, tmp_path, "")
    study.close()


def test_a_call_that_the_database_refuses_is_not_repeated(server: MariaDB, tmp_path: Path) -> None:
    study = open_storage("long", RunFolder(tmp_path), server.create("refused"), ["maximize"], {"layout": 1})
    trial: optuna.Trial = study.optuna_study.ask()
    with pytest.raises(StudyError, match=r"^the storage refuses the data: .*[Tt]oo long"):
        with_retries(trial.set_user_attr, "cause", "x" * 100_000)
    study.close()
