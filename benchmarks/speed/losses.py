"""Time of a loss and its gradient, side by side with pytorch-metric-learning's (PML), on the same device.

    KERAS_BACKEND=torch python benchmarks/speed/losses.py [--batches 32,256,1024] [--losses triplet,nt_xent]

Batches have four items of each class. siamkit's losses run as in `fit`: as they are on PyTorch, a compiled
function called for each step on JAX, and on TensorFlow one that a `tf.function` calls for each step.
PML and siamkit take turns: in one process on PyTorch, else in two, since PyTorch's threads and those of JAX
or TensorFlow, which all wait actively, slow each other down up to a hundred times. Semi-hard mining is
compared with PML's miner and loss together.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from timing import medians, report

sys.path.insert(0, str(Path(__file__).parents[1]))
from learning import DIM, METRICS, PARAMS, references

BATCHES = {
    "torch": (32, 256, 1024, 2048),
    "jax": (32, 256),
    "tensorflow": (32, 256),
}  # where each step compiles
PER_CLASS = 4
SEMIHARD = "triplet semi-hard"  # without a comma, which separates names
SETTLE_SECONDS = 0.05
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


def names() -> list[str]:
    """Return the names of all losses that are compared."""
    no_labels = {"manifold", "vicreg"}
    return [*(name for name in references(2) if name not in no_labels), SEMIHARD]


def batch_of(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and the embeddings of a batch."""
    labels = np.repeat(np.arange(size // PER_CLASS, dtype="int32"), PER_CLASS)
    return labels, np.random.default_rng(0).normal(size=(size, DIM)).astype("float32")


def times(size: int) -> int:
    """Return how many steps are timed together."""
    return max(1, 512 // size)


# ------------------------------------------------------------------ pytorch-metric-learning


class Reference:
    """PML's losses, in a process of their own, next to JAX or TensorFlow."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        context.Process(target=_serve, args=(other,), daemon=True).start()
        other.close()

    def steps(self, name: str, size: int) -> Callable[[], object]:
        """Return a function that does steps of a loss in the other process, and waits for them."""

        def run() -> object:
            self.pipe.send((name, size))
            return self.pipe.recv()

        return run


def _serve(pipe: Any) -> None:
    made = cache(_reference_steps)
    with suppress(EOFError):  # the other process has ended
        while True:
            pipe.send(made(*pipe.recv())())


def _reference_steps(name: str, size: int) -> Callable[[], float]:
    make = semihard if name == SEMIHARD else references(size // PER_CLASS)[name]
    labels, points = batch_of(size)
    if name == "dynamic_soft_margin":
        return eager(lambda leaf, target: make()(leaf, target), labels.astype("int64"), points)
    return eager(make(), labels.astype("int64"), points)


def semihard() -> Any:
    """Return PML's triplet loss over the triplets of its semi-hard miner."""
    from pytorch_metric_learning import distances, losses, miners

    distance = distances.LpDistance(normalize_embeddings=False)
    loss = losses.TripletMarginLoss(distance=distance)
    miner = miners.TripletMarginMiner(margin=0.05, type_of_triplets="semihard", distance=distance)
    return lambda points, labels: loss(points, labels, miner(points, labels))


def eager(loss: Any, labels: np.ndarray, points: np.ndarray) -> Callable[[], float]:
    """Return a function that does steps of a loss `(points, labels)` on PyTorch: value and gradient."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    target, start = torch.tensor(labels, device=device), torch.tensor(points, device=device)
    loss = loss.to(device) if isinstance(loss, torch.nn.Module) else loss

    def steps() -> float:
        for _ in range(times(len(labels))):
            leaf = start.clone().requires_grad_()
            value = loss(leaf, target)
            value.backward()
            if device == "cuda":
                torch.cuda.synchronize()
            found = float(value.detach())
        return found

    return steps


# ------------------------------------------------------------------ siamkit


def made(name: str, size: int) -> Any:
    """Return siamkit's loss of a name."""
    import siamkit

    key, params = ("triplet", {"mining": "semihard"}) if name == SEMIHARD else (name, PARAMS.get(name, {}))
    needs = siamkit.components().find("loss", key).spec.needs
    facts = {"num_classes": size // PER_CLASS} if "num_classes" in needs else {}
    return siamkit.get_loss(key, metric=METRICS.get(key, "cosine"), **params, **facts)


def contenders(name: str, size: int) -> dict[str, Callable[[], object]]:
    """Return functions that do steps of siamkit's loss, by what they are called in the table."""
    import keras

    loss, (labels, points) = made(name, size), batch_of(size)
    kind = keras.backend.backend()
    if kind == "torch":
        return {"siamkit": eager(lambda leaf, target: loss(target, leaf), labels, points)}
    loss(labels, points)  # makes the loss's state
    return (_on_jax if kind == "jax" else _on_tensorflow)(loss, labels, points)


def _on_jax(loss: Any, labels: np.ndarray, points: np.ndarray) -> dict[str, Callable[[], object]]:
    import jax
    import keras

    variables = [] if loss.state is None else loss.state.variables
    trained = [variable for variable in variables if variable.trainable]
    fixed = [variable for variable in variables if not variable.trainable]

    def value(points: Any, weights: Any, others: Any, labels: Any) -> Any:
        state = [*zip(trained, weights, strict=True), *zip(fixed, others, strict=True)]
        with keras.StatelessScope(state_mapping=state) as scope:
            found = loss(labels, points)
        return found, [scope.get_current_value(variable) for variable in fixed]

    step = jax.jit(jax.value_and_grad(value, argnums=(0, 1), has_aux=True))
    weights = [variable.value for variable in trained]
    others = [variable.value for variable in fixed]
    target, start = jax.numpy.asarray(labels), jax.numpy.asarray(points)

    def steps() -> float:
        for _ in range(times(len(labels))):
            found = float(step(start, weights, others, target)[0][0])
        return found

    return {"siamkit": steps}


def _on_tensorflow(loss: Any, labels: np.ndarray, points: np.ndarray) -> dict[str, Callable[[], object]]:
    import tensorflow as tf

    weights = [] if loss.state is None else [variable.value for variable in loss.state.trainable_variables]
    target, start = tf.constant(labels), tf.constant(points)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def step(points: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(points)
            value = loss(labels, points)
        gradients = tape.gradient(value, [points, *weights])
        by_points, *by_weights = [tf.convert_to_tensor(each) for each in gradients]
        return value, points - 1e-9 * by_points, by_weights

    def one_after_the_other(points: Any, labels: Any) -> Any:
        def once(left: Any, _: Any, points: Any, *by_weights: Any) -> Any:
            value, points, by_weights = step(points, labels)
            return (left - 1, value, points, *by_weights)

        start = (number, 0.0, points, *map(tf.zeros_like, weights))
        return tf.while_loop(lambda left, *_: left > 0, once, start, parallel_iterations=1)[1]

    number = times(len(labels))
    together = tf.function(one_after_the_other)

    def calls() -> float:
        for _ in range(number):
            found = float(step(start, target)[0])
        return found

    return {"siamkit": lambda: float(together(start, target)), "each step by a call from Python": calls}


def main() -> None:
    """Print a row for each loss and batch, and the median ratio of each batch."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batches", default="", help="sizes, separated by commas; by default as in BATCHES")
    parser.add_argument("--losses", default="", help="names, separated by commas; by default all")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        from siamkit.backend import _torch_recordings

        _torch_recordings.RECORD_AFTER = 3
    # On torch in the same process, whose threads are then the same. Those of another library would compete.
    reference, settle = (_reference_steps, 0.0) if backend == "torch" else (Reference().steps, SETTLE_SECONDS)
    batches = map(int, arguments.batches.split(",")) if arguments.batches else BATCHES[backend]
    for size in batches:
        ratios = []
        for name in arguments.losses.split(",") if arguments.losses else names():
            if size > SKIPPED.get(name, size):
                continue
            loops = contenders(name, size)
            for _ in range(-(-WARM_UP // times(size))):
                loops["siamkit"]()
            loops["pytorch-metric-learning"] = reference(name, size)
            seconds = {
                key: each / times(size) for key, each in medians(loops, arguments.runs, settle).items()
            }
            report(f"{name}, batch {size}", seconds, "siamkit", "≤ 1")
            ratios.append(seconds["siamkit"] / seconds["pytorch-metric-learning"])
        print(f"batch {size}: median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}", flush=True)


if __name__ == "__main__":
    main()
