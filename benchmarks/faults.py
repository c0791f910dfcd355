"""What survives? Small studies, struck by a fault at a seeded moment, run again, and audited.

    python benchmarks/faults.py [--faults kill_worker,…] [--times 20] [--real 2] [--jobs 2] [--output FOLDER]

Each repetition runs `siamkit tune` with two workers in a folder of its own, strikes, runs the same command
until it is done (in some once more after that), and then audits what is there, by Optuna and the files alone
and not by siamkit's own ledger. In most repetitions a formula stands in for training, so that all else is
real (faults_shim/sitecustomize.py, which Python loads by itself; siamkit has no hooks for it); the last
`--real` ones train on PyTorch. Needs Linux; disk_full needs root (it mounts), clock wants gcc,
postgres its PostgreSQL. What faults.jsonl holds is not run again; the table is faults.md.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pyarrow.parquet as pq

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BUDGET, EPOCHS, BAD = 6, 4, 7
STUDY = """\
version: 1
baselines: null
name: faults
seed: SEED
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}
fixed: {batch_size: 16, epochs: 4, learning_rate: 0.01}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.2}}
  metric: euclidean
  loss: LOSS
  embedding_dim: [2, 3, 4, 5, 6, 7, 8, 9]
budget: {trials: 6}
confirm: {top: 1, seeds: 1}
workers: 2
lease: 5s
"""


class Skip(Exception):
    """The run had ended before the fault could strike: another seed."""


class Run:
    """One repetition: a study in a folder, the processes that run it, and what they said."""

    def __init__(self, fault: str, seed: int, real: bool, mount: int = 0) -> None:
        self.fault, self.seed, self.real = fault, seed, real
        self.rng = random.Random(f"{fault} {seed} {real}")
        self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self.artifacts = self.folder / "run"
        self.artifacts.mkdir()
        self.mounted = bool(mount)
        if mount:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={mount}k", "tmpfs", str(self.artifacts)], check=True
            )
        (self.folder / "tmp").mkdir()
        self.log = self.folder / "epochs.jsonl"
        self.log.touch()
        self.storage = f"sqlite:///{self.artifacts / 'study.db'}"
        loss = "{faulty: {margin: 0.2}}" if real else "{triplet: {margin: 0.2, swap: false, MORE}}"
        loss = loss.replace("MORE", "smooth_loss: false, mining: all")
        self.text = STUDY.replace("SEED", str(seed)).replace("LOSS", loss)
        if real:
            self.text += "plugins: [fault_losses]\n"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE / "faults_shim"), str(HERE.parent)]),
            "TMPDIR": str(self.folder / "tmp"),
            "FAULTS_LOG": str(self.log),
            "FAULTS_TRAINING": "real" if real else "pretended",
            "FAULTS_RUN": self.folder.name,
            "FAULTS_DIM": str(BAD),
            "KERAS_BACKEND": "torch",
            "OMP_NUM_THREADS": "1",
            "SIAMKIT_PLUGINS": "",
        }
        self.outputs: list[str] = []
        self.codes: list[int] = []
        self.struck = ""
        self.allowed: Counter[str] = Counter()
        self._files = itertools.count()
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(4), 16)
        items = rng.normal(size=(64, 5)).astype("float32") + labels[:, None]
        np.savez(self.folder / "items.npz", x=items, y=labels)

    def write(self, *changes: tuple[str, str]) -> None:
        for old, new in changes:
            assert self.text.count(old) == 1, old
            self.text = self.text.replace(old, new)
        (self.folder / "study.yaml").write_text(self.text)

    def start(self, command: str = "tune") -> subprocess.Popen[bytes]:
        self.write()
        output = (self.folder / f"out-{next(self._files)}").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "siamkit.cli", command, "study.yaml", "--artifacts", str(self.artifacts)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, as a terminal gives it
        )
        process.told = Path(output.name)  # type: ignore[attr-defined]
        output.close()
        return process

    def wait(self, process: subprocess.Popen[bytes], seconds: float = 300) -> str:
        try:
            self.codes.append(process.wait(seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.codes.append(-999)
        self.outputs.append(process.told.read_text(errors="replace"))  # type: ignore[attr-defined]
        return self.outputs[-1]

    def until_done(self) -> None:
        """Runs the command until it succeeds, and then once more, which should find nothing to do."""
        for _ in range(6):
            self.wait(self.start())
            if self.codes[-1] == 0:
                break
        if self.seed // 100 % 5:
            return
        before = self.log.read_text()
        self.wait(self.start())
        assert self.log.read_text() == before, "trained after it was done"

    # --------------------------------------------------------- when, and whom

    def workers(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        try:
            children = psutil.Process(process.pid).children()
            return [each for each in children if "siamkit.study.worker.process" in " ".join(each.cmdline())]
        except psutil.Error:
            return []

    def moment(self, process: subprocess.Popen[bytes], usual: float, epochs: int = BUDGET * EPOCHS) -> None:
        """Waits for a seeded moment: of the clock, of the work done, or while a file is being written."""
        kind = self.rng.choice(["clock", "epoch", "epoch", "file"])
        after = self.rng.randrange(epochs)
        pause = self.rng.uniform(0, usual if kind == "clock" else 0.15)
        self.struck = f"{kind} {pause:.2f}" if kind == "clock" else f"{kind} after epoch {after} +{pause:.3f}"
        if kind != "clock":
            self.until(process, lambda: self.epochs() >= after)
        if kind == "file":
            wanted = [*self.artifacts.glob("trials/*/*"), self.artifacts]
            self.until(process, lambda: any(True for place in wanted for _ in aside(place)), patience=3)
        else:
            time.sleep(pause)
        if process.poll() is not None:
            raise Skip

    def until(
        self, process: subprocess.Popen[bytes], what: Callable[[], bool], patience: float = 240
    ) -> None:
        end = time.monotonic() + patience
        while not what() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)

    def epochs(self) -> int:
        return self.log.read_text().count("\n")

    # --------------------------------------------------------- the audit

    def audit(self) -> list[str]:
        wrong: list[str] = []

        def check(right: bool, sentence: str) -> None:
            if not right:
                wrong.append(sentence)

        check(self.codes[-1] == 0, f"exit codes {self.codes}")
        for text in self.outputs:
            check("Traceback" not in text and "Exception ignored" not in text, f"traceback: {text[-1500:]}")
        time.sleep(0.2)
        check(not (left := self.alive()), f"processes alive: {left}")
        hidden = [str(each.relative_to(self.artifacts)) for each in self.artifacts.rglob("*") if stray(each)]
        check(not hidden, f"left over: {hidden}")
        temporary = [each.name for each in (self.folder / "tmp").rglob("*")]
        check(not temporary, f"temporary: {temporary}")
        if self.codes[-1] != 0:
            return wrong

        study = optuna.load_study(study_name="faults", storage=self.storage)
        trials = study.get_trials(deepcopy=False)
        states = Counter(trial.state.name for trial in trials)
        check(not states["RUNNING"] and not states["WAITING"], f"unfinished trials: {states}")
        counted = {}
        for trial in trials:
            attrs = trial.user_attrs
            own = trial.state.name in ("COMPLETE", "PRUNED") and "outcome" not in attrs
            if own or attrs.get("outcome") == "failed":
                check(attrs["key"] not in counted, f"{attrs['key']} counted twice")
                counted[attrs["key"]] = trial
        check(len(counted) == BUDGET, f"{len(counted)} counted of {BUDGET}")
        files = [*self.artifacts.glob("trials/*/*")]
        stored = {}
        for place in files:
            if not (place / "result.json").is_file():
                wrong.append(f"no result: {place}")
                continue
            result = json.loads((place / "result.json").read_text())
            check(result["key"] not in stored, f"two results of {result['key']}")
            stored[result["key"]] = result
            trial = counted.get(result["key"])
            if trial is None:
                wrong.append(f"a result that does not count: {place}")
                continue
            check(result["trial"] == trial.number, f"result of {result['trial']}, not {trial.number}")
            check(result["outcome"].upper()[:4] == trial.state.name[:4], f"{result['outcome']} is {trial}")
            if result["outcome"] == "complete":
                check(result["values"] == trial.values, f"{result['values']} is not {trial.values}")
                wrong.extend(whole(place))
        check(set(stored) == set(counted), f"results {set(stored)} of {set(counted)}")
        final = [*self.artifacts.glob("confirm/*/*")]
        check(len(final) == 1, f"{len(final)} confirmations")
        for place in final:
            check(json.loads((place / "result.json").read_text())["outcome"] == "complete", f"{place} failed")
            check(zipfile.ZipFile(place / "checkpoint.keras").testzip() is None, f"{place}: bad model")
        check(zipfile.ZipFile(self.artifacts / "best.keras").testzip() is None, "bad best.keras")
        check((self.artifacts / "report.html").read_text().rstrip().endswith("</html>"), "half a report")
        json.loads((self.artifacts / "study.json").read_text())
        pq.read_table(self.artifacts / "items.parquet")
        wrong.extend(self.repeated({trial.number: trial.user_attrs.get("key") for trial in trials}))
        return wrong

    def repeated(self, keys: dict[int, str]) -> list[str]:
        """Epochs that were trained although their state had been saved."""
        seen: dict[Any, list[dict[str, Any]]] = {}
        for text in self.log.read_text().splitlines():
            line = json.loads(text)
            *_, kind, name, token = Path(line["place"]).parts
            what = keys[int(name)] if kind == "trials" else f"confirm {name} {token}"
            seen.setdefault((what, line["repeat"], line["epoch"]), []).append(line)
        twice = [(what, len(lines)) for what, lines in seen.items() if len(lines) > 1]
        # An attempt that was stopped, and taken for dead, ends its epoch when it goes on: one a worker.
        self.overlap = sum(count - 1 for _, count in twice)
        if self.overlap <= self.allowed["epochs"]:
            return []
        return [f"trained again: {twice}"]

    def alive(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FAULTS_RUN") == self.folder.name and process.is_running():
                    found.append(f"{process.pid} {process.status()} {' '.join(process.cmdline()[-4:])}")
            except psutil.Error:
                continue
        return found

    def clean(self) -> None:
        for process in psutil.process_iter():
            try:
                if process.environ().get("FAULTS_RUN") == self.folder.name:
                    process.kill()
            except psutil.Error:
                continue
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.artifacts)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def aside(place: Path) -> list[Path]:
    return [each for each in place.glob(".*") if each.name != ".lock"]


def stray(path: Path) -> bool:
    return path.name.startswith("resume") or (path.name.startswith(".") and path.name != ".lock")


def whole(place: Path) -> list[str]:
    wrong = []
    try:
        epochs = pq.read_table(place / "history.parquet").column("epoch").to_pylist()
        if epochs != list(range(1, EPOCHS + 1)):
            wrong.append(f"{place}: epochs {epochs}")
        pq.read_table(place / "queries.parquet")
        if zipfile.ZipFile(place / "checkpoint.keras").testzip() is not None:
            wrong.append(f"{place}: bad model")
    except Exception as error:
        wrong.append(f"{place}: {error!r}")
    return wrong


# -------------------------------------------------------------------- the faults


def kill_worker(run: Run, usual: float) -> None:
    process = run.start()
    run.moment(process, usual)
    run.until(process, lambda: bool(run.workers(process)))
    found = run.workers(process)
    if not found:
        raise Skip
    run.rng.choice(found).kill()
    run.wait(process)


def kill_supervisor(run: Run, usual: float) -> None:
    process = run.start()
    run.moment(process, usual)
    process.kill()
    run.wait(process)


def kill_both(run: Run, usual: float) -> None:
    process = run.start()
    run.moment(process, usual)
    both = run.workers(process)
    for each in run.rng.sample([*both, process], len(both) + 1):
        each.kill()
    run.wait(process)


def stop_worker(run: Run, usual: float) -> None:
    """Longer than the lease, then it goes on, if it is still there."""
    process = run.start()
    run.moment(process, usual)
    found = run.workers(process)
    if not found:
        raise Skip
    victim = run.rng.choice(found)
    victim.suspend()
    time.sleep(run.rng.uniform(6, 9))
    if victim.is_running():
        victim.resume()
    run.wait(process)


def stop_all(run: Run, usual: float) -> None:
    """A whole supervisor with its workers, beyond the lease, while another takes over; then it goes on."""
    run.write(("workers: 2", "workers: 1"))
    first, second = run.start("tune"), None
    run.until(first, lambda: run.epochs() > 0)
    second = run.start("worker")
    victim = run.rng.choice([first, second])
    if victim is second:
        run.until(second, lambda: bool(run.workers(second)))
    run.moment(victim, usual, epochs=BUDGET * EPOCHS // 2)
    stopped = [psutil.Process(victim.pid), *run.workers(victim)]
    for each in stopped:
        each.suspend()
    time.sleep(run.rng.uniform(7, 14))
    run.allowed["epochs"] = len(stopped) - 1
    for each in run.rng.sample(stopped, len(stopped)):
        if each.is_running():
            each.resume()
    for process in (first, second):
        run.wait(process)
        if run.codes[-1] != 0:
            raise AssertionError(f"exit code {run.codes[-1]}: {run.outputs[-1][-500:]}")


def _heard(run: Run) -> None:
    """Another seed where Python itself, or what it imports first, was still starting."""
    if "KeyboardInterrupt" in run.outputs[-1] and " in invoke" not in run.outputs[-1]:
        raise Skip


def ctrl_c(run: Run, usual: float) -> None:
    process = run.start()
    run.moment(process, usual)
    log = run.artifacts / "log.jsonl"
    begun = log.is_file() and "trial started" in log.read_text()
    os.killpg(process.pid, signal.SIGINT)
    run.wait(process, 60)
    _heard(run)
    assert run.codes[-1] in (130, 0), (run.codes, run.outputs[-1])
    if begun:
        assert (run.artifacts / "report.html").is_file(), "no report"


def ctrl_c_twice(run: Run, usual: float) -> None:
    process = run.start()
    run.moment(process, usual)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(run.rng.uniform(0.05, 0.8))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    run.wait(process, 20)
    _heard(run)
    # On its way out Python itself ends by the signal, which a shell calls 130 as well.
    assert run.codes[-1] in (130, 0, -signal.SIGINT), (run.codes, run.outputs[-1])


def two_tunes(run: Run, usual: float) -> None:
    run.environment["FAULTS_EPOCH"] = "0.8"  # the second is to come to it before the first has ended
    process = run.start()
    run.moment(process, usual / 2, epochs=BUDGET)
    if not (run.artifacts / ".lock").exists():
        run.until(process, lambda: run.epochs() > 0)
    second = run.start()
    said = run.wait(second)
    if run.codes[-1] == 0 or process.poll() is not None:
        raise Skip  # the first had ended before the second came to it
    assert run.codes[-1] == 2, (run.codes, said)
    assert "another 'siamkit tune' is running this study" in said, said
    assert len(said.strip().splitlines()) <= 3, said  # the backend, the items, the error
    run.wait(process)
    assert run.codes[-1] == 0, run.outputs[-1]


def _misbehaving(run: Run, kind: str, cause: str, *changes: tuple[str, str]) -> None:
    run.environment |= {"FAULTS_KIND": kind, "FAULTS_BYTES": "1.5e9" if not run.real else "3e9"}
    run.write(("[2, 3, 4, 5, 6, 7, 8, 9]", "[2, 3, 4, 5, 6, 7]"), *changes)
    run.struck = f"{kind} at embedding_dim {BAD}"
    run.wait(run.start(), 400)
    assert run.codes[-1] == 0, run.outputs[-1]
    results = [json.loads(p.read_text()) for p in run.artifacts.glob("trials/*/*/result.json")]
    failed = [each for each in results if each["outcome"] == "failed"]
    assert [each["configuration"]["embedding_dim"] for each in failed] == [BAD], failed
    assert cause in failed[0]["cause"], failed[0]["cause"]
    wanted = 4 if kind == "segfault" else 1
    assert failed[0]["attempt"] == wanted, failed[0]
    assert all(each["attempt"] == 1 for each in results if each is not failed[0]), "others were hit"


def segfault(run: Run, usual: float) -> None:
    _misbehaving(run, "segfault", "its process ended by SIGSEGV, 4 times")


def hang(run: Run, usual: float) -> None:
    limit = "40s" if run.real else "4s"
    change = ("{trials: 6}", f"{{trials: 6, trial_time: {limit}}}")
    _misbehaving(run, "hang", "took longer than the trial_time", change)


def memory(run: Run, usual: float) -> None:
    limit = "2.5GB" if run.real else "1GB"
    change = ("{trials: 6}", f"{{trials: 6, trial_memory: {limit}}}")
    _misbehaving(run, "memory", "took more memory than the trial_memory", change)


def nan(run: Run, usual: float) -> None:
    _misbehaving(run, "nan", "nan")


def clock(run: Run, usual: float) -> None:
    """The time of day jumps by hours, forth and back, several times."""
    told, shim = run.folder / "clock", run.folder / "clock.so"
    told.write_bytes(bytes(8))
    source = HERE / "faults_shim" / "clock.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    run.environment |= {"LD_PRELOAD": str(shim), "FAULTS_CLOCK": str(told)}
    process = run.start()
    jumps = []
    for _ in range(run.rng.randint(2, 5)):
        run.until(process, lambda: False, patience=run.rng.uniform(0.1, usual / 3))
        jumps.append(f"{run.rng.choice([5, -7, 24 * 40, -24, 0]):+d} h")
        with told.open("r+b") as file:
            file.write(struct.pack("q", 3600 * int(jumps[-1].split()[0])))
    if process.poll() is not None and len(jumps) < 2:
        raise Skip
    run.struck = " ".join(jumps)
    run.wait(process)
    assert run.codes[-1] == 0, run.outputs[-1]


def _fill(run: Run, leave: int) -> Path:
    filler = run.folder / "run" / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    size = filler.stat().st_size
    os.truncate(filler, max(0, size - leave))
    return filler


def _full(run: Run, usual: float, leave: int) -> None:
    process = run.start()
    run.moment(process, usual)
    filler = _fill(run, leave)
    said = run.wait(process, 120)
    if run.codes[-1] == 0:
        filler.unlink()
        raise Skip  # all was written before
    assert run.codes[-1] == 2, (run.codes, said[-1500:])
    errors = [line for line in said.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1, said
    assert "cannot be written" in errors[0] or "cannot be opened" in errors[0], errors
    run.struck += f"; {errors[0]:.150}"
    filler.unlink()


def disk_full(run: Run, usual: float) -> None:
    """No room for a checkpoint, or for the storage's own writes."""
    _full(run, usual, run.rng.choice([0, 4096, 16384, 65536]))


def disk_full_report(run: Run, usual: float) -> None:
    """Room for all but the report, which holds megabytes."""
    _full(run, usual, 2_000_000)


class Postgres:
    """A server of its own, on a free port."""

    PROGRAMS = Path("/usr/lib/postgresql/15/bin")

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="faults-postgres-"))
        shutil.chown(self.folder, "postgres")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._run("initdb", "-A", "trust", "-U", "postgres", str(self.folder / "data"))

    def _run(self, program: str, *arguments: str) -> None:
        command = ["runuser", "-u", "postgres", "--", str(self.PROGRAMS / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def database(self, name: str) -> str:
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name)
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"


def postgres(run: Run, usual: float) -> None:
    """The storage's server is stopped for 30 seconds and started again."""
    server = Postgres()
    server.start()
    try:
        where = server.database("study")
        run.storage = where.replace("postgresql://", "postgresql+psycopg://")
        run.write(("lease: 5s", f"lease: 20s\nstorage: {where}"))
        process = run.start()
        run.moment(process, usual)
        server.stop()
        time.sleep(30)
        server.start()
        said = run.wait(process)
        begun = (run.artifacts / "log.jsonl").is_file() and run.epochs() > 0
        if begun:
            assert run.codes[-1] == 0, (run.codes, said[-800:])
        run.until_done()
        run.wrong = run.audit()  # type: ignore[attr-defined]
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


FAULTS: dict[str, Callable[[Run, float], None]] = {
    "kill_worker": kill_worker,
    "kill_supervisor": kill_supervisor,
    "kill_both": kill_both,
    "stop_worker": stop_worker,
    "stop_all": stop_all,
    "postgres": postgres,
    "disk_full": disk_full,
    "disk_full_report": disk_full_report,
    "segfault": segfault,
    "hang": hang,
    "memory": memory,
    "nan": nan,
    "two_tunes": two_tunes,
    "clock": clock,
    "ctrl_c": ctrl_c,
    "ctrl_c_twice": ctrl_c_twice,
}
ROOM = {"disk_full": 3000, "disk_full_report": 14000}  # KiB of the run folder's file system


def repetition(fault: str, seed: int, real: bool, usual: float) -> dict[str, Any] | None:
    """One repetition; None where the run ended before the fault could strike."""
    room = ROOM.get(fault, 0)
    run = Run(fault, seed, real, 2 * 14000 if room == 3000 else room)
    began = time.monotonic()
    wrong: list[str] = []
    try:
        FAULTS[fault](run, usual)
        wrong = getattr(run, "wrong", None) or []
        if fault != "postgres":
            run.until_done()
            wrong = run.audit()
    except Skip:
        return None
    except AssertionError as error:
        wrong = [str(error)[:3000]]
    except Exception as error:
        wrong = [repr(error)[:3000]]
    finally:
        if wrong and os.environ.get("FAULTS_KEEP"):
            print(f"kept: {run.folder}", flush=True)
        else:
            run.clean()
    return {
        "fault": fault,
        "seed": seed,
        "training": "real" if real else "pretended",
        "struck": run.struck,
        "exit_codes": run.codes,
        "epochs_overlapping": getattr(run, "overlap", 0),
        "seconds": round(time.monotonic() - began, 1),
        "commit": commit(),
        "wrong": wrong,
    }


def usual_seconds(real: bool) -> float:
    """How long an undisturbed run takes here, now."""
    run = Run("none", 0, real)
    try:
        began = time.monotonic()
        run.wait(run.start())
        took = time.monotonic() - began
        assert run.codes == [0], run.outputs
        run.until_done()
        assert not (wrong := run.audit()), wrong
        return took
    finally:
        run.clean()


@functools.cache
def commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()


def stored(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def page(records: list[dict[str, Any]]) -> str:
    lines = [
        "# Faults",
        "",
        "`make faults`: small studies struck at seeded moments, run again until done, and audited "
        "(benchmarks/faults.py says how). All that was wrong is in the last column; the log is faults.jsonl.",
        "",
        "| fault | times | trained for real | exit codes of the struck run | overlapping epochs | wrong |",
        "|---|--:|--:|---|--:|--:|",
    ]
    for fault in FAULTS:
        mine = [each for each in records if each["fault"] == fault]
        if mine:
            codes = Counter(each["exit_codes"][0] for each in mine if each["exit_codes"])
            told = ", ".join(f"{code} ({count}×)" for code, count in codes.most_common())
            real = sum(each["training"] == "real" for each in mine)
            wrong = sum(bool(each["wrong"]) for each in mine)
            overlap = sum(each["epochs_overlapping"] for each in mine)
            lines.append(f"| {fault} | {len(mine)} | {real} | {told} | {overlap} | {wrong} |")
    bad = [each for each in records if each["wrong"]]
    lines += ["", f"{len(records)} repetitions, {len(bad)} of them with something wrong."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--real", type=int, default=2, help="so many of them with real training")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of faults.jsonl and faults.md")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    log, table = asked.output / "faults.jsonl", asked.output / "faults.md"
    # One started in the background ignores Ctrl-C, and its children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    records = stored(log)
    lock = threading.Lock()
    usual = {real: usual_seconds(real) for real in ([False] if asked.real < asked.times else [])}
    if asked.real:
        usual[True] = usual_seconds(True)
    print("undisturbed:", {("real" if k else "pretended"): round(v, 1) for k, v in usual.items()}, flush=True)
    done = Counter((each["fault"], each["training"]) for each in records)
    used = {(each["fault"], each["seed"]) for each in records}

    def one(fault: str, real: bool, seeds: range) -> None:
        for seed in seeds:
            if (fault, seed) in used:
                continue
            record = repetition(fault, seed, real, usual[real])
            if record is None:
                continue
            with lock:
                with log.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                table.write_text(page(stored(log)))
            verdict = "WRONG " + record["wrong"][0][:300] if record["wrong"] else "ok"
            print(f"{fault} {seed} {record['seconds']} s {record['struck']}: {verdict}", flush=True)
            return

    with ThreadPoolExecutor(asked.jobs) as jobs:
        waiting = []
        for number in range(asked.times):
            for fault in asked.faults.split(","):
                real = number >= asked.times - asked.real
                wanted = number if not real else number - (asked.times - asked.real)
                if wanted >= done[fault, "real" if real else "pretended"]:
                    waiting.append(jobs.submit(one, fault, real, range(number * 100, number * 100 + 20)))
        for each in waiting:
            each.result()
    print(page(stored(log)))
    return 1 if any(each["wrong"] for each in stored(log)) else 0


if __name__ == "__main__":
    sys.exit(main())
