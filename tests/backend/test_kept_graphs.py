"""What JAX compiles is kept in the user's cache folder, if only the user can write there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from siamkit.backend import select

VARIABLE = "JAX_COMPILATION_CACHE_DIR"

COMPILE = """
import warnings
warnings.simplefilter("error")
from siamkit.backend import select
select.keep_compiled()
import jax
counts = {}
def count(event, **_):
    counts[event] = counts.get(event, 0) + 1
jax.monitoring.register_event_listener(count)
assert jax.jit(lambda x: x * 3 + 1)(2.0) == 7
print(*(counts.get(f"/jax/compilation_cache/cache_{name}", 0) for name in ("misses", "hits")))
"""


@pytest.fixture(autouse=True)
def no_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
    for name in (VARIABLE, "SIAMKIT_CACHE"):
        os.environ.pop(name, None)


def start_compiling() -> subprocess.Popen[str]:
    """Compile a graph in a new process."""
    return subprocess.Popen(
        [sys.executable, "-c", COMPILE],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def graphs_of(run: subprocess.Popen[str]) -> tuple[int, int]:
    """Return how many graphs a process compiled, and how many it found."""
    output, errors = run.communicate()
    assert run.returncode == 0, errors
    misses, hits = map(int, output.split())
    return misses, hits


def test_the_folder_belongs_to_the_user_alone(tmp_path: Path) -> None:
    (tmp_path / "siamkit").mkdir(mode=0o777)
    select.keep_compiled()
    folder = Path(os.environ[VARIABLE])
    assert folder.parent == tmp_path / "siamkit"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder.parent, folder)] == [0o700, 0o700]


def test_without_xdg_it_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del os.environ["XDG_CACHE_HOME"]
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "me")
    select.keep_compiled()
    assert Path(os.environ[VARIABLE]).parent == tmp_path / "me" / ".cache" / "siamkit"


def test_an_empty_variable_keeps_nothing_and_another_names_the_folder(tmp_path: Path) -> None:
    os.environ["SIAMKIT_CACHE"] = ""
    select.keep_compiled()
    assert VARIABLE not in os.environ
    os.environ["SIAMKIT_CACHE"] = str(tmp_path / "here")
    select.keep_compiled()
    assert Path(os.environ[VARIABLE]).parent == tmp_path / "here"


def test_a_folder_of_the_user_s_own_is_used_as_it_is() -> None:
    os.environ[VARIABLE] = "mine"
    select.keep_compiled()
    assert os.environ[VARIABLE] == "mine"
    assert "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ


def test_a_folder_of_somebody_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    select.keep_compiled()
    assert VARIABLE not in os.environ


def test_a_folder_that_cannot_be_written_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "siamkit").write_text("a file, where root cannot make a folder either")
    select.keep_compiled()
    assert VARIABLE not in os.environ


def test_the_graphs_that_were_not_used_for_longest_are_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(select, "MAX_GRAPHS", 2)
    select.keep_compiled()
    folder = Path(os.environ.pop(VARIABLE))
    for age, name in enumerate(["new", "empty", "used", "old"]):
        (folder / f"{name}-cache").write_bytes(b"" if name == "empty" else b"graph")
        os.utime(folder / f"{name}-cache", (1e9 - age, 1e9 - age))
    os.utime(folder / "used-cache", (2e9, 1))  # written first, read last
    select.keep_compiled()
    assert {file.name for file in folder.glob("*-cache")} == {"new-cache", "used-cache"}


@pytest.mark.keras
@pytest.mark.one_backend("jax")
def test_processes_share_their_graphs_and_damaged_ones_are_compiled_without_a_word(tmp_path: Path) -> None:
    at_once = [start_compiling(), start_compiling()]
    for run in at_once:
        graphs_of(run)
    misses, hits = graphs_of(start_compiling())
    assert (misses, hits > 0) == (0, True)
    for file in tmp_path.glob("siamkit/*/*-cache"):
        file.write_bytes(file.read_bytes()[:-20])
    assert graphs_of(start_compiling()) == (hits, 0)
