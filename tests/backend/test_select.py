"""Which backend runs, and who said so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from siamkit.backend import select
from siamkit.errors import BackendError


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All three installed, nobody says which, Keras not imported."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(select, "installed", lambda: ["jax", "torch", "tensorflow"])


def configure(tmp_path: Path, text: str) -> None:
    (tmp_path / "keras.json").write_text(text)


def test_the_option_comes_first_then_the_environment_then_the_study(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configure(tmp_path, json.dumps({"backend": "torch"}))
    assert select.choose_backend() == ("torch", "Keras's own configuration")
    assert select.choose_backend(started_with="jax") == ("jax", "the run folder")
    assert select.choose_backend(study="tensorflow", started_with="jax") == ("tensorflow", "the study file")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert select.choose_backend(study="tensorflow") == ("jax", "KERAS_BACKEND")
    assert select.choose_backend("torch", "tensorflow") == ("torch", "--backend")


def test_with_nothing_said_the_first_installed_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert select.choose_backend() == ("jax", "the first one installed")
    monkeypatch.setattr(select, "installed", lambda: ["tensorflow"])
    assert select.choose_backend() == ("tensorflow", "the first one installed")


@pytest.mark.parametrize("text", ['{"backend": "tensorflow"}', "not json", "[]", '{"backend": 5}', "{}"])
def test_a_configuration_that_cannot_be_had_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    configure(tmp_path, text)
    monkeypatch.setattr(select, "installed", lambda: ["torch"])
    assert select.choose_backend() == ("torch", "the first one installed")


def test_an_unknown_backend_is_answered_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "pytorch")
    with pytest.raises(
        BackendError, match=r"^KERAS_BACKEND names the unknown backend 'pytorch'; did you mean 'torch'\?$"
    ):
        select.choose_backend()


def test_one_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(select, "installed", lambda: ["torch"])
    with pytest.raises(
        BackendError,
        match=r"the study file names the backend 'jax', which is not installed; "
        r"pip install 'siamkit\[jax\]' \(installed: torch\)",
    ):
        select.choose_backend(study="jax")


def test_with_none_installed_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "installed", list)
    with pytest.raises(BackendError, match=r"no backend is installed; pip install 'siamkit\[jax\]'"):
        select.choose_backend()
    with pytest.raises(BackendError, match="which is not installed"):
        select.choose_backend("torch")


def test_once_keras_runs_only_its_backend_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    running = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "torch"))
    monkeypatch.setitem(sys.modules, "keras", running)  # type: ignore[arg-type]
    assert select.choose_backend() == ("torch", "the backend that Keras already runs on")
    assert select.choose_backend("torch") == ("torch", "--backend")
    with pytest.raises(BackendError, match="names the backend 'jax', but Keras already runs on 'torch'"):
        select.choose_backend("jax")
    with pytest.raises(
        BackendError, match="the study file names the backend 'jax', but Keras already runs on 'torch'"
    ):
        select.choose_backend(study="jax")


def test_activating_sets_what_keras_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    select.activate("torch")
    assert os.environ["KERAS_BACKEND"] == "torch"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2"


ONLY_TORCH = """
import os, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "keras":  # what it reads when it is first imported
            raise SystemExit(os.environ.get("KERAS_BACKEND"))
        if name.partition(".")[0] in ("jax", "tensorflow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("jax", "tensorflow") else find(name, *rest)
import siamkit, siamkit.data, siamkit.inference
"""


@pytest.mark.parametrize(
    "use",
    [
        "siamkit.evaluate([[1.0, 0.0], [1.0, 0.1]], [0, 0], metric='cosine')",
        "siamkit.data.feed",
        "siamkit.inference.embed_file('missing.keras', 'missing', 'out.parquet')",
    ],
)
def test_the_first_use_of_keras_runs_an_installed_backend(use: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    ran = subprocess.run(
        [sys.executable, "-c", f"{ONLY_TORCH}\n{use}"],
        capture_output=True,
        text=True,
        env=environment | {"KERAS_HOME": str(tmp_path)},
        cwd=tmp_path,
    )
    assert ran.stderr.strip() == "torch"


def test_looking_for_backends_imports_none() -> None:
    code = (
        "import sys; from siamkit.backend import select; select.installed(); select.choose_backend(); "
        "print([m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_python_takes_an_installed_backend_where_nobody_says_and_leaves_what_is_said(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_HOME", "/nowhere")
    monkeypatch.setattr(select, "installed", lambda: ["torch"])
    monkeypatch.setenv("KERAS_BACKEND", "")
    select.prepare()
    assert os.environ["KERAS_BACKEND"] == "torch"
    monkeypatch.setattr(select, "installed", lambda: ["jax", "torch"])
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    select.prepare()
    assert os.environ["KERAS_BACKEND"] == "torch"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(BackendError, match="'tensorflow', which is not installed; pip install"):
        select.prepare()
