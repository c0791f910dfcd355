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
from types import ModuleType


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

    checkpoint.MIN_SECONDS = checkpoint.SECONDS_BETWEEN_KILLS = 0.0  # saves each
    save = checkpoint.Checkpoint.save

    def saving(self, *args, **kwargs):
        save(self, *args, **kwargs)
        state = self.state
        line = {"place": str(self.files.path), "repeat": state.repeat, "epoch": state.epoch}
        line |= {"pid": os.getpid(), "time": time.monotonic()}
        with open(os.environ["FAULTS_LOG"], "a") as file:
            file.write(json.dumps(line) + "\n")

    checkpoint.Checkpoint.save = saving


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
    return {"map_at_r": dim / 100 + weight / 500, "recall_at_1": 0.5, "eer": 0.5, "parameters": dim}


class KerasTrainer:
    """In place of the trainer of that name; see `siamkit.study.worker.trainer.Trainer`."""

    def __init__(self, data, fixed):
        self.data, self.fixed = data, fixed

    @staticmethod
    def prepare():
        pass

    def check_feeds(self, losses, batch_sizes):
        pass

    def train(self, configuration, *, seed, data_seed, limits, on_epoch, on_checkpoint, start=None):
        import numpy as np

        from siamkit.study.worker.trainer import BestEpoch, EpochEnd, Scores, Trained, TrialFailure

        dim, weight, done = configuration["embedding_dim"], 0, 0
        best = BestEpoch(self.data.objective, self.fixed.epochs)
        if start is not None:
            for row in start.history:
                best.add(row["epoch"], row["map_at_r"])
            with zipfile.ZipFile(start.model) as archive:
                stored = json.loads(archive.read("config.json"))
            weight, done = stored["weight"], start.epoch
            # A state that is not of that epoch would be a lost or a repeated one.
            expected = best.number if best.ends(done) else done
            assert stored == {"dim": dim, "weight": expected}, (stored, dim, expected)
        for epoch in range(done + 1, self.fixed.epochs + 1):
            time.sleep(float(os.environ.get("FAULTS_EPOCH", "0.1")))
            weight += 1
            if misbehave(dim, epoch) != 1.0:
                raise TrialFailure("nan", f"the loss of epoch {epoch} is nan")
            row = {"epoch": epoch, "loss": 1.0, **measures(dim, weight)}
            best.add(epoch, row["map_at_r"])
            models = Model(dim, weight), Model(dim, best.number)
            on_checkpoint(EpochEnd(*models, row, {}, {"loss": {}}, best.number, best.ends(epoch)))
            on_epoch(epoch, row)
        items = len(self.data.valid)
        queries, embeddings = {"map_at_r": np.ones(items)}, np.ones((items, dim))
        scores = Scores(measures(dim, best.number), queries, embeddings)
        return Trained(Model(dim, best.number), scores, {"loss": {}}, best.number)

    def evaluate(self, model, split, groups, threshold=None):
        import numpy as np

        from siamkit.study.worker.trainer import Scores

        return Scores(measures(model.dim, model.weight), {}, np.ones((1, model.dim)))

    def report_data(self, model, valid, test=None):
        return {}


def pretend():
    module = ModuleType("siamkit.study.worker.train")
    module.KerasTrainer = KerasTrainer
    sys.modules["siamkit.study.worker.train"] = module


if "FAULTS_LOG" in os.environ:
    if os.environ.get("FAULTS_TRAINING") == "pretended":
        pretend()
    logged()
