"""Stands in for `siamkit.study.worker.train`, in whatever process: a formula of the embedding's size.

The folder that SIAMKIT_STAND_IN names holds what a test orders (`orders.json`), and what was done
(`done.jsonl`, a line an epoch).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace


class Model:
    def __init__(self, text):
        self.text = text

    def save(self, path):
        Path(path).write_text(self.text)


def try_feeds(*_):
    pass


def exhibit(*_):
    return {}


def judge(model, part, *more):
    return {"map_at_r": 0.4, "eer": 0.5}, None, {}


def train(configuration, task, fixed, seed, limits, on_epoch, keep, start, data_seed):
    import numpy as np

    dim, folder = configuration["embedding_dim"], Path(os.environ["SIAMKIT_STAND_IN"])
    begun = start.epoch if start else 0
    measures = numbers(dim, seed, fixed.epochs)
    for epoch in range(1 + begun, fixed.epochs + 1):
        orders = json.loads((folder / "orders.json").read_text())
        note(folder, task, dim=dim, seed=seed, epoch=epoch)
        obey(folder, orders, dim, epoch)
        row = {"epoch": epoch, "loss": 1.0, **numbers(dim, seed, epoch)}
        keep(Model(f"{dim} {seed} {epoch}"), epoch, row, {"loss": {"margin": 0.2}})
        on_epoch(epoch, row)
    return SimpleNamespace(
        model=Model(f"{dim} {seed}"),
        measures=measures,
        history=[],
        literal={"loss": {"margin": 0.2}},
        queries={"map_at_r": np.ones(len(task.valid))},
        embeddings=np.ones((len(task.valid), dim)),
    )


def numbers(dim, seed, epoch):
    value = dim / 100 + epoch / 1000 + seed % 97 / 1e6
    return {"map_at_r": value, "eer": 0.5, "threshold": 0.5, "parameters": 10.0 * dim}


def obey(folder, orders, dim, epoch):
    if "wait" in orders and epoch == orders["wait"]:
        while not (folder / "go").exists():
            time.sleep(0.02)
    if epoch == orders.get("die"):
        raise KeyboardInterrupt
    if epoch == orders.get("raise"):
        raise ValueError("no good")
    if epoch == orders.get("crash"):
        os.abort()
    if epoch == orders.get("hang"):
        time.sleep(60)
    if epoch == orders.get("fill"):
        orders["kept"] = bytearray(os.urandom(1) * 700_000_000)
        time.sleep(60)
    time.sleep(orders.get("pause", 0))


def note(folder, task, **what):
    view = task.train.views[0]
    what |= {
        "pid": os.getpid(),
        "environment": {
            name: os.environ.get(name)
            for name in ("KERAS_BACKEND", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        },
        "copied": view.flags.owndata or view.flags.writeable,
        "shape": task.preprocessor.input_shape,
        "keras": "keras" in sys.modules,
    }
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized() and (context := ray.get_runtime_context()).get_actor_id():
        what |= {"node": context.get_node_id(), "resources": context.get_assigned_resources()}
    with (folder / "done.jsonl").open("a") as file:
        file.write(json.dumps(what) + "\n")
