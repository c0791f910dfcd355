"""A study that four supervisors and eight workers go through at once, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from crowds import Crowd, audit, read_trials, used_budget, write_study
from servers import PASSWORD, PostgreSQL, missing

from siamkit.errors import StudyError
from siamkit.io.paths import with_driver
from siamkit.runs.results import BACKEND_PACKAGES, versions
from siamkit.study import join, tune
from siamkit.study.execution import session

pytestmark = pytest.mark.waits

BUDGET = 36


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    try:
        postgresql = PostgreSQL()
    except FileNotFoundError:
        missing("postgresql")
    yield postgresql
    postgresql.close()


def test_eight_workers_meet_the_budget_exactly(
    server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.create("crowd")
    study = write_study(tmp_path, url, trials=BUDGET)
    # A hand that comes first is told that there is no study yet, also where only its name is there.
    early = r"the study 'crowd' has not started in the storage 'postgresql://siamkit:\*\*\*@.*' yet; run"
    for _ in range(2):
        with pytest.raises(StudyError, match=early):
            join(study, progress="none")
        storage = optuna.storages.RDBStorage(with_driver(url))
        optuna.create_study(storage=storage, study_name="crowd", load_if_exists=True, direction="maximize")
        storage.engine.dispose()
    assert not (tmp_path / "runs" / "crowd").exists()

    with Crowd(study, 0.05) as crowd:
        crowd.begin(3)
        crowd.wait(240)
    folder, trials = crowd.folder, read_trials(url)
    assert audit(trials, folder, BUDGET) == []
    states = Counter(trial["state"] for trial in trials if used_budget(trial))
    assert states["FAIL"] == sum(trial["attrs"]["factors"]["embedding_dim"] % 7 == 0
                                 for trial in trials if used_budget(trial))  # fmt: skip
    # Draws of what was there already are there, answered and not counted.
    assert any(trial["attrs"].get("outcome") == "duplicate" for trial in trials)
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    owners = {each["owner"] for each in events if each["event"] == "started"}
    assert sorted(owner.split(":")[0] for owner in owners) == ["tune", "worker", "worker", "worker"]
    signers = {trial["attrs"]["lease"]["owner"] for trial in trials if used_budget(trial)}
    assert len(signers) > 1  # several took part
    assert_no_password(tmp_path, crowd.log.read_text())
    frozen = json.loads((folder / "study.json").read_text())
    assert frozen["settings"]["storage"] == url.replace(PASSWORD, "***")

    # A hand that comes late has nothing to do; one that differs is told in what.
    assert join(study, progress="none")
    with pytest.raises(StudyError, match=differs(r"study\.search\.embedding_dim\.high \(41, now 40\)")):
        join(changed(study, "high: 41", "high: 40"), progress="none")
    with pytest.raises(StudyError, match=differs(r"study\.fixed\.batch_size \(8, now 9\)")):
        join(changed(study, "batch_size: 8", "batch_size: 9"), progress="none")
    with monkeypatch.context() as patch:
        patch.setitem(BACKEND_PACKAGES, frozen["versions"]["backend"], ("numpy",))
        with pytest.raises(StudyError, match=differs(r"versions\.packages\.\w+ \('.*', now '.*'\)")):
            join(study, progress="none")
    with monkeypatch.context() as patch:
        real = versions
        patch.setattr(session, "versions", lambda name, plugins: real(name, {**plugins, "acme": "2.0"}))
        with pytest.raises(StudyError, match=differs(r"versions\.plugins\.acme \(None, now '2\.0'\)")):
            join(study, progress="none")
    # Also where the run folder is one of its own, and only the storage can tell.
    whole = (tmp_path / "items.npz").read_bytes()
    data = dict(np.load(tmp_path / "items.npz"))
    data["x"][0, 0] += 1
    np.savez(tmp_path / "items.npz", **data)
    for artifacts in (None, tmp_path / "mine"):
        with pytest.raises(StudyError, match="with other data than these; all processes that run a study"):
            join(study, progress="none", artifacts=artifacts)
    (tmp_path / "items.npz").write_bytes(whole)
    for lend in (join, tune):
        with pytest.raises(StudyError, match=r"has a study 'crowd', but its .* are not in '.*mine'"):
            lend(study, progress="none", artifacts=tmp_path / "mine")


def differs(place: str) -> str:
    return rf"was started with another {place}.*; all processes that run a study must agree"


def changed(study: Path, old: str, new: str) -> Path:
    text = study.read_text()
    assert text.count(old) == 1
    other = study.with_name("other.yaml")
    other.write_text(text.replace(old, new))
    return other


def assert_no_password(folder: Path, printed: str) -> None:
    assert PASSWORD not in printed
    for file in (folder / "runs").rglob("*"):
        if file.is_file():
            assert PASSWORD.encode() not in file.read_bytes(), file
