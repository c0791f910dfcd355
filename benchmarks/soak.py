"""A long study under faults: processes killed and stopped, the database restarted, and an audit at the end.

Trials are faked (a formula with short sleeps, no Keras), their supervisors, workers and storage are real: two
supervisors, `tune` and `worker`, with two workers each, on a PostgreSQL of its own. Every few seconds a fault
drawn by seed strikes. The audit trusts nothing of siamkit: it reads the tables by SQL and the run folder.

    python benchmarks/soak.py --trials 500 --seed 7
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "support")]

from crowds import Crowd, audit, read_trials, used_budget, write_study  # noqa: E402
from servers import PostgreSQL  # noqa: E402

LEASE = 5.0
EPOCH, EPOCHS = 0.4, 5
ROLES = ("tune", "worker")


class Soak:
    """A study and the hand that strikes it.

    Args:
        folder: for everything.
        trials: the budget.
        seed: of the faults.
        every: seconds between two faults, on average.
    """

    def __init__(self, folder: Path, trials: int, seed: int, every: float) -> None:
        self.server = PostgreSQL()
        self.url, self.trials, self.every = self.server.create("crowd"), trials, every
        study = write_study(
            folder, self.url, trials=trials, epochs=EPOCHS, lease=LEASE, dims="{low: 2, high: 800}",
            sampler="random", pruner="patient",  # others leave few trials that come to their end
        )  # fmt: skip
        self.crowd = Crowd(study, EPOCH)
        self.rng = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.living: dict[str, subprocess.Popen[bytes]] = {}
        self.over: set[str] = set()
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.server_back = 0.0

    # ------------------------------------------------------------- the study

    def run(self, limit: float) -> None:
        """Runs the study to its end."""
        began, strike = time.monotonic(), time.monotonic() + 8
        while len(self.over) < len(ROLES):
            if time.monotonic() - began > limit:
                raise TimeoutError(f"not over after {limit:g} s")
            self.keep_up()
            now = time.monotonic()
            for due, act in [each for each in self.later if each[0] <= now]:
                self.later.remove((due, act))
                act()
            if now >= strike and not self.over:
                self.strike()
                strike = time.monotonic() + self.every * self.rng.uniform(0.6, 1.4)
            time.sleep(0.1)
        for _, act in self.later:
            act()

    def keep_up(self) -> None:
        """Starts whoever has died, as a cluster would."""
        for role in ROLES:
            process = self.living.get(role)
            if process is None:
                if role == "tune" or (self.crowd.folder / "study.json").is_file():
                    self.living[role] = self.crowd.start(role)
                    self.starts[role] += 1
            elif process.poll() == 0:
                self.over.add(role)
            elif process.poll() is not None:
                self.ends[f"{role} ended with {process.returncode}"] += 1
                if process.returncode == 2 and not (self.crowd.folder / "study.json").is_file():
                    raise RuntimeError(self.crowd.log.read_text())
                del self.living[role]

    def workers(self) -> list[psutil.Process]:
        found = []
        for process in self.living.values():
            with suppress(psutil.Error):
                found += psutil.Process(process.pid).children()
        return found

    # ------------------------------------------------------------- faults

    def strike(self) -> None:
        kinds: dict[str, tuple[float, Callable[[], bool]]] = {
            "worker killed": (3, lambda: self.signal(self.workers(), signal.SIGKILL)),
            "worker stopped beyond the lease": (2, lambda: self.stop(self.workers(), LEASE + 2)),
            "worker stopped for a moment": (1, lambda: self.stop(self.workers(), 1.5)),
            "supervisor killed": (2, lambda: self.signal(self.spared(), signal.SIGKILL)),
            "supervisor interrupted (Ctrl-C)": (1, lambda: self.signal(self.spared(), signal.SIGINT)),
            "supervisor stopped beyond the lease": (2, lambda: self.stop(self.spared(), LEASE + 3)),
            "supervisor stopped for a moment": (1, lambda: self.stop(self.supervisors(), 2.0)),
            "database restarted": (1, lambda: self.database("fast", 0.0)),
            "database away for 4 s": (1, lambda: self.database("fast", 4.0)),
            "database crashed": (1, lambda: self.database("immediate", 0.0)),
        }
        (kind,) = self.rng.choices(list(kinds), [weight for weight, _ in kinds.values()])
        if kinds[kind][1]():
            self.faults[kind] += 1
            print(f"{time.strftime('%H:%M:%S')} {kind}", flush=True)

    def spared(self) -> list[psutil.Process]:
        """The supervisors, if both are at work: else the study would do nothing but start."""
        found = self.supervisors()
        return found if len(found) == len(ROLES) and all(each.children() for each in found) else []

    def supervisors(self) -> list[psutil.Process]:
        found = []
        for process in self.living.values():
            with suppress(psutil.Error):
                found.append(psutil.Process(process.pid))
        return found

    def signal(self, among: list[psutil.Process], number: int) -> bool:
        with suppress(psutil.Error, IndexError):
            self.rng.choice(among).send_signal(number)
            return True
        return False

    def stop(self, among: list[psutil.Process], seconds: float) -> bool:
        with suppress(psutil.Error, IndexError):
            process = self.rng.choice(among)
            process.suspend()
            self.later.append((time.monotonic() + seconds, lambda: self.resume(process)))
            return True
        return False

    @staticmethod
    def resume(process: psutil.Process) -> None:
        with suppress(psutil.Error):
            process.resume()

    def database(self, mode: str, away: float) -> bool:
        if time.monotonic() < self.server_back:
            return False  # it is away already
        self.server.stop(mode)
        self.server_back = time.monotonic() + away
        if away:
            self.later.append((self.server_back, self.server.start))
        else:
            self.server.start()
        return True

    # ------------------------------------------------------------- the end

    def wrong(self) -> list[str]:
        """What is wrong with what is left."""
        found = audit(read_trials(self.url), self.crowd.folder, self.trials)
        marked = str(self.crowd.temporary)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR") == marked:
                    found.append(f"a process is left: {process.pid} {' '.join(process.cmdline())}")
        if left := [each.name for each in self.crowd.temporary.iterdir()]:
            found.append(f"temporary files are left: {left}")
        return found


def described(soak: Soak, seconds: float, wrong: list[str], command: str) -> str:
    """The report, in Markdown."""
    trials = read_trials(soak.url)
    counted = [trial for trial in trials if used_budget(trial)]
    died = sum(t["state"] == "FAIL" and "outcome" not in t["attrs"] for t in trials)
    attempts = Counter(trial["attrs"].get("attempt", 1) for trial in counted)
    told: Counter[str] = Counter(str(trial["attrs"].get("outcome")) for trial in trials)
    states = Counter(trial["state"].lower() for trial in counted)
    table = "\n".join(f"| {kind} | {count} |" for kind, count in sorted(soak.faults.items()))
    ends = ", ".join(f"{each} {count}×" for each, count in sorted(soak.ends.items())) or "none"
    verdict = "\n".join(f"- {each}" for each in wrong) or "Nothing is wrong."
    return f"""# A study under faults

`{command}` — Python {platform.python_version()}, PostgreSQL, {psutil.cpu_count()} cores, {seconds:.0f} s.

{soak.trials} configurations asked for; 2 supervisors (`tune`, `worker`) with 2 workers each; a trial is
{EPOCHS} epochs of {EPOCH:g} s; the lease is {LEASE:g} s.

| fault | times |
|---|---:|
{table}
| in all | {sum(soak.faults.values())} |

Supervisors were started {soak.starts["tune"]} (`tune`) and {soak.starts["worker"]} (`worker`) times;
those that did not end well: {ends}.

## Audit

By SQL from the tables and from the files of the run folder, without siamkit's own counting.

- trials in the storage: {len(trials)}; {len(counted)} counted: {dict(states)}
- turned down: {told["duplicate"]} drawn before, {told["withdrawn"]} one too many
- attempts that died or were stopped and were tried again: {died}; given up after four: {told["given up"]}
- counted configurations by attempt: {dict(sorted(attempts.items()))}

{verdict}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between faults")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which it has failed")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "soak.md")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(folder, asked.trials, asked.seed, asked.every)
    began = time.monotonic()
    try:
        with soak.crowd:
            soak.run(asked.limit)
        seconds = time.monotonic() - began
        wrong = soak.wrong()
        command = f"python benchmarks/soak.py --trials {asked.trials} --seed {asked.seed}"
        text = described(soak, seconds, wrong, command)
        print(text)
        asked.output.write_text(text)
        return 1 if wrong else 0
    finally:
        soak.server.close()
        if asked.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
