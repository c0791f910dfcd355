"""Time of a loss and its gradient, side by side with pytorch-metric-learning's (PML), on the same device.

    KERAS_BACKEND=torch python benchmarks/speed/losses.py [--batches 32,256,1024] [--losses triplet,nt_xent]

Batches have four items of each class. PML is in PyTorch; ours is called as it is on PyTorch, and compiled on
JAX and TensorFlow. Semi-hard mining is compared with PML's miner and loss together.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from keras import ops
from pytorch_metric_learning import distances, losses, miners
from timing import medians, report

import siamkit
from siamkit.backend.beyond_keras import compiled, stateless, value_and_gradients

sys.path.insert(0, str(Path(__file__).parents[1]))
from learning import DIM, METRICS, PARAMS, references

BATCHES = (32, 256, 1024, 2048)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PER_CLASS = 4
SEMIHARD = "triplet, semi-hard"
WARM_UP = 5  # calls before the first is timed: here siamkit records a loss on PyTorch after 3, else after 100
SKIPPED = {
    # The largest batch of those whose steps take PML minutes, or more than 20 GB, beyond it.
    "histogram": 256,
    "lifted_structure": 256,
    "nt_xent": 256,
    "tuplet_margin": 256,
    "pnp": 256,
    "threshold_consistent_margin": 256,
    "margin": 1024,
    "snr_contrastive": 1024,
    "triplet": 1024,
    "cross_batch_memory": 1024,  # as many items as it keeps
    "dynamic_soft_margin": 2048,  # PML's second step fails, so that each of its steps makes a new loss
}


def theirs(name: str, loss: Any, labels: np.ndarray, points: np.ndarray) -> Callable[[], object]:
    """Return a step of PML's loss: value and gradient."""
    target, start = torch.tensor(labels, device=DEVICE), torch.tensor(points, device=DEVICE)
    loss = loss.to(DEVICE) if isinstance(loss, torch.nn.Module) else loss

    def step() -> float:
        leaf = start.clone().requires_grad_()
        value = (loss() if name == "dynamic_soft_margin" else loss)(leaf, target)
        value.backward()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return float(value.detach())

    return step


def semihard() -> Any:
    """Return PML's triplet loss over the triplets of its semi-hard miner."""
    distance = distances.LpDistance(normalize_embeddings=False)
    loss = losses.TripletMarginLoss(distance=distance)
    miner = miners.TripletMarginMiner(margin=0.05, type_of_triplets="semihard", distance=distance)
    return lambda points, labels: loss(points, labels, miner(points, labels))


def ours(loss: siamkit.Loss, labels: np.ndarray, points: np.ndarray) -> Callable[[], object]:
    """Return a step of siamkit's loss: value and gradient."""
    if keras.backend.backend() == "torch":
        return theirs("", lambda leaf, target: loss(target, leaf), labels, points)
    loss(labels, points)
    state = [] if loss.state is None else loss.state.variables
    trained = [variable for variable in state if variable.trainable]
    fixed = [variable for variable in state if not variable.trainable]

    def value(points: Any, *values: Any) -> Any:
        variables = [*trained, *fixed]
        call = stateless(lambda x: loss(ops.convert_to_tensor(labels), x), 1, variables)
        return call(points, *values, *(variable.value for variable in fixed))

    run = compiled(value_and_gradients(value))
    inputs = [ops.convert_to_tensor(points), *(variable.value for variable in trained)]
    return lambda: float(run(*inputs)[0])


def repeated(step: Callable[[], object], times: int) -> Callable[[], object]:
    """Return a function that does a step some times."""
    return lambda: [step() for _ in range(times)]


def main() -> None:
    """Print a row for each loss and batch, and the median ratio of each batch."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--losses", default="", help="names, separated by commas; by default all")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    if keras.backend.backend() == "torch":
        from siamkit.backend import _torch_recordings

        _torch_recordings.RECORD_AFTER = 3
    for batch in map(int, arguments.batches.split(",")):
        labels = np.repeat(np.arange(batch // PER_CLASS, dtype="int32"), PER_CLASS)
        points = np.random.default_rng(0).normal(size=(batch, DIM)).astype("float32")
        classes = batch // PER_CLASS
        contenders = {**references(classes), SEMIHARD: semihard}
        del contenders["manifold"], contenders["vicreg"]  # they take no labels
        ratios = []
        for name, make in contenders.items():
            wanted = arguments.losses.split(",") if arguments.losses else list(contenders)
            if name not in wanted or batch > SKIPPED.get(name, batch):
                continue
            own = {"triplet": {"mining": "semihard"}} if name == SEMIHARD else {name: PARAMS.get(name, {})}
            (key,) = own
            facts = (
                {"num_classes": classes}
                if "num_classes" in siamkit.components().find("loss", key).spec.needs
                else {}
            )
            loss = siamkit.get_loss(key, metric=METRICS.get(key, "cosine"), **own[key], **facts)
            reference = make if name == "dynamic_soft_margin" else make()
            steps = {
                "siamkit": ours(loss, labels, points),
                "pytorch-metric-learning": theirs(name, reference, labels.astype("int64"), points),
            }
            for _ in range(WARM_UP):
                steps["siamkit"]()
            times = max(1, 512 // batch)  # steps that are timed together
            loops = {key: repeated(step, times) for key, step in steps.items()}
            seconds = {key: value / times for key, value in medians(loops, arguments.runs).items()}
            report(f"{name}, batch {batch}", seconds, "siamkit", "≤ 1")
            ratios.append(seconds["siamkit"] / seconds["pytorch-metric-learning"])
        print(f"batch {batch}: median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}", flush=True)


if __name__ == "__main__":
    main()
