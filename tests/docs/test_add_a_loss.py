"""docs/contributing/add-a-loss.md, followed to the letter in a copy of siamkit."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing" / "add-a-loss.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
[COMMANDS] = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
PROGRAMS = {"pytest": [sys.executable, "-m", "pytest"], "python": [sys.executable]}


@pytest.fixture
def copy(tmp_path):
    """A copy of what the page touches and runs."""
    for folder in ("siamkit", "tests/losses", "tests/support"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    for file in ("pyproject.toml", "tests/conftest.py", "docs/components.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def run(line, folder):
    """Run a line of the page in a folder, with the siamkit that is there."""
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    program, *arguments = words[len(variables) :]
    return subprocess.run(
        [*PROGRAMS[program], *arguments],
        cwd=folder,
        env={**os.environ, **variables, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=500,
    )


def test_a_loss_written_as_the_page_says_is_found_checked_and_listed(copy):
    assert len(FILES) == 3
    for file, text in FILES.items():
        assert not (copy / file).exists()
        (copy / file).write_text(text, encoding="utf-8")
    for line in COMMANDS.strip().splitlines():
        done = run(line, copy)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if " --siamkit " in line:
            # Its own test, and the checks of the kit, a step of training among them.
            assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 10
    assert "| `welsch` |" in (copy / "docs" / "components.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_a_file_of_the_page_is_linted_and_formatted(file, command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--stdin-filename", file, "-"],
        input=FILES[file],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
