"""Looking at a study in a real PostgreSQL and a real MariaDB: nothing is made there, no password is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from servers import PASSWORD, MariaDB, PostgreSQL, missing
from status_study import FROZEN, STUDY, configuration

from siamkit.errors import StudyError
from siamkit.io.paths import with_driver
from siamkit.study.monitoring.status import read_status
from siamkit.study.storage.leases import Owner

pytestmark = pytest.mark.waits


@pytest.fixture(scope="module", params=[PostgreSQL, MariaDB])
def server(request: pytest.FixtureRequest) -> Iterator[PostgreSQL | MariaDB]:
    try:
        started = request.param()
    except FileNotFoundError as error:
        missing(str(error))
    yield started
    started.close()


def tables(url: str) -> list[str]:
    engine = sqlalchemy.create_engine(with_driver(url))
    try:
        return sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def test_looking_into_a_database_makes_nothing_there(server: PostgreSQL | MariaDB, tmp_path: Path) -> None:
    url, path = server.create("looked_at"), tmp_path / "study.yaml"
    path.write_text(STUDY.replace("storage: journal", f'storage: "{url}"'))
    for _ in range(2):  # before its tables, and before the study
        with pytest.raises(StudyError, match="the study 'tiny' has not started in") as caught:
            read_status(path)
        assert PASSWORD not in str(caught.value)
        assert tables(url) == []
    storage = optuna.storages.RDBStorage(with_driver(url))
    with pytest.raises(StudyError, match="the study 'tiny' has not started in"):
        read_status(path)
    study = optuna.create_study(storage=storage, study_name="tiny", direction="maximize")
    study.set_user_attr("frozen", FROZEN)
    assert not (tmp_path / "runs").exists()
    trial = study.ask()
    trial.set_user_attr("lease", {"owner": str(Owner.new("tune")), "beat": 1})
    trial.set_user_attr("configuration", configuration(8))
    trial.report(0.5, 2)
    status = read_status(path)
    (running,) = status.running
    assert (status.state, running.epoch, running.value) == ("running", 2, 0.5)
    assert PASSWORD not in json.dumps(status.plain())
    storage.engine.dispose()


def test_a_server_that_does_not_answer_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        STUDY.replace("storage: journal", f"storage: 'postgresql://me:{PASSWORD}@127.0.0.1:1/nothing'")
    )
    with pytest.raises(StudyError, match="cannot be read: ") as caught:
        read_status(tmp_path / "study.yaml")
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
