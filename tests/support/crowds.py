"""Studies that many processes work through at once, and an audit that trusts none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy

from siamkit.io.paths import with_driver

HERE = Path(__file__).parent
MEMBER = HERE / "crowd_member.py"

STUDY = """\
version: 1
baselines: null
name: {name}
seed: 3
data: {{path: items.npz, split: {{train: 0.5, valid: 0.25, test: 0.25}}}}
fixed: {{batch_size: 8, epochs: {epochs}}}
search:
  encoder: {{mlp: {{depth: 1, width: 8, dropout: 0.0}}}}
  metric: euclidean
  loss: {{triplet: {{margin: 0.2, mining: all}}}}
  embedding_dim: {dims}
budget: {{trials: {trials}}}
confirm: null
storage: {storage}
artifacts: runs/crowd
pruner: {pruner}
sampler: {sampler}
workers: {workers}
lease: {lease}s
"""


def write_study(folder: Path, storage: str, **more: Any) -> Path:
    """A study file and its data; returns the file."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "items.npz", x=rng.normal(size=(48, 5)).astype("float32"), y=np.repeat(np.arange(4), 12)
    )
    values = {
        "name": "crowd", "epochs": 3, "dims": "{low: 2, high: 41}", "trials": 36, "pruner": "median",
        "sampler": "tpe", "workers": 2, "lease": 20,
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(STUDY.format(**{**values, **more}, storage=storage))
    return path


def environment(study: Path, epoch: float) -> dict[str, str]:
    """The environment of a process whose training is faked; an epoch takes so many seconds.

    Temporary files go to a folder beside the study, where it can be seen what is left of them.
    """
    temporary = study.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    path = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(each for each in path if each),
        "FAKE_EPOCH": str(epoch),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(temporary),
    }


class Crowd:
    """The processes that work on a study, none of which outlives it.

    Args:
        study: the file.
        epoch: seconds that an epoch of the faked training takes.
    """

    def __init__(self, study: Path, epoch: float) -> None:
        self.study, self.log = study, study.parent / "log"
        self.folder = study.parent / "runs" / "crowd"
        self.temporary = study.parent / "tmp"
        self._environment = environment(study, epoch)
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """Starts `siamkit tune` or `siamkit worker`; what they print goes to one file."""
        with self.log.open("ab") as sink:
            command = [sys.executable, str(MEMBER), role, str(self.study), "--progress", "plain"]
            process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )
        self.processes.append(process)
        return process

    def begin(self, hands: int) -> None:
        """Starts a `tune`, and when the study is there so many workers."""
        first = self.start("tune")
        while not (self.folder / "study.json").is_file():
            assert first.poll() is None, self.log.read_text()
            time.sleep(0.1)
        for _ in range(hands):
            self.start("worker")

    def wait(self, seconds: float) -> None:
        """Waits for all to end well."""
        for process in self.processes:
            assert process.wait(timeout=seconds) == 0, self.log.read_text()
        assert [each.name for each in self.temporary.iterdir()] == []


def read_trials(url: str, study: str = "crowd") -> list[dict[str, Any]]:
    """All trials of a study as its tables have them, by plain SQL."""
    engine = sqlalchemy.create_engine(with_driver(url))
    ask = sqlalchemy.text
    with engine.connect() as connection:
        found = connection.execute(
            ask(
                "SELECT t.trial_id, t.number, t.state FROM trials t "
                "JOIN studies s ON s.study_id = t.study_id WHERE s.study_name = :study ORDER BY t.trial_id"
            ),
            {"study": study},
        )
        trials = {row[0]: {"number": row[1], "state": row[2], "attrs": {}, "values": []} for row in found}
        for trial, key, value in connection.execute(
            ask("SELECT trial_id, key, value_json FROM trial_user_attributes")
            if engine.name == "postgresql"
            else ask("SELECT trial_id, `key`, value_json FROM trial_user_attributes")
        ):
            if trial in trials:
                trials[trial]["attrs"][key] = json.loads(value)
        for trial, value in connection.execute(
            ask("SELECT trial_id, value FROM trial_values ORDER BY objective")
        ):
            if trial in trials:
                trials[trial]["values"].append(value)
    engine.dispose()
    return list(trials.values())


def used_budget(trial: dict[str, Any]) -> bool:
    outcome = trial["attrs"].get("outcome")
    if trial["state"] == "FAIL":
        return bool(outcome == "failed")
    return trial["state"] in ("COMPLETE", "PRUNED") and outcome is None


def audit(trials: list[dict[str, Any]], folder: Path, budget: int) -> list[str]:
    """What is wrong with a study that is over; nothing, if all is well.

    Args:
        trials: as `read_trials` found them.
        folder: the run folder.
        budget: how many distinct configurations were asked for.
    """
    wrong: list[str] = []
    if [trial["number"] for trial in trials] != list(range(len(trials))):
        wrong.append("trial numbers have gaps or come twice")
    if left := [t["number"] for t in trials if t["state"] in ("RUNNING", "WAITING")]:
        wrong.append(f"trials were left {left}")
    counted = [trial for trial in trials if used_budget(trial)]
    keys = Counter(trial["attrs"]["key"] for trial in counted)
    if len(keys) != budget:
        wrong.append(f"{len(keys)} configurations counted, {budget} were asked for")
    if doubled := {key: n for key, n in keys.items() if n > 1}:
        wrong.append(f"configurations counted twice: {doubled}")
    texts = {json.dumps(trial["attrs"]["configuration"], sort_keys=True) for trial in counted}
    if len(texts) != len(keys):
        wrong.append("two keys name one configuration, or one key two")
    given_up = {t["attrs"]["key"] for t in trials if t["attrs"].get("outcome") == "given up"}
    queued = {trial["attrs"].get("retries") for trial in trials}
    for trial in trials:
        attrs = trial["attrs"]
        died = trial["state"] == "FAIL" and "outcome" not in attrs and "key" in attrs
        if died and trial["number"] not in queued and attrs["key"] not in {*keys, *given_up}:
            wrong.append(f"trial {trial['number']} died and was never tried again")
    return wrong + _audit_folder(counted, folder)


def _audit_folder(counted: list[dict[str, Any]], folder: Path) -> list[str]:
    wrong: list[str] = []
    there = {
        str(file.parent.relative_to(folder / "trials")) for file in folder.glob("trials/*/*/result.json")
    }
    wanted = {f"{trial['number']}/{trial['attrs']['token']}" for trial in counted}
    if there != wanted:
        wrong.append(f"results too many {sorted(there - wanted)}, too few {sorted(wanted - there)}")
    if homeless := {str(each.relative_to(folder / "trials")) for each in folder.glob("trials/*/*")} - wanted:
        wrong.append(f"folders of attempts that are nobody's: {sorted(homeless)}")
    for trial in counted:
        file = folder / "trials" / str(trial["number"]) / trial["attrs"]["token"] / "result.json"
        if not file.is_file():
            continue
        stored, name = json.loads(file.read_text()), f"trial {trial['number']}"
        outcome = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial["state"]]
        if stored["outcome"] != outcome or stored["key"] != trial["attrs"]["key"]:
            wrong.append(f"{name}: the file says {stored['outcome']}, the storage {trial['state']}")
        if outcome == "complete" and not np.allclose(stored["values"], trial["values"], rtol=1e-12):
            wrong.append(f"{name}: the file has {stored['values']}, the storage {trial['values']}")
    temporary = [
        str(each) for pattern in (".[0-9a-f]*", "resume*") for each in folder.glob(f"trials/*/*/{pattern}")
    ]
    if temporary:
        wrong.append(f"files that were to go: {temporary}")
    return wrong
