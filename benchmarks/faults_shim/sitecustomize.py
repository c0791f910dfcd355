"""Loaded by every Python process of a fault run: logs epochs, and puts a formula in the place of training.

Nothing in siamkit knows of it. Each epoch whose state is saved is a line in FAULTS_LOG.
"""

import ctypes
import io
import json
import os
import sys
import time
import zipfile
from types import ModuleType, SimpleNamespace


def misbehave(dim, epoch=2):
    """What the configuration of FAULTS_DIM does in its second epoch."""
    kind = os.environ.get("FAULTS_KIND")
    if not kind or dim != int(os.environ["FAULTS_DIM"]) or epoch != 2:
        return 1.0
    if kind == "segfault":
        ctypes.string_at(0)
    elif kind == "hang":
        time.sleep(600)
    elif kind == "memory":
        held = bytearray(int(float(os.environ["FAULTS_BYTES"])))
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(60)
    elif kind == "nan":
        return float("nan")
    return 1.0


def logged():
    """Writes a line after each epoch's state was saved, which is when it need not be done again."""
    from siamkit.study.worker import checkpoint

    save = checkpoint.Progress.save

    def saving(self, model, last):
        save(self, model, last)
        line = {"place": str(self.place), "repeat": self.repeat, "epoch": self.epoch}
        line |= {"pid": os.getpid(), "time": time.monotonic()}
        with open(os.environ["FAULTS_LOG"], "a") as file:
            file.write(json.dumps(line) + "\n")

    checkpoint.Progress.save = saving


class Model:
    """A model file, written slowly, so that a fault strikes while it is written now and then."""

    def __init__(self, dim, weight):
        self.dim, self.weight = dim, weight

    def save(self, path):
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w") as archive:
            archive.writestr("config.json", json.dumps({"dim": self.dim, "weight": self.weight}))
            archive.writestr("weights", os.urandom(int(os.environ.get("FAULTS_SIZE", "20000"))))
        data = whole.getvalue()
        with open(path, "wb") as file:
            for part in range(4):
                file.write(data[part * len(data) // 4 : (part + 1) * len(data) // 4])
                file.flush()
                time.sleep(0.005)


def measures(dim, weight):
    return {"map_at_r": dim / 100 + weight / 1000, "recall_at_1": 0.5, "eer": 0.5, "parameters": dim}


def train(configuration, task, fixed, seed, limits, on_epoch, keep, start, *more):
    import numpy as np

    dim, weight, done = configuration["embedding_dim"], 0, 0
    if start is not None:
        with zipfile.ZipFile(start.model) as archive:
            stored = json.loads(archive.read("config.json"))
        weight, done = stored["weight"], start.epoch
        # A state that is not of that epoch would be a lost or a repeated one.
        assert stored == {"dim": dim, "weight": done}, (stored, dim, done)
    for epoch in range(done + 1, fixed.epochs + 1):
        time.sleep(float(os.environ.get("FAULTS_EPOCH", "0.1")))
        weight += 1
        if misbehave(dim, epoch) != 1.0:
            from siamkit.study.worker.trainer import TrialFailure

            raise TrialFailure(f"the loss of epoch {epoch} is nan")
        keep(Model(dim, weight), epoch, {"epoch": epoch, "loss": 1.0, **measures(dim, weight)}, {"loss": {}})
        on_epoch(epoch, {"epoch": epoch, "loss": 1.0, **measures(dim, weight)})
    found = measures(dim, weight)
    queries = {"map_at_r": np.ones(len(task.valid))}
    return SimpleNamespace(
        model=Model(dim, weight),
        measures=found,
        history=[],
        literal={"loss": {}},
        queries=queries,
        embeddings=np.ones((len(task.valid), dim)),
    )


def pretend():
    module = ModuleType("siamkit.study.worker.train")
    module.__dict__.update(
        train=train,
        judge=lambda model, part, *more: (measures(model.dim, model.weight), None, {}),
        try_feeds=lambda *_: None,
        exhibit=lambda *_: {},
    )
    sys.modules["siamkit.study.worker.train"] = module


if "FAULTS_LOG" in os.environ:
    if os.environ.get("FAULTS_TRAINING") == "pretended":
        pretend()
    logged()
