"""The dashboard: it shows the study, on this machine only, and changes nothing."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import optuna
import psutil
import pytest

from siamkit.cli import main
from siamkit.errors import StudyError
from siamkit.study.monitoring.locate import find_study
from siamkit.study.monitoring.views import make_dashboard

STUDY = """\
version: 1
baselines: null
name: tiny
data: {source: digits}
search: {encoder: mlp, metric: euclidean, loss: triplet}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dashboard")
    (folder / "study.yaml").write_text(STUDY)
    place = folder / "runs" / "tiny"
    place.mkdir(parents=True)
    study = optuna.create_study(storage=f"sqlite:///{place}/study.db", study_name="tiny")
    study.add_trial(optuna.create_trial(value=0.5))
    return folder / "study.yaml"


@pytest.fixture
def served(path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    pytest.importorskip("optuna_dashboard")
    code = "from siamkit.cli import main; main()"
    command = [sys.executable, "-c", code, "dashboard", str(path), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(url: str, method: str = "GET", **headers: str) -> Any:
    request = urllib.request.Request(url, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def refusal(url: str, method: str = "GET", **headers: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(url, method, **headers)
    with caught.value as error:
        return error.code


def test_it_shows_the_study_on_this_machine_and_ends_with_ctrl_c(
    served: tuple[subprocess.Popen[str], str], path: Path
) -> None:
    process, url = served
    database = path.parent / "runs" / "tiny" / "study.db"
    before = database.read_bytes()
    (study,) = ask(f"{url}/api/studies")["study_summaries"]
    assert study["study_name"] == "tiny"
    detail = ask(f"{url}/api/studies/{study['study_id']}")
    assert [trial["values"] for trial in detail["trials"]] == [[0.5]]
    listening = psutil.Process(process.pid).net_connections("tcp")
    assert {each.laddr.ip for each in listening if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    own = f"{url}/api/studies/{study['study_id']}"
    assert [refusal(own, method) for method in ("DELETE", "POST", "PUT")] == [405] * 3
    assert refusal(f"{url}/api/studies", Host="evil.example") == 403  # a name that leads here
    assert database.read_bytes() == before
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert process.stdout is not None
    assert "Traceback" not in process.stdout.read()


def test_a_port_that_is_taken_gives_way_to_the_next(path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with make_dashboard(find_study(path), port) as server:
            assert port < server.server_port < port + 20


def test_a_missing_package_is_a_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "optuna_dashboard" else real(name)
    )
    result = click.testing.CliRunner().invoke(main, ["dashboard", str(path)])
    assert result.exit_code == 2
    assert result.stderr == "Error: the dashboard needs optuna-dashboard; pip install 'siamkit[dashboard]'\n"


def test_a_study_that_was_never_begun_is_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    (tmp_path / "study.yaml").write_text(STUDY)
    with pytest.raises(StudyError, match="the study 'tiny' has not started in"):
        make_dashboard(find_study(tmp_path / "study.yaml"), 0)
    assert [each.name for each in tmp_path.iterdir()] == ["study.yaml"]
