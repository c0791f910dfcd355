"""How many trials an hour: with trials that only sleep, to show what coordination costs; and of a real study.

Sleeping trials take 5 epochs of a second, in real worker processes under real supervisors, with a PostgreSQL
of their own: 1 to 64 workers under one supervisor, and 64 under eight. Counted are the trials that end
between the moment at which all workers are busy and the moment at which the last trial is given out.

    python benchmarks/scaling.py            # --real adds the digits study with 1 and 2 workers, on PyTorch
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "support")]

from crowds import Crowd, write_study  # noqa: E402
from servers import PostgreSQL  # noqa: E402

EPOCH, EPOCHS = 1.0, 5
Event = dict[str, Any]


def events_of(folder: Path) -> list[Event]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda event: event["time"])


def steady(events: list[Event], workers: int) -> tuple[float, int]:
    """Seconds in which all workers had work, and the trials that ended in them."""
    running, begin, last, ends = 0, None, 0.0, []
    for event in events:
        if event["event"] == "trial started":
            running, last = running + 1, event["time"]
            if running == workers and begin is None:
                begin = event["time"]
        elif event["event"] == "trial ended":
            running -= 1
            ends.append(event["time"])
    if begin is None or last <= begin:
        return 0.0, 0
    return last - begin, sum(begin < end <= last for end in ends)


def spent(process: psutil.Process) -> float:
    """Processor seconds of a process and of its children that are no more."""
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def own(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def sleeping(server: PostgreSQL, supervisors: int, workers: int, rounds: int) -> dict[str, float]:
    """Runs one study of sleeping trials."""
    everybody = supervisors * workers
    folder = Path(tempfile.mkdtemp(prefix="scaling-"))
    url = server.create(f"scaling_{supervisors}_{workers}")
    trials = max(everybody * rounds, 20)
    study = write_study(
        folder, url, trials=trials, epochs=EPOCHS, dims="{low: 2, high: 100000000}", pruner="none",
        sampler="random", workers=workers, lease=60,
    )  # fmt: skip
    os.environ["FAKE_EVEN"] = "1"
    try:
        with Crowd(study, EPOCH) as crowd:
            crowd.begin(supervisors - 1)
            mine = [psutil.Process(process.pid) for process in crowd.processes]
            base, used = {}, {}
            while any(process.poll() is None for process in crowd.processes):
                for each in mine:
                    if (took := own(each)) > 0:
                        used[each.pid] = took
                        # What it took to start is not what a trial takes.
                        if each.pid not in base and each.children():
                            base[each.pid] = took
                time.sleep(0.2)
            crowd.wait(60)
            seconds, ended = steady(events_of(crowd.folder), everybody)
        processor = sum(used[pid] - base.get(pid, 0.0) for pid in used) / trials
        return {
            "supervisors": supervisors, "workers": everybody, "trials": trials, "seconds": seconds,
            "hour": 3600 * ended / seconds if seconds else 0.0, "processor": processor,
        }  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


REAL = """\
version: 1
baselines: null
name: digits
seed: 7
data: {source: digits, split: {by: class, train: 0.6, valid: 0.2, test: 0.2}}
fixed: {epochs: 6, batch_size: 128}
search:
  encoder: [{cnn: {depth: 2}}]
  metric: [cosine, euclidean]
  loss: [contrastive, triplet, multi_similarity]
  embedding_dim: {low: 8, high: 64, log: true}
  learning_rate: {low: 1e-4, high: 1e-2, log: true}
budget: {trials: TRIALS}
confirm: null
pruner: none
sampler: random
workers: WORKERS
"""


def real(workers: int, trials: int) -> dict[str, float]:
    """Runs a small real study on PyTorch, one core a trial."""
    folder = Path(tempfile.mkdtemp(prefix="scaling-"))
    try:
        study = folder / "study.yaml"
        study.write_text(REAL.replace("TRIALS", str(trials)).replace("WORKERS", str(workers)))
        environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(HERE.parent)}
        command = [sys.executable, "-m", "siamkit.cli", "tune", str(study), "--progress", "none"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds, ended = steady(events_of(folder / "runs" / "digits"), workers)
        return {"workers": workers, "trials": trials, "hour": 3600 * ended / seconds if seconds else 0.0}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--rounds", type=int, default=5, help="trials for each worker")
    parser.add_argument("--split", default="8x8", help="supervisors x workers, beside those under one")
    parser.add_argument("--real", type=int, default=0, metavar="TRIALS", help="of a real study")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "scaling.md")
    asked = parser.parse_args()
    server = PostgreSQL()
    rows, loads = [], []
    try:
        crowds = [(1, workers) for workers in asked.workers]
        if asked.split:
            crowds.append(tuple(int(each) for each in asked.split.split("x")))  # type: ignore[arg-type]
        for supervisors, workers in crowds:
            rows.append(sleeping(server, supervisors, workers, asked.rounds))
            loads.append(psutil.getloadavg()[0])
            print(rows[-1], f"load {loads[-1]:.1f}", flush=True)
    finally:
        server.close()
    reals = [real(workers, asked.real) for workers in (1, 2)] if asked.real else []
    text = described(asked, rows, reals, loads)
    print(text)
    asked.output.write_text(text)
    return 0


def described(
    asked: argparse.Namespace, rows: list[dict[str, float]], reals: list[dict[str, float]], loads: list[float]
) -> str:
    each = 3600 / (EPOCH * EPOCHS)
    lines = [
        f"| {row['supervisors']:.0f} × {row['workers'] / row['supervisors']:.0f} | {row['trials']:.0f} "
        f"| {row['hour']:.0f} | {each * row['workers']:.0f} | {row['hour'] / (each * row['workers']):.2f} "
        f"| {row['processor'] * 1e3:.0f} | {load:.0f} |"
        for row, load in zip(rows, loads, strict=True)
    ]
    table = "\n".join(lines)
    text = f"""# Trials an hour

`python benchmarks/scaling.py{f" --real {asked.real}" if asked.real else ""}` — Python
{platform.python_version()}, PostgreSQL on the same machine, {psutil.cpu_count()} cores.

## Trials that only sleep

{EPOCHS} epochs of {EPOCH:g} s, so {each:.0f} an hour for each worker if coordination cost nothing. Counted
from the moment at which all workers are busy until the last trial is given out. The processor time is the
supervisors' own, a trial, without their start; all of them, the database and 64 workers share the
{psutil.cpu_count()} cores, and the load is what the machine had to do in all, others included.

| supervisors × workers | trials | trials an hour | ideal | share | processor ms a trial | load |
|---|---:|---:|---:|---:|---:|---:|
{table}
"""
    if reals:
        first = reals[0]["hour"]
        lines = [
            f"| {row['workers']:.0f} | {row['trials']:.0f} | {row['hour']:.0f} | {row['hour'] / first:.2f} |"
            for row in reals
        ]
        text += (
            "\n## A real study\n\nHandwritten digits, a small CNN on PyTorch, one core a trial, SQLite.\n\n"
            "| workers | trials | trials an hour | against one |\n|---:|---:|---:|---:|\n"
            + "\n".join(lines)
            + "\n"
        )
    return text


if __name__ == "__main__":
    sys.exit(main())
