"""The command line: what it prints, how it exits, and what it does not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import click.testing
import numpy as np
import pytest
from PIL import Image

import siamkit
from siamkit.cli import main

STUDY = """\
version: 1
name: tiny
data: {DATA}
fixed: {batch_size: 16, epochs: 1}
search: {encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}, metric: euclidean, loss: triplet,
         embedding_dim: [4, 8]}
budget: {trials: 1}
confirm: null
baselines: null
"""


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from siamkit.cli import main; main()", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", os.environ["KERAS_BACKEND"])  # put back afterwards
    return tmp_path


def invoke(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, arguments)


def refusal(data: str, *changes: tuple[str, str], here: Path) -> str:
    """The sentence that a study over these data is refused with."""
    text = STUDY.replace("DATA", data) + "engine: inline\n"  # tests of workers refuse data in others
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (here / "study.yaml").write_text(text)
    before = sorted(here.rglob("*"))
    result = invoke("tune", "study.yaml", "--progress", "none")
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert sorted(here.rglob("*")) == before  # nothing half-written
    return result.stderr.removeprefix("Error: ").strip()


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["plugins"], ["plugins", "--json"], ["schema"], ["tune", "--help"], ["embed", "--help"]],
    ids=" ".join,
)
def test_no_backend_is_imported_on_the_way(arguments: list[str]) -> None:
    code = (
        "import sys; from siamkit.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "print('\\nIMPORTED', [m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "IMPORTED []"


def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for command in ("tune", "best", "retrain", "embed", "report", "plugins", "schema", "doctor"):
        assert f"  {command} " in result.output
    assert invoke("--version").output == f"siamkit, version {siamkit.__version__}\n"


def test_plugins_are_listed_as_json() -> None:
    found = json.loads(invoke("plugins", "--json").output)
    assert set(found) == {"components", "problems"}
    triplet = next(each for each in found["components"] if each["qualified"] == "siamkit/triplet")
    assert (triplet["kind"], triplet["name"], triplet["distribution"]) == ("loss", "triplet", "siamkit")
    assert triplet["version"] == metadata.version("siamkit")
    assert triplet["params"]["mining"] == {
        "type": "choice",
        "default": "all",
        "options": ["all", "hard", "semihard", "easy_positive", "distance_weighted", "multi_similarity"],
        "search": ["all", "hard", "semihard"],
        "help": triplet["params"]["mining"]["help"],
    }
    assert {each["kind"] for each in found["components"]} == {"encoder", "metric", "loss", "dataset"}


def test_plugins_are_listed_for_people() -> None:
    lines = [line.split() for line in invoke("plugins").output.splitlines()]
    assert lines[0] == ["kind", "name", "from", "what"]
    assert ["metric", "cosine", "siamkit"] in [line[:3] for line in lines]


def test_schema_prints_json() -> None:
    schema = json.loads(invoke("schema").output)
    assert schema["title"] == "siamkit study, version 1"
    assert schema["additionalProperties"] is False


def test_an_unknown_backend_option_is_a_usage_error(here: Path) -> None:
    result = invoke("tune", "study.yaml", "--backend", "abacus")
    assert result.exit_code == 2
    assert "'abacus' is not one of 'jax', 'torch', 'tensorflow'" in result.stderr


# ---------------------------------------------------------------- what bad input gets


def test_all_problems_of_a_file_come_in_one_message(here: Path) -> None:
    (here / "study.yaml").write_text(
        STUDY.replace("DATA", "source: digit").replace("trials: 1", "trials: yes")
    )
    result = invoke("tune", "study.yaml")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "Error: study.yaml:3: data.source: unknown dataset 'digit'; did you mean 'digits'?",
        "study.yaml:7: budget.trials: should be a whole number, got 'yes'",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n", "study.yaml is a list; a study file is a mapping"),
        ("", "study.yaml is empty; a study file is a mapping"),
        ("a: 1\na: 2\n", "study.yaml:2: while constructing a mapping, found duplicate key"),
        ("a: &a [x]\nb: [*a, *a]\n", "study.yaml:1: anchors and aliases"),
    ],
)
def test_a_study_file_that_is_none_is_refused(here: Path, text: str, sentence: str) -> None:
    (here / "study.yaml").write_text(text)
    result = invoke("tune", "study.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {sentence}")
    assert [each.name for each in here.iterdir()] == ["study.yaml"]


def test_a_missing_study_file_is_named(here: Path) -> None:
    for command in ("tune", "report"):
        result = invoke(command, "none.yaml")
        assert (result.exit_code, result.stderr) == (2, "Error: the study file 'none.yaml' does not exist\n")


@pytest.mark.parametrize("command", ["status", "report", "best", "tune"])
def test_an_unknown_kind_of_url_is_a_sentence(here: Path, command: str) -> None:
    (here / "study.yaml").write_text(STUDY.replace("DATA", "source: digits"))
    result = invoke(command, "study.yaml", "--artifacts", "nosuch://x")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "'nosuch://x' cannot be reached: Unsupported filesystem: 'nosuch'" in result.stderr


def test_report_before_the_study_ran_is_a_sentence(here: Path) -> None:
    (here / "study.yaml").write_text(STUDY.replace("DATA", "source: digits"))
    result = invoke("report", "study.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no study has started in")
    assert [each.name for each in here.iterdir()] == ["study.yaml"]


def picture(path: Path, side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side)).save(path)


def test_data_that_cannot_be_read_are_named(here: Path) -> None:
    assert "none.npz" in refusal("path: none.npz", here=here)
    (here / "bad.npz").write_bytes(b"PK\x03\x04 not really")
    assert "bad.npz" in refusal("path: bad.npz", here=here)
    np.savez(here / "short.npz", x=np.eye(6), y=[0, 1])
    assert "should hold one 'y' per item of 'x', got shapes (6, 6) and (2,)" in refusal(
        "path: short.npz", here=here
    )
    (here / "null.csv").write_text("left,right,target\na,b,1\n,c,0\nd,e,1\n")
    assert "column 'left'" in refusal("path: null.csv", here=here)
    picture(here / "empty/cat/1.png", 8)
    (here / "empty/dog").mkdir()
    assert "'dog'" in refusal("path: empty", here=here)
    assert "missing" in refusal("source: fashion_mnist, path: missing", here=here)


def test_what_does_not_fit_the_data_is_named(here: Path) -> None:
    said = refusal(
        "source: digits", ("metric: euclidean, loss: triplet", "metric: cosine, loss: cosine_mse"), here=here
    )
    assert said.startswith("study.yaml:5: search.loss: the loss 'cosine_mse' learns from scores")
    said = refusal("source: digits, split: {by: colour}", here=here)
    assert "no column 'colour' to split by" in said
    said = refusal("source: digits, split: {by: class, train: [0, 1], valid: [2], test: [3, 11]}", here=here)
    assert "no class is '11'" in said


def test_a_backend_that_cannot_be_had_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert refusal("source: digits", here=here).startswith("KERAS_BACKEND names the unknown backend 'theano'")


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_class_with_one_item_is_named_before_anything_is_written(here: Path) -> None:
    np.savez(here / "lonely.npz", x=np.random.default_rng(0).normal(size=(13, 4)), y=[0] * 6 + [1] * 6 + [2])
    said = refusal("path: lonely.npz, split: {by: class, train: [0, 2], valid: [1], test: [1]}", here=here)
    assert "class '1' should be in one part" in said
    np.savez(
        here / "lonely.npz",
        x=np.random.default_rng(0).normal(size=(21, 4)),
        y=[0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5],
    )
    said = refusal(
        "path: lonely.npz, split: {by: class, train: [0, 5], valid: [1, 2], test: [3, 4]}", here=here
    )
    assert said == (
        "class '5' has a single item; a class needs at least 2 items for balanced batches. Give it another "
        "item, or leave such classes out: in a study by data: {min_items_per_class: 2}"
    )
    said = refusal(
        "path: lonely.npz, split: {by: class, train: [0, 1, 2], valid: [3], test: [4, 5]}", here=here
    )
    assert "the valid split has one class only ('3')" in said
    # By item, a small part may hold one item of each class: nothing to be found.
    np.savez(
        here / "thin.npz", x=np.random.default_rng(0).normal(size=(60, 4)), y=np.repeat(np.arange(6), 10)
    )
    said = refusal("path: thin.npz, split: {train: 0.8, valid: 0.1, test: 0.1}", here=here)
    assert "no class of the valid split has two items, so no item has another one to find" in said


def test_what_a_terminal_cannot_write_ends_nothing(here: Path) -> None:
    """A poor encoding gets question marks; who closes the output gets none, and no traceback."""
    command = [sys.executable, "-c", "from siamkit.cli import main; main()", "plugins"]
    poor = {**os.environ, "PYTHONIOENCODING": "ascii"}
    told = subprocess.run(command, capture_output=True, env=poor, check=False)
    assert told.returncode == 0, told.stderr
    assert b"?" in told.stdout
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, check=False)
    assert closed.returncode == 0, closed.stderr


def into_a_closed_pipe(*arguments: str, cwd: Path) -> tuple[int, str]:
    """The exit code and standard error of a command whose standard output nothing reads."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "siamkit.cli", *arguments],
        cwd=cwd,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("arguments", ["--help", "tune --help", "plugins", "plugins --json", "schema"])
def test_a_printing_command_exits_with_0_when_its_reader_has_exited(arguments: str, tmp_path: Path) -> None:
    assert into_a_closed_pipe(*arguments.split(), cwd=tmp_path) == (0, "")


@pytest.mark.parametrize("arguments", ["--help", "plugins --json", "schema"])
def test_output_on_a_full_disk_is_an_error_at_the_end(arguments: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "siamkit.cli", *arguments.split()]
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    sentence = "Error: standard output cannot be written: No space left on device\n"
    assert (ran.returncode, ran.stderr) == (2, sentence)


def test_a_mistake_exits_with_2_also_into_a_closed_pipe(tmp_path: Path) -> None:
    code, stderr = into_a_closed_pipe("tune", "none.yaml", cwd=tmp_path)
    assert (code, stderr) == (2, "Error: the study file 'none.yaml' does not exist\n")


@pytest.mark.parametrize("command", ["siamkit.cli plugins | head -1", "siamkit.cli plugins 2>&1 | head -1"])
def test_the_first_lines_of_a_command_can_be_read(command: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m {command}; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout.split(), ran.stderr) == (["kind", "name", "from", "what", "0"], "")


def test_a_time_for_a_study_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("version: 1\n")
    result = click.testing.CliRunner().invoke(main, ["tune", str(tmp_path / "study.yaml"), "--time", "2h"])
    assert result.exit_code == 2
    assert "in a study file write `budget: {time: 2h}`" in result.output


@pytest.mark.keras
@pytest.mark.one_backend
def test_tune_finishes_the_study_when_its_reader_has_exited(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        STUDY.replace("DATA", "source: digits, limit: {train: 60, valid: 40, test: 40}") + "engine: inline\n"
    )
    code, stderr = into_a_closed_pipe("tune", "study.yaml", cwd=tmp_path)
    assert (code, stderr) == (0, "")
    assert (tmp_path / "runs/tiny/report.html").is_file()
    watched = into_a_closed_pipe("status", "study.yaml", "--watch", cwd=tmp_path)
    assert watched == (0, "")


def test_watching_stops_when_its_reader_has_exited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siamkit.cli import _terminal

    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "__stdout__", stream)
        with _terminal.lasting_output():
            assert not _terminal.reader_exited()
            print("dropped", flush=True)
            assert _terminal.reader_exited()
        assert sys.stdout is stream


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_bug_keeps_its_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siamkit.study.execution import session

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(session, "prepare_data", broken)
    (here / "study.yaml").write_text(STUDY.replace("DATA", "source: digits"))
    result = invoke("tune", "study.yaml", "--progress", "none")
    assert isinstance(result.exception, ZeroDivisionError)


# ---------------------------------------------------------------- a study


@pytest.mark.keras
@pytest.mark.one_backend
def test_tune_prints_plain_lines_and_report_makes_the_page_again(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        STUDY.replace("DATA", "source: digits, limit: {train: 60, valid: 40, test: 40}")
    )
    ran = run("tune", "study.yaml", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == f"backend {os.environ['KERAS_BACKEND']} (KERAS_BACKEND)"
    assert lines[1] == "1,797 items: 60 train, 40 valid, 40 test"
    (ended,) = [line for line in lines if line.startswith("[1/1] trial 0")]
    assert ended.startswith("[1/1] trial 0    mlp · euclidean · triplet · ")
    assert ended.endswith("← best")
    assert lines[-2:] == [
        "report  runs/tiny/report.html",
        "model   runs/tiny/best.keras",
    ]
    page = tmp_path / "runs/tiny/report.html"
    page.unlink()
    code = (
        "import sys; from siamkit.cli import main\n"
        "try: main(['report', 'study.yaml'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print([m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    again = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert again.stdout.splitlines() == ["runs/tiny/report.html", "[]"]
    assert page.is_file()


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_study_whose_trials_all_fail_says_why_and_exits_with_1(here: Path) -> None:
    (here / "study.yaml").write_text(
        STUDY.replace("DATA", "source: digits, limit: {train: 60, valid: 40, test: 40}").replace(
            "trials: 1", "trials: 1, trial_memory: 1MB"
        )
        + "engine: inline\n"
    )
    result = invoke("tune", "study.yaml", "--progress", "none")
    assert result.exit_code == 1
    assert "No trial completed" in result.output
    assert "took more memory than the trial_memory of 0.001 GB" in result.output
    assert "Traceback" not in result.output


@pytest.mark.keras
@pytest.mark.one_backend("torch", "jax")
def test_doctor_shows_the_backend_and_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    from siamkit.backend import select

    name = os.environ["KERAS_BACKEND"]
    monkeypatch.setattr(select, "installed", lambda: [name])
    result = invoke("doctor", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["chosen"] == name
    assert found["why"] == f"{name} would run: KERAS_BACKEND"
    there = {each["name"]: each for each in found["backends"]}
    assert there[name]["error"] == ""
    assert there[name]["version"]
    assert any("cpu" in device.lower() for device in there[name]["devices"])
    for other in {"jax", "torch", "tensorflow"} - {name}:
        assert there[other]["error"] == f"not installed; pip install 'siamkit[{other}]'"
    text: Callable[..., str] = lambda: invoke("doctor").output  # noqa: E731
    assert f"→ {name}" in text()
