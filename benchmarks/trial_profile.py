"""Where the time of a trial goes, from the start of its process to its result.

Runs two small studies on each backend, each in a process of its own with one worker inside it, and adds up
the time that each part takes by itself. The trials of a study differ in their learning rate and margin only.

    python benchmarks/trial_profile.py [--backends torch,jax] [--images FOLDER] [--cold] [--trials 4]

`--images` is a folder with Fashion-MNIST (`*.gz`), of which 2,000 images train the network; without it, the
digits do. `--cold` starts with an empty cache of compiled graphs. Prints a table for each study.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BACKENDS = ("torch", "jax", "tensorflow")
STUDY = """\
version: 1
name: profile
seed: 7
data: {{{data}}}
fixed: {{batch_size: 64, epochs: {epochs}}}
search:
  encoder: [{encoder}]
  metric: [euclidean]
  loss: [{{triplet: {{mining: semihard, margin: {{low: 0.1, high: 0.5}}}}}}]
  embedding_dim: [32]
  learning_rate: {{low: 3e-4, high: 3e-3, log: true}}
objectives: {{map_at_r: maximize}}
sampler: random
pruner: none
confirm: null
budget: {{trials: {trials}}}
engine: inline
artifacts: run
"""
CNN = (
    "{cnn: {depth: 3, filters: 16, strides: 1, normalization: group, pooling: flatten, dropout: 0.0, "
    "shortcut: true}}"
)
DIGITS = "source: digits, split: {by: item, train: 0.5, valid: 0.25, test: 0.25}"
CLOTHES = (
    "source: fashion_mnist, path: {folder}, split: {{by: item, train: 0.6, valid: 0.2, test: 0.2}}, "
    "limit: {{train: 2000, valid: 1000, test: 1000}}"
)
PARTS = {  # what is timed, by the function that does it; a part inside another is taken out of it
    "siamkit.study.api:resolve_study": "study file",
    "siamkit.study.execution.session:prepare_data": "data",
    "siamkit.study.execution.session:write_data": "data",
    "siamkit.study.worker.train:KerasTrainer.check_feeds": "check of the feeds",
    "siamkit.study.worker.runner:run_baselines": "baselines",
    "siamkit.study.worker.train:_begin": "forget, seed",
    "siamkit.study.worker.train:KerasTrainer._build": "build",
    "siamkit.study.worker.train:typical_distance": "typical distance",
    "siamkit.model.siamese:Siamese.fit": "steps",
    "siamkit.study.worker.judge:KeptEpoch.__init__": "keep the best epoch",
    "siamkit.study.worker.judge:KeptEpoch.restore": "keep the best epoch",
    "siamkit.model._embedding:EmbeddingModel.embed_views": "judge: embed",
    "siamkit.study.worker.judge:Judge.epoch": "judge: measures of an epoch",
    "siamkit.study.worker.judge:Judge.kept": "judge: all measures",
    "siamkit.study.worker.judge:ms_per_item": "judge: time of an item",
    "siamkit.study.worker.checkpoint:Checkpoint.save": "checkpoints",
    "siamkit.study.worker.checkpoint:Checkpoint.next_repeat": "checkpoints",
    "siamkit.study.worker.runner:JobRunner._write_scores": "data for the report",
    "siamkit.study.execution.trial:TrialHandle._report": "storage",
    "siamkit.study.storage.trial_queue:TrialQueue.refresh": "storage",
    "siamkit.study.storage.trial_queue:TrialQueue.claim_next": "storage",
    "siamkit.study.storage.trial_queue:TrialQueue.finish": "storage",
    "siamkit.study.execution.run:open_storage": "storage",
    "siamkit.study.execution.trial:TrialHandle._write": "result",
    "siamkit.study.execution.run:write_report": "report page",
}
COMPILING = (  # what JAX tells of; each is a part of its own inside others
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class Clock:
    """The seconds of each part by itself, in each phase: before the first trial, a trial, after the last."""

    def __init__(self) -> None:
        self.phases: list[dict[str, float]] = [defaultdict(float)]
        self.counts: list[dict[str, int]] = [defaultdict(int)]
        self._stack: list[str] = ["the rest"]
        self._since = time.perf_counter()

    def _spend(self) -> None:
        now = time.perf_counter()
        self.phases[-1][self._stack[-1]] += now - self._since
        self._since = now

    def enter(self, part: str) -> None:
        self._spend()
        self._stack.append(part)

    def leave(self) -> None:
        self._spend()
        self._stack.pop()

    def switch(self, part: str) -> None:
        """Let what runs now be another part."""
        self._spend()
        self._stack[-1] = part

    def move(self, part: str, seconds: float) -> None:
        """Book seconds that have just passed to a part."""
        self.phases[-1][part] += seconds
        self.phases[-1][self._stack[-1]] -= seconds

    def next_phase(self) -> None:
        self._spend()
        self.phases.append(defaultdict(float))
        self.counts.append(defaultdict(int))

    def end(self) -> None:
        self._spend()


def patch(clock: Clock, path: str, part: str) -> None:
    """Time the function at a path `module:name`."""
    module, _, name = path.partition(":")
    owner: Any = importlib.import_module(module)
    *holders, last = name.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    function = getattr(owner, last)

    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        clock.enter(part)
        try:
            return function(*args, **kwargs)
        finally:
            clock.leave()

    setattr(owner, last, timed)


def run_study(study: str, started: float) -> None:
    """Run a study in this process, and print its times as JSON."""
    clock = Clock()
    clock.move("start of Python", time.time() - started)
    clock.enter("imports")
    from siamkit.backend import select
    from siamkit.study.api import tune
    from siamkit.study.execution.scheduler import Scheduler

    select.activate(os.environ["KERAS_BACKEND"])
    select.keep_compiled()
    trainer = importlib.import_module("siamkit.study.worker.train")
    trainer.keras.utils.set_random_seed(0)  # imports TensorFlow too, if it is installed
    gc.collect()
    gc.freeze()  # as workers do
    clock.leave()
    for path, part in PARTS.items():
        patch(clock, path, part)
    patch_steps(clock, trainer.TrialCallback)
    if os.environ["KERAS_BACKEND"] == "jax":
        watch_jax(clock)
    patch_trials(clock, Scheduler)
    tune(study, progress="none")
    clock.end()
    print(json.dumps({"phases": clock.phases, "counts": clock.counts}))


def patch_steps(clock: Clock, callback: Any) -> None:
    """Let the first step of a training, which compiles, be a part of its own."""
    ended = callback.on_train_batch_end

    def on_train_begin(self: Any, logs: Any = None) -> None:
        clock.switch("first step")

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        clock.switch("steps")
        ended(self, batch, logs)

    callback.on_train_begin, callback.on_train_batch_end = on_train_begin, on_train_batch_end


def patch_trials(clock: Clock, scheduler: Any) -> None:
    """Begin a phase with each trial that is asked for, and one after the last."""
    asked = scheduler.next_job

    def next_job(self: Any) -> Any:
        clock.next_phase()
        return asked(self)

    scheduler.next_job = next_job


def watch_jax(clock: Clock) -> None:
    """Book what JAX traces and compiles as a part of its own, and count it."""
    import jax

    def on_duration(event: str, seconds: float, **_: Any) -> None:
        if event in COMPILING:
            if event == COMPILING[-1]:
                clock.counts[-1]["compiled or loaded"] += 1
            clock.move("JAX: compile" if event == COMPILING[-1] else "JAX: trace", seconds)

    def on_event(event: str, **_: Any) -> None:
        if event.startswith("/jax/compilation_cache/cache_"):
            clock.counts[-1][event.rpartition("/")[2]] += 1

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    jax.monitoring.register_event_listener(on_event)


def table(result: dict[str, Any]) -> list[str]:
    """Return the times as a table: before the first trial, the first, a later one (median), after."""
    phases = result["phases"]
    before, first, *later, after = (defaultdict(float, phase) for phase in phases)
    parts = dict.fromkeys(part for phase in phases for part in phase)
    rows = []
    for part in parts:
        middle = statistics.median(phase[part] for phase in later)
        rows.append([part, *(f"{value:.2f}" for value in (before[part], first[part], middle, after[part]))])
    totals = [sum(before.values()), sum(first.values())]
    totals += [statistics.median(sum(phase.values()) for phase in later), sum(after.values())]
    rows.append(["**all**", *(f"**{total:.2f}**" for total in totals)])
    head = ["seconds", "before", "first trial", "a later trial", "after"]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] + ["---:"] * 4, *rows)]
    counts = [dict(phase) for phase in result["counts"]]
    return [*lines, "", f"Graphs: {counts}"] if any(counts) else lines


def main() -> None:
    """Run the studies, and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--backends", default=",".join(BACKENDS), help="backends, separated by commas")
    parser.add_argument("--images", type=Path, help="a folder with Fashion-MNIST")
    parser.add_argument("--cold", action="store_true", help="start with an empty cache of compiled graphs")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--only", default="mlp,cnn", help="studies, separated by commas")
    parser.add_argument("--study", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.study:
        run_study(arguments.study, arguments.started)
        return
    images = DIGITS if arguments.images is None else CLOTHES.format(folder=arguments.images.resolve())
    studies = {
        "mlp": (DIGITS, "{mlp: {depth: 2, width: 128, dropout: 0.0}}", 10),
        "cnn": (images, CNN, 4),
    }
    for name in arguments.only.split(","):
        data, encoder, epochs = studies[name]
        text = STUDY.format(data=data, encoder=encoder, epochs=epochs, trials=arguments.trials)
        for backend in arguments.backends.split(","):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "study.yaml"
                file.write_text(text)
                environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
                environment["PYTHONPATH"] = str(HERE.parent)
                if arguments.cold:
                    environment["XDG_CACHE_HOME"] = folder
                command = [sys.executable, __file__, "--study", str(file), "--started", str(time.time())]
                run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            print(f"\n{name}, {backend}\n", flush=True)
            print("\n".join(table(json.loads(run.stdout.splitlines()[-1]))), flush=True)


if __name__ == "__main__":
    main()
