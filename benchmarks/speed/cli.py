"""The start of the command line with 50 plugins installed, and of the library, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import medians, report

PLUGINS = 50
RUNS = 9
SIAMKIT = Path(sys.executable).with_name("siamkit")

MODULE = """\
import siamkit


@siamkit.hookimpl
def siamkit_losses():
    return [
        siamkit.LossSpec(
            name="fake_{n}_{{}}".format(k), factory="fake_{n}.losses:Fake", supervision="labels",
            params={{"margin": siamkit.Float(0.2, low=0.05, high=1.0, unit="typical_distance")}},
        )
        for k in range(3)
    ]
"""


def install_plugins(folder: Path, count: int = PLUGINS) -> None:
    """Write distributions into a folder, each with a module of three losses behind an entry point."""
    for n in range(count):
        (folder / f"fake_{n}.py").write_text(MODULE.format(n=n))
        info = folder / f"fake_{n}-1.{n}.dist-info"
        info.mkdir()
        fields = f"Metadata-Version: 2.1\nName: fake-{n}\nVersion: 1.{n}\nRequires-Dist: siamkit\n"
        description = "A line of a description, as long as lines usually are.\n" * 100
        (info / "METADATA").write_text(f"{fields}\n{description}")
        (info / "entry_points.txt").write_text(f"[siamkit]\nfake_{n} = fake_{n}\n")


def process(*arguments: str | Path, folder: Path) -> Callable[[], object]:
    """Return a function that runs a program with the plugins of a folder, and waits for its end."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return lambda: subprocess.run(arguments, check=True, capture_output=True, env=environment)


def added(case: str, *command: str | Path, folder: Path, target: float) -> None:
    """Report the seconds that a command takes longer than Python itself."""
    seconds = medians(
        {
            "siamkit": process(*command, folder=folder),
            "python -c pass": process(sys.executable, "-c", "pass", folder=folder),
        },
        RUNS,
    )
    more = seconds["siamkit"] - seconds["python -c pass"]
    report(case, seconds, "siamkit", f"+ {target:.2f} s (here + {more:.3f} s)", added=more)


def main() -> None:
    """Time the command line on one backend, which makes no difference to it, and the import on each."""
    backend = os.environ["KERAS_BACKEND"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install_plugins(folder)
        if backend == "torch":
            added("siamkit --help", SIAMKIT, "--help", folder=folder, target=0.1)
            added("siamkit plugins", SIAMKIT, "plugins", folder=folder, target=0.2)
        seconds = medians(
            {
                "siamkit": process(sys.executable, "-c", "import siamkit; siamkit.Siamese", folder=folder),
                "import keras": process(sys.executable, "-c", "import keras", folder=folder),
            },
            RUNS,
        )
        report("import siamkit; siamkit.Siamese", seconds, "siamkit", "1.05")


if __name__ == "__main__":
    main()
