"""How quick siamkit is, side by side with other libraries and with the arithmetic itself.

    python benchmarks/bench.py [--only knn,losses] [--backends torch,jax]

Each benchmark is a script in benchmarks/speed, which runs once on each backend in a process of its own and
prints its rows. In a row contenders take turns in one process, and their medians are compared. The rows go to
benchmarks/results/bench/NAME-BACKEND.json, and all that are there to one table, benchmarks/results/bench.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "speed"
RESULTS = Path(__file__).parent / "results" / "bench"
PAGE = RESULTS.with_suffix(".md")
BACKENDS = ("torch", "jax", "tensorflow")
PACKAGES = (
    "keras",
    *BACKENDS,
    "tensorflow-cpu",
    "faiss-cpu",
    "pytorch-metric-learning",
    "keras-tuner",
    "numpy",
)
HEAD = """\
# Speed, side by side

`make bench` writes this page; `make bench ONLY=knn` runs one benchmark. In each row the contenders took turns
in one process. Seconds are medians; a ratio is siamkit's seconds divided by the other's: below 1, siamkit is
quicker.
"""


def benchmarks() -> dict[str, Path]:
    """Return the scripts of the benchmarks, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem != "timing"}


def rows_of(script: Path, backend: str) -> Iterator[dict[str, Any]]:
    """Run a benchmark on a backend, and yield its rows as they come."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        [sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if run.returncode:
        sys.exit(f"{script.name} failed on {backend}: exit code {run.returncode}")


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := version_of(name))},
    }


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def described(row: Mapping[str, Any]) -> str:
    """Return a row of the table, without its first cells."""
    others = ", ".join(
        f"{name} {value:.3g} s" for name, value in row["seconds"].items() if name != row["ours"]
    )
    ratios = ", ".join(f"{value:.2f} × {name}" for name, value in row["ratios"].items())
    return f"| {row['case']} | {row['seconds'][row['ours']]:.3g} | {others} | {ratios} | {row['target']} |"


def page() -> str:
    """Return the table of all results that are stored."""
    lines = [HEAD]
    for path in sorted(RESULTS.glob("*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        facts = ", ".join(f"{key} {value}" for key, value in stored["machine"].items())
        lines += [f"## {stored['benchmark']}, {stored['backend']}", "", facts, ""]
        lines += ["| work | siamkit, s | others | ratio | target |", "|---|---|---|---|---|"]
        lines += [*map(described, stored["rows"]), ""]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmarks, and write their rows and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="benchmarks, separated by commas; by default all")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="backends, separated by commas")
    arguments = parser.parse_args()
    known = benchmarks()
    names = arguments.only.split(",") if arguments.only else list(known)
    if unknown := set(names) - set(known):
        parser.error(f"no benchmark {', '.join(unknown)}; choose from {', '.join(known)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        for backend in arguments.backends.split(","):
            print(f"== {name}, {backend}", flush=True)
            rows = []
            for row in rows_of(known[name], backend):
                rows.append(row)
                print(described(row), flush=True)
            if not rows:
                continue  # the same on each backend, and measured on the first
            result = {"benchmark": name, "backend": backend, "machine": machine(), "rows": rows}
            (RESULTS / f"{name}-{backend}.json").write_text(
                json.dumps(result, indent=1) + "\n", encoding="utf-8"
            )
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
