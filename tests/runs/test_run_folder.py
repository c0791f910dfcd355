"""The run folder's log: whole lines, whoever writes them, and each says who."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from siamkit.errors import StudyError
from siamkit.io.paths import as_path
from siamkit.runs.run_folder import RunFolder

WRITER = """
import sys
from pathlib import Path
from siamkit.runs.run_folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
folder.owner = sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    folder.log("event", number=number, text=sys.argv[2] * 20_000)
"""


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_of_several_processes_do_not_run_into_one_another(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), owner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for owner in "abc"
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    written = lines(tmp_path / "log.jsonl")
    for owner in "abc":
        own = [each for each in written if each["owner"] == owner]
        assert [each["number"] for each in own] == list(range(60))
        assert {each["text"] for each in own} == {owner * 20_000}


def test_each_line_has_its_time_its_event_and_who_wrote_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log("before")
    folder.owner = "tune:here:1-2:ab"
    folder.log("trial ended", trial=3, value=float("nan"))
    first, second = lines(tmp_path / "log.jsonl")
    assert list(first) == ["time", "event"]
    assert second | {"time": 0} == {
        "time": 0,
        "event": "trial ended",
        "owner": "tune:here:1-2:ab",
        "trial": 3,
        "value": None,
    }


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    RunFolder(tmp_path).log("started")
    RunFolder(tmp_path / "missing").log("started")


def test_behind_a_url_each_process_has_a_file_of_its_own() -> None:
    where = as_path("memory://log-test")
    for name in "ab":
        folder = RunFolder(where)
        folder.log("started", name=name)
        folder.log("stopped", name=name)
    files = sorted(where.glob("log-*.jsonl"))
    assert [[each["event"] for each in lines(file)] for file in files] == [["started", "stopped"]] * 2


# ---------------------------------------------------------------- damaged files


DAMAGED = {
    "study.json": ("{}", r"study\.json' is damaged.*lacks objectives"),
    "trials/0/t/result.json": (
        "{}",
        r"result\.json' is damaged.*lacks trial, outcome, factors, figures",
    ),
    "trials/0/t/result.json ": ('{"trial": 0', r"result\.json' is damaged: Expecting"),
    "trials/0/t/result.json  ": ("[1]", r"result\.json' is damaged: it should hold a mapping"),
    "confirm/k/0/result.json": (
        '{"trial": 0, "outcome": "complete", "valid": {"eer": 0.1}, "test": {"eer": 0.1}}',
        r"confirm/k/0/result\.json' is damaged.*lacks factors",
    ),
}


@pytest.mark.parametrize("file", DAMAGED)
def test_a_damaged_file_is_named_in_one_sentence(tmp_path: Path, file: str) -> None:
    text, sentence = DAMAGED[file]
    path = tmp_path / file.strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    folder = RunFolder(tmp_path)
    read = {"study.json": folder.snapshot, "trials": folder.trials, "confirm": folder.repeats}
    with pytest.raises(StudyError, match=sentence) as caught:
        read[file.split("/")[0]]()
    assert "\n" not in str(caught.value)
