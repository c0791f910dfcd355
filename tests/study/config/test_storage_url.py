"""A run folder behind a URL: the same study, files and report as in a folder of the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import optuna
import pytest
from ray_cluster import TRAINER, StandIn
from tiny_study import HEAD, Run, changing

from siamkit.errors import StudyError
from siamkit.io.paths import as_path, is_local
from siamkit.study.results.results import Results

STUDY = f"""\
{HEAD}seeds: 2
confirm: {{top: 1, seeds: 2}}
pruner: none
engine: inline
storage: postgresql://somewhere/studies
artifacts: memory://runs/tiny
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    folder = tmp_path / "stand-in"
    folder.mkdir()
    monkeypatch.setenv("SIAMKIT_STAND_IN", str(folder))
    monkeypatch.setattr("siamkit.study.execution.session.TRAINER", TRAINER)
    return StandIn(folder)


@pytest.fixture
def run(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    # A database without a server: one process of one test uses it.
    database = optuna.storages.InMemoryStorage()
    monkeypatch.setattr("siamkit.study.storage.open.open_database", lambda where: database)
    yield changing(tmp_path, STUDY)
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def files(folder: Path, inside: str) -> set[str]:
    found = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    return {each for each in found if each.startswith(inside)}


def test_the_same_files_behind_a_url_as_in_a_folder(run: Run, tmp_path: Path, stand_in: StandIn) -> None:
    there = run()
    assert str(there.folder) == "memory://runs/tiny"
    assert str(there.report_path) == "memory://runs/tiny/report.html"
    here = run(("memory://runs/tiny", "here"), ("storage: postgresql://somewhere/studies", "storage: sqlite"))

    def shapes(results: Results) -> set[str]:
        """The files with the names of attempts and logs left out."""
        shown = set()
        for each in files(results.folder, ""):
            parts = each.split("/")
            if not parts[0].startswith((".lock", "log", "study.db")):
                shown.add("/".join(parts[:2] + parts[3:] if parts[0] == "trials" else parts))
        return shown

    assert shapes(there) == shapes(here)
    assert "trials/0/checkpoint.keras" in shapes(there)
    for one, other in zip(there.trials, here.trials, strict=True):
        assert one.measures == other.measures
        assert one.outcome == "complete"
    assert there.measures == here.measures
    assert there.model_path.read_text() == here.model_path.read_text()
    assert "tiny" in there.report_path.read_text()


def test_it_goes_on_from_a_checkpoint_behind_a_url(run: Run, stand_in: StandIn) -> None:
    stand_in.order(die=3)
    stopped = run()
    assert stopped.interrupted
    stand_in.order()
    results = run()
    assert not results.interrupted
    first = stand_in.done()[0]
    assert [
        line["epoch"]
        for line in stand_in.done()
        if line["dim"] == first["dim"] and line["seed"] == first["seed"]
    ] == [1, 2, 3, 3]
    assert not [each for each in files(results.folder, "") if "resume" in each]
    # Whole, and none but what the results name.
    assert {str(as_path(results.folder / each.folder).name) for each in results.trials} == {
        each.split("/")[2] for each in files(results.folder, "trials/")
    }
    again = run(("trials: 4", "trials: 5"))
    assert len(again.trials) == 5


def test_results_and_report_by_the_command_line(
    run: Run, tmp_path: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    from siamkit.cli import main

    run()
    with pytest.raises(SystemExit) as ended:
        main(["tune", str(tmp_path / "study.yaml"), "--progress", "none"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "report  memory://runs/tiny/report.html" in out
    assert "memory://runs/tiny/best.keras" in out
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "study.yaml")])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == "memory://runs/tiny/report.html"


def test_a_file_in_the_run_folder_wants_a_folder(run: Run) -> None:
    with pytest.raises(StudyError, match=r"the storage 'sqlite' is a file in the run folder, but 'memory://"):
        run(("storage: postgresql://somewhere/studies", "storage: sqlite"))


def test_a_file_url_is_a_folder(tmp_path: Path, run: Run, stand_in: StandIn) -> None:
    url = f"file://{tmp_path}/a folder"
    assert is_local(as_path(url))
    assert str(as_path(url)) == f"{tmp_path}/a folder"
    results = run(("memory://runs/tiny", url), ("storage: postgresql://somewhere/studies", "storage: sqlite"))
    assert results.folder == tmp_path / "a folder"
    assert (tmp_path / "a folder" / "study.db").is_file()


def test_what_is_no_file_system_is_a_sentence(run: Run) -> None:
    with pytest.raises(StudyError, match=r"artifacts: 'nosuch://runs/tiny' cannot be reached: Unsupported"):
        run(("memory://runs/tiny", "nosuch://runs/tiny"))


def test_what_was_frozen_is_found_behind_a_url(run: Run) -> None:
    folder = run().folder
    assert json.loads((folder / "study.json").read_text())["name"] == "tiny"
    with pytest.raises(StudyError, match=r"'memory://runs/tiny' was started with another study\.seed"):
        run(("seed: 3", "seed: 4"))


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_model_is_loaded_from_a_url(tmp_path: Path) -> None:
    import numpy as np

    import siamkit
    from siamkit.io.files import write_atomic

    model = siamkit.build("mlp", "cosine", "triplet", embedding_dim=4, input_shape=(3,))
    there = as_path("memory://models/one.keras")
    write_atomic(there, model.save)
    loaded = siamkit.load_model("memory://models/one.keras")
    x = np.ones((2, 3), "float32")
    assert np.allclose(loaded.embed(x), model.embed(x), atol=1e-6)
    with pytest.raises(
        siamkit.errors.ModelError, match=r"the model file 'memory://models/two\.keras' does not exist"
    ):
        siamkit.load_model(there.with_name("two.keras"))
